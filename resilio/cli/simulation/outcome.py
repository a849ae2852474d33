"""What a run came to, in the few numbers by which one chooses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilio.cli.simulation.contender import Contender
    from resilio.cli.simulation.engine import Record
    from resilio.cli.simulation.scenario import Scenario

__all__ = ("Outcome", "judge")

_WELL: Final = 0.99
_STEADY: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a set of policies made of a scenario.

    Attributes:
        name: What the policies are called.
        settings: What they are.
        requests: Requests that came.
        success_rate: The share that was answered.
        outage_success_rate: The same, of those that came during the outage; None if none came.
        amplification: Calls that reached the dependency for each request, during the outage; None likewise.
        peak_load: The most calls in one second since the outage began, as a multiple of the normal demand.
        calls: Calls that reached the dependency.
        recovery: Seconds from the end of the outage until 99 % of the requests of five seconds are answered; None if
            that was not seen.
        slowest: Seconds within which 99 % of the answered requests were answered.
        load: Calls in each second, as a multiple of the normal demand.
        success: The share of the requests of each second that was answered; None where none was judged.
    """

    name: str
    settings: str
    requests: int
    success_rate: float
    outage_success_rate: float | None
    amplification: float | None
    peak_load: float
    calls: int
    recovery: float | None
    slowest: float | None
    load: Sequence[float]
    success: Sequence[float | None]

    def to_dict(self) -> dict[str, Any]:
        """The outcome as a dict that JSON can carry."""
        return asdict(self)


def judge(scenario: Scenario, contender: Contender, record: Record) -> Outcome:
    """Sum a run up."""
    first, last = int(scenario.before), int(scenario.end)
    answered, refused = record.succeeded, record.failed
    during = sum(record.requests[first:last])
    waits = sorted(record.durations)
    return Outcome(
        name=contender.name,
        settings=contender.text,
        requests=sum(record.requests),
        success_rate=_share(answered, refused) or 0.0,
        outage_success_rate=_share(answered[first:last], refused[first:last]),
        amplification=sum(record.calls[first:last]) / during if during else None,
        peak_load=max(record.calls[first:], default=0) / scenario.demand,
        calls=sum(record.calls),
        recovery=_recovery(scenario, record),
        slowest=waits[int(len(waits) * 0.99)] if waits else None,
        load=[round(count / scenario.demand, 3) for count in record.calls[: int(scenario.duration)]],
        success=[
            _share(answered[second : second + 1], refused[second : second + 1])
            for second in range(int(scenario.duration))
        ],
    )


def _share(answered: Sequence[int], refused: Sequence[int]) -> float | None:
    total = sum(answered) + sum(refused)
    return sum(answered) / total if total else None


def _recovery(scenario: Scenario, record: Record) -> float | None:
    for second in range(int(scenario.end), int(scenario.duration) - _STEADY + 1):
        window = slice(second, second + _STEADY)
        share = _share(record.succeeded[window], record.failed[window])
        if share is not None and share >= _WELL:
            return float(second - int(scenario.end))
    return None
