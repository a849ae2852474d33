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

__all__ = (
    "BulkheadFullError",
    "CircuitBreakerOpenError",
    "ErrorSeverity",
    "Event",
    "IntegrationError",
    "OperationTimeoutError",
    "RateLimitExceededError",
    "ResilioError",
    "RetryExhaustedError",
    "Subscription",
    "ValidationError",
    "is_transient",
    "subscribe",
)

_HOMES = {
    "resilio._core.events": ("Event", "Subscription", "subscribe"),
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
