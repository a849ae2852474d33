"""One run: clients call a dependency through their policies for minutes that take a moment."""

from __future__ import annotations

import random  # noqa: TID251 -- a seeded source, which is handed to the one place for chance
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from resilio._core import clock, dice
from resilio.cli.simulation.scenario import OutageKind
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilio.cli.simulation.contender import Contender
    from resilio.cli.simulation.scenario import Scenario

__all__ = ("Record", "simulate")


class RefusedError(ConnectionError):
    """The dependency does not take a call."""


@dataclass(slots=True)
class Record:
    """What was seen, second by second.

    Attributes:
        requests: Requests that came to the clients, by the second in which they came.
        succeeded: Those of them that were answered in the end.
        failed: Those that were not.
        calls: Calls that reached the dependency, by the second in which they did.
        durations: Seconds that each answered request took.
    """

    requests: list[int]
    succeeded: list[int]
    failed: list[int]
    calls: list[int]
    durations: list[float] = field(default_factory=list)


class Dependency:
    """Something that answers calls one after the other, as fast as it can, unless it has an outage.

    A caller that gives up waiting has cost it the work all the same.
    """

    def __init__(self, scenario: Scenario, calls: list[int], began: float) -> None:
        self._scenario = scenario
        self._calls = calls
        self._began = began
        self._free_at = 0.0

    async def call(self) -> None:
        """Answer one call.

        Raises:
            RefusedError: It does not.
        """
        scenario = self._scenario
        now = clock.monotonic() - self._began
        if (second := int(now)) < len(self._calls):
            self._calls[second] += 1
        is_out = scenario.is_out(now)
        latency = scenario.slow_latency if is_out and scenario.outage is OutageKind.SLOW else scenario.latency
        if is_out and dice.random() < self._fault_rate:
            await clock.sleep(scenario.latency)
            raise RefusedError
        multiple = (
            scenario.overload_capacity if is_out and scenario.outage is OutageKind.OVERLOAD else scenario.capacity
        )
        begins = max(now, self._free_at)
        if begins - now > scenario.queue:
            await clock.sleep(scenario.latency)
            raise RefusedError
        self._free_at = begins + 1.0 / (scenario.demand * multiple)
        await clock.sleep(begins - now + latency)

    @property
    def _fault_rate(self) -> float:
        kind = self._scenario.outage
        return 1.0 if kind is OutageKind.TOTAL else self._scenario.fault_rate if kind is OutageKind.PARTIAL else 0.0


async def simulate(scenario: Scenario, contender: Contender, *, on_second: Callable[[float], object]) -> Record:
    """Run a scenario with one set of policies; needs an event loop of asyncio that has nothing else to do.

    Args:
        scenario: What happens.
        contender: The policies; every client gets its own.
        on_second: Told how far it is, in virtual seconds.
    """
    seconds = int(scenario.duration) + 1
    record = Record([0] * seconds, [0] * seconds, [0] * seconds, [0] * seconds)
    seeded = random.Random(scenario.seed)  # noqa: S311 -- the same run again is the point
    with dice.loaded(seeded), VirtualClock(io_grace=0):
        began = clock.monotonic()
        dependency = Dependency(scenario, record.calls, began)
        async with anyio.create_task_group() as group:
            for number in range(scenario.clients):
                phase = 0.0 if scenario.together else (number + dice.random()) / scenario.demand
                group.start_soon(_client, scenario, contender, dependency, record, began, phase)
            while (now := clock.monotonic() - began) < scenario.duration:
                on_second(now)
                await clock.sleep(min(1.0, scenario.duration - now))
            group.cancel_scope.cancel()  # what is under way then is neither answered nor failed
    return record


async def _client(
    scenario: Scenario, contender: Contender, dependency: Dependency, record: Record, began: float, phase: float
) -> None:
    pipeline = contender.pipeline()
    guarded = dependency.call if pipeline is None else pipeline(dependency.call)
    period = 1.0 / scenario.rate
    await clock.sleep(phase)
    async with anyio.create_task_group() as requests:
        while (now := clock.monotonic() - began) < scenario.duration:
            record.requests[int(now)] += 1
            requests.start_soon(_request, guarded, record, int(now))
            await clock.sleep(period)


async def _request(guarded: Callable[[], Awaitable[None]], record: Record, second: int) -> None:
    began = clock.monotonic()
    try:
        await guarded()
    except Exception:  # whatever a policy makes of it, the user got no answer
        record.failed[second] += 1
    else:
        record.succeeded[second] += 1
        record.durations.append(clock.monotonic() - began)
