"""When somebody is to be told: rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilio._core import durations
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resilio._core.durations import Duration
    from resilio.alerting.conditions import Condition
    from resilio.alerting.recovery import RecoveryAction

__all__ = ("AlertRule",)


class AlertRule:
    """When somebody is to be told, and what is to be done.

    Args:
        name: Names the rule in alerts, silences and ``inhibits``.
        condition: What it looks at: `ErrorsAbove`, `RateAboveBaseline`, `NewErrors`, `ReturningErrors`,
            `CircuitOpenFor`, `DeadLettersAbove`, `BurnRate`, or an object of your own with
            ``async def findings()``.
        severity: How bad it is.
        for_: Seconds for which it must be found, at every check, before it fires.
        keep_firing: Seconds for which it goes on firing after it was found last: no end is told that is none.
        repeat: Seconds after which it is told again while it fires.
        group_wait: Seconds to wait for others once an incident fires: all of its group that fire meanwhile are told in
            one message. What is over before that is not told at all.
        group_by: Labels by which incidents are told apart; those with the same values are told together. By default
            all incidents of the rule.
        inhibits: Names of rules that are not told while this one fires: its consequences.
        action: What to do while it fires.

    Raises:
        TypeError, ValueError: An argument is not what it should be; the message names it.

    Rules keep no state; they may be shared.
    """

    __slots__ = (
        *("action", "condition", "for_", "group_by", "group_wait", "inhibits", "keep_firing"),
        *("name", "repeat", "severity"),
    )

    def __init__(
        self,
        name: str,
        condition: Condition,
        *,
        severity: ErrorSeverity | str = ErrorSeverity.ERROR,
        for_: Duration = 0.0,
        keep_firing: Duration = 0.0,
        repeat: Duration = 14_400.0,
        group_wait: Duration = 0.0,
        group_by: Iterable[str] = (),
        inhibits: Iterable[str] = (),
        action: RecoveryAction | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            msg = f"name must be a text, not {name!r}"
            raise ValueError(msg)
        if isinstance(condition, type) or not callable(getattr(condition, "findings", None)):
            msg = f"condition must be an object with a method findings(), not {condition!r}"
            raise TypeError(msg)
        if action is not None and not callable(getattr(action, "attempt", None)):
            msg = f"action must be a RecoveryAction or None, not {action!r}"
            raise TypeError(msg)
        self.name: str = name
        self.condition: Condition = condition
        self.severity: ErrorSeverity = ErrorSeverity(severity)
        self.for_: float = durations.seconds("for_", for_)
        self.keep_firing: float = durations.seconds("keep_firing", keep_firing)
        self.repeat: float = durations.seconds("repeat", repeat, above=0)
        self.group_wait: float = durations.seconds("group_wait", group_wait)
        self.group_by: tuple[str, ...] = _names("group_by", group_by)
        self.inhibits: tuple[str, ...] = _names("inhibits", inhibits)
        if name in self.inhibits:
            msg = f"inhibits must not hold the rule's own name, {name!r}"
            raise ValueError(msg)
        self.action: RecoveryAction | None = action

    def __repr__(self) -> str:
        return f"<AlertRule {self.name} {self.severity}>"


def _names(name: str, value: Iterable[str]) -> tuple[str, ...]:
    listed = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(each, str) and each for each in listed):
        msg = f"{name} must be names, not {listed!r}"
        raise TypeError(msg)
    return listed
