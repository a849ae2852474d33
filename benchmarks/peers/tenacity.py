"""tenacity: retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_none

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import tenacity"


def retry_none(fn: Operation) -> Operation:
    return retry(
        stop=stop_after_attempt(settings.ATTEMPTS),
        wait=wait_none(),
        retry=retry_if_exception_type(ConnectionError),
        reraise=True,
    )(fn)


retry_two = retry_none
