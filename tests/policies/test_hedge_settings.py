"""How a hedge shows itself, and what it refuses to be."""

from __future__ import annotations

from typing import Any

import pytest

import resilio.sync
from resilio import Hedge, LatencyQuantile, RetryBudget
from resilio.policies.description import Description


def test_a_hedge_shows_itself() -> None:
    """To people, and as a value."""
    budget = RetryBudget()
    assert repr(Hedge(0.2)) == "<Hedge delay=0.2 max_hedges=1>"
    assert repr(Hedge(LatencyQuantile(0.95))) == "<Hedge delay=LatencyQuantile(0.95) max_hedges=1>"
    assert Hedge(0.2, 3, budget).describe() == Description(
        "Hedge", (("delay", 0.2), ("max_hedges", 3), ("budget", budget))
    )


async def _async_delay() -> float:
    return 1


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"delay": -1}, ValueError, "delay must be seconds or a timedelta, at least 0, not -1"),
        ({"delay": "1"}, TypeError, "delay must be seconds or a timedelta, at least 0, not '1' (str)"),
        ({"delay": None}, TypeError, "delay must be seconds or a timedelta, at least 0, not None (NoneType)"),
        ({"delay": _async_delay}, TypeError, "delay must be a plain function, neither async nor a generator"),
        ({"delay": 1, "max_hedges": 0}, ValueError, "max_hedges must be a whole number, at least 1, not 0"),
        ({"delay": 1, "budget": 0.2}, TypeError, "budget must be a RetryBudget or None, not 0.2"),
    ],
)
@pytest.mark.parametrize("kind_of", [Hedge, resilio.sync.Hedge])
def test_wrong_settings_are_refused(kind_of: Any, arguments: dict[str, Any], kind: type[Exception], said: str) -> None:
    """By the parameter's name, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        kind_of(**arguments)
    assert str(caught.value).startswith(said)
