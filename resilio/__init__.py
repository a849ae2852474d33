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
    from resilio.alerting.channels import NotificationChannel
    from resilio.alerting.notifier import AdminNotifier
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
    from resilio.policies.backoff import BackoffStrategy, retry_with_backoff, with_backoff
    from resilio.policies.circuit import CircuitSnapshot
    from resilio.policies.circuit_breaker import CircuitBreaker, Permit, circuit_breaker
    from resilio.policies.circuit_machine import CircuitState
    from resilio.policies.description import Description
    from resilio.policies.events import (
        CallFailed,
        CallRejected,
        CallSucceeded,
        CircuitStateChanged,
        FellBack,
        RetryGivenUp,
        RetryScheduled,
        RetrySucceeded,
        TimedOut,
    )
    from resilio.policies.fallback import Fallback
    from resilio.policies.pipeline import Pipeline
    from resilio.policies.policy import Policy
    from resilio.policies.timeout import Timeout
    from resilio.policies.trip import ConsecutiveFailures, TripRule

__all__ = (
    "AdminNotifier",
    "BackoffStrategy",
    "BulkheadFullError",
    "CallFailed",
    "CallRejected",
    "CallSucceeded",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitSnapshot",
    "CircuitState",
    "CircuitStateChanged",
    "ConsecutiveFailures",
    "Description",
    "ErrorSeverity",
    "Event",
    "Fallback",
    "FellBack",
    "IntegrationError",
    "NotificationChannel",
    "OperationTimeoutError",
    "Permit",
    "Pipeline",
    "Policy",
    "RateLimitExceededError",
    "ResilioError",
    "RetryExhaustedError",
    "RetryGivenUp",
    "RetryScheduled",
    "RetrySucceeded",
    "Subscription",
    "TimedOut",
    "Timeout",
    "TripRule",
    "ValidationError",
    "circuit_breaker",
    "is_transient",
    "retry_with_backoff",
    "subscribe",
    "with_backoff",
)

_HOMES = {
    "resilio._core.events": ("Event", "Subscription", "subscribe"),
    "resilio.alerting.channels": ("NotificationChannel",),
    "resilio.alerting.notifier": ("AdminNotifier",),
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
    "resilio.policies.backoff": ("BackoffStrategy", "retry_with_backoff", "with_backoff"),
    "resilio.policies.circuit": ("CircuitSnapshot",),
    "resilio.policies.circuit_breaker": ("CircuitBreaker", "Permit", "circuit_breaker"),
    "resilio.policies.circuit_machine": ("CircuitState",),
    "resilio.policies.description": ("Description",),
    "resilio.policies.events": (
        "CallFailed",
        "CallRejected",
        "CallSucceeded",
        "CircuitStateChanged",
        "FellBack",
        "RetryGivenUp",
        "RetryScheduled",
        "RetrySucceeded",
        "TimedOut",
    ),
    "resilio.policies.fallback": ("Fallback",),
    "resilio.policies.pipeline": ("Pipeline",),
    "resilio.policies.policy": ("Policy",),
    "resilio.policies.timeout": ("Timeout",),
    "resilio.policies.trip": ("ConsecutiveFailures", "TripRule"),
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
