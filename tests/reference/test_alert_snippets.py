"""The architecture document's alerting snippet runs as it stands, on the tracker and the notifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from snippets import QuickClock, code_of, run

from resilio import errors
from resilio.sync import ErrorTracker, check_critical_errors, send_alert

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENT = "alerts.md"


def snippet(tracker: ErrorTracker) -> Callable[[], None]:
    """The document's `check_critical_errors`."""
    code = code_of(DOCUMENT, "Critical Error Alerting")
    check: Callable[[], None] = run(code, get_recent_errors=tracker.get_recent_errors, send_alert=send_alert)[
        "check_critical_errors"
    ]
    return check


def test_the_alert_snippet_fires_at_the_fourth_critical_error(quick_clock: QuickClock) -> None:
    """Three in five minutes are still well, and so are four in more than five; our own function agrees each time."""
    tracker = ErrorTracker()
    check = snippet(tracker)
    told: list[Any] = []
    for number in range(1, 5):
        tracker.track_error(errors.SystemError("No available ports in range", component="port_registry"), {})
        tracker.track_error(ValueError("not critical"), {})
        with structlog.testing.capture_logs() as lines:
            check()
        assert bool(lines) == (number == 4)
        told += lines
        with structlog.testing.capture_logs():
            assert (check_critical_errors(tracker) is not None) == (number == 4)
    (line,) = told
    assert (line["log_level"], line["event"]) == ("critical", "High critical error rate")
    assert (line["error_count"], line["time_window"]) == (4, "5 minutes")
    assert len(line["errors"]) == 4
    quick_clock.elapsed += 301
    with structlog.testing.capture_logs() as lines:
        check()
        assert check_critical_errors(tracker) is None
    assert lines == []
