"""What chaos sees of a call, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resilio._core.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("ChaosCall", "ChaosInjected", "ChaosWithheld")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosCall:
    """A call that chaos may strike, as its scope sees it.

    Attributes:
        operation: The name of what is called; ``"block"`` for a block.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
    """

    operation: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosInjected(Event):
    """Chaos did something to a call, or would have.

    Attributes:
        chaos: The name of the policy.
        operation: The name of what was called.
        action: What was done to it, such as ``raises(ConnectionError)``.
        dry_run: Whether it was not done after all.
    """

    chaos: str
    operation: str
    action: str
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosWithheld(Event):
    """Chaos let a call alone because a function of its user failed.

    Attributes:
        chaos: The name of the policy.
        operation: The name of what was called.
        asked: What failed: ``"kill_switch"`` or ``"scope"``.
        error: The failure as text.
    """

    chaos: str
    operation: str
    asked: str
    error: str
