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

    An interruption (``SystemExit``, say) ends the race at once, as what it is. Each run gets a daemon thread and a copy
    of the caller's context variables.
    """

    def __init__(self, fn: Callable[[], Any]) -> None:
        self._fn = fn
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._runs = 0
        self._errors: dict[int, BaseException] = {}
        self._error: BaseException | None = None
        self._is_decided = False
        self._is_won = False
        self._result: Any = None

    def start(self) -> None:
        """Make the call once more."""
        with self._lock:
            number = self._runs
            self._runs += 1
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run, number), name="resilio-call", daemon=True).start()

    def _run(self, number: int) -> None:
        try:
            result = self._fn()
        except BaseException as error:
            self._fail(number, error)
            return
        with self._lock:
            wins = self._decide()
            if wins:
                self._is_won, self._result = True, result
        if wins:
            self._over.set()
        else:
            drive(close_unseen(result, may_await=False))

    def _fail(self, number: int, error: BaseException) -> None:
        with self._lock:
            if self._is_decided:
                return
            self._errors[number] = error
            if isinstance(error, Exception):
                if len(self._errors) < self._runs:
                    return
                error = self._errors[0]
            self._decide()
            self._error = error
        self._over.set()

    def _decide(self) -> bool:
        """Let the race have an outcome, unless it has one. Called with the lock held."""
        if self._is_decided:
            return False
        self._is_decided = True
        self._errors.clear()  # an error's traceback holds its frame, and that frame this race
        return True

    def is_over_within(self, seconds: float | None) -> bool:
        """Wait at most ``seconds``; tell whether there is an outcome."""
        try:
            return clock.wait_blocking(self._over, seconds)
        except BaseException:  # Ctrl-C: nobody waits any more
            if not self.abandon() and self._is_won:
                drive(close_unseen(self._result, may_await=False))
            raise

    def abandon(self) -> bool:
        """Stop waiting; False if an outcome came in just now."""
        with self._lock:
            return self._decide()

    def outcome(self) -> Any:
        """Return what the winner returned, or raise what the first run raised."""
        if self._is_won:
            return self._result
        error, self._error = self._error, None
        if error is None:
            msg = "a race without an outcome was asked for it"
            raise AssertionError(msg)
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
