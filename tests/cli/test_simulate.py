"""The simulator: real policies, virtual time, and numbers that help to choose."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import anyio
import pytest

from resilio.cli.simulation.contender import STANDARD, Contender
from resilio.cli.simulation.engine import Record, simulate
from resilio.cli.simulation.outcome import Outcome, judge
from resilio.cli.simulation.scenario import OutageKind, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command_kit import Ran

    Run = Callable[..., Ran]

SMALL = {"clients": 10, "rate": 1.0, "before": 5.0, "length": 20.0, "after": 25.0}
QUICK = ("--clients", "5", "--rate", "1", "--before", "3", "--length", "5", "--after", "8")


def played(policies: str, **scenario: Any) -> Outcome:
    """What some policies make of a small scenario."""
    given, contender = Scenario(**{**SMALL, **scenario}), Contender.parse(policies)

    async def run() -> Record:
        return await simulate(given, contender, on_second=lambda _: None)

    return judge(given, contender, anyio.run(run))


def test_without_policies_an_outage_is_what_it_is() -> None:
    """Each request is one call; those of the outage fail, all others are answered."""
    outcome = played("nothing:")
    assert outcome.amplification == 1.0
    assert outcome.outage_success_rate == 0.0
    assert outcome.success_rate == pytest.approx(30 / 50, abs=0.01)
    assert outcome.recovery == 0.0
    assert outcome.calls == outcome.requests == 500


@pytest.mark.slow("plays a storm of retries, twice")
def test_retries_multiply_the_load_and_a_budget_bounds_it() -> None:
    """Three retries make up to four calls of one; a budget of a tenth adds a tenth."""
    bare = played("retries=3 base=0.5")
    bounded = played("retries=3 base=0.5 budget=10%")
    assert bare.amplification is not None
    assert bounded.amplification is not None
    assert bare.amplification > 3
    assert bounded.amplification < 1.2


def test_a_breaker_takes_the_load_off() -> None:
    """While it is open only probes go out; it recovers within its pause."""
    outcome = played("breaker=3/4")
    assert outcome.amplification is not None
    assert outcome.amplification < 0.5
    assert outcome.recovery is not None
    assert outcome.recovery <= 4


@pytest.mark.slow("plays a storm of retries, twice")
def test_retries_without_jitter_keep_an_overloaded_dependency_down() -> None:
    """The storm goes on after its cause has gone; with a budget the same retries let it recover."""
    storm = played("retries=5 base=0.5 jitter=none timeout=2", outage="overload", overload_capacity=0.5, capacity=1.5)
    calm = played("retries=5 base=0.5 budget=10% timeout=2", outage="overload", overload_capacity=0.5, capacity=1.5)
    assert storm.recovery is None
    assert calm.recovery is not None


@pytest.mark.slow("plays a storm of retries, twice")
def test_a_partial_outage_is_what_retries_are_for() -> None:
    """Where a third of the calls fail, three tries answer nearly everybody."""
    assert (played("nothing:", outage="partial").outage_success_rate or 0) < 0.8
    assert (played("retries=3 base=0.1", outage="partial").outage_success_rate or 0) > 0.95


def test_a_slow_dependency_is_cut_off_by_a_timeout() -> None:
    """Without one, users wait as long as it takes; with one, nobody waits longer than that."""
    patient = played("nothing:", outage="slow", slow_latency=4.0)
    impatient = played("timeout=1", outage="slow", slow_latency=4.0)
    assert (patient.slowest or 0) >= 4
    assert (impatient.slowest or 0) <= 1
    assert impatient.outage_success_rate == 0


@pytest.mark.slow("plays a storm of retries, twice")
def test_the_same_seed_gives_the_same_run() -> None:
    """To the last number; another seed gives another one."""
    policies = "retries=3 base=0.5 budget=20% breaker=5/5 timeout=2"
    first, second = played(policies, outage="partial"), played(policies, outage="partial")
    assert first == second
    assert played(policies, outage="partial", seed=2) != first


@pytest.mark.slow("plays a hundred clients for five minutes")
def test_a_hundred_clients_and_five_minutes_fit_in() -> None:
    """The size that one compares settings at; nothing is left out."""
    outcome = played("retries=3 budget=10% breaker=5/10 timeout=2", clients=100, rate=0.2, length=60, after=235)
    assert outcome.requests == 100 * 300 * 0.2
    assert len(outcome.load) == 300


@pytest.mark.parametrize("standard", STANDARD)
def test_the_usual_policies_are_well_formed(standard: str) -> None:
    """What is compared by default can be typed."""
    assert Contender.parse(standard).text == standard.partition(": ")[2]


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ("retrys=3", "'retrys' is no setting of a policy; there are retries, base"),
        ("retries", "a policy is key=value pairs, not 'retries'"),
        ("retries=many", "retries must be a whole number, not 'many'"),
        ("retries=3 jitter=some", "jitter must be one of full, equal, decorrelated, none, not 'some'"),
        ("jitter=full", "jitter without retries"),
        ("breaker=5", "breaker must be failures/seconds such as 5/30"),
        ("breaker=5/soon", "breaker must be a number of seconds, not 'soon'"),
        ("timeout=fast", "timeout must be a number of seconds, not 'fast'"),
        ("retries=3 budget=lots", "budget must be a share such as 0.2 or 20%, not 'lots'"),
    ],
)
def test_a_policy_that_is_none_is_a_usage_error(run: Run, policies: str, message: str) -> None:
    """The message says what it may be, before anything is played."""
    ran = run("simulate", "-p", policies)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--clients", "0"), "clients must be a whole number, at least 1"),
        (("--fault-rate", "2"), "fault_rate must be"),
        (("--length", "-1"), "length must"),
        (("weird",), "is not one of"),
    ],
    ids=["clients", "fault-rate", "length", "outage"],
)
def test_a_scenario_that_is_none_is_a_usage_error(run: Run, options: tuple[str, ...], message: str) -> None:
    """Under the name of what is wrong."""
    ran = run("simulate", *options)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


def test_it_draws_numbers_load_and_answers(run: Run) -> None:
    """The picture has a scale, the outage and its times; the table has every set of policies; the seed is told."""
    ran = run("simulate", "total", *QUICK, "-p", "eager: retries=3 base=0.2", "-p", "calm: breaker=3/2", "--seed", "7")
    assert ran.code == 0
    for expected in ("seed 7", "eager", "calm", "├", "8 s", "answered", "recovers", "Gentlest to the dependency: calm"):
        assert expected in ran.out
    assert max(map(len, ran.lines)) <= 100


def test_json_has_everything_second_by_second(run: Run) -> None:
    """The scenario with its seed, and for each set of policies the numbers and their curves."""
    told = run("simulate", "slow", *QUICK, "-p", "a: timeout=1", "--json").json
    assert told["scenario"]["outage"] == "slow"
    assert told["scenario"]["seed"] == 1
    (policies,) = told["policies"]
    assert policies["name"] == "a"
    assert policies["settings"] == "timeout=1"
    assert len(policies["load"]) == len(policies["success"]) == 16


def test_an_svg_is_written(run: Run, folder: Path) -> None:
    """It parses, says in words what it shows, and has a curve for each set of policies."""
    run("simulate", *QUICK, "-p", "a & b: timeout=1", "-p", "c: retries=1", "--svg", "out.svg")
    root = ET.fromstring((folder / "out.svg").read_text(encoding="utf-8"))  # noqa: S314 -- our own
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}path")) == 2
    assert "a & b: " in (root.findtext(f"{space}desc") or "")
    assert root.findtext(f"{space}title") == "Load and answers in a total outage of 5 s"


def test_a_file_holds_scenario_and_policies(run: Run, folder: Path) -> None:
    """Options on the line beat the file; policies may be text or tables."""
    (folder / "outage.toml").write_text(
        '[scenario]\noutage = "partial"\nclients = 4\nrate = 1\nbefore = 2\nlength = 4\nafter = 6\nseed = 9\n'
        '[policies]\ntoday = "retries=5 jitter=none"\ntomorrow = { retries = 3, budget = "20%", breaker = "5/30" }\n',
        encoding="utf-8",
    )
    told = run("simulate", "--file", "outage.toml", "--clients", "6", "--json").json
    assert (told["scenario"]["outage"], told["scenario"]["clients"], told["scenario"]["seed"]) == ("partial", 6, 9)
    assert [each["name"] for each in told["policies"]] == ["today", "tomorrow"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[scenario\n", "is no TOML"),
        ("[scenario]\nclient = 3\n", "'client' is unknown"),
        ("[policy]\n", "'policy' is unknown"),
        ("[policies]\na = 5\n", "the policies 'a' must be text"),
    ],
)
def test_a_file_that_is_none_is_a_usage_error(run: Run, folder: Path, text: str, message: str) -> None:
    """One message names the file's fault."""
    (folder / "outage.toml").write_text(text, encoding="utf-8")
    ran = run("simulate", "--file", "outage.toml")
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


def test_every_kind_of_outage_can_be_played(run: Run) -> None:
    """Each by its name."""
    for kind in OutageKind:
        ran = run("simulate", kind.value, *QUICK, "-p", "a: retries=1 timeout=1", "--json")
        assert json.loads(ran.out)["scenario"]["outage"] == kind
