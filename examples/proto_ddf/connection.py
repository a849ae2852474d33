"""How the application talks to its data source: through a retry, a circuit breaker and a timeout."""

from __future__ import annotations

import os
from typing import Any

import httpx

from resilio import BackoffStrategy, CircuitBreaker, IntegrationError, Pipeline, Timeout, ValidationError

URL = os.environ.get("PROTO_DDF_SOURCE", "http://127.0.0.1:9")

# Module-level: a state is pickled and there is one for each user, a circuit is one for all.
guarded = Pipeline(
    BackoffStrategy(max_retries=2, base_delay=0.2),
    CircuitBreaker(name="data-source", failure_threshold=12, recovery_timeout=5, ignore=ValidationError),
    Timeout(5),
)


@guarded
async def load_records(source: str) -> list[dict[str, Any]]:
    """The records of a source.

    Raises:
        ValidationError: None was selected.
        IntegrationError: It cannot be reached.
    """
    if not source:
        msg = "No data source selected"
        raise ValidationError(msg, field="selected_source", value=source)
    try:
        async with httpx.AsyncClient(base_url=URL) as client:
            answer = await client.get(f"/{source}/records")
            records: list[dict[str, Any]] = answer.raise_for_status().json()
            return records
    except httpx.TransportError as error:
        msg = "Failed to connect to data source"
        raise IntegrationError(
            msg, system="data_source", operation="connection_test", retryable=True, source_type=source
        ) from error


async def switch_source(*, up: bool) -> None:
    """Repair the source, or break it."""
    async with httpx.AsyncClient(base_url=URL) as client:
        (await client.post("/switch", json={"up": up})).raise_for_status()
