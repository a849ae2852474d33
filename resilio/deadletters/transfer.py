"""Letters on the move: out to JSON lines, in from them, and over to another queue.

A letter keeps its id wherever it goes, and adding an id twice keeps it once: whatever is interrupted can simply be done
again. On its way a letter may lie in two places, never in none.
"""

from __future__ import annotations

import io
import json
import os
import threading
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

import anyio

from resilio._core import clock, dice, events
from resilio.deadletters import durable
from resilio.deadletters.codec import is_sealed
from resilio.deadletters.encoding import carry, dump, safe_repr
from resilio.deadletters.errors import (
    DeadLetterQueueError,
    LetterNotKeptError,
    MessageClaimedError,
    MessageNotFoundError,
    SealedLetterError,
)
from resilio.deadletters.events import LetterMoved
from resilio.deadletters.letter import DeadLetter, LetterStatus
from resilio.deadletters.store import GIVE_BACK_WITHIN
from resilio.deadletters.together import each_of
from resilio.deadletters.worker import in_worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.sealed_store import SealedStore
    from resilio.deadletters.store import Claim

__all__ = ("Place", "export_letters", "import_letters", "move_letters")

Place: TypeAlias = str | os.PathLike[str] | IO[str] | IO[bytes]
"""A path, or a file that is open for text or for bytes."""

_PAGE: Final = 500
_AT_ONCE: Final = 50


async def _take_in(store: SealedStore, letters: Sequence[DeadLetter]) -> None:
    """Keep letters that come from somewhere else, in their order, with all that they say; parked if they were parked.

    Raises:
        DeadLetterQueueError: The store did not take one; others may have been kept.
    """
    parked: list[str] = []

    async def look(letter: DeadLetter) -> None:
        if await store.get(letter.id) is None:  # what is there already stays as it is
            parked.append(letter.id)

    async def add(letter: DeadLetter) -> None:
        if store.sealing is not None:
            letter = store.sealing.letter(letter)
        body = dump(_to_json(replace(letter, status=LetterStatus.WAITING)))
        await store.add(letter.id, body, deduplication_key=letter.deduplication_key)

    async def park(letter_id: str) -> None:
        await store.park(letter_id, parked=True)

    await each_of(look, [each for each in letters if each.status is LetterStatus.PARKED], at_once=_AT_ONCE)
    await each_of(add, letters, at_once=_AT_ONCE)  # nothing is awaited before the store has them, in this order
    await each_of(park, parked, at_once=_AT_ONCE)


def _to_json(letter: DeadLetter) -> dict[str, Any]:
    fields: dict[str, Any] = carry(letter.to_dict(), fallback=safe_repr)
    return fields


# -- out ---------------------------------------------------------------------------------------------------------------


async def export_letters(store: SealedStore, target: Place, where: LetterFilter, *, opened: bool) -> int:
    """Write letters as JSON lines, and return how many.

    Cancelled, it leaves a file at a path as it was before, and a stream where it is.
    """
    count = 0
    async with _writing(target) as write:
        after: str | None = None
        while True:
            page = await store.peek(_PAGE, after=after, where=where)
            if page:
                await write(b"".join(_line(store, each, opened=opened) for each in page))
            count += len(page)
            if len(page) < _PAGE:
                return count
            after = page[-1].id


def _line(store: SealedStore, letter: DeadLetter, *, opened: bool) -> bytes:
    if store.sealing is not None and not opened:
        letter = store.sealing.letter(letter)
    return dump(_to_json(letter)) + b"\n"


@asynccontextmanager
async def _writing(target: Place) -> AsyncGenerator[Callable[[bytes], Any]]:
    if not isinstance(target, (str, os.PathLike)):

        async def write(data: bytes) -> None:
            await in_worker(target.write, data.decode() if _is_text(target) else data)

        yield write
        return
    file = _NewFile(await in_worker(os.path.realpath, target))
    try:
        yield lambda data: in_worker(file.write, data)
        await in_worker(file.finish)
    except BaseException as error:
        with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True), suppress(OSError):
            await in_worker(file.drop)
        if isinstance(error, OSError):
            msg = f"cannot write {file.path}: {error.strerror or error}; nothing of it was kept"
            raise LetterNotKeptError(msg, location=file.path) from error
        raise


