"""Values that JSON lacks, and how they come back."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
import sys
from collections import Counter, OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilio.deadletters.encoder import Encoder, KeptObject
from resilio.deadletters.encoding import DEEPEST, carry, dump, is_carried, unwrapped
from resilio.deadletters.errors import UnencodableMessageError
from resilio.deadletters.letter import DeadLetter, new_body

NOW = datetime(2026, 5, 4, 3, 2, 1, 987654, tzinfo=UTC)


def stored(message: object, encoder: Encoder | None = None) -> Any:
    """What lies in the file."""
    return json.loads(dump({"message": carry(message, encoder=encoder or Encoder())}))["message"]


def back(message: object, encoder: Encoder | None = None) -> Any:
    """What comes back from the file, and again after the letter went from one queue to another."""
    raw = new_body("a", carry(message, encoder=encoder or Encoder()), {}, NOW)
    letter = DeadLetter.from_dict(json.loads(raw))
    again = DeadLetter.from_dict(json.loads(dump(letter.to_dict())))
    assert again == letter
    return letter.message


class Size(Enum):
    """Not JSON's kin."""

    BIG = (1, Decimal(2))


class Level(IntEnum):
    """JSON's kin."""

    LOW = 1


class Point(NamedTuple):
    """JSON's kin."""

    x: int
    y: int


@dataclasses.dataclass
class Cat:
    """A user's own."""

    name: str
    born: date
    friends: list[Any] = dataclasses.field(default_factory=list)


@attrs.define
class Dog:
    """A user's own."""

    name: str
    tags: set[str]


class Bird(pydantic.BaseModel):
    """A user's own."""

    name: str
    seen: datetime
    secret: str = pydantic.Field(default="s3cret", exclude=True)


class Names(pydantic.RootModel[list[str]]):
    """A model that is no dict."""


class Money:
    """A user's own, with no fields declared."""

    def __init__(self, amount: str) -> None:
        self.amount = Decimal(amount)


SAME: list[Any] = [
    b"\x00\xff",
    bytearray(b"abc"),
    NOW,
    NOW.replace(tzinfo=None),
    NOW.astimezone(timezone(timedelta(hours=-3, minutes=-30))),
    date(2026, 5, 4),
    time(3, 2, 1),
    time(3, 2, 1, tzinfo=UTC),
    timedelta(days=-3, microseconds=1),
    Decimal("9.90"),
    Decimal("1E+400"),
    UUID("12345678-1234-5678-1234-567812345678"),
    math.inf,
    -math.inf,
    {1, "a", b"b"},
    {(1, (2, frozenset({3}))), NOW},
    frozenset({Decimal(1)}),
    {7: "seven", None: 1, (1, 2): [b"x"], "text": {}},
    {"$bytes": "no tag"},
    {"$dict": [["a", 1]], "more": b""},
    [{"$anything": {"$set": b""}}],
    {"__tagged__": {"a": 1}},
    {"__tagged__": [b"x"]},
    {"__tagged__": "text"},
    {"__json__": b"x"},
    {"lone \ud800": b"x"},
    {"deep": [{"er": [b"x", {"and": {"deeper": NOW}}]}]},
]


@pytest.mark.parametrize("message", SAME, ids=[f"{type(each).__name__} {number}" for number, each in enumerate(SAME)])
def test_what_can_come_back_as_what_it_was_does(message: Any) -> None:
    """Value and type, on its own and within other things, from one line of plain JSON."""
    assert back(message) == message
    assert type(back(message)) is type(message)
    assert back({"in": [message]}) == {"in": [message]}
    json.dumps(stored(message), allow_nan=False)


def test_not_a_number_comes_back() -> None:
    """It is the one value that does not equal itself."""
    assert math.isnan(unwrapped(stored({"score": math.nan}))["score"])


OTHERS: list[tuple[Any, Any]] = [
    (memoryview(b"abc"), b"abc"),
    ((1, (2, 3)), [1, [2, 3]]),
    (Point(1, 2), [1, 2]),
    (Level.LOW, 1),
    (Size.BIG, [1, Decimal(2)]),
    (OrderedDict(a=b"x"), {"a": b"x"}),
    (Counter([NOW]), {NOW: 1}),
    (NOW.astimezone(ZoneInfo("Europe/Berlin")), NOW),
    (Cat("Tom", date(2020, 1, 1)), {"name": "Tom", "born": date(2020, 1, 1), "friends": []}),
    (Dog("Rex", {"a"}), {"name": "Rex", "tags": {"a"}}),
    (Bird(name="Kiwi", seen=NOW), {"name": "Kiwi", "seen": NOW}),
    (Names(["a"]), ["a"]),
]


