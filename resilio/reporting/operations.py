"""Logging a block of work: when it began and ended, how long it took, how it ended, and what it was about."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Self

from resilio._core import clock, events
from resilio._core.cancellation import is_interruption
from resilio.reporting.causes import text_of
from resilio.reporting.events import OperationEnded, OperationStarted
from resilio.reporting.log_lines import tell
from resilio.reporting.redaction import Redactor
from resilio.reporting.reporter import id_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from resilio.reporting.tracker import ErrorTracker

__all__ = ("LoggedOperation", "context_around", "current_context", "log_operation")

_LOGGER: Final = "resilio.operations"
_LONGEST_NAME: Final = 200

_redactor = Redactor()
_context: ContextVar[Mapping[str, object]] = ContextVar("resilio_operation")


def current_context() -> Mapping[str, object]:
    """What the blocks around the present one are about: their context, and ``operation``, their names from outside in.

    Empty outside of any.
    """
    return _context.get({})


@contextmanager
def context_around(context: Mapping[str, object]) -> Iterator[None]:
    """Let what is reported or logged within know ``context`` as well. Of the block itself nothing is logged."""
    before = _context.get({})
    _context.set({**before, **context})
    try:
        yield
    finally:
        _context.set(before)  # not by its token: see `LoggedOperation.__exit__`


class LoggedOperation:
    """A block of work that is logged; what `log_operation` returns. Serves one ``with`` or ``async with``.

    Attributes:
        name: What it is called.
        duration: Seconds it took; None until it has ended.
        outcome: ``"succeeded"``, ``"failed"`` or ``"cancelled"``; None until it has ended.
        error_id: The id under which the error is, or will be, reported; None unless it failed.
    """

    __slots__ = ("_before", "_began", "_context", "_tracker", "duration", "error_id", "name", "outcome")

    def __init__(self, name: str, context: Mapping[str, object], tracker: ErrorTracker | None) -> None:
        self.name: str = name
        self.duration: float | None = None
        self.outcome: str | None = None
        self.error_id: str | None = None
        self._context = context
        self._tracker = tracker
        self._began: float | None = None
        self._before: Mapping[str, object] | None = None

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            RuntimeError: It has begun already.
        """
        if self._began is not None:
            msg = f"this block of {self.name!r} has begun already; call log_operation() for each"
            raise RuntimeError(msg)
        self._before = _context.get(None)
        around = self._before or {}
        outer = around.get("operation")
        path = f"{outer}/{self.name}" if isinstance(outer, str) else self.name
        _context.set({**around, **self._context, "operation": path})
        self._began = clock.monotonic()
        self._tell("debug", "operation started", {})
        if events.listeners:
            events.emit(OperationStarted(operation=self.name))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.duration = clock.monotonic() - (self._began or 0.0)
        try:
            self._end(error)
        finally:
            # Not by its token: a generator may be closed in another context than the one it began in.
            _context.set(self._before or {})

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _end(self, error: BaseException | None) -> None:
        duration = self.duration or 0.0
        fields: dict[str, object] = {"duration": round(duration, 6)}
        if error is None:
            self.outcome = "succeeded"
            self._tell("info", "operation succeeded", fields)
        elif is_interruption(error):
            self.outcome = "cancelled"
            self._tell("info", "operation cancelled", fields)
        else:
            self.outcome = "failed"
            self.error_id = id_of(error)
            fields |= {"error_id": self.error_id, "error_type": type(error).__name__, "error_message": text_of(error)}
            self._tell("error", "operation failed", fields)
        if self._tracker is not None and self.outcome != "cancelled":
            self._tracker.record_duration(self.name, duration, failed=error is not None)
        if events.listeners:
            events.emit(
                OperationEnded(operation=self.name, duration=duration, outcome=self.outcome, error_id=self.error_id)
            )

    def _tell(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        walk = _redactor.walk()
        shown = walk.entries({**current_context(), **fields})
        tell(level, message, walk.scrubbed(shown), logger=_LOGGER)


def log_operation(name: str, /, *, tracker: ErrorTracker | None = None, **context: object) -> LoggedOperation:
    """Log a block of work: its begin, its end, how long it took, and the id of the report if it fails.

    What is reported or logged within knows the ``context`` of all the blocks around it. Cancellation passes through, as
    any error does; it is logged as such and is no failure.

        with log_operation("code_generation", app_name="cats"):     # or: async with
            ...

    Args:
        name: What it is called, the same each time: ``"code_generation"``.
        tracker: Counts how long it takes; see `ErrorTracker.percentile`.
        context: What it is about. Secrets among it are not logged.

    Returns:
        A context manager, for ``with`` and for ``async with``, for one use.

    Raises:
        TypeError: ``name`` is no text.

    Safe on any event loop and in any thread: what is around a block belongs to its task or thread.

        >>> with log_operation("feed", cat="Tzara") as feeding:
        ...     pass
        >>> feeding.outcome
        'succeeded'
    """
    if not isinstance(name, str):
        msg = f"name must be a text, not {name!r} ({type(name).__name__})"
        raise TypeError(msg)
    return LoggedOperation(name[:_LONGEST_NAME], context, tracker)
