"""What a user gives a retry, checked: each function returns the setting, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from resilio import settings
from resilio._core import durations
from resilio._core.colour import refuse_unless_plain
from resilio.policies.retry_budget import RetryBudget
from resilio.policies.retry_plan import JITTERS, Jitter

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio._core.durations import Duration
    from resilio.policies.backoff import RetryExceptions
    from resilio.policies.retry_streams import Resume

T = TypeVar("T")


def checked_delay(name: str, given: Duration | None, setting: settings.Setting[float]) -> float:
    """``given`` in seconds, or what the environment says."""
    return setting.read() if given is None else durations.seconds(name, given)


def checked_max_retries(given: int | None, stop: object) -> int | None:
    """A count; without one what the environment says, unless ``stop`` decides."""
    if given is not None:
        return durations.whole("max_retries", given, at_least=0)
    return settings.BACKOFF_MAX_RETRIES.read() if stop is None else None


def checked_jitter(given: Jitter | bool | None) -> Jitter | None:  # noqa: FBT001 -- the contract's type
    """One of the three jitters, or None for no jitter at all."""
    if given is None or given is False:
        return None
    if given is True:
        return "equal"
    if given in JITTERS:
        return given
    msg = f"jitter must be one of {', '.join(map(repr, JITTERS))}, True, False or None, not {given!r}"
    raise ValueError(msg)


def checked_retry_exceptions(
    given: RetryExceptions | None,
) -> tuple[type[Exception], ...] | Callable[[Exception], bool] | None:
    """Classes of errors, or a predicate that can be asked from blocking code as well."""
    if given is None:
        return None
    if callable(given) and not isinstance(given, type):
        refuse_unless_plain("retry_exceptions", given)
        return given
    kinds: tuple[Any, ...] = tuple(given) if isinstance(given, Iterable) else (given,)
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return kinds
    msg = (
        "retry_exceptions must be an Exception class, several of them, or a predicate, "
        f"not {given!r}; cancellation and KeyboardInterrupt are never retried"
    )
    raise TypeError(msg)


def checked_budget(given: RetryBudget | None) -> RetryBudget | None:
    """A budget or None."""
    if given is None or isinstance(given, RetryBudget):
        return given
    msg = f"budget must be a RetryBudget or None, not {given!r}"
    raise TypeError(msg)


def checked_result_predicate(given: Callable[[Any], bool] | None) -> Callable[[Any], bool] | None:
    """A plain predicate or None."""
    if given is not None:
        refuse_unless_plain("retry_result", given)
    return given


def checked_resume(given: Resume | None, *, restarts: bool) -> Resume | None:
    """A function that goes on with a stream, or None."""
    if given is None:
        return None
    if not callable(given):
        msg = f"resume must be a function that is given an InterruptedStream, or None, not {given!r}"
        raise TypeError(msg)
    if restarts:
        msg = "give either resume or retry_started_streams=True, not both: a stream goes on or begins anew"
        raise ValueError(msg)
    return given


def checked_tenacity_strategy(name: str, given: T, *, may_be_async: bool = False) -> T:
    """One of tenacity's strategies or None."""
    if given is None:
        return given
    if not callable(given) or isinstance(given, type):
        msg = f"{name} must be a tenacity strategy (callable, and an object of its class) or None, not {given!r}"
        raise TypeError(msg)
    if not may_be_async:
        refuse_unless_plain(name, given)
    return given
