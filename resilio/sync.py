"""The same names for code without an event loop: the same arguments and the same results, without ``await``.

Nothing is decided here. A policy runs the very decisions of its async twin, on the same state; an object that does I/O
sends each call to one background event loop. On a thread that runs an event loop, what would block it raises a
``RuntimeError`` instead.

    >>> from resilio.sync import AdminNotifier
    >>> result = AdminNotifier().send_notification("The nightly export failed", {"rows": 0})
    >>> result.delivered
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from resilio.alerting.apprise_channel import AppriseChannel
from resilio.alerting.aws import SmsChannel, SnsChannel
from resilio.alerting.blocking import AdminNotifier, Alerts, HealthChecks, check_critical_errors, send_alert
from resilio.alerting.channels import NotificationChannel
from resilio.alerting.component_conditions import BurnRate, CallCounter, CircuitOpenFor, DeadLettersAbove
from resilio.alerting.conditions import ErrorsAbove, NewErrors, RateAboveBaseline, ReturningErrors
from resilio.alerting.email_channel import EmailChannel, MailSecurity
from resilio.alerting.errors import DeliveryError
from resilio.alerting.health_checks import HealthCheck
from resilio.alerting.incidents import IncidentState
from resilio.alerting.notification import DeliveryStatus, NotificationResult
from resilio.alerting.notifier import NotifierStats
from resilio.alerting.optional import MissingExtraError
from resilio.alerting.outlet import ChannelStats
from resilio.alerting.recovery import (
    RecoveryAction,
    RecoveryOutcome,
    RecoveryRecord,
    replay_dead_letters,
    reset_circuit,
)
from resilio.alerting.route import Route
from resilio.alerting.rules import AlertRule
from resilio.alerting.storms import StormLimit
from resilio.alerting.webhook import WebhookChannel
from resilio.alerting.webhook_formats import WebhookFormat
from resilio.deadletters.blocking import BlockingLetterGuard as LetterGuard
from resilio.deadletters.blocking import DeadLetterQueue
from resilio.deadletters.codec import Codec, FernetCodec
from resilio.deadletters.encoder import Encoder, KeptObject
from resilio.deadletters.errors import (
    DeadLetterQueueError,
    LetterNotKeptError,
    MessageClaimedError,
    MessageNotFoundError,
    NotOurFileError,
    SealedLetterError,
    UnencodableMessageError,
)
from resilio.deadletters.forwarding import ForwardingStore
from resilio.deadletters.guard import dead_lettered
from resilio.deadletters.letter import DeadLetter, LetterStatus
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.replay_context import ReplayContext
from resilio.deadletters.replay_rules import StopWhenFailing
from resilio.deadletters.replay_run import ReplayEnd, ReplayProgress, ReplaySummary
from resilio.deadletters.sqs_errors import (
    LetterRefusedError,
    LetterTooLargeError,
    RemoteQueueDeniedError,
    RemoteQueueError,
    RemoteQueueMissingError,
    RemoteQueueThrottledError,
    RemoteQueueUnreachableError,
)
from resilio.deadletters.sqs_store import SqsStore
from resilio.deadletters.store import DeadLetterStats, Store
from resilio.errors import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    ErrorSeverity,
    IntegrationError,
    OperationTimeoutError,
    RateLimitExceededError,
    ResilioError,
    RetryExhaustedError,
    ValidationError,
    is_transient,
)
from resilio.policies import backoff as _backoff
from resilio.policies import standard as _standard
from resilio.policies.adaptive_limiter import AdaptiveLimiterBase
from resilio.policies.adaptive_throttle import AdaptiveThrottleBase
from resilio.policies.backoff import BackoffStrategyBase
from resilio.policies.bulkhead import BulkheadBase
from resilio.policies.circuit import CircuitSnapshot
from resilio.policies.circuit_breaker import CircuitBreakerBase
from resilio.policies.circuit_machine import CircuitState
from resilio.policies.fallback import FallbackBase
from resilio.policies.hedge import HedgeBase
from resilio.policies.hedge_delay import LatencyQuantile
from resilio.policies.pipeline import PipelineBase
from resilio.policies.policy import BlockingForms
from resilio.policies.rate_limiter import RateLimiterBase
from resilio.policies.retry_attempts import BlockingAttempts
from resilio.policies.retry_budget import RetryBudget
from resilio.policies.retry_streams import InterruptedStream
from resilio.policies.timeout import TimeoutBase
from resilio.policies.trip import ConsecutiveFailures
from resilio.policies.trip_rates import FailureRate, SlowCallRate
from resilio.policies.windows import CountWindow, TimeWindow
from resilio.reporting.blocking_handler import ErrorHandler
from resilio.reporting.causes import ErrorCause
from resilio.reporting.context import enhance_error_context
from resilio.reporting.error_groups import ErrorGroup, OperationStats
from resilio.reporting.fingerprint import fingerprint
from resilio.reporting.log_lines import log_events
from resilio.reporting.messages import ErrorMessageProvider, UserMessage
from resilio.reporting.operations import LoggedOperation, log_operation
from resilio.reporting.redaction import Redactor, redact
from resilio.reporting.report import ErrorReport
from resilio.reporting.tracker import ErrorTracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio._core.durations import Duration
    from resilio.policies.backoff import RetryExceptions
    from resilio.policies.trip import TripRule

T = TypeVar("T")

__all__ = (
    "AdaptiveLimiter",
    "AdaptiveThrottle",
    "AdminNotifier",
    "AlertRule",
    "Alerts",
    "AppriseChannel",
    "BackoffStrategy",
    "Bulkhead",
    "BulkheadFullError",
    "BurnRate",
    "CallCounter",
    "ChannelStats",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitOpenFor",
    "CircuitSnapshot",
    "CircuitState",
    "Codec",
    "ConsecutiveFailures",
    "CountWindow",
    "DeadLetter",
    "DeadLetterQueue",
    "DeadLetterQueueError",
    "DeadLetterStats",
    "DeadLettersAbove",
    "DeliveryError",
    "DeliveryStatus",
    "EmailChannel",
    "Encoder",
    "ErrorCause",
    "ErrorGroup",
    "ErrorHandler",
    "ErrorMessageProvider",
    "ErrorReport",
    "ErrorSeverity",
    "ErrorTracker",
    "ErrorsAbove",
    "FailureRate",
    "Fallback",
    "FernetCodec",
    "ForwardingStore",
    "HealthCheck",
    "HealthChecks",
    "Hedge",
    "IncidentState",
    "IntegrationError",
    "InterruptedStream",
    "KeptObject",
    "LatencyQuantile",
    "LetterFilter",
    "LetterGuard",
    "LetterNotKeptError",
    "LetterRefusedError",
    "LetterStatus",
    "LetterTooLargeError",
    "LoggedOperation",
    "MailSecurity",
    "MessageClaimedError",
    "MessageNotFoundError",
    "MissingExtraError",
    "NewErrors",
    "NotOurFileError",
    "NotificationChannel",
    "NotificationResult",
    "NotifierStats",
    "OperationStats",
    "OperationTimeoutError",
    "Pipeline",
    "RateAboveBaseline",
    "RateLimitExceededError",
    "RateLimiter",
    "RecoveryAction",
    "RecoveryOutcome",
    "RecoveryRecord",
    "Redactor",
    "RemoteQueueDeniedError",
    "RemoteQueueError",
    "RemoteQueueMissingError",
    "RemoteQueueThrottledError",
    "RemoteQueueUnreachableError",
    "ReplayContext",
    "ReplayEnd",
    "ReplayProgress",
    "ReplaySummary",
    "ResilioError",
    "RetryBudget",
    "RetryExhaustedError",
    "ReturningErrors",
    "Route",
    "SealedLetterError",
    "SlowCallRate",
    "SmsChannel",
    "SnsChannel",
    "SqsStore",
    "StopWhenFailing",
    "Store",
    "StormLimit",
    "TimeWindow",
    "Timeout",
    "UnencodableMessageError",
    "UserMessage",
    "ValidationError",
    "WebhookChannel",
    "WebhookFormat",
    "check_critical_errors",
    "circuit_breaker",
    "dead_lettered",
    "enhance_error_context",
    "fingerprint",
    "is_transient",
    "log_events",
    "log_operation",
    "redact",
    "replay_dead_letters",
    "reset_circuit",
    "retry_with_backoff",
    "send_alert",
    "standard_pipeline",
    "with_backoff",
)


# -- policies ----------------------------------------------------------------------------------------------------------


class CircuitBreaker(BlockingForms, CircuitBreakerBase):
    """Stops calling what keeps failing; the blocking twin of `resilio.CircuitBreaker`, on the same circuits.

    Takes the same arguments. ``with breaker:`` guards a block.
    """

    __slots__ = ()


class BackoffStrategy(BlockingForms, BackoffStrategyBase):
    """Tries again, with growing and randomised waits; the blocking twin of `resilio.BackoffStrategy`.

    Takes the same arguments. ``for attempt in strategy: with attempt: ...`` retries a block.
    """

    __slots__ = ()

    def execute(  # type: ignore[override]
        self, fn: Callable[..., T], /, *args: Any, retry_exceptions: RetryExceptions | None = None, **kwargs: Any
    ) -> T:
        """Call ``fn(*args, **kwargs)``, trying again as this strategy says, and return its result.

        Raises:
            RetryExhaustedError: No attempt succeeded; ``__cause__`` is the last error.
            CircuitBreakerOpenError: A circuit was open, and the strategy does not wait for circuits.
        """
        strategy = self if retry_exceptions is None else self.like(self, retry_exceptions=retry_exceptions)
        return strategy._invoke(fn, *args, **kwargs)  # type: ignore[no-any-return]  # noqa: SLF001 -- one of us

    call = execute  # type: ignore[assignment]

    def __iter__(self) -> BlockingAttempts:
        """Attempts, each a context manager: ``for attempt in strategy: with attempt: ...``."""
        return BlockingAttempts(self)


class Timeout(BlockingForms, TimeoutBase):
    """Limits how long a call may take, in a worker thread; the blocking twin of `resilio.Timeout`."""

    __slots__ = ()


class Fallback(BlockingForms, FallbackBase):
    """Answers in place of a failed call; the blocking twin of `resilio.Fallback`."""

    __slots__ = ()


class Pipeline(BlockingForms, PipelineBase):
    """Several policies around one call; the blocking twin of `resilio.Pipeline`. Takes policies of either kind."""

    __slots__ = ()


class Bulkhead(BlockingForms, BulkheadBase):
    """Lets at most so many calls run at once; the blocking twin of `resilio.Bulkhead`."""

    __slots__ = ()


class RateLimiter(BlockingForms, RateLimiterBase):
    """Lets at most so many calls through in so much time; the blocking twin of `resilio.RateLimiter`."""

    __slots__ = ()


class AdaptiveLimiter(BlockingForms, AdaptiveLimiterBase):
    """A bulkhead whose size follows latency; the blocking twin of `resilio.AdaptiveLimiter`."""

    __slots__ = ()


class AdaptiveThrottle(BlockingForms, AdaptiveThrottleBase):
    """Refuses calls in proportion to what the backend refuses; the blocking twin of `resilio.AdaptiveThrottle`."""

    __slots__ = ()


class Hedge(BlockingForms, HedgeBase):
    """Asks again when an answer is late, each call in a thread; the blocking twin of `resilio.Hedge`."""

    __slots__ = ()


circuit_breaker = CircuitBreaker
with_backoff = BackoffStrategy


def retry_with_backoff(
    max_retries: int = 3,
    base_delay: Duration = 1.0,
    max_delay: Duration = 60.0,
    exponential_base: float = 2.0,
    jitter: bool = True,  # noqa: FBT001, FBT002 -- the reference's signature
) -> BackoffStrategy:
    """A decorator that retries ``ConnectionError`` and ``TimeoutError``, and raises the last one itself."""
    return BackoffStrategy.like(
        _backoff.retry_with_backoff(max_retries, base_delay, max_delay, exponential_base, jitter)
    )


def standard_pipeline(
    name: str | None = None,
    *,
    max_concurrent: int = 1000,
    total_timeout: Duration = 30.0,
    max_retries: int = 3,
    base_delay: Duration = 2.0,
    budget: RetryBudget | None = None,
    trip: TripRule | None = None,
    recovery_timeout: Duration = 5.0,
    attempt_timeout: Duration = 10.0,
) -> Pipeline:
    """The policies that a call over a network should have; the blocking twin of `resilio.standard_pipeline`."""
    pipeline = _standard.standard_pipeline(
        name,
        max_concurrent=max_concurrent,
        total_timeout=total_timeout,
        max_retries=max_retries,
        base_delay=base_delay,
        budget=budget,
        trip=trip,
        recovery_timeout=recovery_timeout,
        attempt_timeout=attempt_timeout,
    )
    return Pipeline(*pipeline.policies)
