"""What a resilient transport is set to, checked once, and what it asks of a request and of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock, durations
from resilio.policies.backoff import BackoffStrategy
from resilio.policies.circuit_breaker import CircuitBreaker
from resilio.policies.retry_after import retry_after
from resilio.policies.standard import standard_pipeline
from resilio.policies.timeout import timed_out
from resilio.policies.trip_rates import FailureRate
from resilio.policies.windows import TimeWindow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resilio._core.durations import Duration
    from resilio.policies.circuit_breaker import Permit
    from resilio.policies.retry_budget import RetryBudget
    from resilio.policies.trip import TripRule

__all__ = ("IDEMPOTENT_METHODS", "Answer", "Call", "TransportSettings", "is_failure_status")

IDEMPOTENT_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE")
"""Methods that may be sent again without doing more than once (RFC 9110, section 9.2.2)."""

_FAILURES_BELOW_500: Final = frozenset({408, 425, 429})

# Errors of the request itself, which say nothing about the server. By name, for there are two libraries that have them.
_CALLERS_FAULTS: Final = frozenset({"InvalidURL", "LocalProtocolError", "UnsupportedProtocol"})


def is_failure_status(status: int) -> bool:
    """Tell whether an answer of that status is worth another attempt, and a failure of the server's."""
    return status >= 500 or status in _FAILURES_BELOW_500  # noqa: PLR2004


def _is_callers_fault(error: BaseException) -> bool:
    return type(error).__name__ in _CALLERS_FAULTS


class Call:
    """A request on its way: what all its attempts share.

    Attributes:
        request: The library's request.
        total: Seconds for all of them.
        deadline: When these are over, on the monotonic clock.
    """

    __slots__ = ("deadline", "request", "total")

    def __init__(self, request: Any, total: float) -> None:
        self.request: Any = request
        self.total: float = total
        self.deadline: float = clock.monotonic() + total

    def time_left(self, label: str, attempt: float) -> float:
        """Seconds that an attempt may take which starts now.

        Args:
            label: The host's.
            attempt: Seconds for each attempt.

        Raises:
            OperationTimeoutError: All the time is used up.
        """
        left = self.deadline - clock.monotonic()
        if left <= 0:
            raise timed_out(label, self.total)
        return min(left, attempt)


class Answer:
    """What an attempt came to: a response whose headers are here, and the permit that is still open.

    Attributes:
        response: The library's response.
        permit: None once the status has been booked as a failure.
        retry_after: Seconds that the server asks to wait.
    """

    __slots__ = ("_call", "permit", "response", "retry_after")

    def __init__(self, call: Call, response: Any, permit: Permit | None) -> None:
        self._call = call
        self.response: Any = response
        self.permit: Permit | None = permit
        self.retry_after: float | None = None if permit is not None else retry_after(response)

    @property
    def wants_another(self) -> bool:
        """Whether it is a failure, and the wait that the server asks for fits into the time that is left."""
        if self.permit is not None:
            return False
        return self.retry_after is None or clock.monotonic() + self.retry_after < self._call.deadline

    async def aclose(self) -> None:
        """Close an answer that nobody will see."""
        await self.response.aclose()

    def close(self) -> None:
        """The same without an event loop."""
        self.response.close()

    def __repr__(self) -> str:
        return f"HTTP {self.response.status_code}"


def _wants_another(answer: Answer) -> bool:
    return answer.wants_another


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """The checked arguments of a transport.

    Attributes:
        total: Seconds for all attempts of one request.
        retry: When there is another one.
        attempt: Seconds for each.
    """

    name: str | None
    max_concurrent: int
    total: float
    retry: BackoffStrategy
    attempt: float
    trip: TripRule
    recovery_timeout: float
    retry_methods: frozenset[str]
    max_hosts: int

    @classmethod
    def checked(
        cls,
        *,
        name: str | None,
        max_concurrent: int,
        total_timeout: Duration,
        max_retries: int,
        base_delay: Duration,
        budget: RetryBudget | None,
        trip: TripRule | None,
        recovery_timeout: Duration,
        attempt_timeout: Duration,
        retry_methods: Iterable[str],
        max_hosts: int,
    ) -> TransportSettings:
        """Check the arguments, alone and together.

        Raises:
            TypeError: One is of the wrong type.
            ValueError: One is out of range, or two defeat each other.
        """
        if name is not None and not (isinstance(name, str) and name):
            msg = f"name must be a non-empty string or None, not {name!r}"
            raise TypeError(msg)
        total = durations.seconds("total_timeout", total_timeout, above=0)
        attempt = durations.seconds("attempt_timeout", attempt_timeout, above=0)
        if trip is None:  # the standard one, looking back far enough for attempts that may take long
            trip = FailureRate(0.5, window=TimeWindow(max(30.0, 2 * attempt)), minimum_calls=20)
        standard_pipeline(  # says what is wrong with each, and with all of them together
            max_concurrent=max_concurrent,
            total_timeout=total,
            max_retries=max_retries,
            base_delay=base_delay,
            budget=budget,
            trip=trip,
            recovery_timeout=recovery_timeout,
            attempt_timeout=attempt,
        )
        retry = BackoffStrategy(
            max_retries=max_retries,
            base_delay=base_delay,
            max_duration=total,
            budget=budget,
            retry_result=_wants_another,
            reraise=True,
        )
        return cls(
            name=name,
            max_concurrent=max_concurrent,
            total=total,
            retry=retry,
            attempt=attempt,
            trip=trip,
            recovery_timeout=durations.seconds("recovery_timeout", recovery_timeout),
            retry_methods=_methods(retry_methods),
            max_hosts=durations.whole("max_hosts", max_hosts, at_least=1),
        )

    def breaker(self, label: str) -> CircuitBreaker:
        """A breaker for the host of that label: shared by name, or the transport's own."""
        breaker = CircuitBreaker(
            name=None if self.name is None else f"{self.name} {label}",
            trip=self.trip,
            recovery_timeout=self.recovery_timeout,
            # A probe has an attempt's time for its headers, and as much again until its body counts as sound.
            half_open_timeout=max(self.recovery_timeout, 2.5 * self.attempt),
            ignore=_is_callers_fault,
        )
        if self.name is None:
            breaker._circuit.name = label  # noqa: SLF001 -- shared with nobody, and yet events should say whose it is
        return breaker

    def may_repeat(self, request: Any, in_memory: type) -> bool:
        """Tell whether a request may be sent more than once.

        Args:
            request: Its method must be idempotent, or its header ``Idempotency-Key`` make it so.
            in_memory: What the library calls a body that it holds; any other kind can be sent only once.
        """
        return isinstance(request.stream, in_memory) and (
            request.method in self.retry_methods or "idempotency-key" in request.headers
        )


def _methods(given: Iterable[str]) -> frozenset[str]:
    methods = [given] if isinstance(given, str) else list(given)
    if isinstance(given, str) or not all(isinstance(each, str) for each in methods):
        msg = f"retry_methods must be several methods, such as {{'GET', 'POST'}}, not {given!r}"
        raise TypeError(msg)
    return frozenset(each.upper() for each in methods)
