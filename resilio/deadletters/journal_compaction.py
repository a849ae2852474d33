"""Writing a journal anew without its dead lines, a little at a time, while it is in use.

The letters that are here when it begins are written aside, as they are when their turn comes. What is appended to the
journal from then on is copied behind them as it stands. That some of it has gone into the letters already does no harm:
lines say what is, not what is to be changed, so that taking them in twice comes to the same. Only the last few of these
lines are copied, and the new file is put in the journal's place, while all others wait.

The new file says which one it came from, so that neither this process nor any other one that knows the old file has to
read the new one first: they go on in it at once, and move over to it, a little at a time (`move_over`), with the old
one still open.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from resilio._core import clock
from resilio.deadletters import lines
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.events import JournalCompacted
from resilio.deadletters.index import UNEVENTFUL
from resilio.deadletters.journal_aside import Aside
from resilio.deadletters.journal_kind import BEGINNING, Origin

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from resilio.deadletters.index import Place
    from resilio.deadletters.journal_file import JournalFile
    from resilio.deadletters.journal_log import JournalLog

_BLOCK: Final = 200  # letters to write in a step
_PIECE: Final = 256 << 10  # bytes to copy in a step
_SPAN: Final = 4  # letters are read in one go where what lies between them makes it no more than so many times longer


def compact(log: JournalLog) -> Generator[None, None, bool]:
    """Write the journal anew, a little with each step; tell whether that came about.

    To be run without anybody else at the log during a step.

    Raises:
        OSError: The disk refuses. Either the journal is as it was, or it is replaced, and its name is not durable yet;
            then the next commit sees to it.
    """
    file, index = log.file, log.index
    inode, copied, lines_before = file.inode, file.end, index.lines
    ids = list(index.letters)
    aside = Aside.begin(f"{file.path}.compact", mode=file.mode)
    if aside is None:
        return False
    try:
        yield from aside.clear()
        aside.write(lines.HEADER + Origin(0, 0, 0, 0).line())
        written = 0
        for start in range(0, len(ids), _BLOCK):
            found = _lines_of(log, [each for each in ids[start : start + _BLOCK] if each in index.letters])
            aside.write(b"".join(each + b"\n" for each in found))
            written += len(found)
            yield
            if log.index is not index or file.inode != inode:
                return False
        end = file.end
        while True:
            _keep_up(log)
            if log.index is not index or file.inode != inode:
                return False
            left, came = file.end - copied, file.end - end
            if left <= max(_PIECE, 4 * came):  # while so much is appended it never gets much less than that
                break
            end = file.end
            copied += _copy(file, copied, max(_PIECE, left // 2), aside)
            yield
        aside.sync()
        with file.locked():
            if not log.look() or log.index is not index or file.inode != inode:
                return False  # somebody else was faster, or appends faster than this can read
            log.catch_up()
            while copied < file.end:
                copied += _copy(file, copied, file.end - copied, aside)
            origin = Origin(inode, file.end, aside.size, written + index.lines - lines_before)
            aside.write_over(origin.line(), len(lines.HEADER))
            aside.sync()
            aside.put_in_place_of(file.path)
            try:
                log.look()
                file.make_durable()
            except BaseException:
                log.forget()
                raise
            log.told.append(JournalCompacted(location=file.path, before=origin.until, after=origin.start))
            return True
    finally:
        aside.close()


def _keep_up(log: JournalLog) -> None:
    """Take in what others have appended, so that little of it is left for the end."""
    with log.file.locked():
        is_little = log.look()
        if is_little:
            log.catch_up()
    if not is_little:
        log.read_ahead()


def _copy(file: JournalFile, offset: int, length: int, aside: Aside) -> int:
    found = file.read(file.base + offset, min(length, file.end - offset))
    if not found:
        msg = f"{file.path} was cut while it was read"
        raise DeadLetterQueueError(msg, location=file.path)
    aside.write(found)
    return len(found)


def _lines_of(log: JournalLog, ids: Sequence[str]) -> list[bytes]:
    """The lines, without their ends, that make up these letters."""
    index = log.index
    now = clock.utcnow().timestamp()
    puts = _read_together(log, [index.place(index.letters[each]) for each in ids])
    found: list[bytes] = []
    for letter_id, put in zip(ids, puts, strict=True):
        if put is None:
            index.drop([letter_id])
            continue
        found.append(put)
        past = index.pasts.get(index.letters[letter_id], UNEVENTFUL)
        found += [line for place in past.places if (line := _sealed(log, place)) is not None]
        if past.token is not None and past.available > now:
            found.append(_claim(letter_id, past.token, past.available))
    return found


def _claim(letter_id: str, token: str, available: float) -> bytes:
    until = datetime.fromtimestamp(available, UTC).isoformat()
    return lines.line("claim", ids=[letter_id], token=token, until=until)[:-1]


def _read_together(log: JournalLog, places: Sequence[Place]) -> list[bytes | None]:
    """Lines that lie near to each other, with one call; None for those that are damaged and now set aside."""
    if not places:
        return []
    start = min(each.offset for each in places)
    length = max(each.offset + each.length for each in places) - start
    if length > _SPAN * sum(each.length for each in places):
        return [_sealed(log, each) for each in places]
    whole = log.file.read(start, length)
    parts = [whole[each.offset - start : each.offset - start + each.length] for each in places]
    return [part if lines.is_sealed(part) else _sealed(log, place) for part, place in zip(parts, places, strict=True)]


def _sealed(log: JournalLog, place: Place) -> bytes | None:
    found = log.file.read(*place)
    if lines.is_sealed(found):
        return found
    with log.file.locked():
        return log.sealed(place)


# -- afterwards --------------------------------------------------------------------------------------------------------


def move_over(log: JournalLog) -> Generator[None, None, bool]:
    """Find out where the letters of former files lie in the present one, a little with each step, and close those."""
    file, index = log.file, log.index
    base, at = file.base, BEGINNING
    while at < file.start:
        found = file.read(base + at, min(_PIECE, file.start - at))
        last = found.rfind(b"\n") + 1
        if not last:  # one line is longer than that
            found = file.read(base + at, file.start - at)
            last = found.index(b"\n") + 1
        place = base + at
        for each in found[: last - 1].split(b"\n"):
            letter_id = lines.subject(each)
            if letter_id is not None:
                behind = index.place_like(letter_id, each)
                # Only what is the very same line: a letter may have been deleted and sent again under its id.
                if behind is not None and behind.offset < base and file.read(*behind) == each:
                    index.move(letter_id, behind, place)
            place += len(each) + 1
        at += last
        yield
        if log.index is not index or file.base != base:
            return False
    index.forget_before(base)
    file.let_go_of_former()
    return True
