"""The error that a rejected call gets."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest
from breaker_forms import DownError, every_form, tripped

from resilio import CircuitBreaker, CircuitBreakerOpenError, ErrorSeverity, IntegrationError, is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

    from breaker_forms import Form

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


def rejection_of(breaker: CircuitBreaker) -> CircuitBreakerOpenError:
    """What a call gets now."""
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.acquire()
    return caught.value


def test_a_rejection_has_a_place_in_the_taxonomy() -> None:
    """It is an integration error of low severity, worth another try later."""
    breaker = CircuitBreaker(name="orders", failure_threshold=1)
    tripped(breaker)
    error = rejection_of(breaker)
    assert isinstance(error, IntegrationError)
    assert (error.system, error.operation, error.code) == ("orders", "call", "circuit_open")
    assert error.severity is ErrorSeverity.WARNING
    assert is_transient(error)


@pytest.mark.parametrize(
    ("wait", "shown"),
    [(3600.0, "3600 s"), (1234.4, "1234 s"), (60.0, "60 s"), (2.5, "2.5 s"), (0.05, "0.05 s")],
)
def test_the_message_tells_name_and_wait(wait: float, shown: str, virtual_clock: VirtualClock) -> None:
    """In numbers that people read."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=wait)
    tripped(breaker)
    error = rejection_of(breaker)
    assert str(error) == error.message == f"circuit 'unnamed' is open; try again in {shown}"
    assert repr(error) == f"CircuitBreakerOpenError({error.message!r})"


def pickled(error: CircuitBreakerOpenError) -> CircuitBreakerOpenError:
    """The error as another process gets it."""
    return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]  # noqa: S301 -- our own bytes


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("read_first", [True, False])
def test_a_rejection_can_be_pickled_and_copied(
    duplicate: Callable[[CircuitBreakerOpenError], CircuitBreakerOpenError],
    read_first: bool,  # noqa: FBT001
    virtual_clock: VirtualClock,
) -> None:
    """With all it tells, for other processes and for states that are saved; read before or not."""
    breaker = CircuitBreaker(name="pickled", failure_threshold=1, recovery_timeout=30)
    tripped(breaker)
    error = rejection_of(breaker)
    if read_first:
        assert str(error)
    again = duplicate(error)
    assert type(again) is CircuitBreakerOpenError
    assert (again.breaker, again.retry_after) == ("pickled", 30)
    assert (str(again), again.context) == (str(error), error.context)
    assert (again.system, again.operation) == ("pickled", "call")


def test_a_rejection_built_by_hand_is_complete() -> None:
    """The class can be used by others, in their own tests for one."""
    error = CircuitBreakerOpenError("busy", breaker="theirs", retry_after=3, region="eu")
    assert (str(error), error.breaker, error.retry_after) == ("busy", "theirs", 3)
    assert error.context == {"region": "eu"}


@every_form
async def test_every_rejection_is_an_error_of_its_own(form: Form) -> None:
    """Two rejections are two objects, so that neither's traceback grows by the other's."""
    breaker = form.build(failure_threshold=1)
    await form.fail(breaker)
    first, second = await form.rejected(breaker), await form.rejected(breaker)
    assert first is not second
    assert first.__cause__ is second.__cause__


def test_the_cause_is_the_failure_itself() -> None:
    """With its traceback to where it was raised, for whoever reads the log."""
    breaker = CircuitBreaker(failure_threshold=1)

    def the_culprit() -> None:
        raise DownError

    with pytest.raises(DownError) as failure:
        breaker(the_culprit)()
    cause = rejection_of(breaker).__cause__
    assert cause is failure.value
    assert "the_culprit" in "".join(traceback.format_exception(cause))


def test_the_cause_does_not_grow_with_rejections() -> None:
    """Rejecting adds nothing to the failure: no frames, no notes, no links."""
    breaker = CircuitBreaker(failure_threshold=1)
    tripped(breaker)
    cause = rejection_of(breaker).__cause__
    assert cause is not None
    before = "".join(traceback.format_exception(cause))
    for _ in range(100):
        rejection_of(breaker)
    assert "".join(traceback.format_exception(cause)) == before


def test_a_success_lets_the_cause_go(virtual_clock: VirtualClock) -> None:
    """A circuit that closed again has no failure to show when it is forced open."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=5)
    tripped(breaker)
    virtual_clock.advance(5)
    breaker.acquire().success()
    breaker.force_open()
    assert rejection_of(breaker).__cause__ is None


def test_a_reset_lets_the_cause_go() -> None:
    """So has one that was reset."""
    breaker = CircuitBreaker(failure_threshold=1)
    tripped(breaker)
    breaker.reset()
    breaker.force_open()
    assert rejection_of(breaker).__cause__ is None


# -- failures raised while a rejection is being handled ----------------------------------------------------------------


def chain_length(error: BaseException) -> int:
    """How many errors hang on to ``error``, itself included."""
    seen: dict[int, BaseException] = {}
    links: list[BaseException] = [error]
    while links:
        link = links.pop()
        if id(link) not in seen:
            seen[id(link)] = link
            members = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
            links.extend(each for each in (link.__cause__, link.__context__, *members) if each is not None)
    return len(seen)


def _bare(rejection: CircuitBreakerOpenError) -> None:
    raise DownError


def _from_another(rejection: CircuitBreakerOpenError) -> None:
    raise DownError from KeyError("unrelated")


def _from_none(rejection: CircuitBreakerOpenError) -> None:
    raise DownError from None


def _from_it(rejection: CircuitBreakerOpenError) -> None:
    raise DownError from rejection


def _deep_down(rejection: CircuitBreakerOpenError) -> None:
    error: BaseException = rejection
    for level in range(30):
        try:
            raise LookupError(level) from error
        except LookupError as wrapped:
            error = wrapped
    raise DownError from error


def _in_a_group(rejection: CircuitBreakerOpenError) -> None:
    raise ExceptionGroup("several", [DownError(), rejection])


@pytest.mark.parametrize(
    "raiser", [_bare, _from_another, _from_none, _from_it, _deep_down, _in_a_group], ids=lambda fn: fn.__name__
)
def test_failures_raised_while_handling_rejections_make_no_endless_chain(
    raiser: Callable[[CircuitBreakerOpenError], None], virtual_clock: VirtualClock
) -> None:
    """A probe that fails while the last rejection is being handled does not keep all failures before it alive."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=10)
    tripped(breaker)
    lengths = []
    for _ in range(20):
        try:
            breaker.acquire()
        except CircuitBreakerOpenError as rejection:
            virtual_clock.advance(10)
            with pytest.raises((DownError, ExceptionGroup)) as failure:
                breaker(raiser)(rejection)
            lengths.append(chain_length(failure.value))
    assert len(lengths) == 20
    assert lengths[-1] == lengths[1]
    assert lengths[-1] < 40


def test_another_circuits_rejection_keeps_its_cause() -> None:
    """Only a circuit's own rejections lose their cause, also where both circuits have no name."""
    other, mine = CircuitBreaker(failure_threshold=1), CircuitBreaker(failure_threshold=1)
    tripped(other)
    theirs = rejection_of(other)
    cause = theirs.__cause__
    with pytest.raises(DownError):
        mine(_from_it)(theirs)
    assert theirs.__cause__ is cause
    assert cause is not None
