"""The file in which incidents and silences outlive the process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from resilio._core import clock
from resilio._core.state_file import read_state, write_state
from resilio.alerting.outlet import described, say

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from resilio.alerting.incident_book import IncidentBook
    from resilio.alerting.rules import AlertRule
    from resilio.alerting.silences import SilenceBook

__all__ = ("AlertsFile",)

_FORMAT: Final = "resilio-alerts-1"


class AlertsFile:
    """Reads and writes; a file that cannot be read or written is logged, and stops no alert. Safe across threads."""

    __slots__ = ("_path", "_saved", "_writing")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._saved: dict[str, object] | None = None

    def restore(self, book: IncidentBook, silences: SilenceBook, rules: Iterable[AlertRule]) -> None:
        """Take up what was saved, if anything was."""
        try:
            saved = read_state(self._path, _FORMAT)
            if saved is not None:
                silences.restore(saved["silences"])
                book.restore(saved, rules, clock.monotonic(), clock.utcnow())
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            # A watchman who forgot what he saw is better than none.
            say("the alerts begin anew: their file %s cannot be read: %s", self._path, described(error))

    def save(self, book: IncidentBook, silences: SilenceBook, lock: threading.Lock) -> None:
        """Write both, if they are not what was written last; ``lock`` guards them."""
        with self._writing:  # so that no older state replaces a newer one
            with lock:
                state = {**book.to_dict(clock.monotonic(), clock.utcnow()), "silences": silences.to_list()}
            if state == self._saved:
                return
            try:
                write_state(self._path, _FORMAT, state)
            except OSError as error:
                say("the alerts could not be saved to %s: %s", self._path, described(error))
            else:
                self._saved = state
