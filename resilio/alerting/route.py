"""A channel, what it is told, and how hard it is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from resilio.alerting.channels import LogChannel
from resilio.alerting.storms import StormLimit
from resilio.errors import ErrorSeverity
from resilio.policies.backoff import BackoffStrategy
from resilio.policies.pipeline import Pipeline
from resilio.policies.policy import AsyncForms, Policy
from resilio.policies.timeout import Timeout

if TYPE_CHECKING:
    from resilio.alerting.channels import Channel

__all__ = ("STANDARD_DELIVERY", "STANDARD_LIMIT", "Route")

STANDARD_DELIVERY: Final[Policy] = Pipeline(
    Timeout(30),
    BackoffStrategy(max_retries=2, base_delay=0.5, max_delay=5, max_retry_after=20, reraise=True),
    Timeout(10),
)
"""How a delivery is tried: three times at most, 10 s each, 30 s in all; a server's Retry-After is kept up to 20 s."""

STANDARD_LIMIT: Final = StormLimit()


@dataclass(frozen=True, slots=True, init=False)
class Route:
    """A channel, what it is told, and how hard it is tried.

    Args:
        channel: An object with the method ``async def deliver(notification)``.
        min_severity: It is told what is as bad as this, or worse.
        policy: Guards each delivery: three tries within 30 s by default; None for one try, however long it takes.
        limit: How many messages it gets at most; None for all. The log has no limit and no policy by default.

    Raises:
        TypeError: ``channel`` cannot deliver, or ``policy`` is no async policy of this package, or ``limit`` no limit.
        ValueError: ``min_severity`` is unknown.

        >>> Route(LogChannel(), min_severity=ErrorSeverity.WARNING).min_severity
        <ErrorSeverity.WARNING: 'WARNING'>
    """

    channel: Channel
    min_severity: ErrorSeverity
    policy: Policy | None
    limit: StormLimit | None

    def __init__(
        self,
        channel: Channel,
        *,
        min_severity: ErrorSeverity | str = ErrorSeverity.DEBUG,
        policy: Policy | None = STANDARD_DELIVERY,
        limit: StormLimit | None = STANDARD_LIMIT,
    ) -> None:
        if isinstance(channel, type) or not callable(getattr(channel, "deliver", None)):
            msg = (
                "channel must be a NotificationChannel or an object with a method deliver(notification), "
                f"not {channel!r}"
            )
            raise TypeError(msg)
        if isinstance(channel, LogChannel):
            policy = None if policy is STANDARD_DELIVERY else policy
            limit = None if limit is STANDARD_LIMIT else limit
        if policy is not None and not (isinstance(policy, Policy) and isinstance(policy, AsyncForms)):
            msg = f"policy must be one of resilio's async policies or None, not {policy!r}"
            raise TypeError(msg)
        if limit is not None and not isinstance(limit, StormLimit):
            msg = f"limit must be a StormLimit or None, not {limit!r}"
            raise TypeError(msg)
        try:
            severity = ErrorSeverity(min_severity)
        except ValueError:
            msg = f"min_severity must be one of {', '.join(ErrorSeverity)}, not {min_severity!r}"
            raise ValueError(msg) from None
        for name, value in (("channel", channel), ("min_severity", severity), ("policy", policy), ("limit", limit)):
            object.__setattr__(self, name, value)
