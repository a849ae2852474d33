"""Checking numbers at the edge, under the parameter's own name."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilio._core import durations


@pytest.mark.parametrize("value", [True, "1", None, 1j, Decimal(1), [1], b"1"])
def test_what_is_no_number_is_refused(value: object) -> None:
    """A bool, a string, None and their like are refused with a TypeError that names parameter, value and type."""
    with pytest.raises(TypeError, match=r"^base_delay must be a number, not .*\(" + type(value).__name__ + r"\)$"):
        durations.number("base_delay", value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    """NaN and infinity are refused."""
    with pytest.raises(ValueError, match=r"^ratio must be a number, not (nan|inf|-inf)$"):
        durations.number("ratio", value)


def test_infinity_may_be_allowed_but_nan_never() -> None:
    """`finite=False` lets infinity through."""
    assert durations.number("limit", math.inf, finite=False) == math.inf
    with pytest.raises(ValueError, match="nan"):
        durations.number("limit", math.nan, finite=False)


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (-1, {"at_least": 0}, "x must be a number, at least 0, not -1"),
        (0, {"above": 0}, "x must be a number, above 0, not 0"),
        (1.5, {"at_least": 0, "at_most": 1}, "x must be a number, at least 0 and at most 1, not 1.5"),
    ],
)
def test_the_message_says_what_is_allowed(value: float, limits: dict[str, float], message: str) -> None:
    """Out of range: the message names the parameter, the limits and the value."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the whole message is compared
        durations.number("x", value, **limits)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_limits_are_inclusive_where_they_say_so() -> None:
    """`at_least` and `at_most` include their number."""
    assert durations.number("x", 0, at_least=0, at_most=0) == 0.0
    assert durations.number("x", Fraction(1, 2), above=0) == 0.5


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_any_length_of_time_is_seconds(value: float) -> None:
    """Every finite number from zero up is a duration, unchanged."""
    assert durations.seconds("timeout", value) == value


@given(st.timedeltas(min_value=timedelta(0)))
def test_a_timedelta_is_converted(value: timedelta) -> None:
    """A timedelta counts as its seconds."""
    assert durations.seconds("timeout", value) == value.total_seconds()


@pytest.mark.parametrize("value", [-0.1, timedelta(seconds=-1), math.nan, math.inf])
def test_a_duration_is_not_negative_and_finite(value: object) -> None:
    """A negative duration, NaN and infinity are refused; the message speaks of seconds."""
    with pytest.raises(ValueError, match=r"^timeout must be seconds or a timedelta, at least 0, not "):
        durations.seconds("timeout", value)


def test_a_duration_may_have_to_be_positive_or_short() -> None:
    """`above` and `at_most` narrow what is allowed; `finite=False` widens it."""
    with pytest.raises(ValueError, match=r"above 0, not 0$"):
        durations.seconds("window", 0, above=0)
    with pytest.raises(ValueError, match=r"at most 10, not 11$"):
        durations.seconds("window", 11, at_most=10)
    assert durations.seconds("window", math.inf, finite=False) == math.inf


@pytest.mark.parametrize("value", ["5", True, None])
def test_a_duration_is_a_number_or_a_timedelta(value: object) -> None:
    """Anything else is a TypeError that says so."""
    with pytest.raises(TypeError, match=r"^timeout must be seconds or a timedelta, at least 0, not "):
        durations.seconds("timeout", value)


@pytest.mark.parametrize("value", [1.0, "1", True, None])
def test_a_whole_number_is_an_int(value: object) -> None:
    """A float, a string and a bool are no counts."""
    with pytest.raises(TypeError, match=r"^threshold must be a whole number, at least 1, not "):
        durations.whole("threshold", value, at_least=1)


def test_a_whole_number_has_its_range() -> None:
    """Outside the limits is refused, on them is not."""
    assert durations.whole("threshold", 1, at_least=1, at_most=3) == 1
    assert durations.whole("threshold", 3, at_least=1, at_most=3) == 3
    with pytest.raises(ValueError, match=r"^threshold must be a whole number, at least 1 and at most 3, not 0$"):
        durations.whole("threshold", 0, at_least=1, at_most=3)
    with pytest.raises(ValueError, match=r"not 4$"):
        durations.whole("threshold", 4, at_least=1, at_most=3)


def test_optional_lets_none_through_and_checks_the_rest() -> None:
    """None stays None; anything else is checked as usual."""
    assert durations.optional(durations.seconds, "max_wait", None, above=0) is None
    assert durations.optional(durations.seconds, "max_wait", 2, above=0) == 2.0
    with pytest.raises(ValueError, match="max_wait must be seconds"):
        durations.optional(durations.seconds, "max_wait", 0, above=0)


def test_a_flag_is_true_or_false() -> None:
    """Nothing that is merely truthy passes."""
    assert durations.flag("reraise", True) is True
    assert durations.flag("reraise", False) is False
    for value in (1, "yes", None):
        with pytest.raises(TypeError, match=r"^reraise must be True or False, not "):
            durations.flag("reraise", value)
