from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import InvalidToken
from hypothesis import given
from hypothesis import strategies as st

from resilio._core import clock
from resilio.deadletters.codec import FernetCodec, Sealing
from resilio.deadletters.encoder import Encoder
from resilio.deadletters.errors import SealedLetterError
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.queue import DeadLetterQueue
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from resilio.deadletters.replay_context import ReplayContext
    from resilio.deadletters.store import Claim
    from resilio.testing import VirtualClock

OLD, NEW, OTHER = FernetCodec.new_key(), FernetCodec.new_key(), FernetCodec.new_key()
SECRET = {"card": "4111 Geheim"}
ERROR = {"error_type": "CardError", "error_message": "declined 4111 Geheim"}


def fails(message: object) -> None:
    """A reprocessor whose error quotes the message."""
    raise ValueError(f"cannot charge {message}")


def bytes_in(folder: Path) -> bytes:
    """All that lies there."""
    return b"".join(each.read_bytes() for each in folder.iterdir())


def sealed_queue(path: Path, *keys: str, **how: Any) -> DeadLetterQueue:
    """A queue with a codec."""
    return DeadLetterQueue(local_file_path=path, codec=FernetCodec(*(keys or (OLD,))), **how)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["letters.jsonl", "letters.db"])
async def test_nothing_that_was_said_lies_readable_on_the_disk(folder: Path, name: str) -> None:
    """Message, error, headers, history, edits: through sending, failing, editing and parking; and all come out."""
    path = folder / name
    dlq = sealed_queue(path, reprocessor=fails, replay_delay=0)
    message_id = await dlq.send_to_dlq(SECRET, ERROR, headers={"trace": "Geheim"}, group="payments", operation="pay")
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot charge"):
            await dlq.reprocess_message(message_id)
    await dlq.edit(message_id, {"card": "4242 Geheim"})
    await dlq.park(message_id)
    await dlq.aclose()
    everything = bytes_in(folder)
    assert b"Geheim" not in everything
    assert b"4111" not in everything
    assert b"cannot charge" not in everything
    letter = await sealed_queue(path).get(message_id)
    assert letter.message == {"card": "4242 Geheim"}
    assert letter.error_info["error_message"] == f"cannot charge {SECRET}"
    assert letter.headers == {"trace": "Geheim"}
    assert [(each["attempt"], each["error_type"], each["error_message"]) for each in letter.history] == [
        (number, "ValueError", f"cannot charge {SECRET}") for number in (1, 2)
    ]
    assert (letter.group, letter.source["operation"], letter.status) == ("payments", "pay", LetterStatus.PARKED)


@pytest.mark.anyio
async def test_what_is_needed_to_manage_letters_stays_readable(path: Path) -> None:
    """Without the key: ids, times, status, group, counts."""
    message_id = await sealed_queue(path).send_to_dlq(SECRET, ERROR, group="payments")
    plain = DeadLetterQueue(local_file_path=path)
    [letter] = await plain.peek(group="payments")
    assert (letter.id, letter.status) == (message_id, LetterStatus.WAITING)
    assert (await plain.stats()).groups == {"payments": 1}
    assert SECRET["card"] not in repr(dict(letter))


@pytest.mark.anyio
async def test_replaying_gets_the_open_message(path: Path) -> None:
    """One letter and many, with the encoder's types; a success removes the letter."""
    seen: list[object] = []
    dlq = sealed_queue(path, reprocessor=seen.append, encoder=Encoder())
    first = await dlq.send_to_dlq({"price": Decimal("9.90")}, ERROR)
    await dlq.send_to_dlq(["\ud800", {"__json__": 1}], ERROR)
    await dlq.reprocess_message(first)
    assert (await dlq.reprocess_all()).replayed == 1
    assert seen == [{"price": Decimal("9.90")}, ["\ud800", {"__json__": 1}]]
    assert (await dlq.stats()).total == 0


