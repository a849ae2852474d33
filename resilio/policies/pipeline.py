"""Pipeline: several policies around one call, the outermost first.

**About.** A pipeline is a policy made of others: it decorates, executes and opens blocks as each of them does, and can
be a part of another pipeline.

**Usage.** ::

    pipeline = Pipeline(
        Fallback("Meow?"),                   # answers when all else failed
        BackoffStrategy(max_retries=3),      # tries again
        CircuitBreaker(name="openai-api"),   # unless the circuit is open
        Timeout(10),                         # each attempt takes 10 s at most
    )

    @pipeline
    async def ask(prompt: str) -> str: ...

    print(pipeline.describe())

**Defaults.** None; `resilio.standard_pipeline` is one with sensible numbers.

**Events.** None of its own: its policies tell theirs, under the name of the function that is called in the end.

**Order.** Read it from the outside in: a timeout before the retry limits all attempts together, after it each one. A
breaker inside the retry sees every attempt, outside of it only what all attempts came to.

**Together.** Settings that defeat each other (an attempt that may take longer than all attempts together, a breaker
whose window is shorter than one call) are refused when the pipeline is built, all of them in one message.

**At run time.** `Pipeline.replace` puts other policies in place. Calls under way end under the old ones; if the new
ones are refused, the old ones stay.

**Patterns.**

- *From the user's side to the dependency's:* fallback, limiter, total timeout, retry, breaker, attempt timeout.
- *Hold it in a test:* ``assert pipeline.describe() == Pipeline(...).describe()``.

**Anti-patterns.**

- *The breaker outside of the retry.* Bad: ``Pipeline(CircuitBreaker(), BackoffStrategy())``. Good: the other way round.
  Why: it sees only what all attempts came to, and each user waits for all of them until it opens.
- *A pipeline for each call.* Bad: ``await Pipeline(...).execute(fetch)`` in a function. Good: one, at the top of the
  module. Why: private circuits, limiters and budgets begin anew each time.

**Cost.** The policies are joined once, when a function is decorated (a generator: each time it is started); a call then
walks through them directly.
"""

from __future__ import annotations

import functools
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from resilio._core import durations
from resilio._core.colour import Colour
from resilio.policies.backoff import BackoffStrategyBase
from resilio.policies.circuit_breaker import CircuitBreakerBase
from resilio.policies.description import Description
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream
from resilio.policies.timeout import TimeoutBase
from resilio.policies.windows import TimeWindow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from resilio._core.pauses import Pause
    from resilio.policies.policy import AsyncCall, PlainCall


class PipelineBase(Policy):
    """A pipeline without the forms that have a colour; see `Pipeline`."""

    __slots__ = ("_joined", "_lock", "policies")

    def __init__(self, *policies: Policy) -> None:
        self.policies: tuple[Policy, ...] = _checked(policies)
        self._joined: WeakKeyDictionary[PlainCall, _Joined] = WeakKeyDictionary()  # what follows a `replace`
        self._lock = threading.RLock()  # re-entrant: a finalizer that runs inside it may call what is guarded here
        self._prepare()

    def replace(self, *policies: Policy) -> None:
        """Guard every later call by these policies, in functions decorated already as well.

        Raises:
            TypeError: One of them is no policy, or cannot guard a function that is decorated already; nothing is
                changed.
            ValueError: There is none, or their settings defeat each other; nothing is changed.
        """
        checked = _checked(policies)
        with self._lock:
            rejoined = [(each, self._join(each.colour, each.fn, checked)) for each in list(self._joined.values())]
            self.policies = checked
            for each, call in rejoined:
                each.call = call

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' → '.join(type(policy).__name__ for policy in self.policies)}>"

    def describe(self) -> Description:
        """The policies with their settings, outermost first; prints one a line."""
        return Description("Pipeline", policies=tuple(policy.describe() for policy in self.policies))

    @staticmethod
    def _join(colour: Colour, fn: PlainCall, policies: tuple[Policy, ...]) -> PlainCall:
        for policy in reversed(policies):
            fn = policy.guard(colour, fn)
        return fn

    def _follow(self, joined: _Joined, guarded: PlainCall) -> PlainCall:
        """Put ``guarded``, which calls ``joined``, under the policies of now, and of every later `replace`."""
        with self._lock:
            joined.call = self._join(joined.colour, joined.fn, self.policies)
            self._joined[guarded] = joined
        return guarded

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        joined = _Joined(Colour.COROUTINE, fn)

        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            return await joined.call(*args, **kwargs)

        return self._follow(joined, guarded)

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        joined = _Joined(Colour.PLAIN, fn)

        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return joined.call(*args, **kwargs)

        return self._follow(joined, guarded)

    # A generator is joined anew for each stream; following it as well refuses in time what cannot guard it.

    def _guard_async_generator(self, fn: Callable[..., AsyncGenerator[Any, Any]]) -> PlainCall:
        return self._follow(_Joined(Colour.ASYNC_GENERATOR, fn), super()._guard_async_generator(fn))

    def _guard_generator(self, fn: Callable[..., Generator[Any, Any, Any]]) -> PlainCall:
        return self._follow(_Joined(Colour.GENERATOR, fn), super()._guard_generator(fn))

    def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractAsyncContextManager[Stream]:
        inner = self._join(Colour.ASYNC_GENERATOR, fn, self.policies[1:])
        return self.policies[0].open_stream(inner, args, kwargs)

    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractContextManager[Iteration]:
        inner = self._join(Colour.GENERATOR, fn, self.policies[1:])
        return self.policies[0].open_iterator(inner, args, kwargs)

    async def open_block(self, pause: Pause) -> ExitStack:
        opened = ExitStack()
        try:
            for policy in self.policies:
                opened.push(await policy.open_block(pause))
        except BaseException as error:
            opened.__exit__(type(error), error, error.__traceback__)
            raise
        return opened


