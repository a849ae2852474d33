"""When a fault strikes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilio._core import clock
from resilio.testing.fault_actions import drops_ack, hangs, returns
from resilio.testing.fault_schedules import Pattern, Weights
from resilio.testing.faults import FaultInjector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio.testing.faults import FaultRule
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


def answer() -> str:
    """What is struck."""
    return "ok"


@pytest.fixture
def faults() -> Iterator[FaultInjector]:
    """An injector of its own for each test, checked at the end."""
    with FaultInjector(seed=7) as injector:
        yield injector


def outcomes(call: Callable[[], object], count: int) -> str:
    """One letter a call: the result's first, upper-cased, or X for an error."""

    def outcome() -> str:
        try:
            return str(call())[0]
        except ConnectionError:
            return "X"

    return "".join(outcome() for _ in range(count))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda rule: rule.nth(2, 5), "oXooXooo"),
        (lambda rule: rule.first(2), "XXoooooo"),
        (lambda rule: rule.every(3), "ooXooXoo"),
        (lambda rule: rule.after(6), "ooooooXX"),
        (lambda rule: rule, "XXXXXXXX"),
        (lambda rule: rule.after(3).first(2), "oooXXooo"),
        (lambda rule: rule.after(1).every(2).nth(2, 3), "ooooXoXo"),
    ],
)
def test_a_schedule_strikes_the_calls_that_it_names(
    faults: FaultInjector, build: Callable[[FaultRule], FaultRule], expected: str
) -> None:
    """Each schedule counts from 1, and only the calls that the one before it let through."""
    call = faults.wrap(answer)
    build(faults.on(answer)).raises(ConnectionError)
    assert outcomes(call, 8) == expected


def test_calls_are_counted_from_when_the_rule_was_made(faults: FaultInjector) -> None:
    """A rule made in the middle of a test speaks of the calls that follow."""
    call = faults.wrap(answer)
    assert outcomes(call, 3) == "ooo"
    faults.on(answer).first(2).raises(ConnectionError)
    assert outcomes(call, 3) == "XXo"


def test_a_pattern_reads_call_by_call(faults: FaultInjector) -> None:
    """Letters are calls, a number repeats the letter before it, spaces mean nothing, and past the end all pass."""
    call = faults.wrap(answer)
    faults.on(answer).pattern("F2. R.2 F", R=returns("replaced"))
    assert outcomes(call, 9) == "XXoro" + "oXoo"


def test_a_pattern_may_start_over(faults: FaultInjector) -> None:
    """With ``cycle=True`` the end of the pattern is followed by its beginning."""
    call = faults.wrap(answer)
    faults.on(answer).pattern("F..", cycle=True)
    assert outcomes(call, 7) == "XooXooX"


def test_the_action_after_a_pattern_says_what_its_letter_means(faults: FaultInjector) -> None:
    """``raises`` speaks for F."""
    call = faults.wrap(answer)
    rule = faults.on(answer).pattern("F.").raises(LookupError)
    with pytest.raises(LookupError):
        call()
    assert str(rule) == "pattern('F.', F=raises(LookupError))"


