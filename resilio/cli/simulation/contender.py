"""A set of policies under a name, as somebody types it: ``steady: retries=3 jitter=full budget=0.2 breaker=5/30``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from resilio.policies.backoff import BackoffStrategy
from resilio.policies.circuit_breaker import CircuitBreaker
from resilio.policies.pipeline import Pipeline
from resilio.policies.retry_budget import RetryBudget
from resilio.policies.timeout import Timeout
from resilio.policies.trip_rates import FailureRate
from resilio.policies.windows import TimeWindow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio.policies.policy import Policy

__all__ = ("STANDARD", "Contender")

_KEYS: Final = ("retries", "base", "max", "jitter", "budget", "breaker", "timeout")
_JITTERS: Final = ("full", "equal", "decorrelated", "none")


@dataclass(frozen=True, slots=True)
class Contender:
    """Policies to compare.

    Attributes:
        name: What it is called.
        settings: As they were typed.

    Raises:
        ValueError: A setting is unknown, or is not what it should be; the message says what it may be.

        >>> Contender.parse("calm: retries=3 breaker=5/30").settings
        {'retries': '3', 'breaker': '5/30'}
    """

    name: str
    settings: Mapping[str, str]

    def __post_init__(self) -> None:
        self.pipeline()  # whatever is wrong is said now

    @classmethod
    def parse(cls, text: str) -> Contender:
        """From ``name: key=value key=value``; without a name, the settings are the name."""
        name, colon, rest = text.rpartition(":")
        found: dict[str, str] = {}
        for part in re.split(r"[\s,]+", rest.strip()):
            key, equals, value = part.partition("=")
            if not part:
                continue
            if not equals:
                msg = f"a policy is key=value pairs, not {part!r}; the keys are {', '.join(_KEYS)}"
                raise ValueError(msg)
            found[key] = value
        return cls(name.strip() if colon else rest.strip() or "nothing", found)

    @property
    def text(self) -> str:
        """The settings on one line."""
        return " ".join(f"{key}={value}" for key, value in self.settings.items()) or "no policy"

    def pipeline(self) -> Pipeline | None:
        """New policies, outermost first, for one client; None for none at all."""
        for key in self.settings:
            if key not in _KEYS:
                msg = f"{key!r} is no setting of a policy; there are {', '.join(_KEYS)}"
                raise ValueError(msg)
        policies: list[Policy] = []
        if "retries" in self.settings:
            policies.append(self._retry())
        elif left := {"base", "max", "jitter", "budget"} & set(self.settings):
            msg = f"{', '.join(sorted(left))} without retries: say retries=3, say"
            raise ValueError(msg)
        if "breaker" in self.settings:
            policies.append(_breaker(self.settings["breaker"]))
        if "timeout" in self.settings:
            policies.append(Timeout(_number("timeout", self.settings["timeout"])))
        return Pipeline(*policies) if policies else None

    def _retry(self) -> BackoffStrategy:
        settings = self.settings
        jitter: Any = settings.get("jitter", "full")
        if jitter not in _JITTERS:
            msg = f"jitter must be one of {', '.join(_JITTERS)}, not {jitter!r}"
            raise ValueError(msg)
        chosen: Literal["full", "equal", "decorrelated"] | None = None if jitter == "none" else jitter
        retries = settings["retries"]
        if not retries.isdigit():
            msg = f"retries must be a whole number, not {retries!r}"
            raise ValueError(msg)
        return BackoffStrategy(
            max_retries=int(retries),
            base_delay=_number("base", settings["base"]) if "base" in settings else None,
            max_delay=_number("max", settings["max"]) if "max" in settings else None,
            jitter=chosen,
            budget=_budget(settings["budget"]) if "budget" in settings else None,
        )


def _number(key: str, text: str) -> float:
    try:
        return float(text.removesuffix("s"))
    except ValueError:
        msg = f"{key} must be a number of seconds, not {text!r}"
        raise ValueError(msg) from None


def _share(key: str, text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        msg = f"{key} must be a share such as 0.2 or 20%, not {text!r}"
        raise ValueError(msg) from None


def _budget(text: str) -> RetryBudget:
    share, _, floor = text.partition("/")
    return RetryBudget(percent=_share("budget", share), min_per_second=_share("budget", floor or "0"))


def _breaker(text: str) -> CircuitBreaker:
    rule, slash, pause = text.partition("/")
    if not slash:
        msg = f"breaker must be failures/seconds such as 5/30, or share/seconds such as 50%/30, not {text!r}"
        raise ValueError(msg)
    recovery = _number("breaker", pause)
    if rule.isdigit():
        return CircuitBreaker(failure_threshold=int(rule), recovery_timeout=recovery)
    trip = FailureRate(_share("breaker", rule), window=TimeWindow(10), minimum_calls=5)
    return CircuitBreaker(trip=trip, recovery_timeout=recovery)


STANDARD: Final = (
    "no retry: timeout=2",
    "no jitter: retries=5 base=0.5 jitter=none timeout=2",
    "full jitter: retries=5 base=0.5 jitter=full timeout=2",
    "+ budget: retries=5 base=0.5 jitter=full budget=20% timeout=2",
    "+ breaker: retries=5 base=0.5 jitter=full budget=20% breaker=5/5 timeout=2",
)
"""What is compared unless somebody says something else: one addition at a time."""
