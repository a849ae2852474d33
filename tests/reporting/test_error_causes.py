"""Chains of causes, groups and notes, within bounds."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

from resilio import ErrorReport, ErrorTracker


def reported(error: BaseException) -> ErrorReport:
    """Its report."""
    return ErrorTracker().track_error(error)


def test_causes_come_nearest_first_with_how_they_are_related() -> None:
    """`raise ... from` is a cause, raised while handling is a context; a suppressed context is left out."""
    try:
        try:
            try:
                int("x")
            except ValueError:
                {}["y"]  # type: ignore[index]
        except KeyError as error:
            raise RuntimeError("z") from error
    except RuntimeError as error:
        found = reported(error).causes
    assert [(each.error_type, each.relation, each.depth) for each in found] == [
        ("KeyError", "cause", 1),
        ("ValueError", "context", 2),
    ]
    suppressed = ValueError()
    suppressed.__context__ = KeyError()
    suppressed.__suppress_context__ = True
    assert reported(suppressed).causes == ()


def test_a_chain_is_followed_ten_deep() -> None:
    """A chain of thousands costs no more."""
    error: BaseException = ValueError("0")
    for number in range(1, 5_000):
        above = ValueError(str(number))
        above.__cause__ = error
        error = above
    assert len(reported(error).causes) == 10


def test_a_group_is_told_fifteen_wide() -> None:
    """Its size is told; what it holds in turn is told within the bounds of the whole."""
    group = ExceptionGroup("many", [ExceptionGroup("g", [ValueError(str(n)) for n in range(100)]) for _ in range(100)])
    report = reported(group)
    assert report.members == 100
    assert len([each for each in report.causes if each.depth == 1]) <= 15
    assert 15 < len(report.causes) <= 60
    assert report.causes[0].members == 100


def test_circles_end() -> None:
    """Each error is told once."""
    one, other = ValueError("a"), KeyError("b")
    one.__cause__, other.__cause__ = other, one
    assert [each.error_type for each in reported(one).causes] == ["KeyError"]


def test_notes_are_told_redacted_and_cut() -> None:
    """Those of the error and those of its causes; what is no list of texts does no harm."""
    error = ValueError("a")
    error.__cause__ = KeyError("b")
    error.__cause__.add_note("password=canary")
    for number in range(1_000):
        error.add_note(f"note {number} " + "x" * 10_000)
    report = reported(error)
    assert report.causes[0].notes == ("password=[redacted]",)
    assert len(report.notes) == 10
    assert all(len(note) < 1_100 for note in report.notes)
    broken = ValueError()
    broken.__notes__ = 17  # type: ignore[assignment]
    assert reported(broken).notes == ()


def test_nothing_is_kept_alive() -> None:
    """Neither the error, nor its causes, nor a variable of a frame it came through."""

    class Held:
        pass

    def fail() -> None:
        held: Any = Held()
        seen.append(weakref.ref(held))
        try:
            raise KeyError("inner")
        except KeyError as inner:
            error = ValueError("outer")
            error.held = held  # type: ignore[attr-defined]
            raise error from inner

    seen: list[weakref.ref[Any]] = []
    tracker = ErrorTracker()
    try:
        fail()
    except ValueError as error:
        report = tracker.track_error(error, {"error": error})
    gc.collect()
    assert seen[0]() is None
    assert report.context == {"error": "ValueError: outer"}


def test_a_report_pickles_and_is_json() -> None:
    """It can be sent to another process, and written."""
    report = reported(ValueError("x"))
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 -- our own
    assert report.to_dict()["error_message"] == "x"
