"""What happens to a call is told on the span of that call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from resilio import BackoffStrategy, CircuitBreaker, CircuitBreakerOpenError, Fallback
from resilio.telemetry import instrument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.trace import Tracer

    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """The spans that have ended."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> Iterator[Tracer]:
    """A real tracer of the SDK."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider.get_tracer("tests")
    provider.shutdown()


async def refuse() -> str:
    """Fail, and quote a secret."""
    raise ConnectionError("password=hunter2")


async def test_a_failed_call_tells_its_story_on_its_span(
    provider: MeterProvider, tracer: Tracer, spans: InMemorySpanExporter, virtual_clock: VirtualClock
) -> None:
    """Retry, opened circuit, fallback: in their order, with names and numbers, without the error's text."""
    breaker = CircuitBreaker(name="api", failure_threshold=1)
    guarded = Fallback("cached")(breaker(BackoffStrategy(max_retries=1, base_delay=2, jitter=None)(refuse)))
    with instrument(meter_provider=provider), tracer.start_as_current_span("request"):
        assert await guarded() == "cached"
    (span,) = spans.get_finished_spans()
    assert [event.name for event in span.events] == [
        "resilio.retry.scheduled",
        "resilio.retry.given_up",
        "resilio.circuit.state_changed",
        "resilio.fell_back",
    ]
    told = [dict(event.attributes or {}) for event in span.events]
    assert told[0]["resilio.retry.delay"] == 2
    assert told[2] == {
        "resilio.circuit.name": "api",
        "resilio.circuit.state.before": "closed",
        "resilio.circuit.state.after": "open",
    }
    assert "hunter2" not in str(told)


async def test_a_rejection_is_told_and_a_success_is_not(
    provider: MeterProvider, tracer: Tracer, spans: InMemorySpanExporter
) -> None:
    """A success is the span itself; a call that never left is worth a line."""
    breaker = CircuitBreaker(name="api")

    async def agree() -> None: ...

    with instrument(meter_provider=provider):
        with tracer.start_as_current_span("good"):
            await breaker.execute(agree)
        breaker.force_open()
        with tracer.start_as_current_span("rejected"), pytest.raises(CircuitBreakerOpenError):
            await breaker.execute(agree)
    good, rejected = spans.get_finished_spans()
    assert good.events == ()
    assert rejected.events[0].name == "resilio.circuit.rejected"
    assert dict(rejected.events[0].attributes or {})["resilio.circuit.state"] == "forced_open"


async def test_span_events_can_be_left_out(
    provider: MeterProvider, tracer: Tracer, spans: InMemorySpanExporter
) -> None:
    """With `span_events=False` spans stay as they are."""
    with instrument(meter_provider=provider, span_events=False), tracer.start_as_current_span("request"):
        assert await Fallback("cached").execute(refuse) == "cached"
    assert all(not span.events for span in spans.get_finished_spans())
