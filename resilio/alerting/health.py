"""What was last told about the health of each component, so that only changes are told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

_MOST_COMPONENTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChange:
    """A component's health is news.

    Attributes:
        component: Its name.
        is_healthy: How it is now.
        since: When that began, on the monotonic clock.
        lasted: Seconds that the opposite had lasted; None for the first word about a component.
        told: Whether somebody was told.
    """

    component: str
    is_healthy: bool
    since: float
    lasted: float | None = None
    told: bool = True

    def __str__(self) -> str:
        """In one sentence."""
        if not self.is_healthy:
            return f"{self.component} is unhealthy"
        if self.lasted is None:
            return f"{self.component} is healthy"
        return f"{self.component} is healthy again after {self.lasted:.1f} s"

    def details(self) -> dict[str, object]:
        """Which component, and how long it was unhealthy if it is well again."""
        found: dict[str, object] = {"component": self.component}
        if self.is_healthy and self.lasted is not None:
            found["unhealthy_for"] = round(self.lasted, 3)
        return found


class HealthLedger:
    """Tells news from repetition. Reads no clock; safe from any thread.

    Holds 10 000 components; beyond that the one that has been as it is for longest is forgotten, and its next word is
    news again.
    """

    __slots__ = ("_latest", "_lock")

    def __init__(self) -> None:
        self._latest: dict[str, HealthChange] = {}
        self._lock = threading.Lock()

    def observe(self, component: str, *, is_healthy: bool, now: float) -> HealthChange | None:
        """Take note; return the change if there is one to tell, else None."""
        with self._lock:
            latest = self._latest.get(component)
            if latest is not None and latest.is_healthy == is_healthy:
                if latest.told:
                    return None
                news = replace(latest, told=True)
            else:
                lasted = None if latest is None else max(now - latest.since, 0.0)
                news = HealthChange(component=component, is_healthy=is_healthy, since=now, lasted=lasted)
                self._latest.pop(component, None)  # so that the order is that of the changes
            self._latest[component] = news
            if len(self._latest) > _MOST_COMPONENTS:
                del self._latest[next(iter(self._latest))]
            return news

    def untold(self, change: HealthChange) -> None:
        """Take back that ``change`` was told: nobody heard it, so it is news again at the next word."""
        with self._lock:
            if self._latest.get(change.component) is change:
                self._latest[change.component] = replace(change, told=False)
