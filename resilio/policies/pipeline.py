"""Pipeline: several policies around one call, the outermost first.

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

**Order.** Read it from the outside in: a timeout before the retry limits all attempts together, after it each one. A
breaker inside the retry sees every attempt, outside of it only what all attempts came to.

**Cost.** The policies are joined once, when a function is decorated; a call then walks through them directly.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from resilio._core.colour import Colour
from resilio.policies.description import Description
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from resilio._core.pauses import Pause
    from resilio.policies.policy import AsyncCall, PlainCall


class PipelineBase(Policy):
    """A pipeline without the forms that have a colour; see `Pipeline`."""

    __slots__ = ("policies",)

    def __init__(self, *policies: Policy) -> None:
        for place, policy in enumerate(policies, 1):
            if not isinstance(policy, Policy):
                msg = f"a pipeline joins policies, and number {place} is none: {policy!r}"
                raise TypeError(msg)
        if not policies:
            msg = "a pipeline needs at least one policy"
            raise ValueError(msg)
        self.policies = policies
        self._prepare()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' → '.join(type(policy).__name__ for policy in self.policies)}>"

    def describe(self) -> Description:
        """The policies with their settings, outermost first; prints one a line."""
        return Description("Pipeline", policies=tuple(policy.describe() for policy in self.policies))

    def _join(self, colour: Colour, fn: PlainCall, policies: tuple[Policy, ...]) -> PlainCall:
        for policy in reversed(policies):
            fn = policy.guard(colour, fn)
        return fn

    def guard(self, colour: Colour, fn: PlainCall) -> PlainCall:
        return self._join(colour, fn, self.policies)

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        return self._join(Colour.COROUTINE, fn, self.policies)

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        return self._join(Colour.PLAIN, fn, self.policies)

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


class Pipeline(AsyncForms, PipelineBase):
    """Several policies around one call; see this module for the whole story.

    Args:
        policies: Outermost first, at least one. Pipelines nest.

    Raises:
        TypeError: One of them is no policy.
        ValueError: There is none.

    Safe to share between tasks, threads and event loops.

        >>> from resilio import Fallback, Timeout
        >>> print(Pipeline(Fallback("Meow?"), Timeout(10)).describe())
        1. Fallback(value_or_fn='Meow?', on=<class 'Exception'>)
        2. Timeout(seconds=10.0)
    """

    __slots__ = ()
