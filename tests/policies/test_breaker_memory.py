"""Nothing is kept that nobody asked for."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from breaker_forms import FORMS, DownError, every_form, throw, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitBreakerOpenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from breaker_forms import AnyBreaker, Form

pytestmark = pytest.mark.anyio


@contextmanager
def without_collector() -> Iterator[None]:
    """Only reference counts free memory while the block runs."""
    gc.disable()  # what lies about from before stays as it is: no need to collect it first, which takes long
    try:
        yield
    finally:
        gc.enable()


async def reject(form: Form, breaker: AnyBreaker, times: int) -> None:
    """Be rejected many times over."""
    for _ in range(times):
        try:
            await form.call(breaker, lambda: None)
        except CircuitBreakerOpenError:
            continue
        pytest.fail("the circuit is not open")


@every_form
@pytest.mark.slow("thousands of rejections, measured")
async def test_rejections_leave_nothing_behind(form: Form) -> None:
    """Not one object more after a thousand rejections, and no work for the garbage collector."""
    breaker = form.build(failure_threshold=1)
    await form.fail(breaker)
    with without_collector():
        await reject(form, breaker, 200)  # fills the interpreter's free lists
        before = sys.getallocatedblocks()
        await reject(form, breaker, 1000)
        grown = sys.getallocatedblocks() - before
    assert grown < 30


async def test_many_rejections_keep_no_memory() -> None:
    """The peak of many is the peak of a few."""
    breaker = CircuitBreaker(failure_threshold=1)
    tripped(breaker)
    form = next(form for form in FORMS if form.name == "async-permit")
    await reject(form, breaker, 100)
    tracemalloc.start()
    try:
        await reject(form, breaker, 2_000)
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 2_000
    assert peak < 50_000


@every_form
async def test_calls_leave_no_reference_cycles(form: Form) -> None:
    """Successes, ignored errors and late failures are freed at once, without the garbage collector."""
    breaker = form.build(failure_threshold=1, ignore=KeyError)
    await form.succeed(breaker)

    class Answer:
        pass

    answers: list[weakref.ref[Answer]] = []

    def work() -> Answer:
        answer = Answer()
        answers.append(weakref.ref(answer))
        return answer

    def failing() -> None:
        answer = Answer()
        answers.append(weakref.ref(answer))
        raise KeyError(answer)

    with without_collector():
        await form.call(breaker, work)
        with suppress(KeyError):
            await form.call(breaker, failing)
        assert [answer() for answer in answers] == [None, None]


@every_form
async def test_a_success_frees_the_failure_before_it(form: Form) -> None:
    """The circuit holds one failure at most, and lets it go with the next success."""
    breaker = form.build(failure_threshold=3)
    failures: list[weakref.ref[DownError]] = []

    def failing() -> None:
        error = DownError()
        failures.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    with without_collector():
        for _ in range(2):
            with suppress(DownError):
                await form.call(breaker, failing)
        assert [failure() is None for failure in failures] == [True, False]
        await form.succeed(breaker)
        assert [failure() is None for failure in failures] == [True, True]


def test_a_reset_frees_the_failure_too() -> None:
    """A circuit reset by hand does not hold on to what opened it."""
    breaker = CircuitBreaker(failure_threshold=1)
    error = DownError()
    breaker.acquire().failure(error)
    failure = weakref.ref(error)
    del error
    assert failure() is not None
    breaker.reset()
    assert failure() is None


def test_a_rejection_frees_what_it_was_raised_through() -> None:
    """Once the caller has dropped it, nothing holds a rejection."""
    breaker = CircuitBreaker(failure_threshold=1)
    tripped(breaker)
    with without_collector():
        try:
            breaker.acquire()
        except CircuitBreakerOpenError as error:
            rejection = weakref.ref(error)
        assert rejection() is None


def test_a_private_breaker_is_freed_with_its_last_reference() -> None:
    """A breaker without a name and its circuit are no garbage that waits for the collector."""
    with without_collector():
        breaker = CircuitBreaker()
        circuit = weakref.ref(breaker._circuit)
        del breaker
        assert circuit() is None


def test_a_dropped_breaker_is_collected_with_its_failure() -> None:
    """A failure's traceback leads back to the circuit that holds it: the collector sees to both."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=5)
    with pytest.raises(DownError):
        breaker.execute(lambda: throw(DownError()))
    circuit = weakref.ref(breaker._circuit)
    del breaker
    gc.collect()
    assert circuit() is None
