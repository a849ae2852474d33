"""What remains of failed attempts: tracebacks, causes and notes, and nothing else."""

from __future__ import annotations

import gc
import pickle
import sys
import traceback
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import pytest
import tenacity
from ways import Flaky, Way, every_way

from resilio import IntegrationError, RetryExhaustedError, subscribe
from resilio.policies.events import RetryEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@contextmanager
def no_collector() -> Iterator[None]:
    """What is still alive afterwards is held by somebody, or hangs in a cycle."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def functions_in(error: BaseException) -> list[str]:
    """The names of the functions in an error's traceback, outermost first."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def links(error: BaseException) -> int:
    """How many errors hang on this one by `__context__`."""
    found, link = 0, error.__context__
    while link is not None:
        found, link = found + 1, link.__context__
        assert found < 1000
    return found


def deep() -> None:
    """Fail three calls down."""

    def deeper() -> None:
        def deepest() -> None:
            raise ConnectionError("no")

        deepest()

    deeper()


# -- tracebacks --------------------------------------------------------------------------------------------------------


@every_way
def test_the_last_error_keeps_its_traceback_under_the_strategys_own(way: Way) -> None:
    """Down to the line that raised it."""
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=2, base_delay=0), deep)
    assert caught.value.__cause__ is not None
    assert functions_in(caught.value.__cause__)[-3:] == ["deep", "deeper", "deepest"]


@every_way
def test_a_reraised_error_keeps_its_traceback(way: Way) -> None:
    """It ends in the line that raised it."""
    with pytest.raises(ConnectionError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=2, base_delay=0, reraise=True), deep)
    assert functions_in(caught.value)[-3:] == ["deep", "deeper", "deepest"]


@every_way
def test_an_error_that_is_not_retried_keeps_its_traceback(way: Way) -> None:
    """On a later attempt."""

    def fails() -> None:
        deep() if calls.pop() else calls.pop()

    calls = [0, 1, 1]
    with pytest.raises(IndexError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=5, base_delay=0), fails)
    assert functions_in(caught.value)[-1] == "fails"


@every_way
def test_tracebacks_do_not_grow_with_attempts(way: Way) -> None:
    """The last of fifty is as deep as the last of two."""

    def depth(max_retries: int) -> int:
        with pytest.raises(RetryExhaustedError) as caught:
            way.call(way.names.BackoffStrategy(max_retries=max_retries, base_delay=0), deep)
        assert caught.value.__cause__ is not None
        return len(functions_in(caught.value)) + len(functions_in(caught.value.__cause__))

    assert depth(50) == depth(2)


# -- causes and notes --------------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("reraise", [False, True])
def test_contexts_do_not_chain_the_attempts(way: Way, *, reraise: bool) -> None:
    """Fifty failures leave no chain of fifty errors."""
    with pytest.raises((RetryExhaustedError, ConnectionError)) as caught:
        way.call(way.names.BackoffStrategy(max_retries=50, base_delay=0, reraise=reraise), Flaky(ConnectionError))
    assert links(caught.value) <= 1


@every_way
def test_an_error_after_retries_has_no_context_of_ours(way: Way) -> None:
    """The failures before it are not what it was raised in."""
    fn = Flaky(ConnectionError(), ConnectionError(), LookupError())
    with pytest.raises(LookupError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0), fn)
    assert caught.value.__context__ is None


@every_way
def test_the_callers_own_context_stays(way: Way) -> None:
    """A retry inside of an `except` block: the error being handled is the last one's context, as ever."""
    outer = ValueError("before")

    def handling() -> None:
        try:
            raise outer
        except ValueError:
            raise ConnectionError from None

    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=1), handling)
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__context__ is outer