async def test_the_known_letters_fail_slow_down_and_hang(virtual_clock: VirtualClock) -> None:
    """F raises ConnectionError, S takes a second, H waits until it is cancelled, a dot passes."""
    with FaultInjector() as faults:

        @faults.wrap
        async def fetch() -> str:
            return "page"

        faults.on(fetch).pattern("FS.H")
        with pytest.raises(ConnectionError, match=r"call 1 of .*fetch"):
            await fetch()
        assert await fetch() == "page"
        assert virtual_clock.elapsed == 1
        assert await fetch() == "page"
        with anyio.move_on_after(3600) as scope:
            await fetch()
        assert scope.cancelled_caught
        assert virtual_clock.elapsed == 3601


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must name at least one call"),
        ("FX", "has the letter 'X', which has no meaning"),
        ("F-.", "'-.' is no step"),
        ("3F", "'3F' is no step"),
        ("F0", "'F0' is no step"),
        ("F9999999", "longer than 1000000 calls"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused(faults: FaultInjector, text: str, complaint: str) -> None:
    """An unknown letter or a stray character is named, and shown where it stands."""
    with pytest.raises(ValueError, match=complaint):
        faults.on(answer).pattern(text)


def test_a_letter_without_a_use_is_refused(faults: FaultInjector) -> None:
    """A meaning for a letter that the pattern lacks is a slip of the pen, in either form."""
    with pytest.raises(ValueError, match="D= stands for no letter of pattern"):
        faults.on(answer).pattern("F.", D=drops_ack())
    with pytest.raises(ValueError, match=r"delays\(1\) stands for no letter of pattern"):
        faults.on(answer).pattern("F.").delays(1)
    with pytest.raises(ValueError, match=r"returns\(1\) stands for no letter"):
        faults.on(answer).pattern("F.").returns(1)
    with pytest.raises(TypeError, match="X must be an action"):
        faults.on(answer).pattern("X", X=ValueError)  # type: ignore[arg-type]


def test_a_hang_in_a_pattern_for_plain_code_needs_a_limit(faults: FaultInjector) -> None:
    """The refusal comes with the first call, when the rule is known to be complete."""
    call = faults.wrap(answer)
    rule = faults.on(answer).pattern("H")
    with pytest.raises(TypeError, match=r"cannot do hangs\(\) to a plain function"):
        call()
    rule.hangs(limit=0)
    with pytest.raises(TimeoutError, match="reached its limit of 0 s"):
        call()


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_rate_strikes_that_share_of_the_calls(probability: float) -> None:
    """Over two thousand calls the share is what was asked for, and exactly so at the ends."""
    with FaultInjector(seed=3) as faults:
        call = faults.wrap(answer)
        faults.on(answer).rate(probability).raises(ConnectionError)
        struck = outcomes(call, 2000).count("X")
    slack = 0 if probability in {0.0, 1.0} else 80
    assert abs(struck - 2000 * probability) <= slack


def test_weights_draw_each_letter_in_its_share(faults: FaultInjector) -> None:
    """Weights need not add up to 1, and a weight of 0 is never drawn."""
    call = faults.wrap(answer)
    faults.on(answer).weights({"F": 2, "R": 1, ".": 1, "H": 0}, R=returns("replaced"))
    seen = outcomes(call, 2000)
    assert set(seen) == {"X", "r", "o"}
    assert abs(seen.count("X") - 1000) < 100
    assert abs(seen.count("r") - 500) < 100


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ({}, "at least one weight above 0"),
        ({"F": 0.0}, "at least one weight above 0"),
        ({"F": -1.0}, r"weights\['F'\] must be a number, at least 0"),
        ({"FF": 1.0}, "takes single letters"),
        ({"Q": 1.0}, "has the letter 'Q'"),
    ],
)
def test_weights_that_mean_nothing_are_refused(
    faults: FaultInjector, weights: dict[str, float], complaint: str
) -> None:
    """Negative weights, no weights and unknown letters are refused by name."""
    with pytest.raises(ValueError, match=complaint):
        faults.on(answer).weights(weights)


async def test_between_goes_by_the_projects_clock(virtual_clock: VirtualClock) -> None:
    """An outage from second 10 up to second 40, counted from the first use of the injector."""
    await clock.sleep(5)  # before time zero
    with FaultInjector() as faults:
        call = faults.wrap(answer)
        faults.on(answer).between(10, 40).raises(ConnectionError)
        seen = ""
        for _ in range(10):
            seen += outcomes(call, 1)
            await clock.sleep(5)
        assert seen == "oo" + "XXXXXX" + "oo"
        assert [each.elapsed for each in faults.log] == pytest.approx([10, 15, 20, 25, 30, 35])


async def test_start_makes_now_time_zero(virtual_clock: VirtualClock) -> None:
    """``start()`` moves the origin of ``between`` and of the log."""
    with FaultInjector() as faults:
        call = faults.wrap(answer)
        faults.on(answer).between(10, 11).raises(ConnectionError)
        await clock.sleep(100)
        faults.start()
        assert outcomes(call, 1) == "o"
        await clock.sleep(10)
        assert outcomes(call, 1) == "X"


def test_while_asks_at_every_call(faults: FaultInjector) -> None:
    """The fault lasts as long as the function says so."""
    down = threading.Event()
    call = faults.wrap(answer)
    faults.on(answer).while_(down.is_set).raises(ConnectionError)
    assert outcomes(call, 1) == "o"
    down.set()
    assert outcomes(call, 2) == "XX"
    down.clear()
    assert outcomes(call, 1) == "o"


