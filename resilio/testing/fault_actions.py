"""What a fault does to a call: the actions of `resilio.testing.faults`.

A rule takes them as methods (``faults.on(fetch).first(2).raises(ConnectionError)``). The functions of the same names in
this module make them as values, for the letters of a pattern::

    from resilio.testing.fault_actions import drops_ack, raises

    faults.on(fetch).pattern("F.D", F=raises(TimeoutError), D=drops_ack())

Each action has hooks that the wrapper calls in order: `before` the callee, then `after` it or `after_failure`; around
each item of a generator `at_item` and `item`. An action tells `Step.record` when it acts.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import anyio
import anyio.lowlevel

from resilio._core import durations
from resilio._core.colour import Colour, name_of

if TYPE_CHECKING:
    import random

ErrorSource: TypeAlias = BaseException | type[BaseException] | Callable[[], BaseException]
"""An exception, its class, or a function without arguments that makes one."""

Delay: TypeAlias = durations.Duration | Callable[["random.Random"], float]
"""Seconds, a ``timedelta``, or a distribution: a function that draws seconds from the dice it is handed."""

Wait: TypeAlias = Callable[[float], Awaitable[None]]
"""How to wait for so many seconds in one colour of function."""

_ASYNC = (Colour.COROUTINE, Colour.ASYNC_GENERATOR)
_ITERATED = (Colour.GENERATOR, Colour.ASYNC_GENERATOR)


class Cancellable(Protocol):
    """What can be cancelled: a cancel scope of anyio or trio, an asyncio task."""

    def cancel(self) -> object:
        """Ask for the cancellation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action within one call.

    Attributes:
        action: What to do.
        where: Which call of what, for messages.
        dice: The randomness of this call and rule.
        pause: How to wait in this colour of function.
        record: Writes into the injector's log that the action happened now.
    """

    action: FaultAction
    where: str
    dice: random.Random
    pause: Wait
    record: Callable[[str], None]


class FaultAction:
    """One thing that can happen to a call. A frozen value: the same object serves every call."""

    __slots__ = ()

    swallows_items = False
    """Whether a generator is run to its end without handing on its items."""
    replaces = False
    """Whether the callee is not called and `value` stands for its result."""

    @property
    def value(self) -> Any:
        """The result of an action that `replaces` the callee."""
        return None

    def refusal(self, colour: Colour) -> str | None:  # noqa: ARG002 -- a hook
        """Why this action cannot be done to a function of this colour; None if it can."""
        return None

    async def before(self, step: Step) -> None:
        """Wait or raise before the callee is called."""

    def after(self, step: Step, result: Any) -> Any:  # noqa: ARG002 -- a hook
        """What becomes of the callee's result."""
        return result

    def after_failure(self, step: Step, error: Exception) -> None:
        """What becomes of the callee's error: it goes on unless this raises another."""

    def at_item(self, step: Step, passed: int) -> bool:  # noqa: ARG002 -- a hook
        """Tell whether a generator ends here, after ``passed`` items; or raise."""
        return False

    def item(self, step: Step, passed: int, item: Any) -> Any:  # noqa: ARG002 -- a hook
        """What becomes of a generator's item, before which ``passed`` others went."""
        return item


class _Raises(FaultAction):
    __slots__ = ("_after_items", "_make", "_name")

    def __init__(self, error: ErrorSource, after_items: int) -> None:
        self._make, self._name = _error_maker("raises", error)
        self._after_items = durations.whole("after_items", after_items)

    def refusal(self, colour: Colour) -> str | None:
        if self._after_items and colour not in _ITERATED:
            return f"raises(after_items={self._after_items}) breaks a stream in the middle"
        return None

    async def before(self, step: Step) -> None:
        if not self._after_items:
            step.record(str(self))
            raise self._make(step.where)

    def at_item(self, step: Step, passed: int) -> bool:
        if passed == self._after_items:
            step.record(str(self))
            raise self._make(step.where)
        return False

    def __str__(self) -> str:
        return f"raises({self._name}{f', after_items={self._after_items}' if self._after_items else ''})"


