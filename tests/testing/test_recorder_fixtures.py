"""`resilio_events`, `dead_letters`, `notifications` and `no_waits` as users meet them, under each runner."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow("runs pytest in a process of its own")

RUNNERS = ("anyio", "asyncio", "trio", "randomly", "xdist")

BODY = """
import pytest
from hypothesis import HealthCheck, given, settings, strategies
from resilio import AdminNotifier, BackoffStrategy, DeadLetterQueue, RetryExhaustedError, sync

def fetch():
    raise ConnectionError("down")

async def lose(strategy, message):
    with pytest.raises(RetryExhaustedError) as lost:
        await strategy.execute(fetch)
    await DeadLetterQueue().send_to_dlq(message, lost.value)
    await AdminNotifier().send_notification(f"{message} is lost")

@MARK
async def test_all_of_them(resilio_events, dead_letters, notifications, no_waits):
    await lose(BackoffStrategy(base_delay=3600, max_retries=2), "hello")
    with no_waits(max_attempts=1):
        await lose(BackoffStrategy(base_delay=3600), "again")
    resilio_events.assert_attempts(fetch, 3, 1)
    assert dead_letters.messages == ["hello", "again"]
    notifications.assert_told("is lost", times=2)

@MARK
async def test_virtual_seconds(resilio_events, dead_letters, notifications, virtual_clock):
    await lose(BackoffStrategy(base_delay=10, max_retries=2, jitter=None), "hello")
    assert [moment.elapsed for moment in resilio_events.where(operation=f"{__name__}.fetch").moments] == [0, 10, 30]
    assert [told.elapsed for told in notifications.told] == [30]

@MARK
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=strategies.integers(1, 5))
async def test_each_example_is_new(resilio_events, dead_letters, notifications, fast, attempts):
    await lose(BackoffStrategy(max_retries=attempts - 1), "hello")
    resilio_events.assert_attempts(fetch, attempts)
    assert dead_letters.messages == ["hello"]
    notifications.assert_told("hello", times=1)

def test_blocking(resilio_events, dead_letters, notifications, no_waits):
    with pytest.raises(RetryExhaustedError):
        sync.BackoffStrategy(base_delay=3600, max_retries=2).execute(fetch)
    sync.DeadLetterQueue().send_to_dlq("hello", ConnectionError())
    sync.AdminNotifier().send_notification("lost")
    resilio_events.assert_attempts(fetch, 3)
    assert dead_letters.messages == ["hello"]
    notifications.assert_told("lost")

@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=strategies.integers(1, 5))
def test_each_blocking_example_is_new(resilio_events, fast, attempts):
    with pytest.raises(RetryExhaustedError):
        sync.BackoffStrategy(max_retries=attempts - 1).execute(fetch)
    resilio_events.assert_attempts(fetch, attempts)
"""

FAILS = """
import pytest
from resilio import RetryExhaustedError, RetryScheduled, sync

def fetch():
    raise ConnectionError("down")

def retry():
    with pytest.raises(RetryExhaustedError):
        sync.BackoffStrategy(max_retries=1, jitter=None).execute(fetch)

def test_fails_by_itself(virtual_clock, resilio_events):
    retry()
    assert virtual_clock.elapsed == 5

def test_fails_by_an_assertion_of_ours(virtual_clock, resilio_events):
    retry()
    resilio_events.assert_none(RetryScheduled)
"""


@pytest.mark.parametrize(
    ("runner", "mark", "tests"),
    [
        ("anyio", "@pytest.mark.anyio", 3 * 2 + 2),
        ("asyncio", "@pytest.mark.asyncio", 3 + 2),
        ("trio", "@pytest.mark.trio", 3 + 2),
    ],
)
def test_the_fixtures_work_under_each_runner(pytester: pytest.Pytester, runner: str, mark: str, tests: int) -> None:
    """Whichever plugin runs the loop: waits are off in the body, each example starts anew, no file is made."""
    pytester.makepyfile(BODY.replace("@MARK", mark))
    loops = "asyncio_default_fixture_loop_scope = function\n" if runner == "asyncio" else ""
    pytester.makeini("[pytest]\nfilterwarnings = error\n" + loops)
    others = [option for name in RUNNERS if name != runner for option in ("-p", f"no:{name}")]
    pytester.runpytest_subprocess(*others).assert_outcomes(passed=tests)
    assert not (pytester.path / "local_dlq.json").exists()


def test_a_failing_test_shows_what_happened_once(pytester: pytest.Pytester) -> None:
    """In the report if the test failed by itself, in the message if an assertion of ours failed; never twice."""
    pytester.makepyfile(FAILS)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:asyncio", "--resilio-seed=7")
    result.assert_outcomes(failed=2)
    scheduled = "     0.000 s  RetryScheduled operation='test_a_failing_test_shows_what_happened_once.fetch' attempt=1"
    # Where CI is set, the summary repeats the messages whole.
    reports = result.stdout.str().partition("short test summary info")[0]
    first, second = reports.partition("___ test_fails_by_an_assertion_of_ours")[::2]
    assert first.count("what happened, in virtual seconds:") == 1
    assert first.count(scheduled) == 1
    assert second.count("what happened, in virtual seconds:") == 1
    assert "E       seed 7 (--resilio-seed=7)" in second
