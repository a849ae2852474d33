"""A wrong parameter is refused when the breaker is built, by name, with the value and what is allowed."""

from __future__ import annotations

import math
from datetime import timedelta
from types import FunctionType
from typing import Any

import pytest

import resilio
import resilio.sync
from resilio import CircuitBreaker, ConsecutiveFailures
from resilio.policies.trip import TripRule

either = pytest.mark.parametrize("module", [resilio, resilio.sync], ids=lambda module: module.__name__)


async def _later(_: object) -> bool:
    """What it returns is true before anybody has awaited it."""
    return False


def _in_short(value: object) -> str:
    return value.__qualname__ if isinstance(value, FunctionType) else repr(value)[:30]


WRONG: list[tuple[str, object, type[Exception], str]] = [
    ("failure_threshold", 0, ValueError, "a whole number, at least 1, not 0"),
    ("failure_threshold", -3, ValueError, "a whole number, at least 1, not -3"),
    ("failure_threshold", True, TypeError, "a whole number, at least 1, not True (bool)"),
    ("failure_threshold", 2.5, TypeError, "a whole number, at least 1, not 2.5 (float)"),
    ("failure_threshold", "5", TypeError, "a whole number, at least 1, not '5' (str)"),
    ("recovery_timeout", -1, ValueError, "seconds or a timedelta, at least 0, not -1"),
    ("recovery_timeout", math.nan, ValueError, "seconds or a timedelta, at least 0, not nan"),
    ("recovery_timeout", math.inf, ValueError, "seconds or a timedelta, at least 0, not inf"),
    ("recovery_timeout", True, TypeError, "seconds or a timedelta, at least 0, not True (bool)"),
    ("recovery_timeout", "60", TypeError, "seconds or a timedelta, at least 0, not '60' (str)"),
    ("recovery_timeout", timedelta(seconds=-1), ValueError, "seconds or a timedelta, at least 0, not -1.0"),
    ("timeout", -1, ValueError, "seconds or a timedelta, at least 0, not -1"),
    ("timeout", "60", TypeError, "seconds or a timedelta, at least 0, not '60' (str)"),
    ("half_open_max_calls", 0, ValueError, "a whole number, at least 1, not 0"),
    ("half_open_max_calls", 1.0, TypeError, "a whole number, at least 1, not 1.0 (float)"),
    ("half_open_max_calls", False, TypeError, "a whole number, at least 1, not False (bool)"),
    ("success_threshold", 0, ValueError, "a whole number, at least 1, not 0"),
    ("success_threshold", "1", TypeError, "a whole number, at least 1, not '1' (str)"),
    ("half_open_timeout", 0, ValueError, "seconds or a timedelta, above 0, not 0"),
    ("half_open_timeout", -0.5, ValueError, "seconds or a timedelta, above 0, not -0.5"),
    ("half_open_timeout", math.nan, ValueError, "seconds or a timedelta, above 0, not nan"),
    ("half_open_timeout", "1s", TypeError, "seconds or a timedelta, above 0, not '1s' (str)"),
    ("trip", 5, TypeError, "a trip rule such as ConsecutiveFailures(5), not 5"),
    ("trip", ConsecutiveFailures, TypeError, "a trip rule such as ConsecutiveFailures(5), not <class"),
    ("record", "Exception", TypeError, "an exception class, several of them, or a predicate, not 'Exception'"),
    ("record", int, TypeError, "an exception class, several of them, or a predicate, not <class 'int'>"),
    ("record", None, TypeError, "an exception class, several of them, or a predicate, not None"),
    ("ignore", (KeyError, "x"), TypeError, "an exception class, several of them, or a predicate, not (<class"),
    ("ignore", [KeyError()], TypeError, "an exception class, several of them, or a predicate, not (KeyError(),)"),
    ("record", _later, TypeError, "a plain function, neither async nor a generator, not <function"),
    ("ignore", _later, TypeError, "a plain function, neither async nor a generator, not <function"),
    ("failure_result", _later, TypeError, "a plain function, neither async nor a generator, not <function"),
    ("recovery_timeout", _later, TypeError, "a plain function, neither async nor a generator, not <function"),
    ("failure_result", "bad", TypeError, "a function of the result, or None, not 'bad'"),
    ("name", "", TypeError, "a non-empty string or None, not ''"),
    ("name", 7, TypeError, "a non-empty string or None, not 7"),
]


