"""What a strategy may be built with, and what it says of itself."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
import tenacity.asyncio

import resilio
import resilio.sync
from resilio import BackoffStrategy, RetryExhaustedError, retry_with_backoff, with_backoff

if TYPE_CHECKING:
    from collections.abc import Callable

BUILDERS: list[Callable[..., Any]] = [
    BackoffStrategy,
    with_backoff,
    resilio.sync.BackoffStrategy,
    resilio.sync.with_backoff,
]


async def worth_it(_: object) -> bool:
    """A predicate that would have to be awaited."""
    return False


class AsyncPredicate:
    """The same as an object."""

    async def __call__(self, _: object) -> bool:
        return False


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("base_delay", -1, "at least 0"),
        ("base_delay", -0.001, "at least 0"),
        ("base_delay", math.nan, "at least 0"),
        ("base_delay", math.inf, "at least 0"),
        ("max_delay", -1, "at least 0"),
        ("max_delay", math.nan, "at least 0"),
        ("max_retries", -1, "at least 0"),
        ("exponential_base", 0.99, "at least 1"),
        ("exponential_base", math.nan, "at least 1"),
        ("exponential_base", math.inf, "at least 1"),
        ("max_duration", 0, "above 0"),
        ("max_duration", -1, "above 0"),
        ("max_duration", math.nan, "above 0"),
        ("max_retry_after", -1, "at least 0"),
        ("max_retry_after", math.nan, "at least 0"),
        ("jitter", "some", "'full', 'equal', 'decorrelated'"),
        ("jitter", "FULL", "'full', 'equal', 'decorrelated'"),
        ("jitter", 1, "'full', 'equal', 'decorrelated'"),
    ],
)
def test_a_value_out_of_range_is_refused(build: Callable[..., Any], name: str, value: object, allowed: str) -> None:
    """The message has the parameter, the value, and what is allowed."""
    with pytest.raises(ValueError, match=name) as refused:
        build(**{name: value})
    assert repr(value) in str(refused.value)
    assert allowed in str(refused.value)


@pytest.mark.parametrize("build", BUILDERS)
def test_a_negative_timedelta_is_refused(build: Callable[..., Any]) -> None:
    """It is shown in seconds."""
    with pytest.raises(ValueError, match=r"base_delay must be seconds or a timedelta, at least 0, not -1\.0"):
        build(base_delay=timedelta(seconds=-1))


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("base_delay", "1", "seconds"),
        ("base_delay", True, "seconds"),
        ("base_delay", [1], "seconds"),
        ("max_delay", "60", "seconds"),
        ("max_retries", 2.0, "whole number"),
        ("max_retries", "3", "whole number"),
        ("max_retries", True, "whole number"),
        ("exponential_base", "2", "number"),
        ("exponential_base", None, "number"),
        ("max_duration", "1", "seconds"),
        ("max_duration", False, "seconds"),
        ("max_retry_after", None, "seconds"),
        ("retry_exceptions", 5, "Exception class"),
        ("retry_exceptions", "ValueError", "Exception class"),
        ("retry_exceptions", [ValueError, 3], "Exception class"),
        ("retry_exceptions", int, "Exception class"),
        ("retry_exceptions", BaseException, "never retried"),
        ("retry_exceptions", KeyboardInterrupt, "never retried"),
        ("retry_exceptions", (ValueError, SystemExit), "never retried"),
        ("retry_exceptions", worth_it, "async"),
        ("retry_exceptions", AsyncPredicate(), "async"),
        ("retry_result", 503, "callable"),
        ("retry_result", worth_it, "async"),
        ("wait", 1, "callable"),
        ("wait", tenacity.wait_exponential, "callable"),
        ("stop", 3, "callable"),
        ("stop", tenacity.stop_after_attempt, "callable"),
        ("stop", worth_it, "async"),
        ("retry", ValueError, "callable"),
        ("retry", tenacity.retry_if_exception_type, "callable"),
        ("wait_for_circuit", 1, "True or False"),
        ("reraise", "yes", "True or False"),
        ("reraise", None, "True or False"),
        ("retry_started_streams", 1, "True or False"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(
    build: Callable[..., Any], name: str, value: object, allowed: str
) -> None:
    """The message has the parameter, the value, and what is allowed."""
    with pytest.raises(TypeError, match=name) as refused:
        build(**{name: value})
    assert repr(value) in str(refused.value)
    assert allowed in str(refused.value)


@pytest.mark.parametrize("build", BUILDERS)
def test_an_unknown_parameter_is_refused(build: Callable[..., Any]) -> None:
    """Nothing is taken silently."""
    with pytest.raises(TypeError, match="max_retry"):
        build(max_retry=3)


@pytest.mark.parametrize("build", BUILDERS)
def test_settings_are_keyword_only(build: Callable[..., Any]) -> None:
    """A lone number says nothing."""
    with pytest.raises(TypeError):
        build(3)


def test_parentheses_cannot_be_forgotten() -> None:
    """`@with_backoff` without a call is an error, not a function that never runs."""
    with pytest.raises(TypeError):
        with_backoff(lambda: None)  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_retries", -1), ("base_delay", -1), ("max_delay", math.nan), ("exponential_base", 0), ("jitter", "some")],
)
def test_the_references_decorator_refuses_the_same(name: str, value: Any) -> None:
    """`retry_with_backoff` checks as the strategy does."""
    with pytest.raises(ValueError, match=name):
        retry_with_backoff(**{name: value})


@pytest.mark.parametrize("bad", [5, "ValueError", BaseException, [ValueError, None], worth_it])
def test_execute_checks_its_retry_exceptions(bad: Any) -> None:
    """An error at once, not at the first failure."""
    with pytest.raises(TypeError, match="retry_exceptions"):
        resilio.sync.BackoffStrategy().execute(lambda: 1, retry_exceptions=bad)


@pytest.mark.parametrize("given", [ValueError, (ValueError, OSError), [ValueError], {ValueError}, frozenset({OSError})])
def test_errors_may_be_named_one_by_one_or_in_any_collection(given: Any) -> None:
    """A class, a tuple, a list, a set."""
    strategy = BackoffStrategy(retry_exceptions=given)
    assert strategy.wants(ValueError() if given != frozenset({OSError}) else OSError())
    assert not strategy.wants(LookupError())


def test_errors_may_come_from_an_iterator() -> None:
    """It is read once, when the strategy is built, and serves every call."""
    strategy = BackoffStrategy(retry_exceptions=(kind for kind in (ValueError, OSError)))
    assert [strategy.wants(error) for error in (ValueError(), OSError(), ValueError(), LookupError())] == [
        True,
        True,
        True,
        False,
    ]


def test_no_errors_at_all_means_no_retry() -> None:
    """An empty collection is a way to switch retries off."""
    assert not BackoffStrategy(retry_exceptions=()).wants(ConnectionError())


def test_durations_may_be_timedeltas() -> None:
    """They become seconds."""
    plan = BackoffStrategy(base_delay=timedelta(milliseconds=250), max_delay=timedelta(minutes=2)).plan
    assert (plan.base_delay, plan.max_delay) == (0.25, 120)


@pytest.mark.parametrize(
    ("variable", "attribute", "value"),
    [
        ("BACKOFF_BASE_DELAY", "base_delay", "0.25"),
        ("BACKOFF_MAX_DELAY", "max_delay", "7"),
        ("BACKOFF_MAX_RETRIES", "max_retries", "9"),
    ],
)
def test_the_environment_gives_defaults(
    monkeypatch: pytest.MonkeyPatch, variable: str, attribute: str, value: str
) -> None:
    """It is read when the strategy is built."""
    monkeypatch.setenv(variable, value)
    assert getattr(BackoffStrategy().plan, attribute) == float(value)


def test_an_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a value that does not parse is not looked at then."""
    monkeypatch.setenv("BACKOFF_MAX_RETRIES", "many")
    assert BackoffStrategy(max_retries=2).plan.max_retries == 2


