from __future__ import annotations

import json
import pickle
import shutil
from decimal import Decimal
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from letter_kit import jq, size_of

from resilio.deadletters.encoding import DEEPEST, carry, dump, unwrapped
from resilio.deadletters.errors import UnencodableMessageError
from resilio.deadletters.queue import DeadLetterQueue
from resilio.errors import ValidationError

if TYPE_CHECKING:
    from pathlib import Path


class Colour(StrEnum):
    """JSON's kin."""

    RED = "red"


class Size(Enum):
    """Not JSON's kin."""

    BIG = 1


def nested(levels: int) -> list[Any]:
    """A list of so many levels."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def circle() -> dict[str, Any]:
    """A dict that contains itself, twice."""
    value: dict[str, Any] = {}
    value["left"] = value["right"] = [value]
    return value


REFUSED: list[tuple[object, str, str]] = [
    ({"user": {"photo": b"x"}}, 'message["user"]["photo"]', "bytes"),
    ([1, {"price": Decimal("9.99")}], 'message[1]["price"]', "decimal.Decimal"),
    (object(), "message", "object"),
    ({"seen": {1, 2}}, 'message["seen"]', "set"),
    ({"size": Size.BIG}, 'message["size"]', "Size"),
    ({"score": float("nan")}, 'message["score"]', "nan"),
    ([float("-inf")], "message[0]", "-inf"),
    ({"by id": {7: "seven"}}, 'message["by id"]', "key of type int (7)"),
    ({None: 1}, "message", "key of type NoneType"),
    ([10**4300], "message[0]", "4300 digits"),
    (nested(DEEPEST + 1), "message[0][0]", "nested deeper than 200 levels"),
    (circle(), 'message["left"][0]', "contains itself"),
    ({"ü🐈\ud800": b""}, 'message["ü🐈\\ud800"]', "bytes"),
    ({"k" * 90: b""}, f'message["{"k" * 50}…"]', "bytes"),
]


@pytest.mark.parametrize(("message", "where", "what"), REFUSED, ids=[each[2] for each in REFUSED])
def test_what_json_cannot_carry_is_refused_with_its_type_and_its_place(message: object, where: str, what: str) -> None:
    """The error is a TypeError and a ValidationError that says where in the message the trouble lies."""
    with pytest.raises(TypeError) as caught:
        carry(message)
    text = str(caught.value)
    assert text.startswith(where)
    assert what in text
    assert "fallback=repr" in text
    assert isinstance(caught.value, ValidationError)
    assert isinstance(caught.value, UnencodableMessageError)
    assert caught.value.field.startswith(where)
    assert str(pickle.loads(pickle.dumps(caught.value))) == text  # noqa: S301


@pytest.mark.parametrize(("message", "where", "what"), REFUSED, ids=[each[2] for each in REFUSED])
def test_with_a_fallback_the_same_is_represented_and_says_so(message: object, where: str, what: str) -> None:
    """What comes out is JSON; the part that could not be carried is marked with its type."""
    assert where
    assert what
    text = json.dumps(carry(message, fallback=lambda value: f"<{type(value).__name__}>"), allow_nan=False)
    assert '"__unencodable__"' in text
    assert '"representation"' in text


def test_only_the_part_that_cannot_be_carried_is_represented() -> None:
    """The rest of the message is as it was, and the caller's own object is not touched."""
    message = {"price": Decimal("9.99"), "text": "miau", "list": [1, (2, b"3")]}
    carried = carry(message, fallback=repr)
    assert carried == {
        "price": {"__unencodable__": "decimal.Decimal", "representation": "Decimal('9.99')"},
        "text": "miau",
        "list": [1, [2, {"__unencodable__": "bytes", "representation": "b'3'"}]],
    }
    assert message["price"] == Decimal("9.99")


def test_a_fallback_that_returns_no_text_is_refused() -> None:
    """A representation is text, else it could hide what it stands for."""
    with pytest.raises(TypeError, match="fallback must return text, not int"):
        carry({"a": b""}, fallback=len)  # type: ignore[arg-type]