@every_way
def test_earlier_attempts_are_told_in_notes(way: Way) -> None:
    """One line each, the oldest first, without the last one, which is the cause."""
    errors = [ConnectionError("one"), TimeoutError("two"), OSError(111, "refused"), ConnectionError("four")]
    fn = Flaky(*errors)
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=3, retry_exceptions=OSError), fn)
    notes = caught.value.__notes__
    assert [note.partition(":")[0] for note in notes] == ["attempt 1", "attempt 2", "attempt 3"]
    assert notes[0] == "attempt 1: ConnectionError: one"
    assert "refused" in notes[2]


@every_way
def test_notes_are_bounded(way: Way) -> None:
    """The last five of the earlier attempts, and how many came before them."""
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=99), Flaky(ConnectionError))
    assert len(caught.value.__notes__) == 6
    assert caught.value.__notes__[0] == "94 earlier attempts failed as well"
    assert caught.value.__notes__[1] == "attempt 95: ConnectionError: call 95"
    assert caught.value.__notes__[5] == "attempt 99: ConnectionError: call 99"


@every_way
def test_one_forgotten_attempt_is_told_in_the_singular(way: Way) -> None:
    """Seven attempts: the last is the cause, five have notes, one is counted."""
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=6), Flaky(ConnectionError))
    assert caught.value.__notes__[0] == "1 earlier attempt failed as well"


@every_way
def test_a_long_text_is_cut(way: Way) -> None:
    """In notes and in the message."""
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=2), Flaky(ConnectionError("m" * 10**6)))
    assert all(len(note) < 300 for note in caught.value.__notes__)
    assert len(str(caught.value)) < 400


class UnprintableError(ConnectionError):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Unprintable:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


@every_way
@pytest.mark.parametrize("error", [UnprintableError(), ConnectionError(Unprintable())])
def test_an_error_that_cannot_be_printed_does_no_harm(way: Way, error: Exception) -> None:
    """The attempts go on, and the end is the strategy's own error."""
    fn = Flaky(error)
    with subscribe(lambda _: None, RetryEvent), pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=2), fn)
    assert fn.calls == 3
    assert caught.value.__cause__ is error
    assert len(caught.value.__notes__) == 2


@every_way
def test_a_reraised_error_has_no_notes_of_ours(way: Way) -> None:
    """An object that is raised again and again would collect them."""
    error = ConnectionError("always the same")
    for _ in range(3):
        with pytest.raises(ConnectionError):
            way.call(way.names.BackoffStrategy(base_delay=0, max_retries=1, reraise=True), Flaky(error))
    assert not hasattr(error, "__notes__")


def test_the_end_says_what_failed_and_how_often() -> None:
    """In words, and as attributes."""
    way = Way("plain function", None)

    def ask_the_cat() -> None:
        raise ConnectionError("asleep")

    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=2), ask_the_cat)
    error = caught.value
    assert str(error).endswith("ask_the_cat failed after 3 attempts: ConnectionError: asleep")
    assert error.operation.endswith("ask_the_cat")
    assert (error.attempts, error.code, error.context["reason"]) == (3, "retries_exhausted", "attempts")


def test_the_end_names_the_system_of_an_integration_error() -> None:
    """Where the last error knows it."""
    way = Way("plain function", None)
    fn = Flaky(IntegrationError("no", system="crm", operation="get", retryable=True))
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=0), fn)
    assert caught.value.system == "crm"
    assert caught.value.retryable


def test_the_end_pickles() -> None:
    """With its attributes, for a queue or another process."""
    way = Way("plain function", None)
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(base_delay=0, max_retries=1), Flaky(ConnectionError("no")))
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- our own pickle
    assert (again.attempts, str(again)) == (2, str(caught.value))
    assert again.last_exception.args == ("no",)


# -- what is held ------------------------------------------------------------------------------------------------------


class Canary:
    """Something to see whether it is still alive."""


class CanaryError(ConnectionError):
    """An error that can be referred to weakly."""


