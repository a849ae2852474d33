"""The check-up of the dead letter queue: it is opened and counted, and no letter is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resilio._core import events
from resilio.cli.checks import Finding, Verdict
from resilio.cli.console import age
from resilio.deadletters.events import DamagedLineSetAside, TornTailRepaired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from resilio._core.events import Event
    from resilio.deadletters.queue import DeadLetterQueue
    from resilio.deadletters.store import DeadLetterStats

__all__ = ("check_queue",)

_LITTLE_ROOM: Final = 200e6
_LONG: Final = 86_400.0
_NOT_YET: Final = "not there yet; the first letter makes it"


async def check_queue(queue: DeadLetterQueue, path: Path | None) -> AsyncIterator[Finding]:
    """Whether the queue can be used, and what lies in it.

    Args:
        queue: The queue.
        path: Its file, if it has one.
    """
    yield Finding(area="queue", name="where", verdict=Verdict.OK, told=queue.location)
    if path is not None:
        found = list(_file(path))
        for each in found:
            yield each
        if any(each.verdict is Verdict.PROBLEM or each.told == _NOT_YET for each in found):
            return
    repaired: list[Event] = []
    try:
        with events.subscribe(repaired.append, DamagedLineSetAside, TornTailRepaired):
            stats = await queue.stats()
    except Exception as error:  # whatever it is, it is what the application would meet
        advice = _advice(error) if path is None else "see whether that file is a queue at all, and who may read it"
        yield Finding(area="queue", name="opens", verdict=Verdict.PROBLEM, told=_told(error), advice=advice)
        return
    yield Finding(area="queue", name="opens", verdict=Verdict.OK, told="it can be read")
    for each in _letters(stats):
        yield each
    if path is not None:
        yield _damage(path, repaired)


def _file(path: Path) -> Iterator[Finding]:
    folder = path.parent
    if not folder.is_dir():
        advice = f"mkdir -p {folder}"
        yield Finding(
            area="queue", name="folder", verdict=Verdict.PROBLEM, told=f"{folder} is not there", advice=advice
        )
        return
    if not path.exists():
        yield Finding(area="queue", name="file", verdict=Verdict.OK, told=_NOT_YET)
    elif not os.access(path, os.R_OK | os.W_OK):
        advice = f"let this user read and write it: {path}"
        yield Finding(area="queue", name="file", verdict=Verdict.PROBLEM, told="may not be written", advice=advice)
    if not os.access(folder, os.W_OK):
        advice = f"let this user write to {folder}: files are kept beside the queue's"
        yield Finding(area="queue", name="folder", verdict=Verdict.PROBLEM, told="may not be written", advice=advice)
    free = shutil.disk_usage(folder).free
    short = free < _LITTLE_ROOM
    yield Finding(
        area="queue",
        name="disk room",
        verdict=Verdict.WARNING if short else Verdict.OK,
        told=f"{free / 1e9:.1f} GB free",
        advice="make room: a full disk takes no letter" if short else "",
    )


def _letters(stats: DeadLetterStats) -> Iterator[Finding]:
    about = "about " if stats.is_approximate else ""
    told = f"{about}{stats.total}: {stats.waiting} waiting, {stats.claimed} claimed, {stats.parked} parked"
    old = stats.oldest_age is not None and stats.oldest_age > _LONG
    if stats.total and stats.oldest_age is not None:
        told += f"; the oldest is {age(stats.oldest_age)} old"
    yield Finding(
        area="queue",
        name="letters",
        verdict=Verdict.WARNING if old else Verdict.OK,
        told=told,
        advice="look with `resilio dlq list`, then `resilio dlq replay`" if old else "",
    )
    if stats.parked:
        yield Finding(
            area="queue",
            name="parked",
            verdict=Verdict.WARNING,
            told=f"{stats.parked} letters have used up their attempts and wait for a person",
            advice="`resilio dlq list --status parked`; `edit` mends a letter, `replay ID` tries it again",
        )


def _damage(path: Path, repaired: list[Event]) -> Finding:
    aside = Path(f"{path}.damaged")
    lines = sum(isinstance(each, DamagedLineSetAside) for each in repaired)
    told = [f"{lines} damaged lines were set aside just now"] if lines else []
    if len(repaired) > lines:
        told.append("a torn end was mended just now: a writer had died in the middle of a line")
    if aside.exists() and aside.stat().st_size:
        told.append(f"{aside} holds lines that failed their checksum")
    if not told:
        return Finding(area="queue", name="damage", verdict=Verdict.OK, told="none")
    advice = "see whether the disk is sound, and who else writes to the file" if lines or aside.exists() else ""
    verdict = Verdict.WARNING if advice else Verdict.NOTE
    return Finding(area="queue", name="damage", verdict=verdict, told="; ".join(told), advice=advice)


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _advice(error: Exception) -> str:
    name = type(error).__name__
    if "Denied" in name:
        return "give these credentials sqs:SendMessage, ReceiveMessage, DeleteMessage and GetQueueAttributes"
    if "Missing" in name:
        return "see whether DLQ_QUEUE_URL, the region and the account are right"
    return "see whether this machine reaches the queue, and which credentials it has"