@pytest.mark.parametrize(("message", "expected"), OTHERS, ids=lambda each: type(each).__name__)
def test_what_cannot_come_back_as_what_it_was_comes_back_as_the_table_says(message: Any, expected: Any) -> None:
    """Never as anything that a file could choose."""
    assert back({"it": message}) == {"it": expected}


def test_an_object_comes_back_as_its_fields_with_a_note_of_its_type() -> None:
    """The program says which class is wanted; the note outlives a move to another queue, a copy and a pickle."""
    cat = Cat("Tom", date(2020, 1, 1), [Cat("Tim", date(2021, 1, 1))])
    found = back(cat)
    assert isinstance(found, KeptObject)
    assert found.kept_type == f"{__name__}.Cat"
    assert Cat(**found).born == cat.born
    [friend] = found["friends"]
    assert (friend.kept_type, friend["name"]) == (f"{__name__}.Cat", "Tim")
    for copied in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):  # noqa: S301
        assert (copied, copied.kept_type) == (found, found.kept_type)
    assert stored(found) == stored(cat)


def test_what_is_stored_can_be_read_by_people() -> None:
    """Tags within one mark; the note of a type; the name of an enum's member."""
    assert stored({"photo": b"hi", "size": Size.BIG, "cat": Cat("Tom", date(2020, 1, 1))}) == {
        "__tagged__": {
            "photo": {"$bytes": "aGk="},
            "size": {"$enum": {"type": f"{__name__}.Size", "name": "BIG", "value": [1, {"$decimal": "2"}]}},
            "cat": {
                "$object": {
                    "type": f"{__name__}.Cat",
                    "fields": {"name": "Tom", "born": {"$date": "2020-01-01"}, "friends": []},
                }
            },
        }
    }


def test_what_is_plain_is_kept_plain() -> None:
    """An encoder costs a plain message neither a copy nor a tag."""
    message = {"a": [1, 2.5, None, True, {"$b": "c"}], "$bytes": "x"}
    assert carry(message, encoder=Encoder()) is message
    assert is_carried({"$bytes": "aGk="})


def test_own_types_are_carried_by_own_functions() -> None:
    """Subclasses too; what the function gives comes back, with the note of the type if it is a dict."""

    class Coins(Money):
        pass

    encoder = Encoder({Money: lambda money: {"amount": money.amount}, Cat: lambda cat: cat.name})
    found = back([Money("1.50"), Coins("0.05"), Cat("Tom", date(2020, 1, 1))], encoder)
    assert found == [{"amount": Decimal("1.50")}, {"amount": Decimal("0.05")}, "Tom"]
    assert found[0].kept_type.endswith("Money")


@pytest.mark.parametrize("also", [{"Money": str}, {Money: "text"}])
def test_own_types_must_be_types_with_functions(also: Any) -> None:
    """The error names what was given."""
    with pytest.raises(TypeError, match="also must map types to functions, not"):
        Encoder(also)


def nested(levels: int) -> Any:
    """A set in a list in a set."""
    value: Any = b""
    for _ in range(levels):
        value = {"in": [value]}
    return value


class Trap:
    """Looks like an attrs object, and is none."""

    __attrs_attrs__ = (dataclasses.make_dataclass("Field", [("name", str)])("gone"),)


REFUSED: list[tuple[Any, str, str]] = [
    ({"user": {"it": object()}}, 'message["user"]["it"]', "object cannot be kept"),
    ([Cat("Tom", lambda: 1)], "message[0].born", "function"),  # type: ignore[arg-type]
    ({"a": Money("1")}, 'message["a"]', f"{__name__}.Money"),
    ({object: 1}, "the key", "type"),
    ({"s": {1, frozenset({sys})}}, 'message["s"]', "module"),
    ([10**5000], "message[0]", "4300 digits"),
    (MappingProxyType({}), "message", "mappingproxy"),
    (nested(DEEPEST), "message", "nested deeper than 200 levels"),
    ({"trap": Trap()}, 'message["trap"]', "whose own code raised AttributeError"),
    ({"d": Cat}, 'message["d"]', "type cannot be kept"),
]