def watched(*outcomes: str) -> tuple[Callable[[], Any], list[weakref.ref[Any]]]:
    """A function whose frames, errors and results are watched; and the references to them."""
    left = list(outcomes)
    seen: list[weakref.ref[Any]] = []

    def fn() -> Any:
        canary = Canary()
        seen.append(weakref.ref(canary))
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if outcome == "fail":
            error = CanaryError("no")
            seen.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error
        if outcome == "interrupt":
            raise KeyboardInterrupt
        if outcome == "wrong":
            raise LookupError
        return 5

    return fn, seen


STRATEGIES: dict[str, dict[str, Any]] = {
    "plain": {"max_retries": 2},
    "reraise": {"max_retries": 2, "reraise": True},
    "tenacity": {"wait": tenacity.wait_none(), "stop": tenacity.stop_after_attempt(3)},
    "tenacity, reraise": {"wait": tenacity.wait_none(), "stop": tenacity.stop_after_attempt(3), "reraise": True},
    "tenacity predicate": {"retry": tenacity.retry_if_exception_type(ConnectionError), "max_retries": 2},
    "results": {"retry_result": lambda result: result != 5, "max_retries": 2},
}
strategies = pytest.mark.parametrize("settings", STRATEGIES.values(), ids=STRATEGIES.keys())


@pytest.mark.parametrize(
    "way",
    [
        Way("async function", "asyncio"),
        Way("async generator", "trio"),
        Way("async for", "trio"),
        Way("plain function", None),
        Way("generator", None),
        Way("for", None),
    ],
    ids=str,
)
@strategies
@pytest.mark.parametrize(
    "outcomes",
    [
        ("value",),
        ("fail", "value"),
        ("fail", "fail", "value"),
        ("fail",),
        ("wrong",),
        ("fail", "wrong"),
        ("interrupt",),
    ],
    ids="-".join,
)
def test_nothing_is_held_after_a_call(way: Way, settings: dict[str, Any], outcomes: tuple[str, ...]) -> None:
    """No frame, no error, no result: neither by the strategy, nor by a cycle that waits for the collector."""
    fn, seen = watched(*outcomes)
    strategy = way.names.BackoffStrategy(base_delay=0, **settings)
    with no_collector():
        # On an event loop the call is made within a coroutine, whose own remains are not the subject here.
        try:
            way.call(strategy, fn)
        except BaseException as error:
            error.__traceback__ = None
            del error
        sys.exc_info()
        assert [ref() for ref in seen] == [None] * len(seen)


@every_way
@pytest.mark.parametrize("reraise", [False, True])
def test_an_error_that_nobody_keeps_is_gone_at_once(way: Way, *, reraise: bool) -> None:
    """Its traceback holds the frames of the retry, and they do not hold it."""
    fn, seen = watched("fail")
    strategy = way.names.BackoffStrategy(base_delay=0, max_retries=2, reraise=reraise)

    def swallow() -> bool:
        try:
            way.call(strategy, fn)
        except (RetryExhaustedError, CanaryError):
            return True
        return False

    with no_collector():
        assert swallow()
        assert [ref() for ref in seen] == [None] * len(seen)


@every_way
def test_an_error_that_is_kept_keeps_one_attempt_alive(way: Way) -> None:
    """The cause's frames, and not those of the attempts before it."""
    fn, seen = watched("fail")
    with no_collector():
        with pytest.raises(RetryExhaustedError) as caught:
            way.call(way.names.BackoffStrategy(base_delay=0, max_retries=20), fn)
        alive = [ref for ref in seen if ref() is not None]
        assert caught.value.attempts == 21
        assert len(alive) == 2


async def test_an_abandoned_loop_of_attempts_holds_nothing(virtual_clock: VirtualClock) -> None:
    """`break` after a failure that the attempt took in."""
    from resilio import BackoffStrategy  # noqa: PLC0415 -- reads best where it is used

    fn, seen = watched("fail")

    async def give_up_early() -> None:
        async for attempt in BackoffStrategy():
            with attempt:
                fn()
            break

    with no_collector():
        await give_up_early()
        await anyio.lowlevel.checkpoint()
        assert [ref() for ref in seen] == [None] * len(seen)
