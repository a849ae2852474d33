"""What every test of this room is given: a provider of its own, and telemetry that is off afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from metrics_kit import Collected
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from resilio import telemetry
from resilio.policies import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, an empty register of circuits, and nothing instrumented, before and after."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DLQ_QUEUE_URL", "DLQ_LOCAL_FILE_PATH"):
        monkeypatch.delenv(variable, raising=False)
    telemetry.uninstrument()
    with registry.fresh():
        yield
    telemetry.uninstrument()


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """Where the provider's metrics can be read."""
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    """A real provider of the SDK."""
    made = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
def collect(reader: InMemoryMetricReader) -> Callable[[], Collected]:
    """Collect now."""
    return lambda: Collected(reader)
