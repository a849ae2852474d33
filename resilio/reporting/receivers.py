"""Whom a handler hands an error on to: what tells somebody, and what keeps messages."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.errors import ErrorSeverity

__all__ = ("HandlesLetters", "Notifies", "check_method", "takes")


class Notifies(Protocol):
    """Whom a handler tells; an `AdminNotifier` is one. Async or plain."""

    def send_notification(
        self, message: str, details: dict[str, Any] | None, severity: ErrorSeverity, error_type: str | None, /
    ) -> object:
        """Tell somebody. What it returns is awaited if it can be.

        If it takes a ``dedup_key`` as well, it is given the error's fingerprint, so that the same error need not be
        told twice in a short time.
        """


class HandlesLetters(Protocol):
    """Where a handler keeps messages; a `DeadLetterQueue` is one. Async or plain."""

    def send_to_dlq(self, message: Any, error_info: Any, /) -> object:
        """Keep a message; return the letter's id. What it returns is awaited if it can be."""


def check_method(name: str, thing: object, method: str) -> None:
    """Refuse what lacks a method.

    Raises:
        TypeError: It does; the message names the argument.
    """
    if thing is not None and (isinstance(thing, type) or not callable(getattr(thing, method, None))):
        msg = f"{name} must be an object with a method {method}(), not {thing!r}"
        raise TypeError(msg)


def takes(method: Callable[..., object], argument: str) -> bool:
    """Whether a method can be given an argument by this name."""
    try:
        parameters = inspect.signature(method).parameters
    except (TypeError, ValueError):
        return False  # written in C, or by somebody who hides it
    named = parameters.get(argument)
    if named is not None:
        return named.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
