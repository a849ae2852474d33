"""The dashboard as a command: on this machine only, and never without a password."""

from __future__ import annotations

import base64
import re
import signal
import socket
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from command_kit import environment, keep, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from subprocess import Popen

    from command_kit import Ran

    Run = Callable[..., Ran]

PATIENT = 60


@pytest.fixture
def started(folder: Path) -> Iterator[Callable[..., tuple[str, str, Popen[str]]]]:
    """Starts the command; gives its URL, the password it told, and the process."""
    children: list[Popen[str]] = []

    def start(*options: str, **more: str) -> tuple[str, str, Popen[str]]:
        child = spawn("dashboard", "--port", "0", *options, cwd=folder, env=environment(**more))
        children.append(child)
        assert child.stderr is not None
        url = re.search(r"http://\S+", child.stderr.readline())
        assert url is not None, child.communicate()
        told = "" if more or "--password" in options else child.stderr.readline()
        password = re.search(r"password (\S+)", told)
        return url[0], "" if password is None else password[1], child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def get(url: str, password: str | None = None) -> tuple[int, str]:
    """The status and the text of a page."""
    request = urllib.request.Request(url)  # noqa: S310 -- our own server
    if password is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(f'resilio:{password}'.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENT) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow("starts a server")
def test_it_serves_the_queue_behind_a_password_that_it_makes_up(
    started: Callable[..., tuple[str, str, Popen[str]]],
) -> None:
    """Without the password there is nothing to see; with it there are the letters; Ctrl-C ends it well."""
    (letter,) = keep("letters.jsonl", [{"n": 1}])
    url, password, child = started("-q", "letters.jsonl")
    assert url.startswith("http://127.0.0.1:")
    assert get(url)[0] == 401
    assert get(url, "wrong")[0] == 401
    assert len(password) >= 16
    status, text = get(url, password)
    assert status == 200
    assert "<html" in text
    assert letter[:8] in get(f"{url}letters", password)[1]
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=PATIENT)
    assert (child.returncode, err) == (0, "")


@pytest.mark.slow("starts a server")
def test_a_page_that_stays_open_does_not_keep_it(started: Callable[..., tuple[str, str, Popen[str]]]) -> None:
    """Ctrl-C ends it although a browser listens for events."""
    url, _, child = started("-q", "letters.jsonl", RESILIO_DASHBOARD_PASSWORD="pw")
    request = urllib.request.Request(f"{url}live?view=overview")  # noqa: S310 -- our own server
    request.add_header("Authorization", f"Basic {base64.b64encode(b'resilio:pw').decode()}")
    with urllib.request.urlopen(request, timeout=PATIENT) as events:  # noqa: S310
        assert events.headers["content-type"].startswith("text/event-stream")
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=PATIENT)
    assert child.returncode == 0


@pytest.mark.slow("starts a server")
def test_the_password_may_come_from_the_environment(started: Callable[..., tuple[str, str, Popen[str]]]) -> None:
    """It is not told again then."""
    url, told, _ = started("-q", "letters.jsonl", RESILIO_DASHBOARD_PASSWORD="correct horse")
    assert told == ""
    assert get(url, "correct horse")[0] == 200


@pytest.mark.slow("starts a server")
def test_other_machines_are_told_of_https(started: Callable[..., tuple[str, str, Popen[str]]]) -> None:
    """Over plain HTTP a browser elsewhere does not say where a request comes from, and no action is taken."""
    _, _, child = started("--host", "0.0.0.0", "-q", "letters.jsonl", RESILIO_DASHBOARD_PASSWORD="pw")  # noqa: S104
    assert child.stderr is not None
    assert "to act only through a proxy that speaks HTTPS" in child.stderr.readline()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104 -- is refused
def test_other_machines_need_a_password(run: Run, host: str) -> None:
    """Before anything listens."""
    ran = run("dashboard", "--host", host)
    assert ran.code == 2
    assert "can be reached from other machines: say which password" in " ".join(ran.err.split())


def test_a_port_that_is_taken_is_one_line(run: Run) -> None:
    """With the address that was wanted."""
    keep("letters.jsonl", [{"n": 1}])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("dashboard", "-q", "letters.jsonl", "--port", port)
    assert ran.code == 3
    assert ran.err.startswith(f"resilio: cannot listen at 127.0.0.1:{port}: ")


@pytest.mark.parametrize("library", ["starlette", "jinja2", "sse_starlette", "uvicorn"])
def test_what_is_missing_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """The library, and the extra that brings it."""
    monkeypatch.setitem(sys.modules, library, None)
    ran = run("dashboard")
    assert ran.code == 3
    assert library in ran.err
    assert "pip install 'resilio-toolkit[dashboard]'" in ran.err
