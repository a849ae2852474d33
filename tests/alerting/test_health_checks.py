"""Health checks: components are looked at, changes are told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest
from rules_kit import Postbox

from resilio import AdminNotifier, CircuitBreaker, DeadLetterQueue, HealthCheck, HealthChecks, Route, sync
from resilio._core import clock

if TYPE_CHECKING:
    from pathlib import Path

    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


async def test_an_outage_of_a_circuit_is_told_and_its_recovery_with_the_duration(virtual_clock: VirtualClock) -> None:
    """Looked at every ten seconds, told twice; the first look at what is well is told, too."""
    box = Postbox()
    breaker = CircuitBreaker(name="model", failure_threshold=1, recovery_timeout=35)
    checks = HealthChecks(AdminNotifier(channel=Route(box, limit=None)), [HealthCheck.of_circuit(breaker)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(checks.run, 10)
        await clock.sleep(15)
        with pytest.raises(ConnectionError):
            await breaker.execute(_refuse)
        await clock.sleep(40)
        await breaker.execute(_accept)
        await clock.sleep(40)
        tasks.cancel_scope.cancel()
    assert [letter.message for letter in box.letters] == [
        "model is healthy",
        "model is unhealthy",
        "model is healthy again after 40.0 s",
    ]
    assert box.letters[1].details["state"] == "OPEN"


async def _refuse() -> None:
    raise ConnectionError


async def _accept() -> None:
    """All is well."""


async def test_probes_of_every_shape_are_understood(virtual_clock: VirtualClock) -> None:
    """Async or plain, a truth, a pair, nothing, an exception, or no answer."""

    async def broken() -> None:
        raise OSError("no such host")

    async def hanging() -> None:
        await anyio.sleep_forever()

    box = Postbox()
    checks = HealthChecks(
        AdminNotifier(channel=Route(box, limit=None)),
        [
            HealthCheck("nothing", _accept),
            HealthCheck("true", lambda: True),
            HealthCheck("false", lambda: False),
            HealthCheck("pair", lambda: (False, {"load": 17})),
            HealthCheck("broken", broken),
            HealthCheck("hanging", hanging),
        ],
    )
    assert await checks.check() == {
        "nothing": True,
        "true": True,
        "false": False,
        "pair": False,
        "broken": False,
        "hanging": False,
    }
    details = {letter.details["component"]: letter.details for letter in box.letters}
    assert details["pair"]["load"] == 17
    assert details["broken"]["error"] == "OSError: no such host"
    assert details["hanging"]["error"] == "TimeoutError"


async def test_a_queue_is_well_while_it_is_short_and_young(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    """Its letters and their age are told."""
    async with DeadLetterQueue(local_file_path=tmp_path / "letters.jsonl") as queue:
        check = HealthCheck.of_queue(queue, most=1, oldest=60)
        assert (await check.look())[0]
        await queue.send_to_dlq("one", {})
        assert (await check.look())[0]
        await clock.sleep(61)
        is_well, details = await check.look()
        assert not is_well
        assert (details["letters"], details["oldest_age"]) == (1, 61.0)


async def test_breakers_of_the_blocking_kind_are_looked_at(virtual_clock: VirtualClock) -> None:
    """They are the same circuits."""
    breaker = sync.CircuitBreaker(name="blocking one")
    check = HealthCheck.of_circuit(breaker)
    assert (await check.look())[0]
    breaker.force_open()
    assert not (await check.look())[0]
    breaker.reset()
    with pytest.raises(ValueError, match="components of their own"):
        HealthChecks(AdminNotifier(), [check, check])


async def test_the_last_results_are_kept(virtual_clock: VirtualClock) -> None:
    """Since when each is as it is, when it was looked at, how long that took, and without secrets."""
    is_well = True

    async def probe() -> tuple[bool, dict[str, object]]:
        await clock.sleep(2)
        return is_well, {"url": "https://me:canary@host"}

    checks = HealthChecks(AdminNotifier(channel=Postbox()), [HealthCheck("db", probe), HealthCheck("web", _accept)])
    assert checks.results() == []
    began = clock.utcnow()
    await checks.check()
    await clock.sleep(8)
    await checks.check()
    db, web = checks.results()
    assert (db.component, db.is_healthy, db.duration, web.duration) == ("db", True, 2.0, 0.0)
    assert (db.since - began, db.checked_at - began) == (timedelta(seconds=2), timedelta(seconds=12))
    assert db.details == {"url": "https://[redacted]@host"}
    is_well = False
    await checks.check()
    db, _ = checks.results()
    assert (db.is_healthy, db.since) == (False, db.checked_at)
    assert db.to_dict()["since"] == db.checked_at.isoformat()
