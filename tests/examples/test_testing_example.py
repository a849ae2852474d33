from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str, report: Path) -> tuple[subprocess.CompletedProcess[str], ET.Element]:
    """Run the examples' tests as a user does, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "examples/testing", f"--junitxml={report}", *arguments]
    ran = subprocess.run(  # noqa: S603 -- our own examples
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    return ran, ET.parse(report).getroot()[0]  # noqa: S314 -- pytest wrote it


@pytest.mark.slow("runs pytest in a process of its own")
@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_example_tests_pass_on_both_backends_with_any_seed(seed: str, tmp_path: Path) -> None:
    """Whatever the back-off draws, an outage of thirty virtual seconds costs no order, over HTTP too."""
    ran, suite = run("--resilio-seed", seed, "-p", "no:cacheprovider", report=tmp_path / "report.xml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    names = {f"{case.get('classname')}::{case.get('name')}" for case in suite.iter("testcase")}
    for module in ("test_outage", "test_outage_over_http"):
        for backend in ("asyncio", "trio"):
            one = f"examples.testing.{module}::test_an_outage_of_thirty_seconds_costs_no_order[{backend}]"
            assert one in names


@pytest.mark.slow("runs pytest in a process of its own")
def test_an_example_that_fails_shows_the_seed_and_the_timeline(tmp_path: Path) -> None:
    """A shop that never gives up is found, and the report says how, when, and how to see it again."""
    sitecustomize = tmp_path / "broken_shop.py"
    sitecustomize.write_text(
        "from resilio import CircuitBreaker\n"
        "before = CircuitBreaker.__init__\n"
        "def stubborn(self, **settings):\n"
        "    before(self, **{**settings, 'failure_threshold': 10_000})\n"
        "CircuitBreaker.__init__ = stubborn\n",
        encoding="utf-8",
    )
    arguments = (
        "-p",
        "broken_shop",
        "-p",
        "no:cacheprovider",
        "--resilio-seed",
        "7",
        "-k",
        "test_outage.py and asyncio",
    )
    command_path = ("-o", f"pythonpath={tmp_path}")
    ran, suite = run(*command_path, *arguments, report=tmp_path / "report.xml")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert suite.get("failures") == "1"
    assert "CircuitStateChanged(after='open')" in ran.stdout
    assert "seed 7 (--resilio-seed=7)" in ran.stdout
    assert "what happened, in virtual seconds:" in ran.stdout


@pytest.mark.slow("runs pytest in a process of its own")
def test_the_readmes_test_passes(pytester: pytest.Pytester) -> None:
    """The test file of the README's section "Test your outage", copied and run, on both backends."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Test your outage")[2]
    pytester.makepyfile(section.partition("```python\n")[2].partition("```")[0])
    pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error").assert_outcomes(passed=2)
