"""What a request holds while its answer's body is under way, and how it is given back.

An attempt's time ends with the headers; its place in the limiter and its permit do not. They are settled when the body
has been read, breaks, or is closed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from resilio._core import clock
from resilio._core.cancellation import is_interruption
from resilio.errors import CircuitBreakerOpenError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from resilio.policies.bulkhead import Bulkhead
    from resilio.policies.circuit_breaker import CircuitBreaker, Permit

__all__ = ("AsyncBody", "BlockingBody", "Exchange")


class Exchange:
    """A request whose headers have been answered: its place and its permit, each given back once.

    A long stream must not keep a half-open circuit waiting: once it has flowed for ``soundness`` seconds it counts as a
    success, and if it breaks after that, as a failure of its own.

    Args:
        limiter: Where it holds a place.
        breaker: Whose permit it is.
        permit: None if the answer's status has been booked as a failure already.
        soundness: Seconds.
    """

    __slots__ = ("_breaker", "_limiter", "_permit", "_sound_at")

    def __init__(self, limiter: Bulkhead, breaker: CircuitBreaker, permit: Permit | None, soundness: float) -> None:
        self._limiter: Bulkhead | None = limiter
        self._breaker: CircuitBreaker | None = None if permit is None else breaker
        self._permit = permit
        self._sound_at = clock.monotonic() + soundness

    def flows(self) -> None:
        """Another piece of the body has come."""
        if self._permit is not None and clock.monotonic() >= self._sound_at:
            self._permit.success()
            self._permit = None

    def ends(self) -> None:
        """The body has been read, or its reader wants no more of it: the server did its part."""
        self._breaker = None
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.success()
        self._leave()

    def breaks(self, error: BaseException) -> None:
        """Reading the body raised ``error``; cancellation says nothing about the server."""
        breaker, self._breaker = self._breaker, None
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.failure(error)
        elif breaker is not None and not is_interruption(error):
            with suppress(CircuitBreakerOpenError):  # it knows already
                breaker.acquire().failure(error)
        self._leave()

    def is_lost(self) -> None:
        """Nobody reads or closes the body any more."""
        self._breaker = None
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.release()
        self._leave()

    def _leave(self) -> None:
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            limiter.release()


class _Body:
    """A body on its way, whatever the library and the colour."""

    def __init__(self, stream: Any, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange
        self._pieces: Any = None

    def __del__(self) -> None:
        exchange = getattr(self, "_exchange", None)
        if exchange is not None:
            exchange.is_lost()


class AsyncBody(_Body):
    """The body of an answer to an async client. No generator: nothing is left to a garbage collector to close."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._pieces = self._stream.__aiter__()
        return self

    async def __anext__(self) -> bytes:
        try:
            piece: bytes = await self._pieces.__anext__()
        except StopAsyncIteration:
            self._exchange.ends()
            raise
        except BaseException as error:
            self._exchange.breaks(error)
            raise
        self._exchange.flows()
        return piece

    async def aclose(self) -> None:
        """Close the connection or give it back, and what the request held."""
        try:
            await self._stream.aclose()
        finally:
            self._exchange.ends()


class BlockingBody(_Body):
    """The body of an answer to a blocking client."""

    def __iter__(self) -> Iterator[bytes]:
        self._pieces = iter(self._stream)
        return self

    def __next__(self) -> bytes:
        try:
            piece: bytes = next(self._pieces)
        except StopIteration:
            self._exchange.ends()
            raise
        except BaseException as error:
            self._exchange.breaks(error)
            raise
        self._exchange.flows()
        return piece

    def close(self) -> None:
        """Close the connection or give it back, and what the request held."""
        try:
            self._stream.close()
        finally:
            self._exchange.ends()