def test_a_variable_that_does_not_parse_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its value and what it should be."""
    monkeypatch.setenv("BACKOFF_MAX_DELAY", "a minute")
    with pytest.raises(ValueError, match=r"BACKOFF_MAX_DELAY should be a number of seconds.*'a minute'"):
        BackoffStrategy()


def test_the_documented_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 retries, from 1 s, at most 60 s each, base 2, full jitter."""
    for variable in ("BACKOFF_BASE_DELAY", "BACKOFF_MAX_DELAY", "BACKOFF_MAX_RETRIES"):
        monkeypatch.delenv(variable, raising=False)
    plan = BackoffStrategy().plan
    assert (plan.max_retries, plan.base_delay, plan.max_delay, plan.exponential_base) == (5, 1, 60, 2)
    assert (plan.jitter, plan.max_duration, plan.max_retry_after) == ("full", None, 300)


def test_a_stop_strategy_takes_the_place_of_the_default_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one, the number of retries is limited only if it is given."""
    monkeypatch.setenv("BACKOFF_MAX_RETRIES", "1")
    assert BackoffStrategy(stop=tenacity.stop_never).plan.max_retries is None
    assert BackoffStrategy(stop=tenacity.stop_never, max_retries=2).plan.max_retries == 2


# -- what it says of itself --------------------------------------------------------------------------------------------


def test_equal_settings_are_described_equally() -> None:
    """A description is a value; blocking or not makes no difference."""
    settings: dict[str, Any] = {"max_retries": 2, "base_delay": 0.5, "jitter": None, "retry_exceptions": [OSError]}
    assert BackoffStrategy(**settings).describe() == BackoffStrategy(**settings).describe()
    assert BackoffStrategy(**settings).describe() == resilio.sync.BackoffStrategy(**settings).describe()


def predicate(_: object) -> bool:
    """Says no."""
    return False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_delay", 7),
        ("max_delay", 7),
        ("max_retries", 7),
        ("exponential_base", 7),
        ("jitter", "equal"),
        ("retry_exceptions", OSError),
        ("retry_result", predicate),
        ("max_duration", 7),
        ("max_retry_after", 7),
        ("wait", tenacity.wait_fixed(7)),
        ("stop", tenacity.stop_after_attempt(7)),
        ("retry", tenacity.retry_if_exception_type()),
        ("wait_for_circuit", True),
        ("reraise", True),
        ("retry_started_streams", True),
    ],
)
def test_each_setting_shows_in_the_description(name: str, value: Any) -> None:
    """Two strategies that differ anywhere are described differently."""
    assert BackoffStrategy(**{name: value}).describe() != BackoffStrategy().describe()
    assert name in str(BackoffStrategy(**{name: value}).describe())


def test_a_strategy_prints_what_matters() -> None:
    """For logs and debuggers."""
    assert repr(BackoffStrategy(max_retries=3)) == (
        "<BackoffStrategy max_retries=3 base_delay=1 max_delay=60 jitter='full'>"
    )


def test_settings_survive_execute_with_other_errors(virtual_clock: object) -> None:
    """`retry_exceptions` of one call changes nothing else, and nothing for the next call."""
    strategy = resilio.sync.BackoffStrategy(max_retries=1, base_delay=0, retry_exceptions=OSError, reraise=True)
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise LookupError

    with pytest.raises(LookupError):
        strategy.execute(fails, retry_exceptions=[LookupError])
    assert len(calls) == 2
    with pytest.raises(LookupError):
        strategy.execute(fails)
    assert len(calls) == 3


@pytest.mark.parametrize("given", [[LookupError], (LookupError, OSError), LookupError, {LookupError}])
def test_execute_takes_errors_as_list_tuple_class_or_set(given: Any) -> None:
    """As the reference writes it, and as everyone else does."""
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise LookupError

    with pytest.raises(RetryExhaustedError):
        resilio.sync.BackoffStrategy(max_retries=2, base_delay=0).execute(fails, retry_exceptions=given)
    assert len(calls) == 3
