from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from resilio.deadletters.error_info import describe
from resilio.errors import IntegrationError

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def caught(error: BaseException) -> BaseException:
    """The error, raised once, with its traceback."""
    try:
        raise error
    except BaseException as raised:
        return raised


def test_a_dict_is_kept() -> None:
    """What the caller found out stands as it is."""
    info = {"error_type": "api_error", "error_message": "boom", "timestamp": "2026", "more": [1, {"a": None}]}
    assert describe(info, NOW) == info


def test_an_exception_tells_its_type_message_time_and_place() -> None:
    """The names are those of the reference; the traceback is text without source lines."""
    info = describe(caught(ValueError("bad\x00 🐈")), NOW)
    assert info["error_type"] == "ValueError"
    assert info["error_message"] == "bad\x00 🐈"
    assert info["timestamp"] == "2026-05-04T03:02:01.000000+00:00"
    assert "in caught" in info["traceback"]
    assert info["causes"] == []
    json.dumps(info, allow_nan=False)


def test_the_cause_chain_is_kept_nearest_first() -> None:
    """Explicit causes and implicit contexts, as Python would print them; not what `from None` hides."""
    try:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("second")  # noqa: B904 -- the implicit context is the point
        except ValueError as error:
            raise RuntimeError("third") from error
    except RuntimeError as error:
        chain = describe(error, NOW)["causes"]
    assert [each["error_type"] for each in chain] == ["ValueError", "KeyError"]
    silent = caught(ValueError("x"))
    silent.__context__, silent.__suppress_context__ = KeyError("hidden"), True
    assert describe(silent, NOW)["causes"] == []


def test_a_circle_of_causes_ends() -> None:
    """Whatever people do to exceptions, describing them ends."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert [each["error_message"] for each in describe(one, NOW)["causes"]] == ["two"]


def test_causes_and_frames_are_bounded_and_say_so() -> None:
    """A thousand causes and a thousand frames make a letter of a few kilobytes."""
    error: Exception = ValueError("0")
    for number in range(1000):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise error

    with pytest.raises(ValueError, match="999") as raised:
        deep(500)
    info = describe(raised.value, NOW)
    assert len(info["causes"]) == 10
    assert "452 frames left out" in info["traceback"]
    assert len(info["traceback"].splitlines()) == 51


def test_a_long_message_is_cut_and_says_so() -> None:
    """Nothing is trimmed in silence."""
    text = describe(ValueError("x" * 100_000), NOW)["error_message"]
    assert text.endswith("[83616 more characters]")


def test_our_own_errors_tell_their_place_in_the_taxonomy() -> None:
    """Category, code and retryable are kept with them; notes too."""
    error = IntegrationError("down", system="crm", operation="get", code="crm_down", retryable=True)
    error.add_note("tried thrice")
    info = describe(error, NOW)
    assert (info["category"], info["code"], info["retryable"]) == ("integration", "crm_down", True)
    assert info["notes"] == ["tried thrice"]


def test_the_members_of_a_group_are_told() -> None:
    """A group of errors says what it is a group of."""
    info = describe(ExceptionGroup("both", [ValueError("a"), KeyError("b")]), NOW)
    assert [each["error_type"] for each in info["exceptions"]] == ["ValueError", "KeyError"]


def test_a_report_gives_its_dict() -> None:
    """Whatever has a to_dict() is taken by its word."""

    class Report:
        def to_dict(self) -> dict[str, Any]:
            return {"error_id": "e1", "category": "system"}

    assert describe(Report(), NOW) == {"error_id": "e1", "category": "system"}


def test_what_json_cannot_carry_in_it_never_costs_the_letter() -> None:
    """Odd values, odd keys and a rude repr are represented."""

    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    info = describe({"when": NOW, 7: "seven", "rude": Rude(), "score": float("nan")}, NOW)
    assert info["when"]["__unencodable__"] == "datetime.datetime"
    assert info["7"] == "seven"
    assert "whose repr raised RuntimeError" in info["rude"]["representation"]
    assert info["score"] == {"__unencodable__": "float", "representation": "nan"}
    assert describe(MuteError(), NOW)["error_type"] == "MuteError"
    json.dumps(info, allow_nan=False)


@pytest.mark.parametrize("info", [None, "boom", 7, ["boom"], ValueError, object()])
def test_what_gives_no_reason_is_refused(info: object) -> None:
    """A letter without a reason helps nobody: the error says what is allowed."""
    with pytest.raises(TypeError, match="error_info must be a dict, an exception or an error report"):
        describe(info, NOW)