class _NewFile:
    """A file that takes its place when it is whole. A thread that a cancelled task left behind does it no harm."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._unfinished = Path(f"{path}.{dice.randbytes(4).hex()}.tmp")
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._is_over = False

    def write(self, data: bytes) -> None:
        with self._lock:
            if not self._is_over:
                self._opened().write(data)

    def finish(self) -> None:
        with self._lock:
            if self._is_over:
                return
            with self._opened() as file:
                file.flush()
                durable.sync(file.fileno())
            self._unfinished.replace(self.path)
            self._is_over = True
        durable.sync_directory(self.path)

    def drop(self) -> None:
        with self._lock:
            if not self._is_over and self._file is not None:
                self._file.close()
                self._unfinished.unlink(missing_ok=True)
            self._is_over = True

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = os.fdopen(os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        return self._file


def _is_text(stream: object) -> bool:
    return isinstance(stream, io.TextIOBase) or (not isinstance(stream, io.IOBase) and hasattr(stream, "encoding"))


# -- in ----------------------------------------------------------------------------------------------------------------


async def import_letters(store: SealedStore, source: Place) -> int:
    """Keep the letters that `export_letters` wrote, and return how many lines there were.

    Cancelled, it has kept some of them; importing again adds the rest.
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        try:
            file = await in_worker(Path(path).open, "rb")
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror or error}"
            raise DeadLetterQueueError(msg, location=path) from error
        try:
            return await _import_lines(store, file, path)
        finally:
            file.close()
    return await _import_lines(store, source, repr(getattr(source, "name", source)))


async def _import_lines(store: SealedStore, lines: Iterable[str | bytes], name: str) -> int:
    waiting = enumerate(lines, 1)
    count = 0
    while True:
        page = await in_worker(lambda: list(islice(waiting, _PAGE)))
        if not page:
            return count
        letters = [_parse(store, line, f"line {number} of {name}") for number, line in page if line.strip()]
        await _take_in(store, letters)
        count += len(letters)


def _parse(store: SealedStore, line: str | bytes, where: str) -> DeadLetter:
    try:
        data = json.loads(line)
        if not isinstance(data, dict):
            raise TypeError(type(data).__name__)  # noqa: TRY301 -- told with the others
        letter = DeadLetter.from_dict(data)
    except (ValueError, TypeError, RecursionError) as error:
        msg = f"{where} is no letter: {error}; importing what has no such line takes up where this ended"
        raise ValueError(msg) from error
    if not is_sealed(letter.error_info):
        return letter
    if store.sealing is None:
        msg = f"{where}: the letter {letter.id} is sealed, and this queue was built without a codec"
        raise SealedLetterError(msg, message_id=letter.id, location=store.location)
    return store.sealing.opened(letter)


# -- over --------------------------------------------------------------------------------------------------------------


async def move_letters(source: SealedStore, target: SealedStore, where: LetterFilter) -> int:
    """Move the letters that are there now and that nobody has claimed, and return how many.

    Each is claimed, kept in the target, and only then deleted here. Cancelled, it gives back its claims.
    """
    until = clock.utcnow() + timedelta(microseconds=1)  # what fails from now on is left for the next time
    where = replace(where, until=until if where.until is None else min(where.until, until))
    moved = 0
    skipped: set[str] = set()
    while True:
        page = await source.peek(_AT_ONCE + len(skipped), where=where)  # from the start: those behind us are gone
        letters = [each for each in page if each.id not in skipped]
        if not letters:
            return moved
        ids = await _move_page(source, target, letters)
        moved += len(ids)
        skipped.update(each.id for each in letters if each.id not in ids)
        if events.listeners:
            for letter_id in ids:
                events.emit(LetterMoved(location=source.location, message_id=letter_id, to=target.location))


_CLAIM: Final = 60.0


async def _move_page(source: SealedStore, target: SealedStore, letters: Sequence[DeadLetter]) -> set[str]:
    """Move those of the letters that nobody has claimed, and return their ids."""
    claims: dict[str, Claim] = {}

    async def claim(letter: DeadLetter) -> None:
        with suppress(MessageClaimedError, MessageNotFoundError):
            claims[letter.id] = await source.claim_one(letter.id, seconds=_CLAIM)

    async def settle(letter_id: str) -> None:
        await source.settle(claims[letter_id])
        del claims[letter_id]

    try:
        await each_of(claim, letters, at_once=_AT_ONCE)
        taken = [replace(claims[each.id].letter, status=each.status) for each in letters if each.id in claims]
        await _take_in(target, taken)
        await each_of(settle, [each.id for each in taken], at_once=_AT_ONCE)
    finally:
        if claims:  # it did not come to its end
            with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True), suppress(DeadLetterQueueError):
                for each in claims.values():
                    await source.release(each.token)
    return {each.id for each in taken}
