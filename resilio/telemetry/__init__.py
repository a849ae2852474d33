"""Numbers for the systems people already run: events become OpenTelemetry metrics and span events, or a scrape's text.

What turns the typed events of the rooms below into somebody else's format belongs here. Lines for a log do not: they
are `resilio.log_events`. Everything below is importable from here and loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilio.telemetry.instrumentation import Instrumentation, instrument, uninstrument
    from resilio.telemetry.prometheus import PrometheusApp, prometheus_app

__all__ = ("Instrumentation", "PrometheusApp", "instrument", "prometheus_app", "uninstrument")

_HOME_OF = {
    "Instrumentation": "resilio.telemetry.instrumentation",
    "instrument": "resilio.telemetry.instrumentation",
    "uninstrument": "resilio.telemetry.instrumentation",
    "PrometheusApp": "resilio.telemetry.prometheus",
    "prometheus_app": "resilio.telemetry.prometheus",
}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
