"""Switching on and off: once, whoever asks how often, and for nothing where nobody measures."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider

from resilio import CircuitBreaker, DeadLetterQueue, ErrorTracker, sync
from resilio._core import events
from resilio.telemetry import instrument, uninstrument

if TYPE_CHECKING:
    from collections.abc import Callable

    from metrics_kit import Collected

    Collect = Callable[[], Collected]


def test_twice_is_once(provider: MeterProvider, collect: Collect) -> None:
    """The second call returns the first one's instrumentation, and nothing is counted twice."""
    first = instrument(meter_provider=provider)
    second = instrument(meter_provider=provider)
    assert second is first
    assert len(events.listeners) == 1
    sync.CircuitBreaker(name="api").execute(int)
    assert collect().value("resilio.circuit.calls") == 1


def test_after_uninstrument_nothing_is_heard_or_shown(provider: MeterProvider, collect: Collect) -> None:
    """No listener is left, gauges are gone, and ending it again does no harm."""
    breaker = sync.CircuitBreaker(name="api")
    instrumentation = instrument(meter_provider=provider)
    instrumentation.uninstrument()
    instrumentation.uninstrument()
    breaker.execute(int)
    assert not events.listeners
    assert not instrumentation.is_active
    found = collect()
    assert "resilio.circuit.calls" not in found.metrics
    assert "resilio.circuit.state" not in found.metrics


@pytest.mark.filterwarnings("error")
def test_it_can_be_switched_on_again(
    provider: MeterProvider, collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    """The same provider serves a second time, without a complaint about instruments that exist already."""
    breaker = sync.CircuitBreaker(name="api")
    for _ in range(3):
        with instrument(meter_provider=provider):
            breaker.execute(int)
            assert collect().value("resilio.circuit.calls", call_outcome="success") == 1
    assert caplog.records == []


def test_only_the_outermost_block_ends_it(provider: MeterProvider) -> None:
    """A library that instruments inside an application that has done so does not switch it off."""
    with instrument(meter_provider=provider) as outer:
        with instrument(meter_provider=provider) as inner:
            assert inner is outer
        assert outer.is_active
    assert not outer.is_active


def test_a_block_does_not_end_what_was_switched_on_for_good(provider: MeterProvider) -> None:
    """An application instruments once at its start; a block somewhere inside changes nothing about that."""
    application = instrument(meter_provider=provider)
    with instrument(meter_provider=provider):
        pass
    assert application.is_active
    with application:
        pass
    assert not application.is_active


def test_another_provider_is_refused_while_one_is_instrumented(provider: MeterProvider) -> None:
    """Events go to one provider; a second one is an error, not a silent choice."""
    with instrument(meter_provider=provider), pytest.raises(ValueError, match="meter_provider is another one"):
        instrument(meter_provider=MeterProvider(shutdown_on_exit=False))


def test_uninstrument_ends_whatever_is_active(provider: MeterProvider) -> None:
    """The function needs no handle."""
    instrumentation = instrument(meter_provider=provider)
    uninstrument()
    uninstrument()
    assert not instrumentation.is_active


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"queues": ["letters.jsonl"]}, TypeError, "queues must be dead letter queues, not 'letters.jsonl'"),
        ({"tracker": "tracker"}, TypeError, "tracker must be an ErrorTracker or None, not 'tracker'"),
        ({"max_names": 0}, ValueError, "max_names must be a whole number, at least 1"),
        ({"span_events": "yes"}, TypeError, "span_events must be True or False"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """What is wrong is said under the parameter's own name, and nothing is switched on."""
    with pytest.raises(error, match=message):
        instrument(**arguments)
    assert not events.listeners


def test_a_provider_that_does_nothing_costs_nothing() -> None:
    """With OpenTelemetry's own no-op provider there is no listener."""
    with instrument(meter_provider=metrics.NoOpMeterProvider()) as instrumentation:
        assert not instrumentation.is_active
        assert not events.listeners


@pytest.mark.slow("starts an interpreter")
def test_without_an_sdk_nobody_listens() -> None:
    """Where only OpenTelemetry's API is installed, every policy runs as if nothing had been instrumented."""
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from resilio import CircuitBreaker, sync\n"
        "from resilio._core import events\n"
        "from resilio.telemetry import instrument\n"
        "found = instrument()\n"
        "print(found.is_active, len(events.listeners))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.split() == ["False", "0"]


@pytest.mark.slow("starts an interpreter")
def test_a_global_provider_that_is_set_later_gets_the_metrics() -> None:
    """Libraries are instrumented at import time, before the application has configured OpenTelemetry."""
    code = (
        "from resilio import sync\n"
        "from resilio.telemetry import instrument\n"
        "instrument()\n"
        "from opentelemetry import metrics\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
        "reader = InMemoryMetricReader()\n"
        "metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))\n"
        "sync.CircuitBreaker(name='api').execute(int)\n"
        "data = reader.get_metrics_data()\n"
        "print([m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert "resilio.circuit.calls" in ran.stdout
    assert "resilio.circuit.state" in ran.stdout


def test_queues_and_trackers_can_come_later(provider: MeterProvider, collect: Collect) -> None:
    """A second call adds what it brings."""
    with instrument(meter_provider=provider):
        letters = DeadLetterQueue(local_file_path="letters.jsonl")
        tracker = ErrorTracker()
        tracker.track_error(ValueError("x"))
        instrument(meter_provider=provider, queues=[letters], tracker=tracker)
        CircuitBreaker(name="api")
        found = collect()
    assert found.value("resilio.error.groups") == 1
    assert "resilio.dead_letters" in found.metrics