class _Delays(FaultAction):
    __slots__ = ("_draw", "_name")

    def __init__(self, delay: Delay) -> None:
        if callable(delay):
            self._draw, self._name = delay, name_of(delay)
        else:
            fixed = durations.seconds("delay", delay)
            self._draw, self._name = (lambda _dice: fixed), f"{fixed:g}"

    async def before(self, step: Step) -> None:
        wait = durations.seconds(f"the delay drawn from {self._name}", self._draw(step.dice))
        step.record(f"delays({wait:g})")
        await step.pause(wait)

    def __str__(self) -> str:
        return f"delays({self._name})"


class _Hangs(FaultAction):
    __slots__ = ("_limit",)

    def __init__(self, limit: durations.Duration | None) -> None:
        self._limit = durations.optional(durations.seconds, "limit", limit)

    def refusal(self, colour: Colour) -> str | None:
        if self._limit is None and colour not in _ASYNC:
            return "without an event loop nobody could end a hang: give hangs(limit=seconds)"
        return None

    async def before(self, step: Step) -> None:
        step.record(str(self))
        if self._limit is None:
            await anyio.sleep_forever()
        else:
            await step.pause(self._limit)
            msg = f"the injected hang in {step.where} reached its limit of {self._limit:g} s"
            raise TimeoutError(msg)

    def __str__(self) -> str:
        return "hangs()" if self._limit is None else f"hangs(limit={self._limit:g})"


class _Returns(FaultAction):
    __slots__ = ("_value",)

    replaces = True

    def __init__(self, value: Any) -> None:
        self._value = value

    @property
    def value(self) -> Any:
        return self._value

    def refusal(self, colour: Colour) -> str | None:
        if colour in _ITERATED and not isinstance(self._value, Iterable):
            return f"returns() takes the items to iterate over here, not {self._value!r}"
        return None

    async def before(self, step: Step) -> None:
        step.record(str(self))

    def __str__(self) -> str:
        text = repr(self._value)
        return f"returns({text if len(text) <= 60 else text[:57] + '...'})"  # noqa: PLR2004 -- a readable line


class _Mangles(FaultAction):
    __slots__ = ("_change",)

    def __init__(self, change: Callable[[Any], Any]) -> None:
        if not callable(change):
            msg = f"mangles must be given a function of the result, not {change!r} ({type(change).__name__})"
            raise TypeError(msg)
        self._change = change

    def after(self, step: Step, result: Any) -> Any:
        step.record(str(self))
        return self._change(result)

    def item(self, step: Step, passed: int, item: Any) -> Any:
        if passed == 0:
            step.record(str(self))
        return self._change(item)

    def __str__(self) -> str:
        return f"mangles({name_of(self._change)})"


class _Truncates(FaultAction):
    __slots__ = ("_length",)

    def __init__(self, length: int) -> None:
        self._length = durations.whole("truncates", length)

    def after(self, step: Step, result: Any) -> Any:
        step.record(str(self))
        try:
            return result[: self._length]
        except TypeError as error:
            msg = f"{self} cuts bytes, strings and lists; {step.where} returned {result!r} ({type(result).__name__})"
            raise TypeError(msg) from error

    def at_item(self, step: Step, passed: int) -> bool:
        if passed < self._length:
            return False
        step.record(str(self))
        return True

    def __str__(self) -> str:
        return f"truncates({self._length})"


class _Cancels(FaultAction):
    __slots__ = ("_scope",)

    def __init__(self, scope: Cancellable | None) -> None:
        if scope is not None and not callable(getattr(scope, "cancel", None)):
            msg = f"cancels takes something with a cancel() method, such as a cancel scope, not {scope!r}"
            raise TypeError(msg)
        self._scope = scope

    def refusal(self, colour: Colour) -> str | None:
        return None if colour in _ASYNC else "code without an event loop cannot be cancelled"

    async def before(self, step: Step) -> None:
        step.record(str(self))
        if self._scope is None:
            raise await _cancellation(step.where)
        self._scope.cancel()
        # It arrives here; under a shield it does not, and then the call goes on, as it would in life.
        await anyio.lowlevel.checkpoint()

    def __str__(self) -> str:
        return "cancels()" if self._scope is None else "cancels(scope)"


class _DropsAck(FaultAction):
    __slots__ = ("_make", "_name")

    swallows_items = True

    def __init__(self, error: ErrorSource) -> None:
        self._make, self._name = _error_maker("drops_ack", error)

    def after(self, step: Step, result: Any) -> Any:  # noqa: ARG002 -- the result is what gets lost
        step.record(str(self))
        raise self._make(step.where)

    def after_failure(self, step: Step, error: Exception) -> None:
        step.record(str(self))
        raise self._make(step.where) from error

    def __str__(self) -> str:
        return f"drops_ack({self._name})"