@either
@pytest.mark.parametrize(("name", "value", "kind", "said"), WRONG, ids=_in_short)
def test_a_wrong_parameter_is_refused_by_name(
    module: Any, name: str, value: object, kind: type[Exception], said: str
) -> None:
    """The message names the parameter, what it may be, and what it was; in both colours and both spellings."""
    for build in (module.CircuitBreaker, module.circuit_breaker):
        with pytest.raises(kind) as caught:
            build(**{name: value})
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"{name} must be {said}")


@either
def test_a_threshold_and_a_rule_contradict_each_other(module: Any) -> None:
    """failure_threshold is short for a rule, so one of the two is too much."""
    with pytest.raises(ValueError, match=r"either failure_threshold=5 or trip=ConsecutiveFailures\(threshold=3\)"):
        module.CircuitBreaker(failure_threshold=5, trip=ConsecutiveFailures(3))


@either
def test_timeout_is_another_name_for_recovery_timeout(module: Any) -> None:
    """Both are the same setting, and one of them is enough."""
    assert module.CircuitBreaker(timeout=30).describe() == module.CircuitBreaker(recovery_timeout=30).describe()
    with pytest.raises(ValueError, match=r"timeout=30 is another name for recovery_timeout=30: give one of them"):
        module.CircuitBreaker(timeout=30, recovery_timeout=30)


@either
def test_settings_are_given_by_name(module: Any) -> None:
    """Positional arguments are refused: eight numbers in a row would tell nothing."""
    with pytest.raises(TypeError):
        module.CircuitBreaker("orders")


@either
def test_an_unknown_setting_is_refused(module: Any) -> None:
    """A misspelt setting is not passed over."""
    with pytest.raises(TypeError, match="recovery_time"):
        module.circuit_breaker(recovery_time=30)


@pytest.mark.parametrize("value", [30, 30.0, timedelta(seconds=30)], ids=repr)
def test_durations_are_seconds_or_a_timedelta(value: float | timedelta) -> None:
    """Both ways of writing one are the same setting."""
    breaker = CircuitBreaker(recovery_timeout=value, half_open_timeout=value)
    assert ("recovery_timeout", 30.0) in breaker.describe().settings


def test_a_wrong_breaker_takes_no_name() -> None:
    """A name whose breaker was refused is still free."""
    with pytest.raises(ValueError, match="success_threshold"):
        CircuitBreaker(name="still free", success_threshold=0)
    assert CircuitBreaker(name="still free", success_threshold=2).name == "still free"


def test_a_description_tells_the_settings() -> None:
    """`describe()` is a value that prints and compares."""
    settings: dict[str, Any] = {"name": "described", "failure_threshold": 3, "recovery_timeout": 30}
    description = CircuitBreaker(**settings).describe()
    assert description == CircuitBreaker(**settings).describe()
    assert str(description).startswith("CircuitBreaker(name='described', trip=ConsecutiveFailures(threshold=3), ")


def test_a_breaker_shows_its_name_and_state() -> None:
    """For whoever prints it."""
    assert repr(CircuitBreaker(name="shown")) == "<CircuitBreaker 'shown' CLOSED>"
    assert repr(resilio.sync.CircuitBreaker()) == "<CircuitBreaker 'unnamed' CLOSED>"


# -- from the environment ----------------------------------------------------------------------------------------------


def test_defaults_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when the breaker is built, not when the module is imported."""
    monkeypatch.setenv("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "2")
    monkeypatch.setenv("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "7.5")
    settings = dict(CircuitBreaker().describe().settings)
    assert (settings["trip"], settings["recovery_timeout"]) == (ConsecutiveFailures(2), 7.5)


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is only a default, and is not even read where an argument is given."""
    monkeypatch.setenv("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "not a number")
    monkeypatch.setenv("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "not a number")
    settings = dict(CircuitBreaker(failure_threshold=4, recovery_timeout=1).describe().settings)
    assert settings["trip"] == ConsecutiveFailures(4)


@pytest.mark.parametrize(
    ("variable", "value", "meaning"),
    [
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "0", "a whole number, at least 1"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "many", "a whole number, at least 1"),
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "-1", "a number of seconds, at least 0"),
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "nan", "a number of seconds, at least 0"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(
    variable: str, value: str, meaning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable, its value, and what it should be."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=rf"{variable} should be {meaning}, not '{value}'"):
        CircuitBreaker()


def test_a_rule_of_ones_own_is_a_rule() -> None:
    """TripRule is open to others."""

    class Never(TripRule):
        def meter(self) -> Any:
            return ConsecutiveFailures(10**9).meter()

    breaker = CircuitBreaker(trip=Never())
    for _ in range(100):
        breaker.acquire().failure()
    assert breaker.state is resilio.CircuitState.CLOSED
