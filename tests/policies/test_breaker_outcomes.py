"""What counts as a failure, and what says nothing about the dependency."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import anyio
import pytest
import trio
from breaker_forms import DownError, every_form, every_waiting_form, state_of, throw, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable

    from breaker_forms import Form, Waiting

pytestmark = pytest.mark.anyio


class MildError(DownError):
    """A failure that is expected."""


@every_form
async def test_record_by_class_counts_those_errors_alone(form: Form) -> None:
    """An error outside `record` passes through and counts for nothing."""
    breaker = form.build(failure_threshold=1, record=DownError)
    with pytest.raises(KeyError):
        await form.call(breaker, lambda: throw(KeyError("other")))
    assert breaker.snapshot().failed == 0
    await form.fail(breaker)
    assert breaker.snapshot().failed == 1


@every_form
async def test_ignored_errors_leave_the_count_alone(form: Form) -> None:
    """An ignored error between two failures neither adds to the row nor breaks it."""
    breaker = form.build(failure_threshold=2, ignore=MildError)
    await form.fail(breaker)
    with pytest.raises(MildError):
        await form.call(breaker, lambda: throw(MildError()))
    assert breaker.snapshot().counts == {"consecutive_failures": 1}
    await form.fail(breaker)
    assert state_of(breaker) is CircuitState.OPEN


@pytest.mark.parametrize("kinds", [(MildError, KeyError), [MildError, KeyError]], ids=["tuple", "list"])
def test_several_classes_may_be_ignored(kinds: tuple[type[Exception], ...]) -> None:
    """`ignore` takes a tuple of classes, and a list as well."""
    breaker = CircuitBreaker(failure_threshold=1, ignore=kinds)
    breaker.acquire().failure(MildError())
    breaker.acquire().failure(KeyError())
    assert state_of(breaker) is CircuitState.CLOSED
    breaker.acquire().failure(ValueError())
    assert state_of(breaker) is CircuitState.OPEN


def test_a_predicate_decides_what_to_record() -> None:
    """`record` may look at the error itself."""
    breaker = CircuitBreaker(failure_threshold=1, record=lambda error: "500" in str(error))
    breaker.acquire().failure(DownError("status 404"))
    assert state_of(breaker) is CircuitState.CLOSED
    breaker.acquire().failure(DownError("status 500"))
    assert state_of(breaker) is CircuitState.OPEN


def test_a_predicate_decides_what_to_ignore() -> None:
    """`ignore` may look at the error itself, and wins over `record`."""
    breaker = CircuitBreaker(failure_threshold=1, record=DownError, ignore=lambda error: bool(error.args))
    breaker.acquire().failure(DownError("with an argument"))
    assert state_of(breaker) is CircuitState.CLOSED
    breaker.acquire().failure(DownError())
    assert state_of(breaker) is CircuitState.OPEN


@pytest.mark.parametrize("setting", ["record", "ignore"])
@every_form
async def test_a_predicate_that_raises_does_not_replace_the_error(
    form: Form, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The call's own error comes through and counts; the predicate's is in the log."""
    breaker = form.build(failure_threshold=1, **{setting: lambda error: error.no_such_attribute})
    with caplog.at_level(logging.ERROR, logger="resilio"):
        await form.fail(breaker)
    assert state_of(breaker) is CircuitState.OPEN
    assert "no_such_attribute" in caplog.text


def test_a_predicate_that_raises_keeps_no_permit(caplog: pytest.LogCaptureFixture) -> None:
    """A probe whose error cannot be judged counts as failed; its permit is not lost."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, record=lambda error: bool(1 / len(error.args)))
    tripped(breaker)
    tripped(breaker)
    assert breaker.snapshot().failed_probes == 1
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


# -- results that count as failures ------------------------------------------------------------------------------------

result_forms = pytest.mark.parametrize(
    "kind", ["decorated coroutine", "decorated plain", "execute", "blocking execute"]
)


async def answer(kind: str, value: object, **settings: object) -> tuple[object, CircuitBreaker]:
    """Guard a function that returns ``value``, and call it."""
    build = resilio.sync.CircuitBreaker if kind == "blocking execute" else CircuitBreaker
    breaker = build(failure_threshold=1, **settings)  # type: ignore[arg-type]

    async def asynchronous() -> object:
        return value

    calls: dict[str, Callable[[], object]] = {
        "decorated coroutine": breaker(asynchronous),
        "decorated plain": breaker(lambda: value),
        "execute": lambda: breaker.execute(asynchronous),
        "blocking execute": lambda: breaker.execute(lambda: value),
    }
    result = calls[kind]()
    if kind in {"decorated coroutine", "execute"}:
        result = await result  # type: ignore[misc]
    return result, breaker  # type: ignore[return-value]


@result_forms
async def test_a_bad_result_counts_as_failure_and_is_returned(kind: str) -> None:
    """The caller gets the result as it is; the circuit takes it for a failure, of which there is no error."""
    result, breaker = await answer(kind, 503, failure_result=lambda status: status >= 500)
    assert result == 503
    assert state_of(breaker) is CircuitState.OPEN
    with pytest.raises(resilio.CircuitBreakerOpenError) as caught:
        breaker.acquire()
    assert caught.value.__cause__ is None


@result_forms
async def test_a_good_result_counts_as_success(kind: str) -> None:
    """A result that the predicate accepts is a success like any other."""
    result, breaker = await answer(kind, 200, failure_result=lambda status: status >= 500)
    assert result == 200
    assert state_of(breaker) is CircuitState.CLOSED


@result_forms
async def test_a_result_predicate_that_raises_is_heard(kind: str) -> None:
    """Its error reaches the caller, who would otherwise believe the circuit to be guarded, and counts as a failure."""
    with pytest.raises(TypeError, match="not supported between"):
        await answer(kind, None, failure_result=lambda status: status >= 500)


class Undecided:
    """A value that is neither true nor false, as an array of several is."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


