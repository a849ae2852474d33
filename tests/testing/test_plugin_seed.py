from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.slow("runs pytest in a process of its own")

DRAWS = """
import json, pathlib
import pytest
from resilio._core import dice

@pytest.mark.parametrize("number", range(4))
def test_draw(number):
    pathlib.Path(__file__).with_name(f"drawn{number}.json").write_text(json.dumps([dice.random() for _ in range(3)]))
"""

FAILS = """
from resilio._core import clock

def test_fails():
    assert False

def test_fails_in_time(virtual_clock):
    clock.sleep_blocking(90)
    clock.sleep_blocking(1.5)
    assert False
"""


def draws(pytester: pytest.Pytester, *options: str) -> dict[int, list[float]]:
    """What each test of `DRAWS` draws when pytest is run with these options."""
    pytester.makepyfile(test_draws=DRAWS)
    pytester.runpytest_subprocess("-p", "no:asyncio", *options).assert_outcomes(passed=4)
    return {number: json.loads((pytester.path / f"drawn{number}.json").read_text()) for number in range(4)}


def header(result: pytest.RunResult) -> Iterable[str]:
    """The plugin's line of the header."""
    return [line for line in result.outlines if line.startswith("resilio: ")]


def test_a_seed_repeats_each_test(pytester: pytest.Pytester) -> None:
    """With one seed each test draws the same, in any order and process; other tests and other seeds draw otherwise."""
    first = draws(pytester, "-p", "no:randomly", "--resilio-seed=7")
    assert draws(pytester, "--randomly-seed=1", "--resilio-seed=7", "-n", "2") == first
    other = draws(pytester, "-p", "no:randomly", "--resilio-seed=8")
    assert len({tuple(each) for each in (*first.values(), *other.values())}) == 8


def test_the_seed_is_told_where_it_is_needed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header names the seed, and a failing test's report the command that repeats it, and how far time went."""
    monkeypatch.setenv("RESILIO_SEED", "99")
    pytester.makepyfile(FAILS)
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:randomly", "--resilio-seed=7")
    assert header(result) == ["resilio: --resilio-seed=7"]
    result.stdout.fnmatch_lines(
        [
            "*- resilio -*",
            "seed 7; *pytest '*.py::test_fails' --resilio-seed=7",
            "*- resilio -*",
            "seed 7; *pytest '*.py::test_fails_in_time' --resilio-seed=7",
            "virtual clock: 91.5 s elapsed in 2 jumps",
        ],
    )


def test_the_environment_may_give_the_seed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """`RESILIO_SEED` counts where the option is not given, and before pytest-randomly's seed."""
    monkeypatch.setenv("RESILIO_SEED", " 99 ")
    pytester.makepyfile(FAILS)
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "--randomly-seed=5")
    assert header(result) == ["resilio: --resilio-seed=99"]


def test_a_wrong_seed_in_the_environment_is_refused(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, its value and what it should be."""
    monkeypatch.setenv("RESILIO_SEED", "lucky")
    result = pytester.runpytest_subprocess("-p", "no:asyncio")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*RESILIO_SEED should be a whole number, not 'lucky'*")


def test_the_seed_follows_pytest_randomly(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed repeats a whole run: pytest-randomly's counts where none was given to us."""
    monkeypatch.delenv("RESILIO_SEED", raising=False)
    pytester.makepyfile(FAILS)
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "--randomly-seed=5")
    assert header(result) == ["resilio: --resilio-seed=5"]


def test_without_a_seed_each_run_has_its_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing given: a new seed, which the header tells."""
    monkeypatch.delenv("RESILIO_SEED", raising=False)
    pytester.makepyfile(FAILS)
    options = ("-p", "no:asyncio", "-p", "no:randomly", "--collect-only")
    assert header(pytester.runpytest_subprocess(*options)) != header(pytester.runpytest_subprocess(*options))


def test_each_example_of_hypothesis_draws_the_same(pytester: pytest.Pytester) -> None:
    """Hypothesis starts our chance anew for each example, so that a failing one can be repeated and made smaller."""
    pytester.makepyfile(
        """
        from hypothesis import given, settings, strategies
        from resilio._core import dice

        drawn = []

        @settings(max_examples=20, database=None)
        @given(strategies.integers())
        def test_examples(number):
            drawn.append(dice.random())

        def test_that_they_agree():
            assert len(drawn) > 1 and len(set(drawn)) == 1
        """
    )
    pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:randomly").assert_outcomes(passed=2)


def test_who_does_not_use_the_package_reads_nothing_of_it(pytester: pytest.Pytester) -> None:
    """A failing test of a project that does not import the package has no section about it."""
    pytester.makepyfile("def test_fails(): assert False")
    result = pytester.runpytest_subprocess("-p", "no:asyncio")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*- resilio -*")
