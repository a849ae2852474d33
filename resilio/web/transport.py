"""Resilient transport: the standard pipeline below an HTTP client, for each host of its own.

**About.** An HTTP client hands each request to its transport. This one stands before the real one and does what
`resilio.standard_pipeline` does: a limiter, a time for all attempts, retries, a circuit, a time for each attempt.
Whatever is built on the client gets it without a changed line: redirects, sessions, the SDKs of other services.

**Usage.** ::

    from resilio.web.httpx import ResilientTransport

    async with httpx.AsyncClient(transport=ResilientTransport()) as client:
        await client.get("https://api.example.com/cats")

    openai = AsyncOpenAI(
        http_client=httpx.AsyncClient(
            transport=ResilientTransport(
                retry_methods={"GET", "POST"}, attempt_timeout=60, total_timeout=180, max_retries=5
            )
        ),
        max_retries=0,                            # or both would retry, and the attempts multiply
    )

**Defaults.** For each origin: 1000 requests at once → 30 s in all → 3 retries from 2 s, exponential, with full jitter →
a circuit that opens at half of at least 20 attempts in 30 s (in twice an attempt's time, if that is longer), for 5 s →
10 s for each attempt. 1000 origins.

**What is sent again.** Requests whose method may be repeated (GET, HEAD, OPTIONS, TRACE, PUT, DELETE, or what
``retry_methods`` says) or that carry an ``Idempotency-Key``, if their body is in memory: text, bytes, JSON, a form. A
stream or an upload of files can be sent once only, and is.

**What counts as a failure.** Errors of the network, timeouts, and answers 408, 425, 429 and 5xx. The last answer is
handed to the caller as it is; no exception is made of it. ``Retry-After`` is waited for; if it asks for more than what
is left of the time, the answer is handed on at once.

**Bodies.** The times end with the headers. A body may take as long as it does, under the client's own timeouts; its
place in the limiter and its word to the circuit last until it has been read, breaks, or is closed. One that breaks is a
failure and is not repeated: half of it may be out. One that is closed early is a success: the server had answered. One
whose reader is cancelled is neither.

**Errors.** What the library raises stays what it is. An open circuit, a full limiter and an attempt that took too long
raise errors that are ours and the library's at once: ``TransportCircuitOpenError`` is a `CircuitBreakerOpenError` and a
``TransportError``, so that code that knows only the client handles it.

**Events.** Those of the layers, under the host's name.

**Anti-patterns.**

- *A transport for each request.* Bad: ``httpx.AsyncClient(transport=ResilientTransport())`` in a function. Good: one
  client, for as long as the application runs. Why: a new transport knows nothing of the calls before.
- *Retries above and below.* Bad: an SDK with its own ``max_retries`` on top. Good: one of the two. Why: they multiply.
- *Repeating what is not idempotent.* Bad: ``retry_methods={"POST"}`` before a payment. Good: an ``Idempotency-Key``.
  Why: a payment that timed out may have gone through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from resilio._core.drive import drive
from resilio._core.pauses import async_pause, blocking_pause
from resilio.errors import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    IntegrationError,
    OperationTimeoutError,
    RetryExhaustedError,
)
from resilio.policies.deadline import deadline
from resilio.policies.timeout import timed_out
from resilio.web.transport_body import Exchange
from resilio.web.transport_hosts import Hosts
from resilio.web.transport_settings import IDEMPOTENT_METHODS, Answer, Call, TransportSettings, is_failure_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from resilio._core.durations import Duration
    from resilio.policies.circuit_breaker import CircuitBreaker, Permit
    from resilio.policies.retry_budget import RetryBudget
    from resilio.policies.trip import TripRule
    from resilio.web.transport_hosts import Host

__all__ = ("AsyncResilience", "BlockingResilience", "Library", "Resilience")

Inner = TypeVar("Inner")
Send = TypeVar("Send")


class Library(NamedTuple):
    """What a transport needs of the library it serves: its classes, and the errors that are ours and its own."""

    url: Callable[[str], Any]
    in_memory: type
    sender: Callable[[], Any]
    body: Callable[[Any, Exchange], Any]
    own_error: type[Exception]
    circuit_open: type[CircuitBreakerOpenError]
    bulkhead_full: type[BulkheadFullError]
    timed_out: type[OperationTimeoutError]


class Resilience(Generic[Inner, Send]):
    """What transports of both colours and of every library have in common."""

    _library: ClassVar[Library]

    def __init__(
        self,
        transport: Inner | None = None,
        *,
        name: str | None = None,
        max_concurrent: int = 1000,
        total_timeout: Duration = 30.0,
        max_retries: int = 3,
        base_delay: Duration = 2.0,
        budget: RetryBudget | None = None,
        trip: TripRule | None = None,
        recovery_timeout: Duration = 5.0,
        attempt_timeout: Duration = 10.0,
        retry_methods: Iterable[str] = IDEMPOTENT_METHODS,
        max_hosts: int = 1000,
    ) -> None:
        self._settings = TransportSettings.checked(
            name=name,
            max_concurrent=max_concurrent,
            total_timeout=total_timeout,
            max_retries=max_retries,
            base_delay=base_delay,
            budget=budget,
            trip=trip,
            recovery_timeout=recovery_timeout,
            attempt_timeout=attempt_timeout,
            retry_methods=retry_methods,
            max_hosts=max_hosts,
        )
        self._inner: Any = self._library.sender() if transport is None else transport
        self._hosts: Hosts[Send] = Hosts(self._settings, self._senders)

    def breaker(self, url: str) -> CircuitBreaker:
        """The breaker before the host of ``url``: to look at, for a `HealthCheck.of_circuit`, or to isolate.

        Args:
            url: Any URL of that host, ``"https://api.example.com"``.

        Raises:
            ValueError: It names no host.
        """
        parsed = self._library.url(url)
        if not parsed.host:
            msg = f"url must be absolute, such as 'https://api.example.com', not {url!r}"
            raise ValueError(msg)
        return self._hosts.of(parsed).breaker

    def __repr__(self) -> str:
        return f"<{type(self).__name__} before {self._inner!r}, {len(self._hosts)} hosts>"

    def _senders(self, label: str, breaker: CircuitBreaker) -> tuple[Send, Send]:
        raise NotImplementedError

    def _sender(self, host: Host[Send], request: Any) -> Send:
        return host.send if self._settings.may_repeat(request, self._library.in_memory) else host.send_once

    def _judged(self, label: str, call: Call, response: Any, permit: Permit) -> Answer:
        """Book an answer whose status is a failure; keep the permit of any other until its body has come."""
        if not is_failure_status(response.status_code):
            return Answer(call, response, permit)
        said = f"{label} answered {response.status_code}"
        permit.failure(IntegrationError(said, system=label, operation=call.request.method))
        return Answer(call, response, None)

    def _handed_over(self, host: Host[Send], answer: Answer) -> Any:
        """The response, whose body from now on tells when it is over."""
        response = answer.response
        exchange = Exchange(host.limiter, host.breaker, answer.permit, self._settings.attempt)
        if response.is_closed:  # a transport that answers from memory has read it already
            exchange.ends()
        else:
            response.stream = self._library.body(response.stream, exchange)
        return response

    def _translated(self, error: Exception) -> Exception:
        """Our error as one that the library's users catch as well."""
        library = self._library
        if isinstance(error, library.own_error):
            return error
        if isinstance(error, CircuitBreakerOpenError):
            rejected = library.circuit_open(error.message, breaker=error.breaker, retry_after=error.retry_after)
            rejected._circuit = error._circuit  # noqa: SLF001 -- the circuit knows its own rejections by it
            rejected.__cause__ = error.__cause__
            return rejected
        translated: Exception
        if isinstance(error, BulkheadFullError):
            translated = library.bulkhead_full(error.message, bulkhead=error.bulkhead, **error.context)
        elif isinstance(error, OperationTimeoutError):
            translated = library.timed_out(error.message, seconds=error.seconds, operation=error.operation)
        else:
            return error
        translated.__cause__ = error.__cause__
        return translated


