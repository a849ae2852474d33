"""How many attempts the retried calls of an operation made, worked out from what the retries told."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from resilio._core.colour import name_of
from resilio.policies.events import RetryGivenUp, RetryScheduled, RetrySucceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilio._core.events import Event

_RETRIES = (RetryScheduled, RetryGivenUp, RetrySucceeded)


def operations_named(operation: str | Callable[..., Any], told: Iterable[Event]) -> set[str]:
    """The operations among ``told`` that ``operation`` may stand for: a function, its name, or the end of its name."""
    wanted = name_given(operation)
    heard = {each.operation for each in told if isinstance(each, _RETRIES)}
    return {wanted} if wanted in heard else {each for each in heard if not wanted or each.endswith(f".{wanted}")}


def name_given(operation: str | Callable[..., Any]) -> str:
    """The name that a user means."""
    return operation if isinstance(operation, str) else name_of(inspect.unwrap(operation))


def attempts_of(operations: set[str], told: Iterable[Event]) -> list[int]:
    """The attempts of each retried call, in the order in which the calls ended; last those that have not.

    Events do not say which call they belong to. Of several calls that have made as many attempts, any will do.
    """
    ended: list[int] = []
    under_way: list[int] = []  # attempts that were made or are waited for
    for event in told:
        if not isinstance(event, _RETRIES) or event.operation not in operations:
            continue
        made = event.attempts if isinstance(event, RetrySucceeded) else event.attempt
        if made in under_way:
            under_way.remove(made)
        if isinstance(event, RetryScheduled):
            under_way.append(made + 1)
        else:
            ended.append(made)
    return ended + under_way
