"""Writers that are killed, and power that goes: what SQLite was acknowledged to have is there."""

from __future__ import annotations

import json
import pickle
import random
import secrets
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from store_kit import START, body
from test_killed_writers import KILLER

from resilio.deadletters.letter_filter import EVERY_LETTER
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import Add, ClaimNext

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 18
CUTS = 80
SECTOR = 512


@pytest.mark.slow("kills a process dozens of times")
def test_no_acknowledged_letter_is_lost_when_sqlite_writers_are_killed(
    folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """Writers are killed at random moments, by the dozen: what they had acknowledged is there, and stays removed."""
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")  # noqa: T201 -- shown when the test fails
    record_property("seed", seed)
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", KILLER, str(folder / "letters.db"), str(seed), str(ROUNDS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["lost"] == []
    assert found["back"] == []
    assert found["kept"] > ROUNDS  # hundreds, on a machine that has nothing else to do
    assert found["gone"]


# -- power cuts --------------------------------------------------------------------------------------------------------

# Wraps SQLite's own view of the operating system, in a process of its own, and writes down what it asks of the disk.
DAY = """
import ctypes, os, pickle, random, sqlite3, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from store_kit import body
from resilio.deadletters import sqlite_database
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import Add, Book, ClaimNext, Edit, Park, Release, Remove
from datetime import UTC, datetime

sqlite3.connect(":memory:").close()
loaded = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libsqlite3" in line]
if not loaded:
    sys.exit(77)
lib = ctypes.CDLL(loaded[0])
lib.sqlite3_vfs_find.restype = ctypes.c_void_p
WORD, INT, LONG, PTR = ctypes.sizeof(ctypes.c_void_p), ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
OPEN = ctypes.CFUNCTYPE(INT, PTR, PTR, PTR, INT, PTR)
WRITE = ctypes.CFUNCTYPE(INT, PTR, PTR, INT, LONG)
CUT = ctypes.CFUNCTYPE(INT, PTR, LONG)
SYNC = ctypes.CFUNCTYPE(INT, PTR, INT)
trace, names, wrapped = [], {}, {}

def words(address, count):
    return (PTR * count).from_address(address)

def wrap(methods):
    if methods not in wrapped:
        own = (PTR * 19)(*words(methods, 19))
        real_write, real_cut, real_sync = WRITE(own[3]), CUT(own[4]), SYNC(own[5])
        def write(file, data, size, offset):
            trace.append((names.get(file), "write", offset, ctypes.string_at(data, size)))
            return real_write(file, data, size, offset)
        def cut(file, size):
            trace.append((names.get(file), "cut", size, b""))
            return real_cut(file, size)
        def sync(file, flags):
            done = real_sync(file, flags)
            trace.append((names.get(file), "sync", 0, b""))
            return done
        calls = WRITE(write), CUT(cut), SYNC(sync)
        for at, call in zip((3, 4, 5), calls):
            own[at] = ctypes.cast(call, PTR).value
        wrapped[methods] = own, calls, (real_write, real_cut, real_sync)
    return ctypes.addressof(wrapped[methods][0])

vfs = words(lib.sqlite3_vfs_find(None), 16)
FIRST = 2 + (3 * 4 + WORD - 1) // WORD + 1  # the pointers before xOpen: three ints, pNext, zName, pAppData
real_open = OPEN(vfs[FIRST])
def opened(this, name, file, flags, out):
    done = real_open(this, name, file, flags, out)
    if done == 0 and name and words(file, 1)[0]:
        names[file] = os.path.basename(ctypes.string_at(name).decode())
        words(file, 1)[0] = wrap(words(file, 1)[0])
    return done
keep = OPEN(opened)
vfs[FIRST] = ctypes.cast(keep, PTR).value

DELETE = ctypes.CFUNCTYPE(INT, PTR, PTR, INT)
real_delete = DELETE(vfs[FIRST + 1])
def deleted(this, name, sync):
    trace.append((os.path.basename(ctypes.string_at(name).decode()), "delete", 0, b""))
    return real_delete(this, name, sync)
keep_too = DELETE(deleted)
vfs[FIRST + 1] = ctypes.cast(keep_too, PTR).value

sqlite_database._CHECKPOINT_PAGES = 40  # the log is carried over again and again
dice, now = random.Random(int(sys.argv[2])), datetime.now(UTC)
store, count, alive = SqliteStore(sys.argv[1]), 0, set()
def tell(what, ids):
    trace.append(("", what, 0, sorted(ids)))
for turn in range(120):
    ids = [f"{count + n:06}" for n in range(dice.randint(1, 11))]
    count += len(ids)
    store.commit([Add(each, body(each, "x" * dice.choice((30, 300, 6000)))) for each in ids])
    tell("kept", ids)
    alive.update(ids)
    if turn % 2 == 0:
        [claims] = store.commit([ClaimNext(dice.randint(1, 20), 30.0, "t")])
        mine = [claim.letter.id for claim in claims]
        tell("going", mine[:-1])
        store.commit([*map(Remove, mine[:-1]), *(Book(each, "t", {}, now, None) for each in mine[-1:])])
        tell("gone", mine[:-1])
        alive -= set(mine[:-1])
    if turn % 7 == 0 and alive:
        store.commit([Edit(dice.choice(sorted(alive)), "y" * 9000), Park(dice.choice(sorted(alive)), True)])
    store.commit([Release("t")])
Path(sys.argv[1] + ".trace").write_bytes(pickle.dumps(trace))
os._exit(0)
"""


class Step(NamedTuple):
    """What was asked of the disk, or what was told."""

    file: str
    what: str  # "write", "cut", "sync", "delete"; "kept", "going", "gone"
    at: int
    data: bytes


def after_power_cut(steps: list[Step], dice: random.Random) -> dict[str, bytes]:
    """What the files may hold if the power went now: of what was not synced any part may be missing, or torn."""
    synced: defaultdict[str, int] = defaultdict(lambda: -1)
    for number, step in enumerate(steps):
        if step.what == "sync":
            synced[step.file] = number
    files: defaultdict[str, bytearray] = defaultdict(bytearray)
    share = dice.choice((0, 0.5, 0.9, 1))
    for number, step in enumerate(steps):
        is_safe = number < synced[step.file]
        if step.what == "delete":  # of the journal with which it was made, before anybody was told anything
            del files[step.file]
        if step.what not in {"write", "cut"} or not (is_safe or dice.random() < share):
            continue
        file, data = files[step.file], step.data
        if step.what == "cut":
            del file[step.at :]
            continue
        if not is_safe and dice.random() < 0.1:
            data = data[: SECTOR * dice.randint(0, len(data) // SECTOR)]
        file.extend(bytes(max(0, step.at - len(file))))
        file[step.at : step.at + len(data)] = data
    return {name: bytes(file) for name, file in files.items()}


@pytest.mark.slow("writes and cuts a hundred databases")
def test_no_acknowledged_letter_is_lost_in_sqlite_when_the_power_goes(folder: Path) -> None:
    """Drop and tear whatever was not synced, a hundred times, checkpoints included: nothing acknowledged is missing.

    What was acknowledged as removed stays removed, every letter can be read, the database is whole, and the next letter
    can be kept.
    """
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")  # noqa: T201 -- shown when the test fails
    dice = random.Random(seed)
    day = folder / "day.db"
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", DAY, str(day), str(seed), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if ran.returncode == 77:
        pytest.skip("this Python has SQLite built in, where it cannot be listened to")
    assert ran.returncode == 0, ran.stderr
    steps = [Step(*each) for each in pickle.loads(Path(f"{day}.trace").read_bytes())]  # noqa: S301 -- our own
    syncs = [step.file for step in steps if step.what == "sync"]
    assert syncs.count("day.db") >= 5, "no checkpoint came to pass"
    assert syncs.count("day.db-wal") >= 120
    first = next(number for number, step in enumerate(steps) if step.what == "kept")
    for cut in range(CUTS):
        at = dice.randint(first + 1, len(steps))
        told: defaultdict[str, set[str]] = defaultdict(set)
        for step in steps[:at]:
            if not step.file:
                told[step.what].update(step.data)  # type: ignore[arg-type]
        place = folder / f"{cut}"
        place.mkdir()
        for name, contents in after_power_cut(steps[:at], dice).items():
            (place / name).write_bytes(contents)
        store = SqliteStore(place / "day.db")
        found = {each.id for each in store.peek(100_000, after=None, where=EVERY_LETTER)}
        assert not told["kept"] - told["going"] - found, f"cut {cut} after step {at}"
        assert not told["gone"] & found, f"cut {cut} after step {at}"
        assert store.stats().total == len(found)
        store.commit([Add("next", body("next", at=START))])
        [claims] = store.commit([ClaimNext(100_000, 1, "t")])
        assert len(claims) > 0  # type: ignore[arg-type]
        with store._database.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        store.close()
