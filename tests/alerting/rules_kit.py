"""Rules to try: a channel that keeps what it is given, a condition that finds what it is told to find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from resilio import AdminNotifier, AlertRule, Alerts, Finding, Route
from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilio import Notification


class Postbox:
    """A channel that keeps what it is given, unless it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self.letters: list[Notification] = []

    async def deliver(self, notification: Notification) -> None:
        await anyio.lowlevel.checkpoint()
        if self.closed:
            raise ConnectionError
        self.letters.append(notification)

    @property
    def told(self) -> list[str]:
        return [letter.message for letter in self.letters]


class Switch:
    """A condition that finds what it is told to find."""

    def __init__(self, *names: str) -> None:
        self.names: tuple[str, ...] = names
        self.error: Exception | None = None

    async def findings(self) -> Sequence[Finding]:
        if self.error is not None:
            raise self.error
        return [Finding(summary=f"{name} is down", labels={"name": name, "kind": name[0]}) for name in self.names]


def alerts_of(box: Postbox, *rules: AlertRule, **settings: Any) -> Alerts:
    """Rules that tell ``box`` at once."""
    return Alerts(AdminNotifier(channel=Route(box, policy=None, limit=None)), rules, **settings)


async def over(alerts: Alerts, seconds: int, every: int = 10) -> None:
    """Let time pass, and check."""
    for _ in range(seconds // every):
        await alerts.check()
        await clock.sleep(every)
