"""Chaos: faults in production, on purpose, few, and stoppable at once.

**About.** Around the innermost call of a pipeline, it does to a share of the calls what a bad day would do: lets them
fail, wait or answer nonsense. What stands around it must cope. Whether it does is better learnt at noon, with everybody
watching, than at night.

**Usage.** ::

    chaos = Chaos(
        raises(ConnectionError),                     # from resilio.testing.fault_actions
        rate=0.01,                                   # of a hundred calls one
        kill_switch=lambda: flags.is_on("no-chaos"), # asked first
        scope=lambda call: call.kwargs.get("tenant") == "staff",
        max_per_minute=10,
        enabled=settings.CHAOS,
    )

    @Pipeline(BackoffStrategy(), CircuitBreaker(name="warehouse"), Timeout(2), chaos)      # innermost
    async def reserve(order: Order, *, tenant: str) -> None: ...

**Safe by default.** It does nothing unless ``enabled``, and then nothing but tell what it would have done, until
``dry_run=False``. The kill switch is asked before anything else; if it raises, there is no chaos. So it is with a scope
that raises. A dry run counts against the cap and tells the same events as the real one, marked as a dry run.

**Order.** At each call: enabled? kill switch? scope? the dice, then the cap. The dice are the package's own, which
tests can load.

**Blocks.** ``async with chaos:`` strikes before the block begins: it can fail it or let it wait.

**Events.** `ChaosInjected`, `ChaosWithheld`.

**Anti-patterns.**

- *Chaos outside the retry.* It then hits users, not the policies that should protect them.
- *Chaos without anybody who listens to its events.* Nobody can tell it from a real outage.
"""

from __future__ import annotations

import functools
import inspect
import random
import threading
from collections import deque
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from resilio._core import clock, dice, durations, events
from resilio._core.colour import FINISHED, Colour, is_unfinished, name_of, refuse_unless_plain
from resilio._core.pauses import async_pause
from resilio.policies.description import Description
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream, call_any, call_plain, operation_of
from resilio.policies.wording import told
from resilio.testing.chaos_events import ChaosCall, ChaosInjected, ChaosWithheld
from resilio.testing.fault_actions import FaultAction, Step
from resilio.testing.fault_wrappers import stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager

    from resilio._core.pauses import Pause
    from resilio.policies.policy import AsyncCall, PlainCall
    from resilio.testing.fault_actions import Wait

__all__ = ("Chaos", "ChaosCall", "ChaosInjected", "ChaosWithheld")

_MINUTE = 60.0
_BLOCK = "block"


