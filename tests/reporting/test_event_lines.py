"""What the policies tell, in the application's log."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap

import pytest
import structlog

from resilio import log_events, log_operation
from resilio.sync import BackoffStrategy, CircuitBreaker, CircuitBreakerOpenError


def trip(name: str) -> None:
    """A circuit that opens, with a secret in its error."""
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(ValueError, match="token"):
        breaker.execute(_fail)
    with pytest.raises(CircuitBreakerOpenError):
        breaker.execute(_fail)
    breaker.reset()
    assert name


def _fail() -> None:
    msg = "token=canary"
    raise ValueError(msg)


def test_policy_events_become_lines() -> None:
    """One for each change of a circuit, with its attributes as fields, without secrets."""
    with structlog.testing.capture_logs() as lines, log_events():
        trip("x")
    assert [(line["log_level"], line["event"], line["after"]) for line in lines] == [
        ("warning", "circuit state changed", "OPEN"),
        ("info", "circuit state changed", "CLOSED"),
    ]
    assert lines[0]["error"] == "ValueError: token=[redacted]"


def test_calls_are_told_on_demand() -> None:
    """Every call and rejection is DEBUG; some kinds alone can be chosen; after the block it is quiet."""
    with structlog.testing.capture_logs() as lines:
        with log_events(least="DEBUG"):
            trip("x")
        trip("y")
    names = [line["event"] for line in lines]
    assert "call failed" in names
    assert "call rejected" in names
    assert names.count("circuit state changed") == 2
    with pytest.raises(ValueError, match="LOUD"):
        log_events(least="LOUD")


def test_what_logs_itself_is_not_logged_again() -> None:
    """Operations and reports."""
    with structlog.testing.capture_logs() as lines, log_events(least="DEBUG"):
        with log_operation("feed"):
            pass
    assert [line["event"] for line in lines] == ["operation started", "operation succeeded"]


def test_stdlib_logging_gets_them_too(caplog: pytest.LogCaptureFixture) -> None:
    """Where structlog is not configured."""
    with log_events(logger="mine"):
        strategy = BackoffStrategy(max_retries=1, base_delay=0, retry_exceptions=ValueError, reraise=True)
        with pytest.raises(ValueError, match="token"):
            strategy.execute(_fail)
    assert [record.name for record in caplog.records] == ["mine"] * len(caplog.records)
    assert any(record.levelno == logging.WARNING and "retry given up" in record.message for record in caplog.records)
    assert "canary" not in caplog.text


@pytest.mark.slow("starts an interpreter, where nothing is configured")
def test_an_application_without_logging_gets_lines_on_stderr() -> None:
    """An error, an operation and an event: one line each."""
    script = """
        from resilio.sync import CircuitBreaker, ErrorHandler, log_events, log_operation
        log_events()
        CircuitBreaker().force_open()
        with ErrorHandler().guard("feed", suppress=True), log_operation("open the tin"):
            raise ValueError("no tin, password=canary")
    """
    ran = subprocess.run(  # noqa: S603 -- our own interpreter and script
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "NO_COLOR"}},
    )
    lines = [line.split("]", 1)[1].split("  ")[0].strip() for line in ran.stderr.splitlines()]
    assert lines == ["circuit state changed", "operation started", "operation failed", "operation failed"]
    assert "canary" not in ran.stderr