_TRANSLATED: Final = (CircuitBreakerOpenError, BulkheadFullError, OperationTimeoutError)


class AsyncResilience(Resilience[Inner, "Callable[[Call], Awaitable[Answer]]"]):
    """What async transports of every library do."""

    async def _handle(self, request: Any) -> Any:
        host = self._hosts.of(request.url)
        limiter = host.limiter
        try:
            if not limiter.try_acquire():
                await limiter.open_block(async_pause)
            try:
                answer = await self._sender(host, request)(Call(request, self._settings.total))
            except BaseException:
                limiter.release()
                raise
        except _TRANSLATED as error:
            raise self._translated(error) from error.__cause__
        return self._handed_over(host, answer)

    def _senders(
        self, label: str, breaker: CircuitBreaker
    ) -> tuple[Callable[[Call], Awaitable[Answer]], Callable[[Call], Awaitable[Answer]]]:
        settings, judged, inner = self._settings, self._judged, self._inner

        async def attempt(call: Call) -> Answer:
            left = call.time_left(label, settings.attempt)
            permit = breaker.acquire()
            limit = deadline(left)
            try:
                response = await inner.handle_async_request(call.request)
            except BaseException as error:
                failure = timed_out(label, left) if limit.end(error) else error
                permit.failure(failure)
                if failure is error:
                    raise
                raise failure from error
            limit.end(None)
            return judged(label, call, response, permit)

        attempts = settings.retry.guard_coroutine(_named(label, attempt))

        async def send(call: Call) -> Answer:
            try:
                answer: Answer = await attempts(call)
            except RetryExhaustedError as error:
                answer = _last_answer(error)
            return answer

        return attempt, send