# -- the same as values ------------------------------------------------------------------------------------------------


def raises(error: ErrorSource, *, after_items: int = 0) -> FaultAction:
    """Raise instead of calling.

    Args:
        error: An exception (the same object each time), its class, or a function without arguments that makes one.
        after_items: For a generator: let so many items through first, as a stream that breaks in the middle.

    Raises:
        TypeError: ``error`` is none of these, or a class that cannot be made from a message or from nothing.
    """
    return _Raises(error, after_items)


def delays(delay: Delay) -> FaultAction:
    """Wait before calling.

    Args:
        delay: Seconds, a ``timedelta``, or a function that draws seconds from the ``random.Random`` it is handed:
            ``delays(lambda dice: dice.expovariate(5))``.
    """
    return _Delays(delay)


def hangs(limit: durations.Duration | None = None) -> FaultAction:
    """Never answer.

    Args:
        limit: Seconds after which a ``TimeoutError`` says that the hang went on too long. Without one an async call
            waits until it is cancelled; for a plain function, which nobody could cancel, a limit is a must.
    """
    return _Hangs(limit)


def returns(value: Any) -> FaultAction:
    """Answer ``value`` without calling. For a generator: the items to hand out. The same object each time."""
    return _Returns(value)


def mangles(change: Callable[[Any], Any]) -> FaultAction:
    """Call, and answer what ``change`` makes of the result; of each item, for a generator."""
    return _Mangles(change)


def truncates(length: int) -> FaultAction:
    """Call, and answer only the first ``length`` bytes, characters or elements; items, for a generator."""
    return _Truncates(length)


def cancels(scope: Cancellable | None = None) -> FaultAction:
    """Cancel the call.

    Args:
        scope: What to cancel: a cancel scope or a task around the call. Without one the backend's own cancellation
            error comes out of the call, as when the callee was cancelled from within.
    """
    return _Cancels(scope)


def drops_ack(error: ErrorSource = ConnectionResetError) -> FaultAction:
    """Let the callee do its work, then lose the reply, be it a result or an error, and raise ``error`` in its place.

    A generator runs to its end and hands out nothing.
    """
    return _DropsAck(error)


def _error_maker(name: str, source: ErrorSource) -> tuple[Callable[[str], BaseException], str]:
    """Return a function that makes the error for a call, and the error's name; refuse what makes none."""
    if isinstance(source, BaseException):
        # The same object each time, as the test may compare by identity; its traceback must not grow with every raise.
        return (lambda _where: source.with_traceback(None)), repr(source)
    if isinstance(source, type) and issubclass(source, BaseException):
        return _class_maker(name, source), source.__name__
    if callable(source) and not isinstance(source, type):
        return (lambda where: _made(source, where)), name_of(source)
    msg = f"{name} must be given an exception, its class, or a function that makes one, not {source!r}"
    raise TypeError(msg)


def _class_maker(name: str, kind: type[BaseException]) -> Callable[[str], BaseException]:
    for arguments in (("injected",), ()):
        try:
            kind(*arguments)
        except TypeError:
            continue
        return lambda where: kind(*(f"injected into {where}" for _ in arguments))
    msg = f"{name}: {kind.__name__} needs arguments of its own: give one that is made, or a function that makes it"
    raise TypeError(msg)


def _made(factory: Callable[[], BaseException], where: str) -> BaseException:
    error = factory()
    if not isinstance(error, BaseException):
        msg = f"{name_of(factory)} should make an exception for {where}, and made {error!r}"
        raise TypeError(msg)
    return error


async def _cancellation(where: str) -> BaseException:
    kind = anyio.get_cancelled_exc_class()
    if kind is CancelledError:
        return CancelledError(f"injected into {where}")
    # trio makes its own alone: take the one that a cancelled scope throws.
    caught: BaseException | None = None
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except kind as error:
            caught = error
    if caught is None:  # pragma: no cover -- a checkpoint in a cancelled scope always raises
        msg = f"{kind!r} was not thrown into a cancelled scope"
        raise RuntimeError(msg)
    return caught
