from __future__ import annotations

import fcntl
import os
import random
import secrets
import stat
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from resilio.deadletters import journal_chores, journal_compaction
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import new_body
from resilio.deadletters.store import Add, Book, ClaimNext, Edit, Release, Remove

if TYPE_CHECKING:
    from letter_kit import HandClock

pytestmark = pytest.mark.slow("writes and cuts hundreds of journals")

CUTS = 300
SECTOR = 512


class Step(NamedTuple):
    """One thing that was asked of the disk."""

    what: str  # "write", "cut", "sync", "rename", "sync names"; a write over what is there has its offset in `size`
    file: int = 0
    data: bytes = b""
    size: int = -1


class Disk:
    """Writes down what is asked of the real disk, to say later what might be left after the power went."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps: list[Step] = []
        self.held: dict[int, int] = {}  # a file that is held open keeps its inode number to itself
        write, fdatasync, fsync, ftruncate, replace = os.write, os.fdatasync, os.fsync, os.ftruncate, Path.replace

        def recorded_write(fd: int, data: Any) -> int:
            at = os.lseek(fd, 0, os.SEEK_CUR)
            is_over = not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND and at < os.fstat(fd).st_size
            count = write(fd, data)
            if os.fstat(fd).st_ino not in self.held:
                self.held[os.fstat(fd).st_ino] = os.dup(fd)
            self.steps.append(Step("write", os.fstat(fd).st_ino, bytes(data[:count]), at if is_over else -1))
            return count

        def recorded_ftruncate(fd: int, size: int) -> None:
            ftruncate(fd, size)
            self.steps.append(Step("cut", os.fstat(fd).st_ino, size=size))

        def recorded_fdatasync(fd: int) -> None:
            fdatasync(fd)
            self.steps.append(Step("sync", os.fstat(fd).st_ino))

        def recorded_fsync(fd: int) -> None:
            fsync(fd)
            found = os.fstat(fd)
            self.steps.append(Step("sync names") if stat.S_ISDIR(found.st_mode) else Step("sync", found.st_ino))

        def recorded_replace(source: Path, target: Any) -> Path:
            if not str(target).endswith(".index"):
                self.steps.append(Step("rename", source.stat().st_ino))
            return replace(source, target)

        patch.setattr(os, "write", recorded_write)
        patch.setattr(os, "ftruncate", recorded_ftruncate)
        patch.setattr(os, "fdatasync", recorded_fdatasync)
        patch.setattr(os, "fsync", recorded_fsync)
        patch.setattr(Path, "replace", recorded_replace)

    def after_power_cut(self, at: int, dice: random.Random) -> bytes:
        """What the journal may hold if the power went after so many steps."""
        file = next(step.file for step in self.steps if step.what == "write")
        durable = max((n for n, step in enumerate(self.steps[:at]) if step.what == "sync names"), default=0)
        for number, step in enumerate(self.steps[:at]):
            if step.what == "rename" and (number < durable or dice.random() < 0.5):
                file = step.file
        steps = [step for step in self.steps[:at] if step.file == file and step.what != "rename"]
        synced = max((n for n, step in enumerate(steps) if step.what == "sync"), default=-1) + 1
        safe = _applied(b"", steps[:synced])
        loose = steps[synced:]
        loose = loose[: dice.randint(0, len(loose))]
        whole = _applied(safe, loose)
        if not whole.startswith(safe):
            return whole
        tail = bytearray(whole[len(safe) :])
        del tail[dice.randint(0, len(tail)) :]
        kind = dice.choice(("cut", "zeros", "garbage"))
        for start in range(0, len(tail), SECTOR):
            if kind != "cut" and dice.random() < 0.3:
                length = len(tail[start : start + SECTOR])
                tail[start : start + SECTOR] = bytes(length) if kind == "zeros" else dice.randbytes(length)
        return safe + bytes(tail)


def _applied(before: bytes, steps: list[Step]) -> bytes:
    contents = bytearray(before)
    for step in steps:
        if step.what == "write":
            at = len(contents) if step.size < 0 else step.size
            contents[at : at + len(step.data)] = step.data
        elif step.what == "cut":
            del contents[step.size :]
    return bytes(contents)


class Day:
    """A busy day of one journal, and when what was acknowledged."""

    def __init__(self, path: Path, disk: Disk, time: HandClock, dice: random.Random) -> None:
        self.acknowledged: defaultdict[int, set[str]] = defaultdict(set)  # after so many steps
        self.attempted: set[tuple[int, str]] = set()
        self.asked_to_remove: defaultdict[int, set[str]] = defaultdict(set)  # from that step on
        self.removed: defaultdict[int, set[str]] = defaultdict(set)
        self.edited: defaultdict[int, dict[str, int]] = defaultdict(dict)
        journal, count, alive = Journal(path), 0, set[str]()
        for turn in range(150):
            time.advance(1)
            ids = [f"{count + n:06}" for n in range(dice.randint(1, 11))]
            count += len(ids)
            text = "x" * dice.choice((30, 300, 1500))
            journal.commit([Add(each, new_body(each, text, {}, time.now)) for each in ids])
            self.acknowledged[len(disk.steps)].update(ids)
            alive.update(ids)
            if turn % 2 == 0:
                token = f"t{turn}"
                [claims] = journal.commit([ClaimNext(dice.randint(1, 25), 30.0, token)])
                mine = [claim.letter.id for claim in claims]  # type: ignore[attr-defined]
                away = set(mine[:-1])
                self.asked_to_remove[len(disk.steps)].update(away)
                journal.commit(
                    [*(Remove(each) for each in away), *(Book(each, token, {}, time.now, None) for each in mine)]
                )
                self.removed[len(disk.steps)].update(away)
                alive -= away
                edited = sorted(alive)[:3]
                journal.commit([Release(token), *(Edit(each, f"edited in {turn}") for each in edited)])
                self.edited[len(disk.steps)].update(dict.fromkeys(edited, turn))
            journal.tidy(is_idle=True)

    @staticmethod
    def _until(told: defaultdict[int, set[str]], step: int) -> set[str]:
        return {each for at, ids in told.items() if at <= step for each in ids}

    def must_be_there(self, step: int) -> set[str]:
        return self._until(self.acknowledged, step) - self._until(self.asked_to_remove, step)

    def must_say_at_least(self, step: int) -> dict[str, int]:
        """The last edit of each letter that was acknowledged."""
        found: dict[str, int] = {}
        for at, edits in self.edited.items():
            if at <= step:
                found.update(edits)
        return found

    def must_be_gone(self, step: int) -> set[str]:
        return self._until(self.removed, step)


def test_no_acknowledged_letter_is_lost_when_the_power_goes(
    folder: Path, time: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drop and tear whatever was not synced, hundreds of times, compactions included: nothing acknowledged is missing.

    What was acknowledged as removed stays removed, every letter can be read, and the next one can be kept.
    """
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")  # noqa: T201 -- shown when the test fails
    dice = random.Random(seed)
    monkeypatch.setattr(journal_chores, "FEW_LINES", 100)  # many compactions, some of them in many steps
    monkeypatch.setattr(journal_chores, "SMALL", dice.choice((0, 1000)))
    monkeypatch.setattr(journal_compaction, "_BLOCK", dice.choice((4, 20)))
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        day = Day(folder / "day.jsonl", disk, time, dice)
    for fd in disk.held.values():
        os.close(fd)
    assert sum(step.what == "rename" for step in disk.steps) >= 3
    first = min(day.acknowledged)
    place = folder / "after.jsonl"
    for cut in range(CUTS):
        at = dice.randint(first, len(disk.steps))
        place.write_bytes(disk.after_power_cut(at, dice))
        found = {each.id: each for each in Journal(place).peek(100_000)}
        assert not day.must_be_there(at) - set(found), f"cut {cut} after step {at}"
        assert not day.must_be_gone(at) & set(found), f"cut {cut} after step {at}"
        for letter_id, turn in day.must_say_at_least(at).items():
            if letter_id in found:
                assert int(found[letter_id].message.removeprefix("edited in ")) >= turn
        Journal(place).commit([Add("next", new_body("next", "x", {}, time.now))])
        assert {each.id for each in Journal(place).peek(100_000)} == {*found, "next"}
