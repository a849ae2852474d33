"""stamina: retries, on top of tenacity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import stamina
from stamina.instrumentation import set_on_retry_hooks

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import stamina"


def retry_none(fn: Operation) -> Operation:
    set_on_retry_hooks([])  # or it logs every retry
    return stamina.retry(
        on=ConnectionError, attempts=settings.ATTEMPTS, wait_initial=0, wait_max=0, wait_jitter=0, timeout=None
    )(fn)


retry_two = retry_none
