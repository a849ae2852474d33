"""The call of a handler that may have to be made again."""

from __future__ import annotations

import pickle
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self, TypeAlias

if TYPE_CHECKING:
    from contextvars import Token

__all__ = ("FailedCall", "HandlerCall", "current_call")

FailedCall: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A handler's name, and the arguments to call it with again: plain values, for a state is pickled."""

_current: ContextVar[HandlerCall | None] = ContextVar("resilio_handler_call", default=None)


def current_call() -> HandlerCall | None:
    """The call that is under way in this task, or None."""
    return _current.get()


class HandlerCall:
    """One call of a handler. As a block, it is the current one while the block runs; blocks may follow each other.

    Args:
        owner: The class of the state that it was called on.
        name: The handler's name.
        args: Its positional arguments, without the state.
        kwargs: Its keyword arguments.
        operation: What it does, for the report.
        retryable: Whether another try is offered: as the error says, if None.
    """

    __slots__ = ("_args", "_kwargs", "_retryable", "_token", "name", "operation", "owner")

    def __init__(
        self,
        owner: type[object],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        operation: str,
        retryable: bool | None,
    ) -> None:
        self.owner: type[object] = owner
        self.name: str = name
        self.operation: str = operation
        self._args = args
        self._kwargs = kwargs
        self._retryable = retryable
        self._token: Token[HandlerCall | None] | None = None

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)

    def may_be_repeated(self, *, category: str, retryable: bool) -> bool:
        """Tell whether another try is worth offering.

        Args:
            category: The error's category. The same input would be refused again, whatever the handler says.
            retryable: What the report says.
        """
        if self._retryable is None:
            return retryable
        return self._retryable and category != "validation"

    def again(self) -> FailedCall | None:
        """What to keep for another try: a copy. None if the arguments cannot be kept, an upload's file for one."""
        try:
            failed: FailedCall = pickle.loads(pickle.dumps((self.name, self._args, self._kwargs)))  # noqa: S301 -- our own
        except Exception:  # whatever a `__reduce__` may raise
            return None
        return failed
