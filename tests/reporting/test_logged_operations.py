"""Blocks of work, in the log."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest
import structlog

from resilio import ErrorHandler, ErrorTracker, OperationEnded, OperationStarted, log_operation, sync
from resilio.reporting.operations import current_context

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from resilio.testing import EventRecorder, VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[structlog.typing.EventDict]]:
    """What is logged."""
    with structlog.testing.capture_logs() as found:
        yield found


async def test_begin_end_and_duration_are_logged(
    virtual_clock: VirtualClock, lines: list[structlog.typing.EventDict], resilio_events: EventRecorder
) -> None:
    """With the context, without its secrets."""
    tracker = ErrorTracker()
    async with log_operation("feed", tracker=tracker, cat="Tzara", password="canary") as feeding:
        await anyio.sleep(2)
    assert (feeding.outcome, feeding.duration, feeding.error_id) == ("succeeded", 2.0, None)
    context = {"operation": "feed", "cat": "Tzara", "password": "[redacted]"}
    assert lines == [
        {"log_level": "debug", "event": "operation started", **context},
        {"log_level": "info", "event": "operation succeeded", "duration": 2.0, **context},
    ]
    assert [each.operation for each in resilio_events.of(OperationStarted)] == ["feed"]
    (ended,) = resilio_events.of(OperationEnded)
    assert (ended.duration, ended.outcome) == (2.0, "succeeded")
    assert tracker.percentile("feed", 50) == pytest.approx(2.0, rel=0.06)


async def test_a_failure_has_the_id_of_its_report(lines: list[structlog.typing.EventDict]) -> None:
    """Whether the report was made within the block or is made further up."""
    handler = ErrorHandler(log=False)
    with pytest.raises(ValueError, match="x"):
        with handler.operation("outer") as outer, log_operation("inner") as inner:
            raise ValueError("x")
    assert inner.error_id == outer.error_id == lines[-1]["error_id"]
    async with handler.guard("up", suppress=True) as guard:
        async with log_operation("later") as later:
            raise KeyError("token=canary")
    assert guard.report is not None
    assert guard.report.error_id == later.error_id
    assert (lines[-1]["event"], lines[-1]["log_level"]) == ("operation failed", "error")
    assert "canary" not in str(lines)
    stats = handler.tracker.operation("outer")
    assert stats is not None
    assert stats.failures == 1


async def test_cancellation_passes_and_is_no_failure(lines: list[structlog.typing.EventDict]) -> None:
    """It is logged as what it is, and its duration is not counted."""
    tracker = ErrorTracker()
    with anyio.move_on_after(0.01) as scope:
        async with log_operation("sleep", tracker=tracker) as sleeping:
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert sleeping.outcome == "cancelled"
    assert (lines[-1]["log_level"], lines[-1]["event"]) == ("info", "operation cancelled")
    assert tracker.operations() == []


async def test_what_is_around_belongs_to_the_task() -> None:
    """Nested context is merged, tasks do not see each other's, and it is gone afterwards."""
    found = {}

    async def work(name: str) -> None:
        async with log_operation(name, who=name):
            await anyio.lowlevel.checkpoint()
            found[name] = dict(current_context())

    with log_operation("outer", day=1):
        async with anyio.create_task_group() as tasks:
            for name in ("a", "b"):
                tasks.start_soon(work, name)
    assert found == {name: {"day": 1, "who": name, "operation": f"outer/{name}"} for name in ("a", "b")}
    assert dict(current_context()) == {}


async def test_a_generator_closed_elsewhere_does_no_harm() -> None:
    """A block inside of one may end in another task than the one that it began in."""

    async def steps() -> AsyncGenerator[int]:
        with log_operation("steps"):
            yield 1
            yield 2

    generator = steps()

    async def begin() -> None:
        await anext(generator)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(begin)
    await generator.aclose()
    assert dict(current_context()) == {}


def test_without_an_event_loop(lines: list[structlog.typing.EventDict]) -> None:
    """A plain `with`, in any thread, from `resilio.sync`."""

    def work() -> None:
        with sync.log_operation("code_generation", app_name="cats", name="a name"):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [line["event"] for line in lines] == ["operation started", "operation succeeded"]
    assert lines[0]["name_"] == "a name"  # logging has a `name` of its own


def test_a_block_serves_once() -> None:
    """A second use is refused: it would mix two durations."""
    operation = log_operation("x")
    with operation:
        pass
    with pytest.raises(RuntimeError, match="has begun already"), operation:
        pass
    with pytest.raises(TypeError, match="name must be a text"):
        log_operation(17)  # type: ignore[arg-type]


def test_a_broken_log_breaks_no_block() -> None:
    """What the application's logging raises stays out of the way."""

    def broken(*_: object) -> str:
        raise RuntimeError

    structlog.configure(processors=[broken])
    with log_operation("x") as operation:
        pass
    assert operation.outcome == "succeeded"
    assert sync.ErrorHandler().handle(ValueError("y")).error_message == "y"
