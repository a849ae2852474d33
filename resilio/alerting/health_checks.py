"""Health checks: looks at components, and tells what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from resilio._core import clock, durations
from resilio._core.colour import is_awaitable
from resilio.alerting.outlet import described, redacted_details
from resilio.policies.circuit_machine import CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from resilio._core.durations import Duration
    from resilio.alerting.component_conditions import HasStats
    from resilio.alerting.notifier import AdminNotifier
    from resilio.policies.circuit import CircuitSnapshot

__all__ = ("HealthCheck", "HealthChecks", "HealthReport", "HealthResult")

HealthReport = tuple[bool, Mapping[str, object]]


class _HasSnapshot(Protocol):
    def snapshot(self) -> CircuitSnapshot: ...


class HealthCheck:
    """Finds out whether a component is well.

    Args:
        component: Its name.
        probe: A function without arguments, async or plain and quick. It is well if it returns, and not if it returns
            False or a pair ``(False, details)``, raises, or takes too long.
        timeout: Seconds for the probe.

        >>> HealthCheck("database", lambda: True)
        <HealthCheck database>
    """

    __slots__ = ("_probe", "component", "timeout")

    def __init__(self, component: str, probe: Callable[[], Any], *, timeout: Duration = 5.0) -> None:
        if not callable(probe):
            msg = f"probe must be a function without arguments, not {probe!r}"
            raise TypeError(msg)
        self.component: str = component
        self._probe = probe
        self.timeout: float = durations.seconds("timeout", timeout, above=0)

    def __repr__(self) -> str:
        return f"<HealthCheck {self.component}>"

    @classmethod
    def of_circuit(cls, breaker: _HasSnapshot, *, component: str | None = None) -> HealthCheck:
        """Well while the breaker's circuit is not open.

        Args:
            breaker: A `CircuitBreaker`, of either kind.
            component: The circuit's name by default.
        """

        def probe() -> HealthReport:
            snapshot = breaker.snapshot()
            is_shut = snapshot.state in (CircuitState.OPEN, CircuitState.FORCED_OPEN, CircuitState.HALF_OPEN)
            return not is_shut, {"state": str(snapshot.state), "last_failure": snapshot.last_failure}

        return cls(component or breaker.snapshot().name, probe)

    @classmethod
    def of_queue(
        cls,
        queue: HasStats,
        *,
        most: int = 100,
        oldest: Duration = 3600.0,
        component: str = "dead letters",
    ) -> HealthCheck:
        """Well while there are few dead letters and none is old.

        Args:
            queue: A `DeadLetterQueue`.
            most: So many are well.
            oldest: Seconds that a letter may lie there.
            component: Its name.
        """
        limit = durations.whole("most", most)
        age = durations.seconds("oldest", oldest)

        async def probe() -> HealthReport:
            stats = await queue.stats()
            oldest_age = stats.oldest_age or 0.0
            is_well = stats.total <= limit and (not stats.total or oldest_age <= age)
            return is_well, {"letters": stats.total, "oldest_age": round(oldest_age, 1)}

        return cls(component, probe)

    async def look(self) -> HealthReport:
        """Whether the component is well, and what there is to say. Never raises an ``Exception``."""
        try:
            with anyio.fail_after(self.timeout):
                found = self._probe()
                if is_awaitable(found):
                    found = await found
        except Exception as error:
            return False, {"error": described(error)}
        if isinstance(found, tuple) and len(found) == 2:  # noqa: PLR2004 -- a pair
            is_well, details = found
            return bool(is_well), details if isinstance(details, Mapping) else {"details": details}
        return found is not False, {}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    """What a health check found last. Everything in it is redacted.

    Attributes:
        component: Its name.
        is_healthy: Whether it was well.
        details: What there was to say.
        since: Since when it has been so, UTC.
        checked_at: When it was looked at last, UTC.
        duration: Seconds that the look took.
    """

    component: str
    is_healthy: bool
    details: Mapping[str, object]
    since: datetime
    checked_at: datetime
    duration: float

    def to_dict(self) -> dict[str, object]:
        """The same as a dict that JSON can carry."""
        return {
            "component": self.component,
            "is_healthy": self.is_healthy,
            "details": dict(self.details),
            "since": self.since.isoformat(),
            "checked_at": self.checked_at.isoformat(),
            "duration": self.duration,
        }


class HealthChecks:
    """Looks at components side by side, and tells the administrator of changes.

    Args:
        notifier: Who tells, and remembers what was told: only changes are, and a recovery says how long it took.
        checks: What is looked at.

    Raises:
        ValueError: Two checks have one component.

    Safe to share between threads and event loops.
    """

    __slots__ = ("_checks", "_notifier", "_results")

    def __init__(self, notifier: AdminNotifier, checks: Iterable[HealthCheck]) -> None:
        self._notifier = notifier
        self._checks = tuple(checks)
        names = [each.component for each in self._checks]
        if len(set(names)) < len(names):
            msg = f"checks must have components of their own, not {names!r}"
            raise ValueError(msg)
        self._results: dict[str, HealthResult] = {}

    async def check(self) -> dict[str, bool]:
        """Look once at all of them, tell what changed, and return whether each is well."""
        found: dict[str, bool] = {}

        async def look(check: HealthCheck) -> None:
            began = clock.monotonic()
            is_well, details = await check.look()
            self._note(check.component, details, is_well=is_well, duration=clock.monotonic() - began)
            found[check.component] = is_well
            await self._notifier.send_health_check_notification(
                is_healthy=is_well, details={**details, "component": check.component}
            )

        async with anyio.create_task_group() as tasks:
            for each in self._checks:
                tasks.start_soon(look, each)
        return {each.component: found[each.component] for each in self._checks}

    def _note(self, component: str, details: Mapping[str, object], *, is_well: bool, duration: float) -> None:
        former, at = self._results.get(component), clock.utcnow()
        self._results[component] = HealthResult(
            component=component,
            is_healthy=is_well,
            details=redacted_details(details),
            since=former.since if former is not None and former.is_healthy is is_well else at,
            checked_at=at,
            duration=duration,
        )

    def results(self) -> list[HealthResult]:
        """What was found last, in the order of the checks; what was never looked at is left out."""
        return [self._results[each.component] for each in self._checks if each.component in self._results]

    async def run(self, every: Duration = 30.0) -> None:
        """Look now and every so many seconds, until it is cancelled.

        Args:
            every: Seconds between looks, above 0.
        """
        pause = durations.seconds("every", every, above=0)
        while True:
            await self.check()
            await clock.sleep(pause)