class BlockingResilience(Resilience[Inner, "Callable[[Call], Answer]"]):
    """What blocking transports of every library do.

    A thread cannot be cancelled, so their times are kept through the client's own: to connect, to write and to wait for
    an answer, each gets no more than what is left of the attempt.
    """

    def _handle(self, request: Any) -> Any:
        host = self._hosts.of(request.url)
        limiter = host.limiter
        try:
            if not limiter.try_acquire():
                drive(limiter.open_block(blocking_pause))
            try:
                answer = self._sender(host, request)(Call(request, self._settings.total))
            except BaseException:
                limiter.release()
                raise
        except _TRANSLATED as error:
            raise self._translated(error) from error.__cause__
        return self._handed_over(host, answer)

    def _senders(
        self, label: str, breaker: CircuitBreaker
    ) -> tuple[Callable[[Call], Answer], Callable[[Call], Answer]]:
        settings, judged, inner = self._settings, self._judged, self._inner

        def attempt(call: Call) -> Answer:
            left = call.time_left(label, settings.attempt)
            permit = breaker.acquire()
            request = call.request
            usual = request.extensions.get("timeout")
            request.extensions["timeout"] = _shortened(usual or {}, left)
            try:
                response = inner.handle_request(request)
            except BaseException as error:
                permit.failure(error)
                raise
            finally:  # the body is read under the client's own timeouts
                request.extensions["timeout"] = usual or {}
            return judged(label, call, response, permit)

        attempts = settings.retry.guard_plain(_named(label, attempt))

        def send(call: Call) -> Answer:
            try:
                answer: Answer = attempts(call)
            except RetryExhaustedError as error:
                answer = _last_answer(error)
            return answer

        return attempt, send


def _shortened(usual: dict[str, float | None], left: float) -> dict[str, float | None]:
    given = ((what, usual.get(what)) for what in ("connect", "read", "write", "pool"))
    return {what: left if seconds is None else min(seconds, left) for what, seconds in given}


def _last_answer(error: RetryExhaustedError) -> Answer:
    if not isinstance(error.last_result, Answer):  # somebody else's retry, below this transport
        raise error
    return error.last_result


def _named(label: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn`` under the name that events and errors are to show."""

    def named(*args: Any) -> Any:
        return fn(*args)

    named.__name__ = named.__qualname__ = label
    named.__module__ = ""
    return named
