from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow("runs pytest in a process of its own")

IN_ORDER = ("-p", "no:randomly", "-p", "no:asyncio")


def test_circuits_do_not_outlive_a_test(pytester: pytest.Pytester) -> None:
    """A circuit named in one test is unknown to the next, which may give it other settings."""
    pytester.makepyfile(
        """
        import pytest
        from resilio.sync import CircuitBreaker

        @pytest.mark.parametrize("threshold", [1, 2])
        def test_a_name(threshold):
            breaker = CircuitBreaker(name="payments", failure_threshold=threshold)
            assert breaker.state.name == "CLOSED"
            breaker.force_open()
        """
    )
    pytester.runpytest_subprocess(*IN_ORDER).assert_outcomes(passed=2)


def test_listeners_do_not_outlive_a_test(pytester: pytest.Pytester) -> None:
    """Who listens in one test hears nothing of the next; listeners from the module and from wider scopes stay."""
    pytester.makepyfile(
        """
        import pytest
        from resilio._core import events

        heard = []
        events.subscribe(lambda event: heard.append("module"))

        @pytest.fixture(scope="module", autouse=True)
        def listening():
            with events.subscribe(lambda event: heard.append("fixture")):
                yield

        def test_one():
            events.subscribe(lambda event: heard.append("test"))
            events.emit(events.Event())
            assert heard == ["module", "fixture", "test"]

        def test_two():
            heard.clear()
            events.emit(events.Event())
            assert heard == ["module", "fixture"]
        """
    )
    pytester.runpytest_subprocess(*IN_ORDER).assert_outcomes(passed=2)


def test_settings_do_not_outlive_a_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that a test sets, changes or deletes is for the next one what it was before."""
    monkeypatch.setenv("BACKOFF_MAX_DELAY", "7")
    monkeypatch.setenv("BACKOFF_MAX_RETRIES", "8")
    monkeypatch.delenv("BACKOFF_BASE_DELAY", raising=False)
    pytester.makepyfile(
        """
        import os
        import pytest
        from resilio import settings

        @pytest.mark.parametrize("time", [1, 2])
        def test_twice(time):
            assert settings.BACKOFF_BASE_DELAY.read() == 1
            assert settings.BACKOFF_MAX_DELAY.read() == 7
            assert settings.BACKOFF_MAX_RETRIES.read() == 8
            os.environ["BACKOFF_BASE_DELAY"] = "0"
            os.environ["BACKOFF_MAX_DELAY"] = "0"
            del os.environ["BACKOFF_MAX_RETRIES"]
        """
    )
    pytester.runpytest_subprocess(*IN_ORDER).assert_outcomes(passed=2)


def test_the_state_of_a_failing_test_is_gone_as_well(pytester: pytest.Pytester) -> None:
    """Faults, virtual time and listeners are undone although the test raised."""
    pytester.makepyfile(
        """
        import time
        from resilio._core import clock, events
        import os.path

        def test_one(virtual_clock, faults):
            faults.on("os.path.exists").raises(OSError)
            clock.sleep_blocking(3600)
            raise ZeroDivisionError

        def test_two():
            assert os.path.exists("/")
            assert clock.monotonic is time.monotonic
            assert events.listeners == ()
        """
    )
    pytester.runpytest_subprocess(*IN_ORDER).assert_outcomes(passed=1, failed=1)
