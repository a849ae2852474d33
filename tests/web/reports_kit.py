"""Hearing of reports that are made in another thread."""

from __future__ import annotations

import queue
from contextlib import contextmanager
from typing import TYPE_CHECKING

from resilio import ErrorReported, subscribe

if TYPE_CHECKING:
    from collections.abc import Generator

    from resilio import ErrorReport


class Heard:
    """The reports of a test, in order."""

    def __init__(self) -> None:
        self._queue: queue.Queue[ErrorReport] = queue.Queue()

    def take(self, event: ErrorReported) -> None:
        """Listen."""
        self._queue.put(event.report)

    def one(self) -> ErrorReport:
        """The next report; waits until it is made."""
        return self._queue.get(timeout=30)

    def assert_none(self) -> None:
        """Nothing else was reported until now."""
        assert self._queue.empty(), self._queue.get()


@contextmanager
def heard() -> Generator[Heard]:
    """Listen while the block runs."""
    reports = Heard()
    with subscribe(reports.take, ErrorReported):
        yield reports
