"""How an adaptive limiter shows itself, and what it refuses to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import resilio.sync
from resilio import AdaptiveLimiter
from resilio.policies.description import Description

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_limiter_shows_itself() -> None:
    """To people, and as a value, in either colour."""
    limiter = resilio.sync.AdaptiveLimiter(initial=5, max_queue=3)
    limiter.try_acquire()
    assert repr(limiter) == "<AdaptiveLimiter 1/5 running, 0 waiting>"
    settings = (
        ("initial", 5),
        ("minimum", 1),
        ("maximum", 200),
        ("tolerance", 1.5),
        ("smoothing", 0.2),
        ("max_queue", 3),
        ("max_wait", None),
    )
    assert AdaptiveLimiter(initial=5, max_queue=3).describe() == limiter.describe()
    assert limiter.describe() == Description("AdaptiveLimiter", settings)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"initial": 0}, ValueError, "initial must be a whole number, at least 1 and at most 200, not 0"),
    ({"initial": 201}, ValueError, "initial must be a whole number, at least 1 and at most 200, not 201"),
    ({"minimum": 0}, ValueError, "minimum must be a whole number, at least 1, not 0"),
    ({"minimum": 10, "maximum": 9}, ValueError, "maximum must be a whole number, at least 10, not 9"),
    ({"initial": 2.5}, TypeError, "initial must be a whole number"),
    ({"tolerance": 0.9}, ValueError, "tolerance must be a number, at least 1, not 0.9"),
    ({"smoothing": 0}, ValueError, "smoothing must be a number, above 0 and at most 1, not 0"),
    ({"smoothing": 1.1}, ValueError, "smoothing must be a number, above 0 and at most 1, not 1.1"),
    ({"max_queue": -1}, ValueError, "max_queue must be a whole number, at least 0, not -1"),
    ({"max_wait": -1}, ValueError, "max_wait must be seconds or a timedelta, at least 0"),
]


@pytest.mark.parametrize("build", [AdaptiveLimiter, resilio.sync.AdaptiveLimiter], ids=["async", "blocking"])
@pytest.mark.parametrize(("arguments", "kind", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_wrong_settings_are_refused(
    build: Callable[..., Any], arguments: dict[str, Any], kind: type[Exception], said: str
) -> None:
    """By name, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        build(**arguments)
    assert str(caught.value).startswith(said)
