"""backoff: retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import backoff

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import backoff"


def retry_none(fn: Operation) -> Operation:
    return backoff.on_exception(
        backoff.constant, ConnectionError, max_tries=settings.ATTEMPTS, jitter=None, logger=None, interval=0
    )(fn)


retry_two = retry_none
