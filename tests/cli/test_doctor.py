"""The check-up: what is wrong is found, and what to do is said."""

from __future__ import annotations

import sys
import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any

import pytest
from command_kit import keep

from resilio import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command_kit import Ran

    Run = Callable[..., Ran]


def findings(ran: Ran) -> dict[tuple[str, str], dict[str, Any]]:
    """The findings by area and name."""
    return {(each["area"], each["name"]): each for each in ran.json["findings"]}


def test_a_sound_deployment_is_told_to_be_sound(run: Run) -> None:
    """Settings with where they are from, the queue, the log channel, versions; exit code 0."""
    keep("local_dlq.json", [{"n": 1}])
    ran = run("doctor", "--json")
    assert ran.code == 0
    assert ran.json["sound"] is True
    found = findings(ran)
    assert found["settings", "BACKOFF_MAX_RETRIES"]["told"] == "5 (default)"
    assert found["queue", "letters"]["told"].startswith("1: 1 waiting, 0 claimed, 0 parked")
    assert found["channels", "LOG"]["verdict"] == "ok"
    assert "click" in found["installation", "cli"]["told"]


def test_people_read_signs_and_advice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a check, an arrow before what to do, a sum at the end."""
    monkeypatch.setenv("BACKOFF_BASE_DELAY", "soon")
    ran = run("doctor")
    assert ran.code == 1
    assert "✗ BACKOFF_BASE_DELAY" in ran.out
    assert "→ set it to a number of seconds" in ran.out
    assert ran.lines[-1] == "1 problem, 0 warnings"
    monkeypatch.delenv("BACKOFF_BASE_DELAY")
    assert run("doctor").lines[-1] == "all is well"


def test_settings_are_checked_one_by_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that does not parse, two that contradict each other, and a name that nobody reads."""
    monkeypatch.setenv("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "0")
    monkeypatch.setenv("BACKOFF_BASE_DELAY", "90")
    monkeypatch.setenv("DLQ_LOCAL_FILE", "x.jsonl")
    found = findings(run("doctor", "--json"))
    assert found["settings", "CIRCUIT_BREAKER_FAILURE_THRESHOLD"]["verdict"] == "problem"
    assert found["settings", "BACKOFF_MAX_DELAY"]["verdict"] == "warning"
    assert found["settings", "BACKOFF_BASE_DELAY"]["told"] == "90 (environment)"
    assert found["settings", "DLQ_LOCAL_FILE"]["advice"] == "is DLQ_LOCAL_FILE_PATH meant?"


def test_warnings_count_when_they_are_to(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--strict makes a pipeline stop for them."""
    monkeypatch.setenv("DLQ_LOCAL_FILE", "x.jsonl")
    assert run("doctor").code == 0
    assert run("doctor", "--strict").code == 1


def test_a_queue_that_is_not_there_yet_is_no_trouble(run: Run, folder: Path) -> None:
    """The first letter makes it; the check-up does not."""
    found = findings(run("doctor", "--json"))
    assert found["queue", "file"]["told"] == "not there yet; the first letter makes it"
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_problem(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that makes it."""
    monkeypatch.setenv("DLQ_LOCAL_FILE_PATH", "nowhere/letters.jsonl")
    ran = run("doctor", "--json")
    assert ran.code == 1
    assert findings(ran)["queue", "folder"]["advice"].startswith("mkdir -p ")


def test_somebody_elses_file_is_a_problem(run: Run, folder: Path) -> None:
    """What the application would meet is met here first."""
    (folder / "notes.txt").write_text("buy milk\n", encoding="utf-8")
    ran = run("doctor", "-q", "notes.txt", "--json")
    assert ran.code == 1
    assert findings(ran)["queue", "opens"]["verdict"] == "problem"


def test_damaged_lines_are_told(run: Run, folder: Path) -> None:
    """A line that fails its checksum is found when the queue is opened, and told again the next time."""
    keep("letters.jsonl", [{"text": "one"}, {"text": "two"}, {"text": "three"}])
    path = folder / "letters.jsonl"
    path.write_bytes(path.read_bytes().replace(b"two", b"tw0"))
    for _ in range(2):
        damage = findings(run("doctor", "-q", "letters.jsonl", "--json"))["queue", "damage"]
        assert damage["verdict"] == "warning"
        assert "letters.jsonl.damaged holds lines that failed their checksum" in damage["told"]


def test_parked_letters_are_a_warning(run: Run) -> None:
    """They wait for a person: this one."""
    (letter,) = keep("letters.jsonl", [{"n": 1}])
    queue = sync.DeadLetterQueue(local_file_path="letters.jsonl")
    queue.park(letter)
    queue.close()
    assert findings(run("doctor", "-q", "letters.jsonl", "--json"))["queue", "parked"]["verdict"] == "warning"


class _Greeter(BaseRequestHandler):
    greeting = b"220 mail.example.org ready\r\n"

    def handle(self) -> None:
        self.request.sendall(self.greeting)


class _Silent(_Greeter):
    greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"


@pytest.fixture
def listening() -> Iterator[Callable[[type[BaseRequestHandler]], int]]:
    """Starts a server that says something to whoever connects."""
    servers: list[tuple[ThreadingTCPServer, threading.Thread]] = []

    def start(handler: type[BaseRequestHandler]) -> int:
        server = ThreadingTCPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return server.server_address[1]

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def a_notifier(folder: Path, channel: str) -> None:
    """A program with a notifier in the present folder."""
    sys.modules.pop("alarm", None)
    (folder / "alarm.py").write_text(
        "from resilio import AdminNotifier, EmailChannel, WebhookChannel\n"
        f"notifier = AdminNotifier(channel={channel})\nother = 5\n",
        encoding="utf-8",
    )


MAIL = (
    "EmailChannel(host='127.0.0.1', port={port}, sender='a@example.org', recipients='b@example.org', security='NONE')"
)


def test_a_mail_server_is_spoken_to(
    run: Run, folder: Path, listening: Callable[[type[BaseRequestHandler]], int]
) -> None:
    """One that greets is well, something else at that port is not; no mail is sent."""
    a_notifier(folder, MAIL.format(port=listening(_Greeter)))
    assert findings(run("doctor", "--notifier", "alarm:notifier", "--json"))["channels", "EMAIL"]["verdict"] == "ok"
    a_notifier(folder, MAIL.format(port=listening(_Silent)))
    found = findings(run("doctor", "--notifier", "alarm:notifier", "--json"))["channels", "EMAIL"]
    assert found["verdict"] == "problem"
    assert "is no mail server" in found["told"]


def test_a_channel_that_cannot_be_reached_is_a_problem(
    run: Run, folder: Path, listening: Callable[[type[BaseRequestHandler]], int]
) -> None:
    """A webhook at which something listens is well; a port where nothing does is told, without the URL's secret."""
    a_notifier(folder, f"WebhookChannel('http://127.0.0.1:{listening(_Greeter)}/secret', allow_private=True)")
    assert findings(run("doctor", "--notifier", "alarm:notifier", "--json"))["channels", "WEBHOOK"]["verdict"] == "ok"
    a_notifier(folder, "WebhookChannel('http://127.0.0.1:1/secret', allow_private=True)")
    ran = run("doctor", "--notifier", "alarm:notifier", "--json")
    assert ran.code == 1
    found = findings(ran)["channels", "WEBHOOK"]
    assert "127.0.0.1:1 does not answer" in found["told"]
    assert "secret" not in ran.out


def test_a_test_is_sent_only_when_it_is_asked_for(run: Run, folder: Path) -> None:
    """--send-test tells every channel, and what became of it."""
    sys.modules.pop("alarm", None)
    (folder / "alarm.py").write_text(
        "from resilio import AdminNotifier\n"
        "told = []\n"
        "class Mine:\n"
        "    name = 'mine'\n"
        "    async def deliver(self, notification):\n"
        "        told.append(notification.message)\n"
        "notifier = AdminNotifier(channel=Mine())\n",
        encoding="utf-8",
    )
    run("doctor", "--notifier", "alarm:notifier")
    assert sys.modules["alarm"].told == []
    ran = run("doctor", "--notifier", "alarm:notifier", "--send-test", "--json")
    assert ran.code == 0
    assert sys.modules["alarm"].told == ["This is a test from `resilio doctor`: nothing is wrong"]
    assert findings(ran)["channels", "mine"]["told"] == "test: delivered"


def test_what_is_no_notifier_is_a_usage_error(run: Run, folder: Path) -> None:
    """The message says what it is instead."""
    a_notifier(folder, "None")
    ran = run("doctor", "--notifier", "alarm:other")
    assert ran.code == 2
    assert "alarm:other is no AdminNotifier, but 5" in " ".join(ran.err.split())


def test_a_missing_extra_is_a_problem_only_where_it_is_needed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue needs aws, so it is said how to get it; the rest is a note."""
    monkeypatch.setitem(sys.modules, "aiobotocore", None)
    monkeypatch.setitem(sys.modules, "aiosmtplib", None)
    found = findings(run("doctor", "--json"))
    assert (found["installation", "aws"]["verdict"], found["installation", "email"]["verdict"]) == ("note", "note")
    monkeypatch.setenv("SNS_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts")
    ran = run("doctor", "--json")
    assert ran.code == 1
    assert findings(ran)["installation", "aws"]["advice"] == "pip install 'resilio-toolkit[aws]'"