def test_the_function_of_while_may_call_the_target(faults: FaultInjector) -> None:
    """It is asked outside every lock, so what it does cannot lock up."""
    call = faults.wrap(answer)
    asked: list[bool] = []

    def condition() -> bool:
        asked.append(True)
        if len(asked) < 3:
            call()
        return len(asked) > 2

    faults.on(answer).while_(condition).first(1).raises(ConnectionError)
    assert outcomes(call, 1) in {"o", "X"}
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda rule: rule.nth(), "at least one call number"),
        (lambda rule: rule.nth(0), "nth must be a whole number, at least 1, not 0"),
        (lambda rule: rule.first(0), "first must be a whole number, at least 1"),
        (lambda rule: rule.every(-1), "every must be a whole number, at least 1"),
        (lambda rule: rule.after(-1), "after must be a whole number, at least 0"),
        (lambda rule: rule.rate(1.5), "rate must be a number, at least 0 and at most 1, not 1.5"),
        (lambda rule: rule.rate(float("nan")), "rate must be"),
        (lambda rule: rule.between(4, 4), r"between\(4, 4\) holds no moment"),
        (lambda rule: rule.between(-1, 4), "start must be seconds"),
        (lambda rule: rule.raises(ValueError).first(1), r"first\(1\) comes after what the rule does"),
        (lambda rule: rule.pattern("F").first(1), r"first\(1\) comes after what the rule does"),
        (lambda rule: rule.raises(ValueError).pattern("F"), r"pattern\('F'\) comes after what the rule does"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_by_name(
    faults: FaultInjector, build: Callable[[FaultRule], object], complaint: str
) -> None:
    """Every number is checked where it is written."""
    with pytest.raises(ValueError, match=complaint):
        build(faults.on(answer))


async def test_while_refuses_an_async_function(faults: FaultInjector) -> None:
    """A coroutine would always be true."""

    async def condition() -> bool:
        return False

    with pytest.raises(TypeError, match="asks a plain function"):
        faults.on(answer).while_(condition)  # type: ignore[arg-type]


@given(st.text("FSH.", min_size=1, max_size=30), st.booleans(), st.integers(1, 100))
def test_a_pattern_means_the_same_with_its_repeats_written_out(text: str, cycle: bool, number: int) -> None:  # noqa: FBT001 -- drawn by Hypothesis
    """``F3`` is ``FFF``: run-length encoding a pattern changes nothing."""
    short = ""
    for letter in text:
        head, count = (short[: -len(tail)], int(tail[1:] or 1)) if (tail := _last_run(short, letter)) else (short, 0)
        short = f"{head}{letter}{count + 1 if count else ''}"
    assert Pattern.parsed(short, cycle=cycle).steps == Pattern.parsed(text, cycle=cycle).steps


def _last_run(text: str, letter: str) -> str:
    tail = text.rstrip("0123456789")
    return text[len(tail) - 1 :] if tail.endswith(letter) else ""


@given(st.dictionaries(st.sampled_from("ABC."), st.floats(0, 1e9), min_size=1))
def test_weights_keep_only_what_can_be_drawn(weights: dict[str, float]) -> None:
    """A letter that is never drawn needs no meaning."""
    if any(weights.values()):
        assert Weights.checked(weights).letters == {k for k, v in weights.items() if v > 0} - {"."}
    else:
        with pytest.raises(ValueError, match="at least one weight"):
            Weights.checked(weights)


def test_the_seed_decides_and_the_interleaving_does_not() -> None:
    """Four threads meet the same faults at the same call numbers as one thread does."""

    def struck(seed: int, threads: int) -> set[int]:
        with FaultInjector(seed) as faults:
            call = faults.wrap(answer)
            faults.on(answer).rate(0.3).weights({"F": 1, ".": 1})
            faults.on(answer).rate(0.2).first(7).returns("other")
            workers = [threading.Thread(target=outcomes, args=(call, 240 // threads)) for _ in range(threads)]
            for each in workers:
                each.start()
            for each in workers:
                each.join(10)
            assert faults.calls(answer) == 240
            return {each.call for each in faults.log}

    assert struck(1, 1) == struck(1, 4)
    assert struck(1, 1) != struck(2, 1)


async def test_tasks_that_interleave_meet_the_same_faults(virtual_clock: VirtualClock) -> None:
    """What call number 5 meets does not depend on how long call number 4 took."""

    async def struck(pauses: list[float]) -> list[int]:
        with FaultInjector("run") as faults:

            @faults.wrap
            async def fetch(pause: float) -> None:
                await clock.sleep(pause)

            faults.on(fetch).rate(0.5).delays(lambda dice: dice.uniform(0, 3))
            async with anyio.create_task_group() as group:
                for pause in pauses:
                    group.start_soon(fetch, pause)
            return sorted(each.call for each in faults.log)

    assert await struck([0.0] * 20) == await struck([float(20 - i) for i in range(20)])


def test_another_rule_does_not_change_what_the_first_one_draws() -> None:
    """Each rule has dice of its own."""

    def struck(more: bool) -> list[int]:  # noqa: FBT001 -- read at once below
        with FaultInjector(5) as faults:
            call = faults.wrap(answer)
            faults.on(answer).rate(0.5).returns("other")
            if more:
                faults.on(answer).rate(0.5).mangles(str)
            outcomes(call, 50)
            return [each.call for each in faults.log if each.rule == 1]

    assert struck(more=False) == struck(more=True)


def test_rules_of_one_target_all_apply(faults: FaultInjector) -> None:
    """The rule made first is the outermost."""
    call = faults.wrap(answer)
    faults.on(answer).mangles(lambda text: f"<{text}>")
    faults.on(answer).nth(2).mangles(lambda text: f"[{text}]")
    assert [call(), call()] == ["<ok>", "<[ok]>"]


def test_a_seed_means_the_same_in_every_release() -> None:
    """The draws are part of the contract: a seed written into a bug report stays good."""

    def charge() -> str:
        return "ok"

    charge.__module__, charge.__qualname__ = "shop", "charge"
    with FaultInjector(seed=11) as faults:
        call = faults.wrap(charge)
        faults.on(charge).rate(0.25).raises(ConnectionError)
        assert outcomes(call, 24) == "XXoXoooooXooooXoXooooXoo"


def test_a_hang_given_by_letter_has_its_limit(faults: FaultInjector) -> None:
    """A letter's own meaning wins over the known one."""
    call = faults.wrap(answer)
    faults.on(answer).pattern("H", H=hangs(limit=0))
    with pytest.raises(TimeoutError):
        call()
