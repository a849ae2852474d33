"""The injector's life: what it tells, and that it leaves nothing behind."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from resilio._core import clock, events
from resilio.testing.faults import FaultInjected, FaultInjector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


def answer() -> str:
    """What is struck."""
    return "ok"


class Client:
    """Something with a method."""

    def get(self) -> str:
        return "got"


@pytest.fixture
def faults() -> Iterator[FaultInjector]:
    """An injector of its own for each test, checked at the end."""
    with FaultInjector(seed=7) as injector:
        yield injector


def test_everything_is_undone_after_a_failure() -> None:
    """The block's own error comes out, and the object is as it was."""
    client = Client()
    wrapped = []

    def failing_test() -> None:
        with FaultInjector() as faults:
            wrapped.append(faults.wrap(answer))
            faults.on(answer).returns("struck")
            faults.on(client.get).returns("struck")
            faults.on(client.get).first(2)  # unfinished: the failure is the better news
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_test()
    assert client.get() == "got"
    assert vars(client) == {}
    assert wrapped[0]() == "ok"


def test_two_injectors_may_strike_one_target() -> None:
    """The inner one is undone first, and then the outer one."""
    client = Client()
    with FaultInjector() as outer:
        outer.on(client.get).mangles(lambda text: f"<{text}>")
        with FaultInjector() as inner:
            inner.on(client.get).mangles(str.upper)
            assert client.get() == "<GOT>"
        assert client.get() == "<got>"
    assert client.get() == "got"


def test_reset_makes_a_new_beginning(faults: FaultInjector) -> None:
    """Targets, rules, counts and the log are gone, and the injector can be used again."""
    client = Client()
    flaky = faults.wrap(answer)
    faults.on(answer).returns("struck")
    faults.on(client.get).returns("struck")
    assert [flaky(), client.get()] == ["struck", "struck"]
    faults.reset()
    assert [flaky(), client.get()] == ["ok", "got"]
    assert not faults.log
    faults.on(client.get).nth(1).returns("again")
    assert [client.get(), client.get()] == ["again", "got"]
    assert [each.call for each in faults.log] == [1]


def test_a_closed_injector_takes_no_more_targets() -> None:
    """Closing twice does no harm."""
    faults = FaultInjector()
    flaky = faults.wrap(answer)
    faults.close()
    faults.close()
    assert flaky() == "ok"
    for use in (faults.on, faults.wrap):
        with pytest.raises(RuntimeError, match="this fault injector is closed"):
            use(answer)


def test_a_rule_ends_with_its_block(faults: FaultInjector) -> None:
    """As a context manager, or by ``stop``."""
    flaky = faults.wrap(answer)
    with faults.on(answer).returns("struck") as rule:
        assert flaky() == "struck"
    assert flaky() == "ok"
    assert rule.hits == 1


def test_a_rule_without_an_action_is_refused_at_the_next_call() -> None:
    """The half-finished rule is quoted."""
    faults = FaultInjector()
    flaky = faults.wrap(answer)
    faults.on(answer).after(1).first(2)
    with pytest.raises(RuntimeError, match=r"answer\)\.after\(1\)\.first\(2\) does nothing: end it with an action"):
        flaky()


def test_a_rule_without_an_action_is_refused_at_the_end() -> None:
    """Also when its target is never called."""
    faults = FaultInjector()
    faults.wrap(answer)
    faults.on(answer)
    with pytest.raises(RuntimeError, match=r"answer\) does nothing"), faults:
        pass


def test_a_rule_that_nothing_stands_in_for_is_refused_at_the_end() -> None:
    """A bare function that was never wrapped was never struck: a test must not pass for that."""
    faults = FaultInjector()
    faults.on(answer).raises(OSError)
    with pytest.raises(RuntimeError, match=r"faults\.on\(test_faults_life\.answer\) had no effect: a bare"), faults:
        pass


def test_a_rule_that_another_thread_is_making_is_left_alone(faults: FaultInjector) -> None:
    """Only the maker is told that the rule is unfinished; others pass until it is complete."""
    flaky = faults.wrap(answer)
    rule = faults.on(answer)
    seen: list[str] = []
    other = threading.Thread(target=lambda: seen.append(flaky()))
    other.start()
    other.join(10)
    rule.first(1).returns("struck")
    assert [*seen, flaky(), flaky()] == ["ok", "struck", "ok"]


