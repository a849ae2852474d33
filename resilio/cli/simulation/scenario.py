"""What happens to whom: how many clients ask how often, and what befalls the dependency meanwhile."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from resilio._core import durations

__all__ = ("OutageKind", "Scenario")


class OutageKind(StrEnum):
    """What befalls the dependency."""

    TOTAL = "total"
    """It refuses every call."""
    PARTIAL = "partial"
    """It refuses a share of the calls."""
    SLOW = "slow"
    """It answers late."""
    OVERLOAD = "overload"
    """It can do less than it is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Demand and outage. Times are seconds from the beginning.

    Attributes:
        clients: Processes that call, each with policies of its own.
        rate: Requests a second that each of them has to serve.
        outage: What befalls the dependency.
        before: When that begins.
        length: How long it lasts.
        after: How long is looked at afterwards.
        fault_rate: The share of calls that fail, in a partial outage.
        latency: How long the dependency takes for an answer.
        slow_latency: The same, while it is slow.
        capacity: What it can do, as a multiple of the normal demand. Beyond, calls queue, and one that its caller has
            given up is done all the same.
        overload_capacity: The same, in an overload.
        queue: Calls that would wait longer than this are refused.
        together: Whether all clients ask at the same moments, as timers do, rather than evenly spread.
        seed: What chance begins with.

    Raises:
        TypeError, ValueError: A value is not what it should be; the message names it.
    """

    clients: int = 50
    rate: float = 0.5
    outage: OutageKind = OutageKind.TOTAL
    before: float = 10.0
    length: float = 40.0
    after: float = 70.0
    fault_rate: float = 0.3
    latency: float = 0.05
    slow_latency: float = 5.0
    capacity: float = 2.0
    overload_capacity: float = 0.7
    queue: float = 5.0
    together: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "outage", OutageKind(self.outage))
        durations.whole("clients", self.clients, at_least=1, at_most=10_000)
        for name in ("rate", "capacity", "overload_capacity"):
            durations.number(name, getattr(self, name), above=0)
        for name in ("before", "length", "after", "latency", "slow_latency", "queue"):
            durations.seconds(name, getattr(self, name))
        durations.number("fault_rate", self.fault_rate, at_least=0, at_most=1)
        durations.flag("together", self.together)
        durations.whole("seed", self.seed, at_least=0)

    @property
    def end(self) -> float:
        """When the outage is over."""
        return self.before + self.length

    @property
    def duration(self) -> float:
        """How long all of it takes."""
        return self.end + self.after

    @property
    def demand(self) -> float:
        """Requests a second of all clients together."""
        return self.clients * self.rate

    def is_out(self, at: float) -> bool:
        """Whether the outage is on."""
        return self.before <= at < self.end

    def to_dict(self) -> dict[str, Any]:
        """The scenario as a dict that JSON can carry."""
        return {**asdict(self), "outage": self.outage.value}