class ChaosBase(Policy):
    """Chaos without the forms that have a colour; see `Chaos`."""

    __slots__ = (
        "_actions",
        "_dry_run",
        "_enabled",
        "_kill_switch",
        "_lock",
        "_max_per_minute",
        "_rate",
        "_scope",
        "_struck_at",
        "name",
    )

    def __init__(
        self,
        *actions: FaultAction,
        rate: float,
        enabled: bool = False,
        dry_run: bool = True,
        kill_switch: Callable[[], bool] | None = None,
        scope: Callable[[ChaosCall], bool] | None = None,
        max_per_minute: int = 10,
        name: str = "chaos",
    ) -> None:
        self._actions = _checked(actions)
        self._rate = durations.number("rate", rate, at_least=0, at_most=1)
        self.enabled = enabled
        self.dry_run = dry_run
        self._kill_switch = _predicate("kill_switch", kill_switch)
        self._scope = _predicate("scope", scope)
        self._max_per_minute = durations.whole("max_per_minute", max_per_minute, at_least=1)
        self.name: str = name
        self._lock = threading.Lock()
        self._struck_at: deque[float] = deque(maxlen=self._max_per_minute)
        try:
            self._prepare()
        except TypeError as refusal:  # one of the actions is for generators, which `execute` does not call
            self._invoke = _refusing(refusal)

    # -- looking and switching -----------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether it does anything at all; may be set at any time."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled = durations.flag("enabled", value)

    @property
    def dry_run(self) -> bool:
        """Whether it only tells what it would do; may be set at any time."""
        return self._dry_run

    @dry_run.setter
    def dry_run(self, value: bool) -> None:
        self._dry_run = durations.flag("dry_run", value)

    def __repr__(self) -> str:
        mode = "disabled" if not self._enabled else "dry run" if self._dry_run else "enabled"
        return f"<{type(self).__name__} {mode}, {'.'.join(map(str, self._actions))} at {self._rate:g}>"

    def describe(self) -> Description:
        return Description(
            "Chaos",
            (
                ("name", self.name),
                ("actions", tuple(map(str, self._actions))),
                ("rate", self._rate),
                ("enabled", self._enabled),
                ("dry_run", self._dry_run),
                ("kill_switch", None if self._kill_switch is None else name_of(self._kill_switch)),
                ("scope", None if self._scope is None else name_of(self._scope)),
                ("max_per_minute", self._max_per_minute),
            ),
        )

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _strikes(self, call: Callable[[], ChaosCall]) -> str | None:
        """Decide about a call: None to let it alone, else the operation's name; in a dry run tell, and let it alone."""
        struck = call()
        if self._says("kill_switch", struck, self._kill_switch, no_answer=True):
            return None
        if not self._says("scope", struck, self._scope and functools.partial(self._scope, struck), no_answer=False):
            return None
        if dice.random() >= self._rate or not self._has_room():
            return None
        if not self._dry_run:
            return struck.operation
        for action in self._actions:
            self._tell(struck.operation, str(action), dry_run=True)
        return None

    def _says(self, asked: str, call: ChaosCall, fn: Callable[[], bool] | None, *, no_answer: bool) -> bool:
        """What a function of the user says; ``no_answer``, which is the one that means no chaos, if it raises."""
        if fn is None:
            return not no_answer
        try:
            return bool(fn())
        except Exception as error:
            if events.listeners:
                events.emit(ChaosWithheld(chaos=self.name, operation=call.operation, asked=asked, error=told(error)))
            return no_answer

    def _has_room(self) -> bool:
        """Take a place under the cap, if one is free: no more than so many strikes in any sixty seconds."""
        now = clock.monotonic()
        struck_at = self._struck_at
        with self._lock:
            if len(struck_at) == self._max_per_minute and now - struck_at[0] < _MINUTE:
                return False
            struck_at.append(now)  # the oldest one falls out
            return True

    def _tell(self, operation: str, action: str, *, dry_run: bool = False) -> None:
        if events.listeners:
            events.emit(ChaosInjected(chaos=self.name, operation=operation, action=action, dry_run=dry_run))

    def _plan(self, operation: str, pause: Wait) -> tuple[Step, ...]:
        source = random.Random(dice.randbytes(8))  # noqa: S311 -- for distributions of delays
        record = functools.partial(self._tell, operation)
        where = f"a call of {operation}"
        return tuple(Step(action=each, where=where, dice=source, pause=pause, record=record) for each in self._actions)

    def _met(self, fn: PlainCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PlainCall:
        """What this call of ``fn`` meets: ``fn`` itself, or what stands in for it and strikes."""
        if not self._enabled:
            return fn
        operation = self._strikes(lambda: _call_of(fn, args, kwargs))
        return fn if operation is None else stand_in(fn, functools.partial(self._plan, operation))

    # -- guarding ------------------------------------------------------------------------------------------------------

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        self._refuse(Colour.COROUTINE, fn)

        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            return await self._met(fn, args, kwargs)(*args, **kwargs)

        return guarded

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        self._refuse(Colour.PLAIN, fn)
        is_async = False  # a plain function that returns what must be awaited shows it only when called

        @functools.wraps(fn)
        def looked_at(*args: Any, **kwargs: Any) -> Any:
            nonlocal is_async
            result = fn(*args, **kwargs)
            is_async = type(result) not in FINISHED and is_unfinished(result)
            return result

        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if not is_async:
                return self._met(looked_at, args, kwargs)(*args, **kwargs)
            result = looked_at(*args, **kwargs)
            return self.guard_returned(fn, result, args, kwargs) if is_async else result

        return guarded

    @asynccontextmanager
    async def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        yield await Stream.begin(self._met(fn, args, kwargs)(*args, **kwargs))

    @contextmanager
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        yield Iteration(self._met(fn, args, kwargs)(*args, **kwargs))

    async def open_block(self, pause: Pause) -> AbstractContextManager[object]:
        is_blocking = pause is not async_pause
        self._refuse(Colour.PLAIN if is_blocking else Colour.COROUTINE, None)
        if self._enabled:
            operation = self._strikes(lambda: ChaosCall(operation=_BLOCK))
            for step in () if operation is None else self._plan(operation, _block if is_blocking else clock.sleep):
                await step.action.before(step)
        return nullcontext()

    def _guard_async_generator(self, fn: Callable[..., AsyncGenerator[Any, Any]]) -> PlainCall:
        self._refuse(Colour.ASYNC_GENERATOR, fn)
        return super()._guard_async_generator(fn)

    def _guard_generator(self, fn: Callable[..., Generator[Any, Any, Any]]) -> PlainCall:
        self._refuse(Colour.GENERATOR, fn)
        return super()._guard_generator(fn)

    def _refuse(self, colour: Colour, fn: PlainCall | None) -> None:
        """Raise for an action that cannot be done to a function of this colour; to a block, if there is none."""
        for action in self._actions:
            refusal = action.refusal(colour)
            if refusal is None and fn is None and (action.replaces or type(action).after is not FaultAction.after):
                refusal = "a block has no result"
            if refusal is not None:
                what = "a block" if fn is None else "a call" if fn is call_any or fn is call_plain else name_of(fn)
                msg = f"chaos cannot do {action} to {what}: {refusal}"
                raise TypeError(msg)


class Chaos(AsyncForms, ChaosBase):
    """Does to a share of the calls what a bad day would do; see this module for the whole story.

    Args:
        actions: What to do to a call that is struck, at least one thing: what the functions of
            `resilio.testing.fault_actions` make.
        rate: The share of calls to strike, from 0 to 1.
        enabled: Whether to do anything at all.
        dry_run: Whether only to tell what would be done.
        kill_switch: A plain function, asked at every call before anything else; what is true stops chaos.
        scope: A plain function that is told of each call as a `ChaosCall`; what is false lets the call alone.
        max_per_minute: Calls struck in any sixty seconds, at most; at least 1.
        name: What events call this policy.

    Raises:
        TypeError: An argument is of the wrong type, or no action is given.
        ValueError: An argument is out of range.

    ``enabled`` and ``dry_run`` may be set at any time. Safe to create at import time and to share between tasks,
    threads and event loops. It imports neither pytest nor Hypothesis.

        >>> from resilio.testing.fault_actions import raises
        >>> Chaos(raises(ConnectionError), rate=0.01)
        <Chaos disabled, raises(ConnectionError) at 0.01>
    """

    __slots__ = ()


async def _block(seconds: float) -> None:
    # Not the policies' pause: switching their waits off must not switch an injected delay off.
    clock.sleep_blocking(seconds)


def _call_of(fn: PlainCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ChaosCall:
    innermost = inspect.unwrap(fn)
    is_executed = innermost is call_any or innermost is call_plain  # what they call is their first argument
    return ChaosCall(operation=operation_of(fn, args), args=args[1:] if is_executed else args, kwargs=kwargs)


def _checked(actions: tuple[FaultAction, ...]) -> tuple[FaultAction, ...]:
    for each in actions:
        if not isinstance(each, FaultAction):
            msg = f"Chaos takes actions such as fault_actions.raises(ConnectionError), not {each!r}"
            raise TypeError(msg)
    if not actions:
        msg = "Chaos needs at least one action, such as fault_actions.raises(ConnectionError)"
        raise TypeError(msg)
    return actions


def _predicate(name: str, fn: Any) -> Any:
    if fn is not None:
        refuse_unless_plain(name, fn)
    return fn


def _refusing(refusal: TypeError) -> PlainCall:
    text = str(refusal)

    def refuse(*_: object, **__: object) -> Any:
        raise TypeError(text)

    return refuse
