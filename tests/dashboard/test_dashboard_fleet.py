"""Several processes on one page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from dashboard_kit import asking, said_on

from resilio._core import clock
from resilio.dashboard import fleet, orders
from resilio.dashboard.orders import Order, leave_order

if TYPE_CHECKING:
    from pathlib import Path

    from dashboard_kit import Service

pytestmark = pytest.mark.anyio

WORKER = """
import sys
from resilio import CircuitBreaker, ErrorTracker
from resilio.dashboard import create_app

tracker = ErrorTracker()
for _ in range(3):
    tracker.track_error(ValueError("order 17 has no customer"))
breaker = CircuitBreaker(name="from-afar", failure_threshold=1)
app = create_app(tracker=tracker, directory=sys.argv[1], insecure_no_auth=True)
breaker.acquire().failure(ConnectionError("asleep <b>over there</b>"))
app.state.fleet.write()
print(app.state.fleet.glances()[0].process.process, flush=True)
sys.stdin.readline()
app.state.fleet.write()
print(breaker.state, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow("another process is started")
async def test_one_page_shows_every_process_of_a_directory(service: Service, tmp_path: Path) -> None:
    """Errors add up, circuits stand beside each other, and each row says whose it is, until a process is gone."""
    folder = tmp_path / "fleet"
    app = service.dashboard(directory=folder)
    service.tracker.track_error(ValueError("order 18 has no customer"))
    with subprocess.Popen(  # noqa: S603, ASYNC220 -- our own interpreter, for a moment
        [sys.executable, "-c", WORKER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdin
        assert worker.stdout
        there = worker.stdout.readline().strip()
        async with asking(app) as browser:
            overview = await browser.get("/")
            circuits = await browser.get("/circuits")
            circuit = await browser.get("/circuit", params={"name": "from-afar"})
            errors = (await browser.get("/api/errors")).json()
            form = {"name": "from-afar", "do": "reset"}
            here = await browser.post("/do/circuit", data=form)
            nowhere = await browser.post("/do/circuit", data={**form, "process": "gone-1-abc"})
            handed = await browser.post("/do/circuit", data={**form, "process": there}, follow_redirects=True)
        worker.stdin.write("go on\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "CLOSED\n"
        worker.stdin.close()
        worker.wait(30)
    assert "This page speaks for 2 processes" in said_on(overview)
    assert "4 in all" in said_on(overview)
    assert f"-{worker.pid}-" in circuits.text
    assert f"-{os.getpid()}-" in circuits.text
    assert "asleep &lt;b&gt;" in circuit.text
    assert f'name="process" value="{there}"' in circuit.text
    assert (here.status_code, nowhere.status_code) == (404, 409)
    assert f"handed to {there}" in handed.text
    assert list(folder.glob("*.order.json")) == []
    [group] = errors["groups"]
    assert (group["count"], group["processes"], sum(group["trace"])) == (4, 2, 4)


async def test_what_is_stale_strange_or_damaged_is_left_out(service: Service, tmp_path: Path) -> None:
    """A process that was heard of too long ago is not shown; what is no state of a process breaks no page."""
    folder = tmp_path / "fleet"
    app = service.dashboard(directory=folder)
    app.state.fleet.write()
    [own] = folder.glob("*.json")
    state = json.loads(own.read_text())
    state["process"] |= {"process": "elsewhere-1-abc", "host": "elsewhere"}
    fresh = json.dumps(state)
    (folder / "a.resilio.json").write_text(fresh)
    state["process"] |= {"process": "old-1-abc", "at": state["process"]["at"] - fleet.FRESH - 60}
    (folder / "b.resilio.json").write_text(json.dumps(state))
    (folder / "c.resilio.json").write_text(fresh[:200])
    (folder / "d.resilio.json").write_text('{"process": []}')
    (folder / "e.resilio.json").write_text(fresh.replace('"openai-api"', "5"))
    (folder / "f.resilio.json").mkdir()
    (folder / "notes.txt").write_text("nothing of ours")
    async with asking(app) as browser:
        text = said_on(await browser.get("/"))
    assert "elsewhere-1-abc" in text
    assert "old-1-abc" not in text
    assert "speaks for 2 processes" in text


async def test_an_order_is_obeyed_once_and_only_while_it_is_fresh(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too old, for somebody else, or no order at all changes nothing; nothing of it stays for ever."""
    monkeypatch.setattr(fleet.Fleet, "start", lambda _: None)
    folder = tmp_path / "fleet"
    app = service.dashboard(directory=folder)
    service.open_circuit()
    own = app.state.fleet.glances()[0].process.process
    now = clock.utcnow().timestamp()
    for order in (
        Order(process=own, name="openai-api", action="reset", who="ada", at=now - orders.FRESH - 60),
        Order(process="another", name="openai-api", action="reset", who="ada", at=now),
        Order(process=own, name="openai-api", action="explode", who="ada", at=now),
        Order(process=own, name="nobody", action="reset", who="ada", at=now),
    ):
        leave_order(folder, order)
    (folder / "x.order.json").write_text('{"process": 5')
    app.state.fleet.obey()
    assert str(service.breaker.state) == "OPEN"
    assert len(list(folder.glob("*.order.json"))) == 1  # the other's
    leave_order(folder, Order(process=own, name="openai-api", action="reset", who="ada", at=now))
    app.state.fleet.obey()
    assert str(service.breaker.state) == "CLOSED"
    app.state.fleet.close()


async def test_a_replay_of_another_process_is_seen(service: Service, tmp_path: Path) -> None:
    """The page of a replay is found whichever process is asked for it."""
    await service.lose({"n": 1})
    one, two = service.dashboard(directory=tmp_path / "fleet"), service.dashboard(directory=tmp_path / "fleet")
    async with asking(one) as browser, asking(two) as other:
        begun = await browser.post("/api/letters/replay", json={})
        one.state.fleet.write()
        page = await other.get("/replay", params={"id": begun.json()["id"]})
    assert "done 1 replayed" in said_on(page)
    one.state.fleet.close()
    two.state.fleet.close()


async def test_files_are_their_owners_alone_and_go_with_the_process(service: Service, tmp_path: Path) -> None:
    """Nobody else reads what a process wrote; after its end, nothing is left."""
    folder = tmp_path / "fleet"
    app = service.dashboard(directory=folder)
    app.state.fleet.write()
    [own] = folder.glob("*.json")
    assert own.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    left = folder / "of-somebody-long-gone.resilio.json"
    left.write_text("{}")
    long_ago = (clock.utcnow() - timedelta(days=2)).timestamp()
    os.utime(left, (long_ago, long_ago))
    app.state.fleet.write()
    assert not left.exists()
    app.state.fleet.close()
    assert list(folder.iterdir()) == []


@pytest.mark.slow("waits for a thread that writes now and then")
def test_a_process_that_nobody_asks_is_seen_all_the_same(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker writes by itself, from the moment its dashboard is made."""
    monkeypatch.setattr(fleet, "EVERY", 0.05)
    folder = tmp_path / "fleet"
    app = service.dashboard(directory=folder)
    deadline = time.monotonic() + 30
    while not list(folder.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    [own] = folder.glob("*.json")
    first = json.loads(own.read_text())["process"]["at"]
    while json.loads(own.read_text())["process"]["at"] == first and time.monotonic() < deadline:
        time.sleep(0.01)
    assert json.loads(own.read_text())["process"]["at"] > first
    app.state.fleet.close()