@pytest.mark.parametrize(("message", "where", "what"), REFUSED, ids=[each[2] for each in REFUSED])
def test_what_cannot_be_carried_is_refused_by_name(message: Any, where: str, what: str) -> None:
    """The error says what and where; with a fallback it is represented, and the rest is carried."""
    with pytest.raises(UnencodableMessageError) as caught:
        carry(message, encoder=Encoder())
    assert str(caught.value).startswith(where)
    assert what in str(caught.value)
    assert '"__unencodable__"' in json.dumps(
        carry(message, encoder=Encoder(), fallback=lambda value: type(value).__name__)
    )


def test_an_object_that_contains_itself_is_refused() -> None:
    """In whatever it is wrapped."""
    cat = Cat("Tom", date(2020, 1, 1))
    cat.friends.append([cat])
    with pytest.raises(UnencodableMessageError, match=r"message\.friends\[0\]\[0\]: .*Cat that contains itself"):
        carry(cat, encoder=Encoder())


def test_without_an_encoder_the_error_tells_of_it() -> None:
    """Who meets the refusal learns the way out."""
    with pytest.raises(UnencodableMessageError, match=r"build the queue with encoder=Encoder\(\)"):
        carry(b"")


DAMAGED: list[Any] = [
    {"$bytes": "not base64!"},
    {"$bytes": 7},
    {"$datetime": "yesterday"},
    {"$timedelta": ["a"]},
    {"$decimal": "x"},
    {"$uuid": []},
    {"$set": 7},
    {"$dict": [[1]]},
    {"$object": {}},
    {"$object": []},
    {"$enum": {"type": "os.system"}},
    {"$unknown": 1},
    {"$float": {}},
]


@pytest.mark.parametrize("raw", DAMAGED, ids=repr)
def test_what_is_no_tag_of_ours_is_left_as_it_is(raw: Any) -> None:
    """A file that was edited by hand, or by a later release, can be read all the same."""
    assert unwrapped({"__tagged__": {"it": raw}}) == {"it": raw}


def test_nothing_that_a_file_names_is_imported() -> None:
    """A type is only a note."""
    raw = {"$object": {"type": "antigravity.Flight", "fields": {"$object": {"type": "this", "fields": {}}}}}
    found = unwrapped({"__tagged__": {"it": raw, "enum": {"$enum": {"type": "this.A", "name": "B", "value": 1}}}})
    assert found["enum"] == 1
    assert "antigravity" not in sys.modules
    assert "this" not in sys.modules


def test_what_is_no_longer_hashable_comes_back_in_lists() -> None:
    """A set of objects, or a dict with objects as keys, is not lost for it."""
    frozen = dataclasses.make_dataclass("Frozen", [("n", int)], frozen=True)
    assert back({frozen(1)}) == [{"n": 1}]
    assert back({frozen(1): "a"}) == [[{"n": 1}, "a"]]


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(
    ["$bytes", "$dict", "$object", "$set", "$", "__tagged__", "__json__", "type", "fields"]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.datetimes()
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
HASHABLE = st.integers() | st.binary(max_size=3) | st.tuples(st.integers(), st.dates())
MESSAGES = st.recursive(
    LEAVES | st.sets(HASHABLE, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=2)
        | st.dictionaries(HASHABLE, inner, max_size=2)
    ),
    max_leaves=12,
)


@pytest.mark.slow("Hypothesis makes many messages")
@settings(max_examples=150)
@given(MESSAGES)
def test_every_message_survives_the_round_trip(message: object) -> None:
    """Also where it looks like a tag, or like the mark around tags."""
    assert back(message) == message


@pytest.mark.slow("Hypothesis makes many messages")
@settings(max_examples=80)
@given(st.recursive(st.none() | st.text(max_size=3), lambda inner: st.dictionaries(KEYS, inner, max_size=2)))
def test_a_message_that_looks_like_a_tag_survives_without_an_encoder_too(message: object) -> None:
    """A queue that has no encoder reads what one with an encoder has written, and must not mistake its own."""
    raw = new_body("a", carry(message), {}, NOW)
    assert DeadLetter.from_dict(json.loads(raw)).message == message
