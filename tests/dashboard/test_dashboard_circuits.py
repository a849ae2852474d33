"""Circuits, alerts and channels from the dashboard."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from dashboard_kit import asking, said_on

from resilio import CircuitBreaker, CircuitBreakerOpenError
from resilio._core import events

if TYPE_CHECKING:
    from dashboard_kit import Service

pytestmark = pytest.mark.anyio


async def test_circuits_are_listed_worst_first_with_their_timeline(service: Service) -> None:
    """The list has state, counts and next try; the timeline says what led to each change."""
    app = service.dashboard()
    CircuitBreaker(name="another")
    service.open_circuit()
    async with asking(app) as browser:
        listed = await browser.get("/circuits")
        said = said_on(await browser.get("/circuit", params={"name": "openai-api"}))
        missing = await browser.get("/circuit", params={"name": "nobody"})
    assert listed.text.index("openai-api") < listed.text.index(">another<")
    assert "consecutive failures 2" in said_on(listed)
    assert "tries again in 9 min" in said
    assert "was closed ConnectionError: asleep" in said
    assert missing.status_code == 404


async def test_a_circuit_is_reset_isolated_and_forced_open(service: Service) -> None:
    """Each action does what its button says; those that reject every call must be confirmed."""
    app = service.dashboard()
    service.open_circuit()
    breaker = service.breaker
    async with asking(app) as browser:

        async def act(do: str, **more: str) -> int:
            return (await browser.post("/do/circuit", data={"name": "openai-api", "do": do, **more})).status_code

        assert await act("reset") == 303
        assert str(breaker.state) == "CLOSED"
        assert await act("isolate") == 422
        assert await act("force-open") == 422
        assert await act("isolate", confirm="yes") == 303
        assert await act("isolate", confirm="yes") == 303
        with pytest.raises(CircuitBreakerOpenError):
            breaker.acquire()
        page = await browser.get("/circuit", params={"name": "openai-api"})
        assert "isolated by everybody" in said_on(page)
        assert await act("end-isolation") == 303
        assert str(breaker.state) == "CLOSED"
        assert await act("force-open", confirm="yes") == 303
        assert str(breaker.state) == "FORCED_OPEN"
        assert await act("explode") == 404
        assert await act("reset", process="another-process") == 409
        assert str(breaker.state) == "FORCED_OPEN"


async def test_a_dashboard_that_nobody_holds_listens_no_more(service: Service) -> None:
    """Its listener goes with it."""
    gc.collect()
    before = len(events.listeners)
    app = service.dashboard()
    assert len(events.listeners) == before + 1
    del app
    gc.collect()
    assert len(events.listeners) == before


async def test_incidents_and_their_history_are_shown(service: Service) -> None:
    """What fires stands on the page with its severity, what is over below it."""
    [letter] = await service.lose({"n": 1})
    await service.alerts.check()
    async with asking(service.dashboard()) as browser:
        firing = said_on(await browser.get("/alerts"))
        await service.queue.delete(letter)
        await service.alerts.check()
        over = said_on(await browser.get("/alerts"))
    assert "letters wait there are more than 0 dead letters ▲ firing told ▲ error" in firing
    assert "All quiet" in over
    assert "What was letters wait" in over


async def test_alerts_are_silenced_and_heard_again(service: Service) -> None:
    """A silence says who made it and why, keeps the rule from being told, and can be ended."""
    async with asking(service.dashboard()) as browser:
        form = {"do": "silence", "rule": "letters wait", "seconds": "600", "comment": "we know"}
        page = await browser.post("/do/alerts", data=form, follow_redirects=True)
        assert "letters wait is silenced" in page.text
        assert "we know (everybody)" in said_on(page)
        await service.lose({"n": 1})
        await service.alerts.check()
        assert service.printer.printed == []
        [silence] = service.alerts.silences()
        ended = await browser.post("/do/alerts", data={"do": "end-silence", "id": silence.id}, follow_redirects=True)
        await service.alerts.check()
        again = await browser.post("/do/alerts", data={"do": "end-silence", "id": silence.id})
        wrong = await browser.post("/do/alerts", data={**form, "rule": "no rule"})
        never = await browser.post("/do/alerts", data={**form, "seconds": "-1"})
    assert "The silence is over" in ended.text
    assert len(service.printer.printed) == 1
    assert [each.status_code for each in (again, wrong, never)] == [404, 422, 422]


async def test_a_channel_is_tested(service: Service) -> None:
    """A test message goes out, and the page says what became of it."""
    [channel] = service.notifier.channels
    async with asking(service.dashboard()) as browser:
        page = await browser.post("/do/alerts", data={"do": "test", "channel": channel}, follow_redirects=True)
        unknown = await browser.post("/do/alerts", data={"do": "test", "channel": "pigeon"})
    assert f"{channel}: delivered" in page.text
    assert "test" in service.printer.printed[0].message
    assert unknown.status_code == 404
