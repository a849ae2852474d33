"""Async-first resilience: a failing dependency costs your users as little as possible, and costs them no message.

Everything below is importable from here and loaded on first use. ``resilio.sync`` has the same names for code without
an event loop.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from resilio._core.events import Event, Subscription, subscribe
    from resilio.alerting.alerts import Alerts, check_critical_errors, send_alert
    from resilio.alerting.apprise_channel import AppriseChannel
    from resilio.alerting.aws import SmsChannel, SnsChannel
    from resilio.alerting.channels import Channel, LogChannel, NotificationChannel
    from resilio.alerting.component_conditions import BurnRate, CallCounter, CircuitOpenFor, DeadLettersAbove
    from resilio.alerting.conditions import (
        Condition,
        ErrorsAbove,
        Finding,
        NewErrors,
        RateAboveBaseline,
        ReturningErrors,
    )
    from resilio.alerting.email_channel import EmailChannel, MailSecurity
    from resilio.alerting.errors import DeliveryError
    from resilio.alerting.events import IncidentChanged, NotificationFailed, NotificationsDropped, NotificationSent
    from resilio.alerting.health_checks import HealthCheck, HealthChecks, HealthResult
    from resilio.alerting.incidents import Incident, IncidentState
    from resilio.alerting.notification import ChannelOutcome, DeliveryStatus, Notification, NotificationResult
    from resilio.alerting.notifier import AdminNotifier, NotifierStats
    from resilio.alerting.optional import MissingExtraError
    from resilio.alerting.outlet import ChannelStats
    from resilio.alerting.recovery import (
        RecoveryAction,
        RecoveryAttempted,
        RecoveryOutcome,
        RecoveryRecord,
        replay_dead_letters,
        reset_circuit,
    )
    from resilio.alerting.route import Route
    from resilio.alerting.rules import AlertRule
    from resilio.alerting.silences import Silence
    from resilio.alerting.storms import StormLimit
    from resilio.alerting.webhook import WebhookChannel
    from resilio.alerting.webhook_formats import WebhookFormat
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
    from resilio.deadletters.events import (
        ClaimNotExtended,
        CompactionFailed,
        DamagedLineSetAside,
        JournalCompacted,
        JournalVanished,
        LetterDeduplicated,
        LetterDeleted,
        LetterEdited,
        LetterKept,
        LetterMoved,
        LetterParked,
        LetterReplayed,
        LetterRequeued,
        LettersExpired,
        LettersImported,
        LettersPurged,
        RemoteQueueUnavailable,
        ReplayFailed,
        RetentionFailed,
        TornTailRepaired,
    )
    from resilio.deadletters.forwarding import ForwardingStore
    from resilio.deadletters.guard import LetterGuard, dead_lettered
    from resilio.deadletters.letter import DeadLetter, LetterStatus
    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.queue import DeadLetterQueue
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
    from resilio.policies.adaptive_limiter import AdaptiveLimiter
    from resilio.policies.adaptive_throttle import AdaptiveThrottle
    from resilio.policies.backoff import BackoffStrategy, retry_with_backoff, with_backoff
    from resilio.policies.bulkhead import Bulkhead
    from resilio.policies.circuit import CircuitSnapshot
    from resilio.policies.circuit_breaker import CircuitBreaker, Permit, circuit_breaker
    from resilio.policies.circuit_machine import CircuitState
    from resilio.policies.description import Description
    from resilio.policies.events import (
        BulkheadRejected,
        CallFailed,
        CallRejected,
        CallSucceeded,
        CircuitStateChanged,
        FellBack,
        Hedged,
        RateLimited,
        RetryGivenUp,
        RetryScheduled,
        RetrySucceeded,
        TimedOut,
    )
    from resilio.policies.fallback import Fallback
    from resilio.policies.hedge import Hedge
    from resilio.policies.hedge_delay import LatencyQuantile
    from resilio.policies.pipeline import Pipeline
    from resilio.policies.policy import Policy
    from resilio.policies.rate_limiter import RateLimiter
    from resilio.policies.retry_budget import RetryBudget
    from resilio.policies.standard import standard_pipeline
    from resilio.policies.timeout import Timeout
    from resilio.policies.trip import ConsecutiveFailures, TripRule
    from resilio.policies.trip_rates import FailureRate, SlowCallRate
    from resilio.policies.windows import CountWindow, TimeWindow
    from resilio.reporting.causes import ErrorCause
    from resilio.reporting.context import enhance_error_context
    from resilio.reporting.error_groups import ErrorGroup, OperationStats
    from resilio.reporting.events import ErrorReported, OperationEnded, OperationStarted
    from resilio.reporting.fingerprint import fingerprint
    from resilio.reporting.handler import ErrorHandler
    from resilio.reporting.log_lines import log_events
    from resilio.reporting.messages import ErrorMessageProvider, UserMessage
    from resilio.reporting.operations import LoggedOperation, log_operation
    from resilio.reporting.redaction import Redactor, redact
    from resilio.reporting.report import ErrorReport
    from resilio.reporting.tracker import ErrorTracker

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
    "BulkheadRejected",
    "BurnRate",
    "CallCounter",
    "CallFailed",
    "CallRejected",
    "CallSucceeded",
    "Channel",
    "ChannelOutcome",
    "ChannelStats",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitOpenFor",
    "CircuitSnapshot",
    "CircuitState",
    "CircuitStateChanged",
    "ClaimNotExtended",
    "Codec",
    "CompactionFailed",
    "Condition",
    "ConsecutiveFailures",
    "CountWindow",
    "DamagedLineSetAside",
    "DeadLetter",
    "DeadLetterQueue",
    "DeadLetterQueueError",
    "DeadLetterStats",
    "DeadLettersAbove",
    "DeliveryError",
    "DeliveryStatus",
    "Description",
    "EmailChannel",
    "Encoder",
    "ErrorCause",
    "ErrorGroup",
    "ErrorHandler",
    "ErrorMessageProvider",
    "ErrorReport",
    "ErrorReported",
    "ErrorSeverity",
    "ErrorTracker",
    "ErrorsAbove",
    "Event",
    "FailureRate",
    "Fallback",
    "FellBack",
    "FernetCodec",
    "Finding",
    "ForwardingStore",
    "HealthCheck",
    "HealthChecks",
    "HealthResult",
    "Hedge",
    "Hedged",
    "Incident",
    "IncidentChanged",
    "IncidentState",
    "IntegrationError",
    "JournalCompacted",
    "JournalVanished",
    "KeptObject",
    "LatencyQuantile",
    "LetterDeduplicated",
    "LetterDeleted",
    "LetterEdited",
    "LetterFilter",
    "LetterGuard",
    "LetterKept",
    "LetterMoved",
    "LetterNotKeptError",
    "LetterParked",
    "LetterRefusedError",
    "LetterReplayed",
    "LetterRequeued",
    "LetterStatus",
    "LetterTooLargeError",
    "LettersExpired",
    "LettersImported",
    "LettersPurged",
    "LogChannel",
    "LoggedOperation",
    "MailSecurity",
    "MessageClaimedError",
    "MessageNotFoundError",
    "MissingExtraError",
    "NewErrors",
    "NotOurFileError",
    "Notification",
    "NotificationChannel",
    "NotificationFailed",
    "NotificationResult",
    "NotificationSent",
    "NotificationsDropped",
    "NotifierStats",
    "OperationEnded",
    "OperationStarted",
    "OperationStats",
    "OperationTimeoutError",
    "Permit",
    "Pipeline",
    "Policy",
    "RateAboveBaseline",
    "RateLimitExceededError",
    "RateLimited",
    "RateLimiter",
    "RecoveryAction",
    "RecoveryAttempted",
    "RecoveryOutcome",
    "RecoveryRecord",
    "Redactor",
    "RemoteQueueDeniedError",
    "RemoteQueueError",
    "RemoteQueueMissingError",
    "RemoteQueueThrottledError",
    "RemoteQueueUnavailable",
    "RemoteQueueUnreachableError",
    "ReplayContext",
    "ReplayEnd",
    "ReplayFailed",
    "ReplayProgress",
    "ReplaySummary",
    "ResilioError",
    "RetentionFailed",
    "RetryBudget",
    "RetryExhaustedError",
    "RetryGivenUp",
    "RetryScheduled",
    "RetrySucceeded",
    "ReturningErrors",
    "Route",
    "SealedLetterError",
    "Silence",
    "SlowCallRate",
    "SmsChannel",
    "SnsChannel",
    "SqsStore",
    "StopWhenFailing",
    "Store",
    "StormLimit",
    "Subscription",
    "TimeWindow",
    "TimedOut",
    "Timeout",
    "TornTailRepaired",
    "TripRule",
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
    "subscribe",
    "with_backoff",
)

_HOMES = {
    "resilio._core.events": ("Event", "Subscription", "subscribe"),
    "resilio.alerting.alerts": ("Alerts", "check_critical_errors", "send_alert"),
    "resilio.alerting.apprise_channel": ("AppriseChannel",),
    "resilio.alerting.aws": ("SmsChannel", "SnsChannel"),
    "resilio.alerting.channels": ("Channel", "LogChannel", "NotificationChannel"),
    "resilio.alerting.component_conditions": ("BurnRate", "CallCounter", "CircuitOpenFor", "DeadLettersAbove"),
    "resilio.alerting.conditions": (
        *("Condition", "ErrorsAbove", "Finding", "NewErrors", "RateAboveBaseline", "ReturningErrors"),
    ),
    "resilio.alerting.email_channel": ("EmailChannel", "MailSecurity"),
    "resilio.alerting.errors": ("DeliveryError",),
    "resilio.alerting.events": ("IncidentChanged", "NotificationFailed", "NotificationSent", "NotificationsDropped"),
    "resilio.alerting.health_checks": ("HealthCheck", "HealthChecks", "HealthResult"),
    "resilio.alerting.incidents": ("Incident", "IncidentState"),
    "resilio.alerting.notification": ("ChannelOutcome", "DeliveryStatus", "Notification", "NotificationResult"),
    "resilio.alerting.notifier": ("AdminNotifier", "NotifierStats"),
    "resilio.alerting.optional": ("MissingExtraError",),
    "resilio.alerting.outlet": ("ChannelStats",),
    "resilio.alerting.recovery": (
        *("RecoveryAction", "RecoveryAttempted", "RecoveryOutcome", "RecoveryRecord"),
        *("replay_dead_letters", "reset_circuit"),
    ),
    "resilio.alerting.route": ("Route",),
    "resilio.alerting.rules": ("AlertRule",),
    "resilio.alerting.silences": ("Silence",),
    "resilio.alerting.storms": ("StormLimit",),
    "resilio.alerting.webhook": ("WebhookChannel",),
    "resilio.alerting.webhook_formats": ("WebhookFormat",),
    "resilio.deadletters.errors": (
        "DeadLetterQueueError",
        "LetterNotKeptError",
        "MessageClaimedError",
        "MessageNotFoundError",
        "NotOurFileError",
        "SealedLetterError",
        "UnencodableMessageError",
    ),
    "resilio.deadletters.events": (
        "ClaimNotExtended",
        "CompactionFailed",
        "DamagedLineSetAside",
        "JournalCompacted",
        "JournalVanished",
        "LetterDeduplicated",
        "LetterDeleted",
        "LetterEdited",
        "LetterKept",
        "LetterMoved",
        "LetterParked",
        "LetterReplayed",
        "LetterRequeued",
        "LettersExpired",
        "LettersImported",
        "LettersPurged",
        "RemoteQueueUnavailable",
        "ReplayFailed",
        "RetentionFailed",
        "TornTailRepaired",
    ),
    "resilio.deadletters.letter": ("DeadLetter", "LetterStatus"),
    "resilio.deadletters.queue": ("DeadLetterQueue",),
    "resilio.deadletters.codec": ("Codec", "FernetCodec"),
    "resilio.deadletters.encoder": ("Encoder", "KeptObject"),
    "resilio.deadletters.forwarding": ("ForwardingStore",),
    "resilio.deadletters.guard": ("LetterGuard", "dead_lettered"),
    "resilio.deadletters.letter_filter": ("LetterFilter",),
    "resilio.deadletters.replay_context": ("ReplayContext",),
    "resilio.deadletters.replay_rules": ("StopWhenFailing",),
    "resilio.deadletters.replay_run": ("ReplayEnd", "ReplayProgress", "ReplaySummary"),
    "resilio.deadletters.sqs_errors": (
        "LetterRefusedError",
        "LetterTooLargeError",
        "RemoteQueueDeniedError",
        "RemoteQueueError",
        "RemoteQueueMissingError",
        "RemoteQueueThrottledError",
        "RemoteQueueUnreachableError",
    ),
    "resilio.deadletters.sqs_store": ("SqsStore",),
    "resilio.deadletters.store": ("DeadLetterStats", "Store"),
    "resilio.errors": (
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
    ),
    "resilio.policies.adaptive_limiter": ("AdaptiveLimiter",),
    "resilio.policies.adaptive_throttle": ("AdaptiveThrottle",),
    "resilio.policies.backoff": ("BackoffStrategy", "retry_with_backoff", "with_backoff"),
    "resilio.policies.bulkhead": ("Bulkhead",),
    "resilio.policies.circuit": ("CircuitSnapshot",),
    "resilio.policies.circuit_breaker": ("CircuitBreaker", "Permit", "circuit_breaker"),
    "resilio.policies.circuit_machine": ("CircuitState",),
    "resilio.policies.description": ("Description",),
    "resilio.policies.events": (
        "BulkheadRejected",
        "CallFailed",
        "CallRejected",
        "CallSucceeded",
        "CircuitStateChanged",
        "FellBack",
        "Hedged",
        "RateLimited",
        "RetryGivenUp",
        "RetryScheduled",
        "RetrySucceeded",
        "TimedOut",
    ),
    "resilio.policies.fallback": ("Fallback",),
    "resilio.policies.hedge": ("Hedge",),
    "resilio.policies.hedge_delay": ("LatencyQuantile",),
    "resilio.policies.pipeline": ("Pipeline",),
    "resilio.policies.policy": ("Policy",),
    "resilio.policies.rate_limiter": ("RateLimiter",),
    "resilio.policies.retry_budget": ("RetryBudget",),
    "resilio.policies.standard": ("standard_pipeline",),
    "resilio.policies.timeout": ("Timeout",),
    "resilio.policies.trip": ("ConsecutiveFailures", "TripRule"),
    "resilio.policies.trip_rates": ("FailureRate", "SlowCallRate"),
    "resilio.policies.windows": ("CountWindow", "TimeWindow"),
    "resilio.reporting.causes": ("ErrorCause",),
    "resilio.reporting.context": ("enhance_error_context",),
    "resilio.reporting.error_groups": ("ErrorGroup", "OperationStats"),
    "resilio.reporting.events": ("ErrorReported", "OperationEnded", "OperationStarted"),
    "resilio.reporting.fingerprint": ("fingerprint",),
    "resilio.reporting.handler": ("ErrorHandler",),
    "resilio.reporting.log_lines": ("log_events",),
    "resilio.reporting.messages": ("ErrorMessageProvider", "UserMessage"),
    "resilio.reporting.operations": ("LoggedOperation", "log_operation"),
    "resilio.reporting.redaction": ("Redactor", "redact"),
    "resilio.reporting.report": ("ErrorReport",),
    "resilio.reporting.tracker": ("ErrorTracker",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__", "errors", "settings", "sync"]