async def test_the_log_tells_what_happened_when(virtual_clock: VirtualClock) -> None:
    """Typed, frozen, in order, on the project's clock, and emitted as an event each."""
    heard: list[FaultInjected] = []
    with FaultInjector(seed=3) as faults, events.subscribe(heard.append, FaultInjected):
        client = Client()
        faults.on(client.get).every(2).delays(1.5).raises(TimeoutError)
        faults.on(client.get).nth(3).returns("struck")
        for _ in range(3):
            try:
                client.get()
            except TimeoutError:
                await clock.sleep(10)
        log = faults.log
        assert [(each.call, each.rule, each.action) for each in log] == [
            (2, 1, "delays(1.5)"),
            (2, 1, "raises(TimeoutError)"),
            (3, 2, "returns('struck')"),
        ]
        assert [each.elapsed for each in log] == pytest.approx([0, 1.5, 11.5])
        assert {each.target for each in log} == {"test_faults_life.Client.get"}
        assert (log[2].at - log[0].at).total_seconds() == pytest.approx(11.5)
        assert tuple(heard) == log
        with pytest.raises(AttributeError):
            log[0].call = 5  # type: ignore[misc]
        assert faults.timeline() == (
            "     0.000 s  call 2 of test_faults_life.Client.get: delays(1.5) (rule 1)\n"
            "     1.500 s  call 2 of test_faults_life.Client.get: raises(TimeoutError) (rule 1)\n"
            "    11.500 s  call 3 of test_faults_life.Client.get: returns('struck') (rule 2)"
        )
        assert faults.describe() == (
            "faults, seed 3\n"
            "  test_faults_life.Client.get: 3 calls\n"
            "    1. every(2).delays(1.5).raises(TimeoutError): 1 hit\n"
            "    2. nth(3).returns('struck'): 1 hit"
        )


def test_describe_writes_rules_as_they_are_written(faults: FaultInjector) -> None:
    """Each schedule and action reads as the call that made it."""
    faults.wrap(answer)
    rule = faults.on(answer).nth(1, 2).after(1).every(2).first(3).rate(0.5).between(1, 2).while_(bool)
    rule.mangles(len).truncates(2).hangs(limit=1).drops_ack()
    assert str(rule) == (
        "nth(1, 2).after(1).every(2).first(3).rate(0.5).between(1, 2).while_(bool)"
        ".mangles(len).truncates(2).hangs(limit=1).drops_ack(ConnectionResetError)"
    )
    weighted = faults.on(answer).weights({"F": 1, ".": 3})
    assert str(weighted) == "weights({'F': 1, '.': 3}, F=raises(ConnectionError))"
    assert str(faults.on(answer).pattern("S", cycle=True)) == "pattern('S', cycle=True, S=delays(1))"
    assert repr(faults) == "<FaultInjector seed=7 targets=1 injected=0>"
    assert faults.timeline() == "no fault was injected"


def test_calls_are_counted_struck_or_not(faults: FaultInjector) -> None:
    """By the function, by what stands in for it, or by its name; a stranger is refused."""
    flaky = faults.wrap(answer)
    for _ in range(3):
        flaky()
    assert faults.calls(answer) == faults.calls(flaky) == faults.calls("test_faults_life.answer") == 3
    with pytest.raises(ValueError, match=r"math\.sqrt is no target"):
        faults.calls("math.sqrt")
    with pytest.raises(ValueError, match="len is no target"):
        faults.calls(len)


def test_counting_is_exact_across_threads(faults: FaultInjector) -> None:
    """Eight threads, one rule: exactly the calls that it names are struck."""
    flaky = faults.wrap(answer)
    faults.on(answer).every(4).returns("struck")
    seen: list[str] = []

    def work() -> None:
        for _ in range(200):
            seen.append(flaky())  # noqa: PERF401 -- one call at a time is the point

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(10)
    assert seen.count("struck") == 400
    assert sorted(each.call for each in faults.log) == list(range(4, 1601, 4))
