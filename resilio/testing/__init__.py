"""An outage in milliseconds, the same way every time: virtual time, fault injection, a chaos proxy, pytest fixtures.

Everything below is importable from here and loaded on first use; importing it loads neither pytest nor Hypothesis.
`resilio.testing.fault_actions` has the actions of faults and of chaos, `resilio.testing.machines` the Hypothesis state
machines. What belongs here helps to test code that uses the package, ours and other people's; what
only tests the package itself does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilio.testing.blocking_chaos import BlockingChaos
    from resilio.testing.blocking_chaos_proxy import BlockingChaosProxy
    from resilio.testing.chaos import Chaos
    from resilio.testing.chaos_events import ChaosCall, ChaosInjected, ChaosWithheld
    from resilio.testing.chaos_proxy import ChaosProxy, ProxyConnection, ProxyEvent
    from resilio.testing.dead_letters import DeadLetters
    from resilio.testing.faults import FaultInjected, FaultInjector, FaultRule
    from resilio.testing.matching import EventMatcher, match
    from resilio.testing.notifications import Notifications, Told
    from resilio.testing.recorder import EventRecorder
    from resilio.testing.toxics import (
        Bandwidth,
        BlackHole,
        Corrupt,
        Latency,
        LimitData,
        ResetPeer,
        Slicer,
        SlowClose,
        Toxic,
    )
    from resilio.testing.virtual_clock import VirtualClock
    from resilio.testing.waits import NoWaits, fast, no_waits

__all__ = (
    "Bandwidth",
    "BlackHole",
    "BlockingChaos",
    "BlockingChaosProxy",
    "Chaos",
    "ChaosCall",
    "ChaosInjected",
    "ChaosProxy",
    "ChaosWithheld",
    "Corrupt",
    "DeadLetters",
    "EventMatcher",
    "EventRecorder",
    "FaultInjected",
    "FaultInjector",
    "FaultRule",
    "Latency",
    "LimitData",
    "NoWaits",
    "Notifications",
    "ProxyConnection",
    "ProxyEvent",
    "ResetPeer",
    "Slicer",
    "SlowClose",
    "Told",
    "Toxic",
    "VirtualClock",
    "fast",
    "match",
    "no_waits",
)

_HOMES = {
    "resilio.testing.blocking_chaos": ("BlockingChaos",),
    "resilio.testing.blocking_chaos_proxy": ("BlockingChaosProxy",),
    "resilio.testing.chaos": ("Chaos",),
    "resilio.testing.chaos_events": ("ChaosCall", "ChaosInjected", "ChaosWithheld"),
    "resilio.testing.chaos_proxy": ("ChaosProxy", "ProxyConnection", "ProxyEvent"),
    "resilio.testing.dead_letters": ("DeadLetters",),
    "resilio.testing.faults": ("FaultInjected", "FaultInjector", "FaultRule"),
    "resilio.testing.matching": ("EventMatcher", "match"),
    "resilio.testing.notifications": ("Notifications", "Told"),
    "resilio.testing.recorder": ("EventRecorder",),
    "resilio.testing.toxics": (
        "Bandwidth",
        "BlackHole",
        "Corrupt",
        "Latency",
        "LimitData",
        "ResetPeer",
        "Slicer",
        "SlowClose",
        "Toxic",
    ),
    "resilio.testing.virtual_clock": ("VirtualClock",),
    "resilio.testing.waits": ("NoWaits", "fast", "no_waits"),
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
    return list(__all__)
