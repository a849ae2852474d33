"""What happens in the policies, queues and notifiers arrives as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from resilio import (
    AdminNotifier,
    BackoffStrategy,
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitBreakerOpenError,
    DeadLetterQueue,
    ErrorHandler,
    ErrorTracker,
    Fallback,
    Hedge,
    LogChannel,
    OperationTimeoutError,
    RateLimiter,
    RateLimitExceededError,
    RetryBudget,
    RetryExhaustedError,
    Timeout,
    log_operation,
)
from resilio._core import clock, events
from resilio.alerting.events import NotificationFailed, NotificationsDropped
from resilio.errors import ErrorSeverity
from resilio.telemetry import instrument

if TYPE_CHECKING:
    from collections.abc import Callable

    from metrics_kit import Collected
    from opentelemetry.sdk.metrics import MeterProvider

    from resilio.testing import VirtualClock

    Collect = Callable[[], Collected]

pytestmark = pytest.mark.anyio


async def refuse() -> str:
    """Fail in a way that is worth another try."""
    raise ConnectionError("no route to secret-host")


async def agree() -> str:
    """Answer."""
    return "yes"


async def test_a_circuit_that_opens_is_counted_and_shown(
    provider: MeterProvider, collect: Collect, virtual_clock: VirtualClock
) -> None:
    """Calls by outcome, transitions, and 1 for the state that the circuit is in now."""
    breaker = CircuitBreaker(name="api", failure_threshold=2, recovery_timeout=10)
    with instrument(meter_provider=provider):
        await breaker.execute(agree)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await breaker.execute(refuse)
        for _ in range(3):
            with pytest.raises(CircuitBreakerOpenError):
                await breaker.execute(agree)
        found = collect()
        for outcome, count in {"success": 1, "failure": 2, "rejected": 3}.items():
            assert found.value("resilio.circuit.calls", circuit_name="api", call_outcome=outcome) == count
        assert found.value("resilio.circuit.transitions", circuit_state_before="closed") == 1
        assert found.value("resilio.circuit.state", circuit_name="api", circuit_state="open") == 1
        assert found.value("resilio.circuit.state", circuit_name="api") == 1
        await clock.sleep(11)
        assert collect().value("resilio.circuit.state", circuit_name="api", circuit_state="half_open") == 1
        await breaker.execute(agree)
        assert collect().value("resilio.circuit.state", circuit_name="api", circuit_state="closed") == 1


async def test_retries_their_waits_and_their_ends_are_counted(
    provider: MeterProvider, collect: Collect, virtual_clock: VirtualClock
) -> None:
    """Each retry and its wait; an exhausted call and a refused one by their reason."""
    bounded = BackoffStrategy(max_retries=2, base_delay=1, jitter=None)
    poor = BackoffStrategy(max_retries=2, budget=RetryBudget(percent=0, min_per_second=0))
    with instrument(meter_provider=provider):
        for strategy in (bounded, poor):
            with pytest.raises(RetryExhaustedError):
                await strategy.execute(refuse)
        tries = iter((refuse, agree))

        async def fail_once() -> None:
            await next(tries)()

        await bounded.execute(fail_once)
        found = collect()
    assert found.value("resilio.retries") == 3
    assert found.value("resilio.retry.wait.duration") == 3
    waits = [point for _, point in found.points("resilio.retry.wait.duration")]
    assert sum(point.sum for point in waits if isinstance(point, HistogramDataPoint)) == pytest.approx(1 + 2 + 1)
    for outcome in ("attempts", "budget", "success"):
        assert found.value("resilio.retry.ends", retry_outcome=outcome) == 1
    assert found.value("resilio.retry.budget.refusals") == 1


async def test_what_the_other_policies_do_is_counted(
    provider: MeterProvider, collect: Collect, virtual_clock: VirtualClock
) -> None:
    """Timeouts, fallbacks, hedges, bulkheads and limiters each have a counter."""

    async def linger() -> str:
        await clock.sleep(5)
        return "late"

    bulkhead, limiter = Bulkhead(1), RateLimiter(1, per=60, max_wait=0)
    with instrument(meter_provider=provider):
        with pytest.raises(OperationTimeoutError):
            await Timeout(1).execute(linger)
        assert await Fallback("cached").execute(refuse) == "cached"
        assert await Hedge(delay=1).execute(linger) == "late"
        async with anyio.create_task_group() as group:
            group.start_soon(bulkhead.execute, linger)
            await clock.sleep(0.1)
            with pytest.raises(BulkheadFullError):
                await bulkhead.execute(agree)
        await limiter.execute(agree)
        with pytest.raises(RateLimitExceededError):
            await limiter.execute(agree)
        found = collect()
    for name in ("timeouts", "fallbacks", "hedges", "bulkhead.rejections", "limiter.rejections"):
        assert found.value(f"resilio.{name}") == 1, name
    assert found.value("resilio.limiter.rejections", limiter="RateLimiter") == 1


async def test_letters_are_counted_on_their_way_in_and_out(provider: MeterProvider, collect: Collect) -> None:
    """What was kept, replayed, deleted and purged, by the queue's name."""
    answers = iter((ValueError("not yet"), None))

    def reprocess(_: object) -> None:
        if (answer := next(answers)) is not None:
            raise answer

    letters = DeadLetterQueue(local_file_path="letters.jsonl", reprocessor=reprocess, replay_delay=0)
    with instrument(meter_provider=provider, queues={"orders": letters}):
        first = await letters.send_to_dlq(1, KeyError("x"))
        second = await letters.send_to_dlq(2, KeyError("x"))
        await letters.send_to_dlq(3, {"error_type": "anything <b>at all</b>"})
        with pytest.raises(ValueError, match="not yet"):
            await letters.reprocess_message(first)
        await letters.reprocess_message(first)
        await letters.delete(second)
        await letters.purge(confirm=True)
        found = collect()
    named = {"messaging_destination_name": "orders"}
    assert found.value("resilio.dead_letters.kept", error_type="KeyError", **named) == 2
    assert found.value("resilio.dead_letters.kept", error_type="_OTHER", **named) == 1
    for outcome in ("success", "failure"):
        assert found.value("resilio.dead_letters.replays", replay_outcome=outcome, **named) == 1
    for reason in ("deleted", "purged"):
        assert found.value("resilio.dead_letters.removed", removal_reason=reason, **named) == 1
    await letters.aclose()


