"""The stores there are, for tests that hold for each of them; and letters to put into one.

A new store is one more `StoreKind` in `KINDS`. What it cannot do is said by its flags, and asked for by the tests.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqs_kit import on_sqs

from resilio.deadletters.encoding import carry
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import LetterBody, new_body
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.threaded_store import ThreadedStore
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from resilio.deadletters.encoder import Encoder
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import BlockingStore, Claim, Store

START = datetime(2026, 1, 1, tzinfo=UTC)  # where a clock moved by hand begins


@dataclass(frozen=True)
class StoreKind:
    """One store, and what it can do.

    Attributes:
        name: What the tests call it.
        opened: Opens it on what lies in a folder, for as long as a block runs.
        lasts: What is kept in it is there when it is opened again.
        has_order: It hands out and shows letters in the order in which they came.
        counts_exactly: Its stats are not an estimate.
        obeys_clock: Claims run out by our own clock.
        keeps_to_claims: Whoever edits, or books, a letter that somebody has claimed leaves that claim alone.
        knows_keys: It knows the deduplication key of every letter that is there.
        on_trio: It works on trio.
    """

    name: str
    opened: Callable[[Path], AbstractAsyncContextManager[Store]]
    lasts: bool = True
    has_order: bool = True
    counts_exactly: bool = True
    obeys_clock: bool = True
    keeps_to_claims: bool = True
    knows_keys: bool = True
    on_trio: bool = True


def on_disk(
    make: Callable[[Path], BlockingStore], name: str
) -> Callable[[Path], AbstractAsyncContextManager[ThreadedStore]]:
    """Opens a blocking store on a file of that name."""

    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[ThreadedStore]:
        store = ThreadedStore(make(folder / name))
        try:
            yield store
        finally:
            await store.aclose()

    return opened


@asynccontextmanager
async def _in_memory(_: Path) -> AsyncIterator[MemoryStore]:
    yield MemoryStore("memory")


BLOCKING: dict[str, tuple[Callable[[Path], BlockingStore], str]] = {
    "journal": (Journal, "letters.jsonl"),
    "sqlite": (SqliteStore, "letters.db"),
}
"""The stores on disk: what makes one, and a name for its file."""

KINDS: list[StoreKind] = [
    *(StoreKind(name, on_disk(make, file)) for name, (make, file) in BLOCKING.items()),
    StoreKind("memory", _in_memory, lasts=False),
    StoreKind(
        "sqs",
        on_sqs,
        lasts=False,  # each time another queue
        has_order=False,
        counts_exactly=False,
        obeys_clock=False,
        keeps_to_claims=False,
        knows_keys=False,
        on_trio=False,
    ),
]


def needs(kind: StoreKind, *flags: str) -> None:
    """Skip the test where the store cannot do what it is about."""
    for flag in flags:
        if not getattr(kind, flag):
            pytest.skip(f"not of the store {kind.name}: {flag}")


def body(
    letter_id: str,
    message: object = "hello",
    *,
    error: str = "E",
    text: str = "boom",
    group: str = "",
    at: datetime = START,
    headers: dict[str, str] | None = None,
    key: str | None = None,
    encoder: Encoder | None = None,
) -> LetterBody:
    """A letter's JSON, as the queue makes it."""
    info: dict[str, Any] = {"error_type": error, "error_message": text}
    carried = carry(message, encoder=encoder)
    return new_body(letter_id, carried, info, at, group=group, headers=headers, deduplication_key=key)


# -- using one ---------------------------------------------------------------------------------------------------------

NOBODY = "00000000-0000-7000-8000-000000000000"
"""An id that no letter has."""


async def fill(store: Store, *letter_ids: str, **keys: Any) -> None:
    """Keep letters, one after the other."""
    for each in letter_ids:
        assert await store.add(each, body(each, {"n": each}, **keys)) == each


async def ids(store: Store, **where: Any) -> list[str]:
    """The ids of the letters that are meant."""
    return [each.id for each in await store.peek(1000, where=LetterFilter(**where))]


def ids_of(claims: Sequence[Claim]) -> list[str]:
    """The ids of claimed letters."""
    return [each.letter.id for each in claims]


async def the(store: Store, letter_id: str) -> DeadLetter:
    """A letter that must be there."""
    letter = await store.get(letter_id)
    assert letter is not None
    return letter
