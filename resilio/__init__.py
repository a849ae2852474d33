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
    from resilio.alerting.channels import Channel, LogChannel, NotificationChannel
    from resilio.alerting.events import NotificationFailed, NotificationSent
    from resilio.alerting.notification import ChannelOutcome, Notification, NotificationResult
    from resilio.alerting.notifier import AdminNotifier
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

__all__ = (
    "AdaptiveLimiter",
    "AdaptiveThrottle",
    "AdminNotifier",
    "BackoffStrategy",
    "Bulkhead",
    "BulkheadFullError",
    "BulkheadRejected",
    "CallFailed",
    "CallRejected",
    "CallSucceeded",
    "Channel",
    "ChannelOutcome",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitSnapshot",
    "CircuitState",
    "CircuitStateChanged",
    "ClaimNotExtended",
    "Codec",
    "CompactionFailed",
    "ConsecutiveFailures",
    "CountWindow",
    "DamagedLineSetAside",
    "DeadLetter",
    "DeadLetterQueue",
    "DeadLetterQueueError",
    "DeadLetterStats",
    "Description",
    "Encoder",
    "ErrorSeverity",
    "Event",
    "FailureRate",
    "Fallback",
    "FellBack",
    "FernetCodec",
    "ForwardingStore",
    "Hedge",
    "Hedged",
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
    "MessageClaimedError",
    "MessageNotFoundError",
    "NotOurFileError",
    "Notification",
    "NotificationChannel",
    "NotificationFailed",
    "NotificationResult",
    "NotificationSent",
    "OperationTimeoutError",
    "Permit",
    "Pipeline",
    "Policy",
    "RateLimitExceededError",
    "RateLimited",
    "RateLimiter",
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
    "SealedLetterError",
    "SlowCallRate",
    "SqsStore",
    "StopWhenFailing",
    "Store",
    "Subscription",
    "TimeWindow",
    "TimedOut",
    "Timeout",
    "TornTailRepaired",
    "TripRule",
    "UnencodableMessageError",
    "ValidationError",
    "circuit_breaker",
    "dead_lettered",
    "is_transient",
    "retry_with_backoff",
    "standard_pipeline",
    "subscribe",
    "with_backoff",
)

_HOMES = {
    "resilio._core.events": ("Event", "Subscription", "subscribe"),
    "resilio.alerting.channels": ("Channel", "LogChannel", "NotificationChannel"),
    "resilio.alerting.events": ("NotificationFailed", "NotificationSent"),
    "resilio.alerting.notification": ("ChannelOutcome", "Notification", "NotificationResult"),
    "resilio.alerting.notifier": ("AdminNotifier",),
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