async def test_errors_operations_and_notifications_are_counted(provider: MeterProvider, collect: Collect) -> None:
    """An error by category, severity and operation; an operation's time; what each channel was given."""
    tracker = ErrorTracker()
    handler = ErrorHandler(tracker=tracker)
    with instrument(meter_provider=provider, tracker=tracker):
        await handler.handle(ConnectionError("password=hunter2"), "charge card")
        with log_operation("charge card"):
            pass
        await AdminNotifier(channel=LogChannel()).send_notification("hello", severity=ErrorSeverity.INFO)
        events.emit(
            NotificationFailed(notification_id="n", channel="sns", severity=ErrorSeverity.ERROR, error="secret text")
        )
        events.emit(NotificationsDropped(channel="sns", count=4))
        found = collect()
    assert found.value("resilio.errors", operation="charge card", error_severity="error") == 1
    assert found.value("resilio.error.groups") == 1
    assert found.value("resilio.operation.duration", operation="charge card", operation_outcome="succeeded") == 1
    assert found.value("resilio.notifications", notification_outcome="sent") == 1
    assert found.value("resilio.notifications", notification_channel="sns", notification_outcome="failed") == 1
    assert found.value("resilio.notifications", notification_channel="sns", notification_outcome="dropped") == 4


async def test_no_message_no_errors_text_and_no_id_becomes_an_attribute(
    provider: MeterProvider, collect: Collect, virtual_clock: VirtualClock
) -> None:
    """Whatever fails with whatever text, attributes hold names and categories only."""
    letters = DeadLetterQueue(local_file_path="letters.jsonl")
    handler = ErrorHandler(tracker=ErrorTracker())
    with instrument(meter_provider=provider):
        breaker = CircuitBreaker(name="api", failure_threshold=1)
        retry = BackoffStrategy(max_retries=1)
        with pytest.raises(RetryExhaustedError) as caught:
            await breaker.execute(retry.execute, refuse)
        report = await handler.handle(caught.value, "ask")
        letter = await letters.send_to_dlq({"card": "4111111111111111"}, caught.value)
        values = collect().attribute_values()
    assert "api" in values
    for told in ("secret-host", "4111", letter, report.fingerprint, report.error_id):
        assert not any(told in value for value in values), told


async def test_names_are_bounded(provider: MeterProvider, collect: Collect) -> None:
    """Past `max_names`, circuits and operations share one series called `_OTHER`; no count is lost."""
    with instrument(meter_provider=provider, max_names=3):
        kept = [CircuitBreaker(name=f"customer-{number}") for number in range(10)]
        for breaker in kept:
            await breaker.execute(agree)
        found = collect()
    assert len({told["resilio.circuit.name"] for told, _ in found.points("resilio.circuit.calls")}) == 4
    assert found.value("resilio.circuit.calls") == 10
    assert found.value("resilio.circuit.calls", circuit_name="_OTHER") == 7
    assert found.value("resilio.circuit.state", circuit_name="_OTHER", circuit_state="closed") == 7
