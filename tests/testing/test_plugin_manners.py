from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from resilio.testing import pytest_plugin

MIXED = """
import anyio
import pytest

@pytest.mark.anyio
async def test_mixed():
    await anyio.sleep(0)
"""


@pytest.mark.slow("runs pytest in a process of its own")
def test_the_guard_warns_where_pytest_asyncio_takes_a_test_of_anyio(pytester: pytest.Pytester) -> None:
    """In auto mode `test_mixed[trio]` would pass while running on asyncio; a warning tells."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(MIXED)
    result = pytester.runpytest_subprocess()
    result.stdout.fnmatch_lines(
        "*PytestWarning: this test is marked for anyio, but pytest-asyncio runs it, on asyncio*"
    )


@pytest.mark.slow("runs pytest in a process of its own")
@pytest.mark.filterwarnings("default")
def test_the_guard_is_silent_in_strict_mode(pytester: pytest.Pytester) -> None:
    """Where each plugin runs its own tests there is nothing to warn of."""
    pytester.makeini(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    pytester.makepyfile(MIXED)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2)


@pytest.mark.slow("starts an interpreter")
def test_loading_the_plugin_loads_nothing_else() -> None:
    """Everybody's test run loads it, so it brings no module but its own package's smallest ones."""
    code = """
import sys
import _pytest.config
_pytest.config.get_config()
before = set(sys.modules)
import resilio.testing.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 -- the lines above
    assert done.stdout.split() == [
        "resilio",
        "resilio._core",
        "resilio._core.dice",
        "resilio.testing",
        "resilio.testing.pytest_plugin",
    ]


def test_all_fixtures_are_plain_functions() -> None:
    """Async fixtures break under one runner or another; loop factories and `anyio_backend` belong to others."""
    names = set(vars(pytest_plugin))
    assert not names & {"anyio_backend", "event_loop", "event_loop_policy", "pytest_asyncio_loop_factories"}
    fixtures = [
        each._get_wrapped_function()
        for each in vars(pytest_plugin).values()
        if type(each).__name__ == "FixtureFunctionDefinition"
    ]
    assert len(fixtures) >= 4
    assert not any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in fixtures)
