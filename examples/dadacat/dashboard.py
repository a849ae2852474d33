"""The dashboard beside the cat: to watch the day in a browser, and to replay what was kept by hand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from examples.dadacat.serving import serving, url_of
from resilio import AlertRule, Alerts, CircuitBreaker, CircuitOpenFor, DeadLettersAbove, ErrorSeverity, HealthCheck
from resilio.dashboard import create_app

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from examples.dadacat.cat import Cat
    from examples.dadacat.story import Story

LOOKS_LAST = 5.0
"""Seconds for which the dashboard stays when the last letter is gone."""


@asynccontextmanager
async def dashboard(cat: Cat, breaker: CircuitBreaker, listener: socket.socket) -> AsyncIterator[None]:
    """Serve the cat's dashboard on ``listener``, and check its alerts, while the block runs."""
    alerts = Alerts(
        cat.notifier,
        [
            AlertRule("the model is down", CircuitOpenFor(1.0), severity=ErrorSeverity.CRITICAL, keep_firing=3.0),
            AlertRule("letters wait", DeadLettersAbove(cat.letters, more_than=0), severity=ErrorSeverity.WARNING),
        ],
    )
    app = create_app(
        tracker=cat.tracker,
        queue=cat.letters,
        notifier=cat.notifier,
        alerts=alerts,
        health_checks=[HealthCheck.of_circuit(breaker, component="the model"), HealthCheck.of_queue(cat.letters)],
        insecure_no_auth=True,  # on this machine only
        title="DadaCat",
    )
    async with serving(app, listener, log_level="critical"), anyio.create_task_group() as tasks:
        tasks.start_soon(alerts.run, 1.0)
        yield
        tasks.cancel_scope.cancel()


async def replayed_by_hand(cat: Cat, story: Story, listener: socket.socket) -> None:
    """Wait until somebody has replayed every letter in the dashboard."""
    story.note(f"now replay the letters by hand: {url_of(listener)}/letters", "bold magenta")
    while (await cat.letters.stats()).total:  # noqa: ASYNC110 -- other processes may take letters, too
        await anyio.sleep(0.5)
    story.note("no letter is left", "magenta")
    await anyio.sleep(LOOKS_LAST)
