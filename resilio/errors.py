"""The taxonomy of errors, and the one answer to "is it worth another try?".

Every error here carries its data as attributes; ``str(error)`` is for people. All of them pickle and copy.

    >>> raise IntegrationError("Failed to connect to data source", system="crm", operation="connect", timeout=30)
    Traceback (most recent call last):
    ...
    resilio.errors.IntegrationError: Failed to connect to data source

``SystemError`` is left out of ``__all__`` so that no star import hides the builtin: write ``errors.SystemError``.
"""

from __future__ import annotations

import builtins
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar

__all__ = (
    "BulkheadFullError",
    "CircuitBreakerOpenError",
    "ErrorSeverity",
    "IntegrationError",
    "OperationTimeoutError",
    "RateLimitExceededError",
    "ResilioError",
    "RetryExhaustedError",
    "ValidationError",
    "is_transient",
)


class ErrorSeverity(StrEnum):
    """How bad it is, in ascending order; severities compare by rank, not by spelling."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """0 for DEBUG up to 4 for CRITICAL."""
        return _RANKS[self]

    def __lt__(self, other: str) -> bool:
        return self.rank < ErrorSeverity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= ErrorSeverity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > ErrorSeverity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= ErrorSeverity(other).rank


_RANKS = {severity: rank for rank, severity in enumerate(ErrorSeverity)}


class ResilioError(Exception):
    """An error with a place in the taxonomy.

    Args:
        message: What happened, for people.
        code: Names the kind of error for message look-up and problem types; the class's own by default.
        severity: The class's own by default.
        retryable: Whether the same call may succeed later; the class's own by default.
        context: Anything else worth knowing; kept in ``.context``.
    """

    category: str = "general"
    code: str = "general_error"
    severity: ErrorSeverity = ErrorSeverity.ERROR
    retryable: bool = False

    # What a subclass takes by name and keeps as an attribute, in the order of its signature.
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        severity: ErrorSeverity | None = None,
        retryable: bool | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.context: dict[str, Any] = context
        if code is not None:
            self.code = code
        if severity is not None:
            self.severity = ErrorSeverity(severity)
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions rebuild themselves from `args`, which keyword-only signatures do not survive.
        return _rebuild, (type(self), self.args, {**self.__dict__}), None


def _rebuild(kind: type[ResilioError], args: tuple[Any, ...], state: dict[str, Any]) -> ResilioError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class SystemError(ResilioError):  # noqa: A001 -- the reference's name; kept out of every __all__
    """The system itself cannot do its work: no port, no disk, no permission.

    Args:
        message: What happened.
        component: The part of the system that failed.
        context: Anything else worth knowing.
    """

    category = "system"
    code = "system_error"
    severity = ErrorSeverity.CRITICAL

    def __init__(self, message: str, component: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.component = component


class ValidationError(ResilioError):
    """What the user put in cannot be used.

    Args:
        message: What is wrong with it.
        field: The name of the input.
        value: What was put in.
        context: Anything else worth knowing, such as ``min_length``.
    """

    category = "validation"
    code = "validation_error"
    severity = ErrorSeverity.WARNING

    def __init__(self, message: str, field: str, value: Any, **context: Any) -> None:
        super().__init__(message, **context)
        self.field = field
        self.value = value


class IntegrationError(ResilioError):
    """Another system did not do what was asked of it.

    Args:
        message: What happened.
        system: The other system.
        operation: What was asked of it.
        context: Anything else worth knowing.
    """

    category = "integration"
    code = "integration_error"

    def __init__(self, message: str, system: str, operation: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.system = system
        self.operation = operation


class CircuitBreakerOpenError(IntegrationError):
    """The circuit does not let the call through. ``__cause__`` is the last failure that it recorded.

    Attributes:
        breaker: The circuit's name.
        retry_after: Seconds until the circuit will try again; None when nobody can tell.
    """

    code = "circuit_open"
    severity = ErrorSeverity.WARNING
    retryable = True

    # A circuit rejects thousands of calls a second, and most of their errors are caught unread: what follows is put
    # into words only when somebody looks.

    @classmethod
    def rejection(
        cls, breaker: str, retry_after: float | None, circuit: int | None = None, why: str | None = None
    ) -> CircuitBreakerOpenError:
        """The error of a circuit, with nothing formatted yet.

        Args:
            breaker: The circuit's name.
            retry_after: Seconds until the circuit will try again; None when nobody can tell.
            circuit: Marks the circuit it comes from, for names are not unique.
            why: The rest of the sentence "circuit ... is", if it is not simply open.
        """
        error = cls.__new__(cls)
        error.breaker = breaker
        error.retry_after = retry_after
        error._circuit = circuit  # noqa: SLF001 -- it is one of us
        if why is not None:
            error._why = why  # noqa: SLF001
        return error

    _why = "open"
    _circuit: int | None = None

    @cached_property
    def message(self) -> str:  # type: ignore[override]
        when = "" if self.retry_after is None else f"; try again in {_shown(self.retry_after)} s"
        return f"circuit {self.breaker!r} is {self._why}{when}"

    @cached_property
    def context(self) -> dict[str, Any]:  # type: ignore[override]
        return {}

    @cached_property
    def system(self) -> str:  # type: ignore[override]
        return self.breaker

    @cached_property
    def operation(self) -> str:  # type: ignore[override]
        return "call"

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"

    def __init__(self, message: str, *, breaker: str, retry_after: float | None = None, **context: Any) -> None:
        super().__init__(message, system=breaker, operation="call", **context)
        self.breaker = breaker
        self.retry_after = retry_after


def _shown(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"  # noqa: PLR2004 -- two digits are enough for people


class RetryExhaustedError(IntegrationError):
    """Every attempt failed. ``__cause__`` is the last error; notes tell of the ones before it.

    Attributes:
        attempts: How many attempts were made.
        last_exception: The last error, or None when a *result* was refused each time.
        last_result: The last refused result, if ``last_exception`` is None.
    """

    code = "retries_exhausted"

    def __init__(
        self,
        message: str,
        *,
        attempts: int,
        last_exception: BaseException | None = None,
        last_result: object = None,
        operation: str = "call",
        **context: Any,
    ) -> None:
        context.setdefault("retryable", last_exception is None or is_transient(last_exception))
        super().__init__(message, system=getattr(last_exception, "system", operation), operation=operation, **context)
        self.attempts = attempts
        self.last_exception = last_exception
        self.last_result = last_result


class BulkheadFullError(IntegrationError):
    """All places of a bulkhead are taken, and its queue is full or the wait was too long."""

    code = "bulkhead_full"
    severity = ErrorSeverity.WARNING
    retryable = True

    def __init__(self, message: str, *, bulkhead: str = "bulkhead", **context: Any) -> None:
        super().__init__(message, system=bulkhead, operation="call", **context)
        self.bulkhead = bulkhead


class RateLimitExceededError(IntegrationError):
    """More calls than the rate allows.

    Attributes:
        retry_after: Seconds until a call would be let through; None when nobody can tell.
    """

    code = "rate_limited"
    severity = ErrorSeverity.WARNING
    retryable = True

    def __init__(
        self, message: str, *, limiter: str = "rate limiter", retry_after: float | None = None, **context: Any
    ) -> None:
        super().__init__(message, system=limiter, operation="call", **context)
        self.limiter = limiter
        self.retry_after = retry_after


class OperationTimeoutError(IntegrationError, TimeoutError):
    """An operation took longer than it was given; also a builtin ``TimeoutError``.

    Attributes:
        seconds: The time it was given.
    """

    code = "timeout"
    retryable = True

    def __init__(self, message: str, *, seconds: float, operation: str = "call", **context: Any) -> None:
        super().__init__(message, system=operation, operation=operation, **context)
        self.seconds = seconds


# -- what is worth another try -----------------------------------------------------------------------------------------

_RETRYABLE_STATUSES = frozenset({408, 425, 429})

# Connection and timeout errors of libraries that do not derive them from the builtin ones, by "root package.class".
# Naming them keeps every one of those libraries out of our imports.
_TRANSIENT_CLASSES = frozenset(
    {
        "aiohttp.ClientConnectionError",
        "aiohttp.ClientPayloadError",
        "anyio.BrokenResourceError",
        "anyio.ConnectionFailed",
        "botocore.ConnectionError",
        "botocore.HTTPClientError",
        "httpcore.NetworkError",
        "httpcore.RemoteProtocolError",
        "httpcore.TimeoutException",
        "httpcore2.NetworkError",
        "httpcore2.RemoteProtocolError",
        "httpcore2.TimeoutException",
        "httpx.NetworkError",
        "httpx.RemoteProtocolError",
        "httpx.TimeoutException",
        "httpx2.NetworkError",
        "httpx2.RemoteProtocolError",
        "httpx2.TimeoutException",
        "openai.APIConnectionError",
        "requests.ChunkedEncodingError",
        "requests.ConnectionError",
        "requests.Timeout",
        "trio.BrokenResourceError",
        "urllib3.NewConnectionError",
        "urllib3.ProtocolError",
        "urllib3.TimeoutError",
    }
)

# botocore tells a throttled call by the code of the response, with status 400 for most services.
_THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "InternalError",
        "InternalFailure",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


def is_transient(error: BaseException) -> bool:  # noqa: PLR0911 -- one answer for each kind of witness
    """Tell whether the same call may succeed if it is made again.

    An error's own ``retryable`` attribute decides where it has one. Otherwise: connection and timeout errors (the
    builtin ones and those of httpx, requests, urllib3, aiohttp, botocore, anyio, trio), HTTP answers 408, 425, 429 and
    5xx in the errors of those clients, and botocore's throttling codes. None of those libraries is imported.

    Cancellation, ``KeyboardInterrupt`` and their like are never transient.

        >>> is_transient(ConnectionResetError()), is_transient(ValueError())
        (True, False)
    """
    if not isinstance(error, Exception):
        return False
    if type(error).__module__ == "builtins" and not error.__dict__:  # nobody has put anything on it to look at
        return isinstance(error, (ConnectionError, builtins.TimeoutError))
    declared = getattr(error, "retryable", None)
    if isinstance(declared, bool):
        return declared
    if _botocore_code(error) in _THROTTLING_CODES:
        return True
    status = http_status(error)
    if status is not None:
        return status in _RETRYABLE_STATUSES or 500 <= status <= 599  # noqa: PLR2004
    if isinstance(error, (ConnectionError, builtins.TimeoutError)):
        return True
    return any(
        f"{kind.__module__.partition('.')[0]}.{kind.__name__}" in _TRANSIENT_CLASSES for kind in type(error).__mro__
    )


def http_status(error: BaseException) -> int | None:
    """The status of the HTTP answer that ``error`` stands for, or None if it stands for none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore.exceptions.ClientError
        metadata = response.get("ResponseMetadata")
        found = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
    elif response is not None:  # httpx, requests, openai
        found = getattr(response, "status_code", None)
    else:
        # aiohttp.ClientResponseError and openai.APIStatusError. A bare `status` means too many things elsewhere.
        found = getattr(error, "status_code", None)
        if found is None and type(error).__module__.startswith("aiohttp"):
            found = getattr(error, "status", None)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 100 else None  # noqa: PLR2004


def _botocore_code(error: BaseException) -> str | None:
    response = getattr(error, "response", None)
    detail = response.get("Error") if isinstance(response, dict) else None
    code = detail.get("Code") if isinstance(detail, dict) else None
    return code if isinstance(code, str) else None