class _Joined:
    """A function behind the policies of a pipeline, as they are at the moment."""

    __slots__ = ("call", "colour", "fn")

    call: PlainCall

    def __init__(self, colour: Colour, fn: PlainCall) -> None:
        self.colour = colour
        self.fn = fn


def _checked(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    for place, policy in enumerate(policies, 1):
        if not isinstance(policy, Policy):
            msg = f"a pipeline joins policies, and number {place} is none: {policy!r}"
            raise TypeError(msg)
    if not policies:
        msg = "a pipeline needs at least one policy"
        raise ValueError(msg)
    flat = list(_flattened(policies))
    problems = [problem for place, policy in enumerate(flat) for problem in _problems(policy, flat[place + 1 :])]
    if problems:
        msg = "these policies defeat each other:\n" + "\n".join(f"- {problem}" for problem in problems)
        raise ValueError(msg)
    return policies


def _flattened(policies: tuple[Policy, ...]) -> Iterator[Policy]:
    for policy in policies:
        if isinstance(policy, PipelineBase):
            yield from _flattened(policy.policies)
        else:
            yield policy


def _problems(outer: Policy, inside: list[Policy]) -> Iterator[str]:
    """What is wrong with ``outer`` around the policies ``inside`` of it."""
    for inner in inside:
        if isinstance(outer, TimeoutBase) and isinstance(inner, TimeoutBase) and inner.seconds > outer.seconds:
            yield (
                f"the inner timeout of {inner.seconds:g} s never fires inside the outer one of {outer.seconds:g} s: "
                "make the inner one shorter"
            )
        if isinstance(outer, TimeoutBase) and isinstance(inner, BackoffStrategyBase):
            duration = inner.plan.max_duration
            if duration is not None and duration > outer.seconds:
                yield (
                    f"a retry with max_duration={duration:g} never ends by itself inside a timeout of "
                    f"{outer.seconds:g} s: make max_duration shorter"
                )
        if isinstance(outer, CircuitBreakerBase) and isinstance(inner, TimeoutBase):
            for window in outer.windows:
                if isinstance(window, TimeWindow) and durations.seconds("window", window.seconds) < inner.seconds:
                    yield (
                        f"circuit {outer.name!r} looks back {window.seconds:g} s, and one call may take "
                        f"{inner.seconds:g} s: make the window longer than the timeout"
                    )


class Pipeline(AsyncForms, PipelineBase):
    """Several policies around one call; see this module for the whole story.

    Args:
        policies: Outermost first, at least one. Pipelines nest.

    Raises:
        TypeError: One of them is no policy.
        ValueError: There is none, or their settings defeat each other; the message lists everything.

    Safe to share between tasks, threads and event loops.

        >>> from resilio import Fallback, Timeout
        >>> print(Pipeline(Fallback("Meow?"), Timeout(10)).describe())
        1. Fallback(value_or_fn='Meow?', on=<class 'Exception'>)
        2. Timeout(seconds=10.0)
    """

    __slots__ = ()
