from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resilio.deadletters.letter import DeadLetter, LetterIds, LetterStatus, attempt_line, longer, new_body

NOW = datetime(2026, 5, 4, 3, 2, 1, 999, tzinfo=UTC)


def letter() -> DeadLetter:
    """A letter with something in every field."""
    return DeadLetter(
        id="a",
        message={"text": "miau"},
        error_info={"error_type": "ValueError"},
        first_failed_at=NOW,
        last_failed_at=NOW + timedelta(hours=1),
        attempts=2,
        status=LetterStatus.PARKED,
        group="ValueError in cat.py",
        history=({"attempt": 1, "failed_at": NOW.isoformat(), "error_type": "OSError", "error_message": "no"},),
        source={"operation": "purr", "host": "basket", "pid": 9, "version": "0.1.0"},
        headers={"content-type": "text/plain"},
        deduplication_key="d-1",
    )


def test_a_letter_is_a_mapping_of_its_attributes() -> None:
    """Items, dict(), len and iteration show what the attributes hold."""
    one = letter()
    assert one["message"] == {"text": "miau"}
    assert one["attempts"] == one.attempts == 2
    assert dict(one) == {name: getattr(one, name) for name in one}
    assert {"id", "message", "error_info", "attempts", "history", "status", "group"} < set(one) == set(one.to_dict())
    assert len(one) == 13
    assert one.get("nothing") is None
    assert "status" in one
    with pytest.raises(KeyError, match="nothing"):
        one["nothing"]


def test_a_letter_is_a_frozen_value() -> None:
    """Two letters with the same contents are equal; nothing can be assigned; it pickles and copies."""
    one = letter()
    assert one == letter()
    assert one == dict(letter())
    with pytest.raises(AttributeError):
        one.attempts = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301
    assert copy.deepcopy(one) == one


def test_a_letter_survives_json() -> None:
    """from_dict gives back what to_dict made, through JSON, whatever a later version has added."""
    as_json = json.loads(json.dumps(letter().to_dict()))
    assert as_json["status"] == "parked"
    assert DeadLetter.from_dict({**as_json, "postage": {"of": "a later version"}}) == letter()


def test_a_letter_of_the_first_version_is_read() -> None:
    """What it did not have yet is empty."""
    old = {name: value for name, value in letter().to_dict().items() if name not in _NEW_IN_2}
    one = DeadLetter.from_dict(old)
    assert (one.schema, one.group, one.history, one.source, one.headers, one.deduplication_key) == (
        1,
        "",
        (),
        {},
        {},
        None,
    )


_NEW_IN_2 = {"group", "history", "source", "headers", "deduplication_key", "schema"}


@pytest.mark.parametrize(
    ("key", "value"), [("id", 7), ("status", "lost"), ("first_failed_at", "yesterday"), ("error_info", 1)]
)
def test_what_is_no_letter_is_refused(key: str, value: object) -> None:
    """from_dict names what is wrong with a field."""
    with pytest.raises(ValueError, match="not a dead letter"):
        DeadLetter.from_dict({**letter().to_dict(), key: value})


def test_a_missing_field_is_named() -> None:
    """A dict without a message is no letter."""
    data = letter().to_dict()
    del data["message"]
    with pytest.raises(ValueError, match="'message'"):
        DeadLetter.from_dict(data)


def test_the_short_form_shows_no_more_than_the_beginning_of_a_message() -> None:
    """A repr in a log line stays short, however long the message is."""
    long = DeadLetter("a", "x" * 100_000, {"error_type": "E" * 10_000}, NOW, NOW)
    assert len(repr(long)) < 300


def test_the_quick_way_to_a_new_letters_json_gives_the_same_json() -> None:
    """What a sender writes is what to_dict of the letter would give."""
    message, info = {"text": "ünï 🐈 \x00 \ud800", "__json__": 1}, {"error_type": "E"}
    body = new_body("abc", message, info, NOW)
    made = DeadLetter("abc", message, info, NOW, NOW)
    assert DeadLetter.from_dict(json.loads(body)) == made
    assert next(iter(json.loads(body))) == "id"
    assert {*json.loads(body), "headers"} == set(made.to_dict())


def test_of_a_long_history_the_first_and_the_last_ten_are_kept() -> None:
    """And how many lie between; texts are cut, for the last error is there in full."""
    history: list[Any] = []
    for number in range(1, 31):
        history = longer(history, attempt_line(number, NOW, {"error_type": "E", "error_message": "x" * 10_000}))
    numbers = [each.get("attempt", each) for each in history]
    assert numbers == [*range(1, 11), {"left_out": 10}, *range(21, 31)]
    assert len(history[0]["error_message"]) == 2000


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_ids_sort_by_time_even_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    """One source never makes an id that sorts before an earlier one."""
    ids = LetterIds()
    moments = [NOW] * 5000 + [NOW - timedelta(hours=1)] * 5000 + [NOW + timedelta(seconds=1)] * 10
    made = [ids.next(each) for each in moments]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_are_version_seven_uuids_of_their_moment() -> None:
    """Other tools read the time from them."""
    import uuid  # noqa: PLC0415

    made = uuid.UUID(LetterIds().next(NOW))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == int(NOW.timestamp() * 1000)


def test_two_sources_make_different_ids_in_the_same_moment() -> None:
    """Processes do not collide."""
    assert len({LetterIds().next(NOW) for _ in range(1000)}) == 1000
