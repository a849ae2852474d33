"""One place for an error to go, without an event loop."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from reporting_kit import PlainTold, Told

import resilio
from resilio import sync
from resilio.sync import ErrorHandler

if TYPE_CHECKING:
    from pathlib import Path


def test_a_block_is_guarded(tmp_path: Path) -> None:
    """Plain `with`, the queue and the notifier of `resilio.sync`."""
    letters = sync.DeadLetterQueue(local_file_path=tmp_path / "dead.jsonl")
    told = PlainTold()
    handler = ErrorHandler(notifier=told, dead_letters=letters, log=False)
    with handler.guard("answer", message={"body": "Meow"}, suppress=True, user=7) as guard:
        raise ConnectionError("no route")
    assert guard.report is not None
    assert guard.report.message_id is not None
    assert letters.get(guard.report.message_id).error_info["context"] == {"user": 7}
    assert told.heard[0][1]["error_id"] == guard.report.error_id
    with handler.guard("answer", message=1) as guard:
        pass
    assert guard.report is None
    with pytest.raises(ValueError, match="x"), handler.guard("answer"):
        raise ValueError("x")
    assert handler.tracker.get_error_summary()["total_errors"] == 2


def test_async_notifiers_and_queues_run_on_the_background_loop(tmp_path: Path) -> None:
    """Those of `resilio` work as well."""
    told = Told()
    letters = resilio.DeadLetterQueue(local_file_path=tmp_path / "dead.jsonl")
    report = ErrorHandler(notifier=told, dead_letters=letters, log=False).handle(ValueError("x"), "answer", message="m")
    assert report.message_id is not None
    assert told.heard[0][1]["message_id"] == report.message_id


def test_what_ends_the_program_passes() -> None:
    """Ctrl-C is not counted, nor suppressed, nor returned as a report."""
    handler = ErrorHandler(log=False)
    with pytest.raises(KeyboardInterrupt), handler.guard("x", suppress=True):
        raise KeyboardInterrupt
    with pytest.raises(SystemExit):
        handler.handle(SystemExit(), "x")
    assert handler.tracker.get_error_summary()["total_errors"] == 0


def test_a_failing_notifier_does_no_harm() -> None:
    """Nor does one that was interrupted hide it."""
    assert ErrorHandler(notifier=PlainTold(OSError("x")), log=False).handle(ValueError("y")).error_message == "y"
    with pytest.raises(KeyboardInterrupt):
        ErrorHandler(notifier=PlainTold(KeyboardInterrupt()), log=False).handle(ValueError("y"))


def test_both_handlers_take_the_same_arguments() -> None:
    """Word for word, but for `async`."""
    for name in ("__init__", "handle", "guard"):
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (ErrorHandler, resilio.ErrorHandler))
        assert ours.parameters == theirs.parameters
    with pytest.raises(ValueError, match="message needs"):
        ErrorHandler().guard("x", message=1)
