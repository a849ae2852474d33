"""Whom a test told, and what: notifications that go nowhere and can be looked at.

    with Notifications() as notifications:
        ...
    notifications.assert_told("circuit is open", severity="WARNING")

In a pytest test the fixture ``notifications`` is this, from its start to its end.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Self
from unittest.mock import patch

from resilio._core import clock, durations
from resilio.alerting import notifier as alerting
from resilio.alerting.notifier import AdminNotifier
from resilio.alerting.outlet import attempt
from resilio.alerting.route import Route
from resilio.errors import ErrorSeverity
from resilio.testing.recorder_text import often

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from resilio.alerting.notification import ChannelOutcome, Notification
    from resilio.alerting.outlet import Outlet

__all__ = ("Notifications", "Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A notification that was sent.

    Attributes:
        notification: What was told.
        channel: The name of the channel that was to deliver it.
        elapsed: Seconds since the recording began, on the project's clock.
    """

    notification: Notification
    channel: str
    elapsed: float

    def __str__(self) -> str:
        said = self.notification
        kind = "" if said.error_type is None else f" [{said.error_type}]"
        details = "".join(f" {name}={value!r}" for name, value in said.details.items())
        return f"{self.elapsed:10.3f} s  {said.severity} to {self.channel}{kind}: {said.message}{details}"


class Notifications:
    """A channel that keeps what it is given, and between ``with`` and the end of the block the only one of the process.

    Meanwhile every `AdminNotifier`, whenever it was made, tells this object in place of its own channels: no mail is
    sent, nothing is logged, each notification counts as delivered at once, and none waits for a digest. `notifier` is
    one to hand to the code under test; outside of a block that alone is recorded. To let deliveries fail, take fault
    injection: ``faults.on(notifications.deliver).first(1).raises(ConnectionError)``.

    Safe to use from any thread and any event loop.
    """

    name = "notifications"

    def __init__(self) -> None:
        self.notifier: AdminNotifier = AdminNotifier(channel=Route(self, policy=None, limit=None))
        """A notifier that tells this object."""
        self._lock = threading.Lock()
        self._kept: list[tuple[Notification, str, float]] = []
        self._origin = clock.monotonic()
        self._stack = ExitStack()

    # -- recording -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        async def kept(outlet: Outlet, notification: Notification) -> ChannelOutcome:
            outcome, _ = await attempt(_InPlaceOf(outlet.name, self), outlet.name, notification)
            return outcome

        self.restart()
        # The one place through which every notification goes, before its channel's limits and retries.
        self._stack.enter_context(patch.object(alerting, "_hand_over", kept))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """Count the seconds of `told` from here. What was recorded stays, at seconds below zero."""
        self._origin = clock.monotonic()

    def clear(self) -> None:
        """Forget what was recorded, and count the seconds from here."""
        with self._lock:
            self._kept.clear()
        self.restart()

    async def deliver(self, notification: Notification, channel: str = name) -> None:
        """Keep ``notification``, which was meant for ``channel``."""
        with self._lock:
            self._kept.append((notification, channel, clock.monotonic()))

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def told(self) -> tuple[Told, ...]:
        """What was told, with the channel and the second, oldest first."""
        with self._lock:
            kept = tuple(self._kept)
        return tuple(
            Told(notification=notification, channel=channel, elapsed=round(at - self._origin, 6))
            for notification, channel, at in kept
        )

    @property
    def sent(self) -> tuple[Notification, ...]:
        """The notifications, oldest first; one that went to two channels twice."""
        return tuple(each.notification for each in self.told)

    def __iter__(self) -> Iterator[Notification]:
        return iter(self.sent)

    def __len__(self) -> int:
        return len(self._kept)

    def __bool__(self) -> bool:
        return True  # even before anybody was told

    def timeline(self) -> str:
        """One line for each notification, oldest first."""
        return "\n".join(map(str, self.told)) or "nobody was told anything"

    def __repr__(self) -> str:
        return f"<Notifications {len(self)} sent>"

    # -- asserting -----------------------------------------------------------------------------------------------------

    def assert_told(
        self,
        message: str | re.Pattern[str],
        *,
        severity: ErrorSeverity | str | None = None,
        error_type: str | None = None,
        channel: str | None = None,
        times: int | None = None,
    ) -> Notification:
        """Assert that such a notification was sent.

        Args:
            message: Part of its message, or a regular expression to be found in it.
            severity: Its severity.
            error_type: Its error type.
            channel: The name of a channel that it went to.
            times: How often, at least 1; None for at least once.

        Returns:
            The first one, to look at its details.

        Raises:
            AssertionError: There was none, or not so many; the message shows all that were.
            ValueError: ``severity`` is unknown, or ``times`` is less than 1.
        """
        __tracebackhide__ = True
        durations.optional(durations.whole, "times", times, at_least=1)
        wanted = None if severity is None else ErrorSeverity(severity.upper())
        found = [
            each
            for each in self.told
            if _is_in(message, each.notification.message)
            and wanted in (None, each.notification.severity)
            and error_type in (None, each.notification.error_type)
            and channel in (None, each.channel)
        ]
        if not found or (times is not None and len(found) != times):
            described = [
                repr(message) if isinstance(message, str) else f"/{message.pattern}/",
                *([] if wanted is None else [f"severity {wanted}"]),
                *([] if error_type is None else [f"error type {error_type!r}"]),
                *([] if channel is None else [f"to {channel!r}"]),
            ]
            count = "once or more" if times is None else often(times)
            self._fail(f"should have been told {count}: {', '.join(described)}; was told {often(len(found))}")
        return found[0].notification

    def assert_silent(self) -> None:
        """Assert that nobody was told anything.

        Raises:
            AssertionError: Somebody was; the message shows what.
        """
        __tracebackhide__ = True
        if self.told:
            self._fail("nobody should have been told anything")

    def _fail(self, what: str) -> NoReturn:
        __tracebackhide__ = True
        msg = f"{what}\n\nwhat was told:\n{self.timeline()}"
        raise AssertionError(msg)


class _InPlaceOf:
    """Stands for another channel under its name, and keeps what it should deliver."""

    __slots__ = ("_kept_by", "name")

    def __init__(self, name: str, kept_by: Notifications) -> None:
        self.name = name
        self._kept_by = kept_by

    async def deliver(self, notification: Notification) -> None:
        await self._kept_by.deliver(notification, self.name)


def _is_in(wanted: str | re.Pattern[str], message: str) -> bool:
    return wanted in message if isinstance(wanted, str) else wanted.search(message) is not None