@result_forms
async def test_an_answer_that_is_neither_true_nor_false_is_heard(kind: str) -> None:
    """A predicate's answer that has no truth value is an error of the predicate."""
    with pytest.raises(ValueError, match="ambiguous"):
        await answer(kind, 1, failure_result=lambda _: Undecided())


async def test_a_result_predicate_that_raises_keeps_no_permit() -> None:
    """A probe whose result cannot be judged counts as failed; the next one may probe."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, failure_result=lambda value: bool(1 / value))
    tripped(breaker)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await breaker.execute(lambda: 0)
    assert breaker.snapshot().failed_probes == 3


@pytest.mark.parametrize("colour", ["coroutine", "plain"])
async def test_an_undecided_result_predicate_keeps_no_permit(colour: str) -> None:
    """Nor does one whose answer has no truth value."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, failure_result=lambda _: Undecided())  # type: ignore[arg-type, return-value]
    tripped(breaker)
    for _ in range(3):
        with pytest.raises(ValueError, match="ambiguous"):
            await breaker.execute(lambda: 1) if colour == "coroutine" else breaker(lambda: 1)()
    assert breaker.snapshot().failed_probes == 3


# -- what is never a failure -------------------------------------------------------------------------------------------

# Under asyncio and trio some of these must not reach the event loop, so they are judged on permits.
INTERRUPTIONS: list[Callable[[], BaseException]] = [
    asyncio.CancelledError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    trio.Cancelled._create,
    lambda: BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError()]),
    lambda: BaseExceptionGroup("nested", [BaseExceptionGroup("inner", [trio.Cancelled._create()])]),
    lambda: BaseExceptionGroup("cancelled", [asyncio.CancelledError(), DownError()]),
]
interruptions = pytest.mark.parametrize(
    "make", INTERRUPTIONS, ids=["cancelled", "ctrl-c", "exit", "closed", "trio", "group", "nested", "mixed"]
)


@interruptions
def test_an_interruption_never_counts(make: Callable[[], BaseException]) -> None:
    """Cancellation and its like are neutral, `record=BaseException` notwithstanding."""
    breaker = CircuitBreaker(failure_threshold=2, record=BaseException)
    tripped(breaker)
    breaker.acquire().failure(make())
    assert breaker.snapshot().counts == {"consecutive_failures": 1}
    assert breaker.snapshot().failed == 1


@interruptions
def test_an_interrupted_probe_gives_its_permit_back(make: Callable[[], BaseException]) -> None:
    """It neither closes nor opens the circuit, and the next caller probes."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, record=BaseException)
    tripped(breaker)
    breaker.acquire().failure(make())
    assert state_of(breaker) is CircuitState.HALF_OPEN
    assert breaker.snapshot().failed_probes == 0
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


@every_form
async def test_ctrl_c_passes_through_every_form(form: Form) -> None:
    """KeyboardInterrupt reaches the caller and leaves the count alone."""
    breaker = form.build(failure_threshold=1, record=BaseException)
    caught = False
    try:
        await form.call(breaker, lambda: throw(KeyboardInterrupt()))
    except KeyboardInterrupt:
        caught = True
    assert caught
    assert state_of(breaker) is CircuitState.CLOSED


@every_waiting_form
async def test_cancellation_is_never_swallowed(form: Waiting) -> None:
    """A cancelled call ends as cancelled, and the circuit has heard nothing."""
    breaker = CircuitBreaker(failure_threshold=1, record=BaseException)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await form.call(breaker, anyio.sleep_forever)
        pytest.fail("the cancellation was swallowed")
    assert scope.cancelled_caught
    assert state_of(breaker) is CircuitState.CLOSED
    assert breaker.snapshot().failed == 0


def test_a_base_exception_of_ones_own_counts_only_if_recorded() -> None:
    """`record` is Exception by default; another BaseException is neutral unless asked for."""

    class Signal(BaseException):
        pass

    strict = CircuitBreaker(failure_threshold=1)
    strict.acquire().failure(Signal())
    assert state_of(strict) is CircuitState.CLOSED
    wide = CircuitBreaker(failure_threshold=1, record=BaseException)
    wide.acquire().failure(Signal())
    assert state_of(wide) is CircuitState.OPEN


def test_an_error_whose_text_cannot_be_had_counts_all_the_same() -> None:
    """An exception with a broken __str__ is recorded like any other."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    breaker = CircuitBreaker(failure_threshold=1)
    breaker.acquire().failure(BrokenError())
    assert state_of(breaker) is CircuitState.OPEN
    assert "BrokenError" in breaker.snapshot().last_failure
