"""The peers: other toolkits, each used as its own README says.

One module a peer, and in it one function a row, called as the row's key: it takes the function to protect and gives
back the protected one. ``LACKS`` says why a row has no function where the plain "has no such thing" would mislead;
``IMPORT`` and ``FIRST_BREAKER`` are the lines that the start-up rows time. All settings are alike: five failures open a
circuit for an hour, windows hold 100 calls, nothing waits, nothing is logged.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from benchmarks.drivers import Operation

DISTRIBUTIONS = {
    "tenacity": "tenacity",
    "stamina": "stamina",
    "backoff": "backoff",
    "hyx": "hyx",
    "pybreaker": "pybreaker",
    "aiobreaker": "aiobreaker",
    "purgatory": "purgatory",
    "circuitbreaker": "circuitbreaker",
    "aiolimiter": "aiolimiter",
    "nopanic": "nopanic",
    "resilix": "resilix",
    "pyresilience": "pyresilience",
    "aioresilience": "aioresilience",
    "interlock": "interlock-cb",
    "fluxgate": "fluxgate",
    "resilient_circuit": "resilient-circuit",
    "sentry": "sentry-sdk",
}
"""The modules of this package, with what to install for each."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer, or why it is not here.

    Attributes:
        name: Its name on the package index.
        module: Its adapters; None if it cannot be imported.
        absence: Why it cannot.
    """

    name: str
    module: ModuleType | None
    absence: str = ""

    def adapter(self, key: str) -> Callable[[Operation], Operation] | None:
        """The peer's way to do the row ``key``, if it has one."""
        return getattr(self.module, key, None)

    def line(self, name: str) -> str | None:
        """One of the lines for the start-up rows."""
        return getattr(self.module, name, None)

    def lack(self, key: str) -> str:
        """Why there is no adapter for the row ``key``."""
        if self.module is None:
            return "not installed"
        lacks: dict[str, str] = getattr(self.module, "LACKS", {})
        return lacks.get(key, "has no such thing")


@dataclass(frozen=True, slots=True)
class Field:
    """Everybody who takes part, beside the probe and resilio."""

    peers: tuple[Peer, ...] = field(default_factory=lambda: tuple(load(module) for module in DISTRIBUTIONS))
    references: tuple[Peer, ...] = field(default_factory=lambda: (load("standard_library", "asyncio"),))


def load(module: str, name: str | None = None) -> Peer:
    """The peer whose adapters are in the module of this name."""
    name = name or DISTRIBUTIONS[module]
    try:
        return Peer(name, importlib.import_module(f"benchmarks.peers.{module}"))
    except ImportError as error:
        return Peer(name, None, f"not installed: {error}")
