"""Plain calls in threads of their own, so that somebody can stop waiting for them.

A thread cannot be cancelled. A call that nobody waits for any more ends on its own, and its result is closed if it can
be.
"""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any

from resilio._core import clock
from resilio._core.drive import drive
from resilio.policies.unseen import close_unseen

if TYPE_CHECKING:
    from collections.abc import Callable


class Race:
    """One or more runs of the same call, side by side; the first success wins, else the first run's error counts.

    Each run gets a daemon thread and a copy of the caller's context variables.
    """

    def __init__(self, fn: Callable[[], Any]) -> None:
        self._fn = fn
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._errors: list[BaseException | None] = []
        self._failed = 0
        self._is_won = False
        self._is_abandoned = False
        self._result: Any = None

    def start(self) -> None:
        """Make the call once more."""
        with self._lock:
            number = len(self._errors)
            self._errors.append(None)
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run, number), name="resilio-call", daemon=True).start()

    def _run(self, number: int) -> None:
        try:
            result = self._fn()
        except BaseException as error:
            with self._lock:
                self._errors[number] = error
                self._failed += 1
                is_over = self._failed == len(self._errors)
        else:
            with self._lock:
                is_over = not self._is_won and not self._is_abandoned
                if is_over:
                    self._is_won, self._result = True, result
            if not is_over:
                drive(close_unseen(result, may_await=False))
        if is_over:
            self._over.set()

    def is_over_within(self, seconds: float | None) -> bool:
        """Wait at most ``seconds``; tell whether there is an outcome."""
        return clock.wait_blocking(self._over, seconds)

    def abandon(self) -> bool:
        """Stop waiting; False if an outcome came in just now."""
        with self._lock:
            self._is_abandoned = not self._over.is_set() and not self._is_won
            return self._is_abandoned

    def outcome(self) -> Any:
        """Return what the winner returned, or raise what the first run raised."""
        if self._is_won:
            return self._result
        error, self._errors = self._errors[0], []
        if error is None:
            msg = "a race without an outcome was asked for it"
            raise AssertionError(msg)
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