@pytest.mark.anyio
async def test_filters_look_into_what_is_sealed(path: Path) -> None:
    """By error and by text, when looking and when claiming; what lay in the way is free again."""
    handled: list[object] = []
    dlq = sealed_queue(path, reprocessor=handled.append)
    for number in range(6):
        await dlq.send_to_dlq(
            {"n": number}, {"error_type": "Odd" if number % 2 else "Even"}, headers={"h": f"x{number}"}
        )
    assert [each.message["n"] for each in await dlq.peek(error="Odd")] == [1, 3, 5]
    assert [each.message["n"] for each in await dlq.peek(2, text="X", error="Even")] == [0, 2]
    [third] = await dlq.receive_from_dlq(where=LetterFilter(text="x3"))
    assert third.message == {"n": 3}
    assert (await dlq.reprocess_all(LetterFilter(error="Odd"))).replayed == 2
    assert handled == [{"n": 1}, {"n": 5}]
    assert [(each.message["n"], each.status.value) for each in await dlq.peek()] == [
        (0, "waiting"),
        (2, "waiting"),
        (3, "claimed"),
        (4, "waiting"),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("codec", [None, FernetCodec(OTHER)], ids=["no codec", "another key"])
async def test_a_wrong_key_is_a_clear_error_that_loses_nothing(path: Path, codec: FernetCodec | None) -> None:
    """No reprocessor gets ciphertext; no attempt is booked; with the right key all is as it was."""
    message_id = await sealed_queue(path).send_to_dlq(SECRET, ERROR)
    before = await sealed_queue(path).get(message_id)
    seen: list[object] = []
    wrong = DeadLetterQueue(local_file_path=path, codec=codec, reprocessor=seen.append)
    calls: list[Any] = [
        wrong.receive_from_dlq,
        lambda: wrong.reprocess_message(message_id),
        wrong.reprocess_all,
        lambda: wrong.move(to=DeadLetterQueue(store=MemoryStore("other"))),
    ]
    if codec is not None:
        calls += [lambda: wrong.get(message_id), wrong.peek, lambda: wrong.export_to(path.parent / "out")]
    for call in calls:
        with pytest.raises(SealedLetterError, match=f"letter {message_id} in .*letters") as caught:
            await call()
        assert caught.value.message_id == message_id
    assert seen == []
    assert await sealed_queue(path).get(message_id) == before
    await wrong.delete(message_id)  # it can still be cleared away


@pytest.mark.anyio
async def test_keys_can_be_rotated(path: Path) -> None:
    """The new key in front seals; the old one still opens; what is imported or moved is sealed anew."""
    await sealed_queue(path, OLD).send_to_dlq("one", ERROR)
    both = sealed_queue(path, NEW, OLD)
    await both.send_to_dlq("two", ERROR)
    assert [each.message for each in await both.peek()] == ["one", "two"]
    with pytest.raises(SealedLetterError):
        await sealed_queue(path, NEW).peek()
    fresh = sealed_queue(path.with_name("fresh.jsonl"), NEW)
    assert await both.move(to=fresh) == 2
    assert [each.message for each in await fresh.peek()] == ["one", "two"]


@pytest.mark.anyio
async def test_an_export_stays_sealed_unless_it_is_to_be_opened(path: Path) -> None:
    """A queue with the key imports it; one without refuses; an open export is plain JSON."""
    dlq = sealed_queue(path)
    await dlq.send_to_dlq(SECRET, ERROR, headers={"a": "Geheim"})
    out = path.with_name("out.jsonl")
    await dlq.export_to(out)
    assert b"Geheim" not in out.read_bytes()
    other = sealed_queue(path.with_name("other.jsonl"), NEW, OLD)
    assert await other.import_from(out) == 1
    assert await other.peek() == await dlq.peek()
    with pytest.raises(SealedLetterError, match=r"line 1 of .*: the letter .* is sealed"):
        await DeadLetterQueue(store=MemoryStore("x")).import_from(out)
    await dlq.export_to(out, opened=True)
    assert json.loads(out.read_bytes())["message"] == SECRET
    plain = DeadLetterQueue(local_file_path=path.with_name("plain.jsonl"))
    await plain.import_from(out)
    assert (await plain.peek())[0].message == SECRET


@pytest.mark.anyio
async def test_letters_from_before_the_codec_are_read_as_they_are(path: Path) -> None:
    """And what is added to them is sealed."""
    message_id = await DeadLetterQueue(local_file_path=path).send_to_dlq("plain", {"error_type": "E"})
    dlq = sealed_queue(path, reprocessor=fails)
    assert (await dlq.get(message_id)).message == "plain"
    with pytest.raises(ValueError, match="cannot charge plain"):
        await dlq.reprocess_message(message_id)
    assert b"cannot charge" not in bytes_in(path.parent)
    letter = await dlq.get(message_id)
    assert (letter.message, letter.error_info["error_message"]) == ("plain", "cannot charge plain")
    assert letter.history[0]["error_message"] == "cannot charge plain"


class Watching(MemoryStore):
    """A store that writes letters anew from the claims that it is given, as a remote one does."""

    def __init__(self) -> None:
        super().__init__("watching")
        self.seen: list[str] = []

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        self.seen.append(f"extend {dict(claim.letter)}")
        return await super().extend(claim, seconds=seconds)

    async def settle(self, claim: Claim) -> bool:
        self.seen.append(f"settle {dict(claim.letter)}")
        return await super().settle(claim)

    async def book(self, claim: Claim, error_info: Any, **how: Any) -> int | None:
        self.seen.append(f"book {dict(claim.letter)} {error_info}")
        return await super().book(claim, error_info, **how)


@pytest.mark.anyio
async def test_a_store_is_never_given_an_open_letter(virtual_clock: VirtualClock) -> None:
    """Not with the claims that it made itself, either."""

    async def handle(message: object, context: ReplayContext) -> None:
        await clock.sleep(15)
        if context.attempt == 1:
            raise ValueError(message)

    store = Watching()
    dlq = DeadLetterQueue(store=store, reprocessor=handle, codec=FernetCodec(OLD), replay_delay=0)
    await dlq.send_to_dlq(SECRET, ERROR, headers={"h": "Geheim"})
    assert (await dlq.reprocess_all()).failed == 1
    assert (await dlq.reprocess_all()).replayed == 1
    assert [each.split()[0] for each in store.seen] == ["extend", "book", "extend", "settle"]
    assert not any("Geheim" in each for each in store.seen)


@pytest.mark.anyio
async def test_a_part_of_another_letter_does_not_open(path: Path) -> None:
    """Who can write the file but has no key cannot put one customer's message into another's letter."""
    store = MemoryStore("x")
    dlq = DeadLetterQueue(store=store, codec=FernetCodec(OLD))
    first, second = await dlq.send_to_dlq("mine", ERROR), await dlq.send_to_dlq("yours", ERROR)
    stolen = (await DeadLetterQueue(store=store).get(second)).message
    await store.edit(first, stolen)
    with pytest.raises(SealedLetterError, match="belongs elsewhere"):
        await dlq.get(first)


# -- the codec itself --------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=300))
def test_what_is_sealed_can_be_opened(data: bytes) -> None:
    """With the key, and only with it; each time it looks different."""
    codec = FernetCodec(NEW, OLD)
    sealed = codec.seal(data)
    assert codec.open(sealed) == data
    assert codec.seal(data) != sealed
    assert FernetCodec(OTHER, NEW).open(sealed) == data
    with pytest.raises(InvalidToken):
        FernetCodec(OLD).open(sealed)


@pytest.mark.parametrize(
    ("keys", "error", "text"),
    [
        ((), TypeError, "FernetCodec needs at least one key"),
        ((7,), TypeError, "key 1 must be text or bytes, not int"),
        ((OLD, "secret-but-short"), ValueError, "key 2 must be 32 bytes in URL-safe base64"),
        (("ä",), ValueError, "key 1 must be 32 bytes"),
    ],
)
def test_a_wrong_key_is_refused_without_being_shown(keys: Any, error: type[Exception], text: str) -> None:
    """Keys are in no message and in no repr."""
    with pytest.raises(error, match=text) as caught:
        FernetCodec(*keys)
    assert "secret-but-short" not in str(caught.value)
    assert repr(FernetCodec(OLD)) == "<FernetCodec>"


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """How to install it."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'resilio-toolkit\[crypto\]'"):
        FernetCodec.new_key()


def test_a_codec_of_ones_own_needs_two_methods() -> None:
    """Anything that seals and opens."""

    class Backwards:
        def seal(self, data: bytes) -> bytes:
            return data[::-1]

        def open(self, sealed: bytes) -> bytes:
            return sealed[::-1]

    sealing = Sealing(Backwards(), "here")
    assert sealing.headers("a", {}) == {}
    assert list(sealing.message("a", "hello")) == ["__sealed__"]
    assert DeadLetterQueue(store=MemoryStore("x"), codec=Backwards()).location == "x"