def test_kin_of_json_types_is_carried_as_its_json_kin() -> None:
    """Subclasses of str, int, float, dict, list and tuple lose their class, not their value."""

    class Name(str):
        __slots__ = ()

    class Count(int):
        pass

    class Share(float):
        pass

    class Bag(dict[str, Any]):
        pass

    message = Bag({Name("name"): Name("x"), "count": Count(3), "share": Share(0.5), "colour": Colour.RED, "on": True})
    carried = carry(message)
    assert carried == {"name": "x", "count": 3, "share": 0.5, "colour": "red", "on": True}
    assert {type(each) for each in carried.values()} == {str, int, float, bool}
    assert type(carried) is dict
    assert {type(each) for each in carried} == {str}


def test_what_is_plain_is_not_copied() -> None:
    """The usual message costs no copy."""
    message = {"a": [1, 2.5, None, True, {"b": "c"}]}
    assert carry(message) is message


def test_the_deepest_message_that_is_taken_can_be_read_again() -> None:
    """What is acknowledged must come back."""
    message = nested(DEEPEST)
    assert json.loads(dump({"message": carry(message)}))["message"] == message


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(["\ud800", "x\udfffy", "\x00\x1b\x7f\x85\u2028", "🐈‍⬛", "__json__"]),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@pytest.mark.slow("Hypothesis makes many messages")
@settings(max_examples=60)
@given(JSON_VALUES)
def test_every_json_value_survives_the_round_trip(value: object) -> None:
    """Control characters, lone surrogates, line separators and emoji come back as they were, from one line of UTF-8."""
    line = dump({"message": carry(value)})
    assert b"\n" not in line
    line.decode()
    assert unwrapped(json.loads(line)["message"]) == value


@pytest.mark.slow("Hypothesis makes many messages")
@settings(max_examples=30)
@given(st.dictionaries(st.just("__json__"), JSON_VALUES, min_size=1))
def test_a_message_that_looks_like_our_own_mark_is_not_mistaken_for_it(value: dict[str, object]) -> None:
    """A user's own "__json__" comes back as it was."""
    assert unwrapped(json.loads(dump({"message": value}))["message"]) == value


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize("text", ["plain", "ünï 🐈", "\x00\x01\x1b[31m", "lone \ud800 surrogate"])
@pytest.mark.anyio
async def test_jq_reads_the_file(path: Path, text: str) -> None:
    """The file is JSON lines for everybody, whatever the messages hold."""
    dlq = DeadLetterQueue(local_file_path=path)
    ids = [await dlq.send_to_dlq({"text": each}, {"error_message": text}) for each in (text, "last")]
    assert jq('select(.op == "put") | .letter.id', path).split() == ids
    assert (await dlq.get(ids[0])).message == {"text": text}
    assert (await dlq.get(ids[0])).error_info == {"error_message": text}


@pytest.mark.anyio
async def test_a_refused_message_leaves_no_trace(path: Path) -> None:
    """Nothing is written for a message that was refused, and the queue goes on."""
    dlq = DeadLetterQueue(local_file_path=path)
    with pytest.raises(TypeError, match=r'^message\["user"\]\["photo"\]: bytes cannot be kept as JSON'):
        await dlq.send_to_dlq({"user": {"photo": b"\xff"}}, {})
    assert size_of(path) is None
    await dlq.send_to_dlq({"user": {}}, {})
    assert (await dlq.stats()).total == 1


@pytest.mark.anyio
async def test_a_queue_with_a_fallback_keeps_a_marked_representation(path: Path) -> None:
    """The letter says what could not be carried."""
    dlq = DeadLetterQueue(local_file_path=path, fallback=repr)
    letter = await dlq.get(await dlq.send_to_dlq({"photo": b"\xff"}, {}))
    assert letter.message == {"photo": {"__unencodable__": "bytes", "representation": "b'\\xff'"}}


@pytest.mark.anyio
async def test_a_very_long_message_is_kept_whole(path: Path) -> None:
    """Three megabytes come back to the last character, from another opening too."""
    text = "0123456789" * 300_000
    dlq = DeadLetterQueue(local_file_path=path)
    message_id = await dlq.send_to_dlq(text, {})
    await dlq.send_to_dlq("after", {})
    await dlq.aclose()
    assert (await dlq.get(message_id)).message == text
    assert (await dlq.stats()).total == 2
