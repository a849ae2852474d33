"""What an SQLite database of letters does with the file that it is given, and with one that goes wrong."""

from __future__ import annotations

import gc
import os
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from letter_kit import heard, run_python
from store_kit import START, body

from resilio.deadletters import sqlite_database, sqlite_schema
from resilio.deadletters.errors import DeadLetterQueueError, LetterNotKeptError, NotOurFileError
from resilio.deadletters.events import DamagedLineSetAside, JournalVanished
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import Add, Book, ClaimNext, ClaimOne, Purge, Release

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from letter_kit import HandClock


@pytest.fixture
def path(folder: Path) -> Path:
    """Where the letters of the test lie."""
    return folder / "letters.db"


def beside(path: Path) -> list[str]:
    """What lies in the folder."""
    return sorted(each.name for each in path.parent.iterdir())


def adds(*letter_ids: str, **keys: Any) -> list[Add]:
    """Operations that keep letters."""
    return [Add(each, body(each, {"n": each}, **keys)) for each in letter_ids]


def ids(store: SqliteStore, **where: Any) -> list[str]:
    """The letters in it."""
    return [each.id for each in store.peek(1000, after=None, where=LetterFilter(**where))]


def filled(path: Path, *letter_ids: str) -> SqliteStore:
    """A store with letters in it."""
    store = SqliteStore(path)
    store.commit(adds(*letter_ids))
    return store


# -- recognising -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [b"name,price\n" * 100, b'[{"message": 1}]', b"\0" * 100_000, b"x", b"SQLite format 3\0" + b"garbage" * 1000],
    ids=lambda raw: repr(raw)[:20],
)
def test_a_file_of_something_else_is_refused_and_left_untouched(path: Path, raw: bytes) -> None:
    """Neither reading nor writing changes a byte of it, and nothing is made beside it."""
    path.write_bytes(raw)
    before = path.stat()
    store = SqliteStore(path)
    for call in (store.stats, lambda: store.get("a"), lambda: store.commit([Purge()])):
        with pytest.raises(NotOurFileError, match=str(path)):
            call()
    assert path.read_bytes() == raw
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert beside(path) == [path.name]


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE cats (name)", "CREATE TABLE letters (id)", "PRAGMA application_id = 7", "PRAGMA user_version = 3"],
)
def test_another_programs_database_is_refused_and_left_untouched(path: Path, mode: str, statement: str) -> None:
    """Whatever journal it uses; the error says what was seen."""
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute(statement)
    raw = path.read_bytes()
    store = SqliteStore(path)
    with pytest.raises(NotOurFileError, match="another program's database"):
        store.commit(adds("a"))
    with pytest.raises(NotOurFileError, match="choose another file"):
        store.stats()
    assert path.read_bytes() == raw
    assert beside(path) == [path.name]


def test_a_later_layout_is_refused(path: Path) -> None:
    """What this release does not understand it does not guess."""
    filled(path, "a").close()
    with closing(sqlite3.connect(path)) as later, later:
        later.execute(f"PRAGMA user_version = {sqlite_schema.VERSION + 1}")
    with pytest.raises(NotOurFileError, match="written by a later release: its layout is 2, not 1"):
        SqliteStore(path).commit(adds("b"))


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_refused(path: Path, make: Any) -> None:
    """SQLite would wait for a pipe for ever."""
    make(path)
    with pytest.raises(NotOurFileError, match="choose a file"):
        SqliteStore(path).stats()


def test_an_empty_file_is_taken(path: Path) -> None:
    """As a temporary file is, or one that a dead process had only begun."""
    path.touch()
    assert ids(filled(path, "a")) == ["a"]


def test_building_a_store_touches_no_disk_and_closing_it_leaves_one_private_file(path: Path) -> None:
    """Nobody else can read the letters, not even in SQLite's log beside."""
    store = SqliteStore(path)
    assert beside(path) == []
    store.commit(adds("a"))
    modes = {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {0o600}
    store.close()
    assert beside(path) == [path.name]


def test_a_store_that_is_forgotten_is_closed(path: Path) -> None:
    """Its log is carried over into the file."""
    store = filled(path, "a")
    assert f"{path.name}-wal" in beside(path)
    del store
    gc.collect()
    assert beside(path) == [path.name]


def test_a_missing_directory_is_named(folder: Path) -> None:
    """A mistyped path is told of, not created."""
    with pytest.raises(DeadLetterQueueError, match=r"nowhere/letters\.db.*No such file or directory"):
        SqliteStore(folder / "nowhere" / "letters.db").stats()


READ_ONLY = """
import os, sys
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.sqlite_store import SqliteStore
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    try:
        SqliteStore(path).stats()
    except DeadLetterQueueError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.slow("starts an interpreter")
def test_what_may_not_be_written_is_refused(folder: Path) -> None:
    """Who may not append may not open. Root may do everything, so a child steps down."""
    place = folder / "letters.db"
    filled(place, "a").close()
    raw = place.read_bytes()
    place.chmod(0o444)
    open_folder = folder / "open"
    open_folder.mkdir()
    (open_folder / "shut.db").write_bytes(raw)
    (open_folder / "shut.db").chmod(0o666)
    open_folder.chmod(0o555)
    ours = next(each for each in folder.parents if each.name.startswith("pytest-of-"))
    for each in (folder, *folder.parents):
        if each.is_relative_to(ours):
            each.chmod(0o755)
    told = run_python(READ_ONLY, place, folder / "new.db", open_folder / "shut.db", measured=False).stdout.splitlines()
    assert told[0] == f"DeadLetterQueueError cannot open the dead letter database {place}: Permission denied"
    assert "new.db" in told[1]
    assert "Permission denied" in told[1]
    assert "a database needs a directory it may write to" in told[2]
    assert place.read_bytes() == raw


# -- trouble with the disk ---------------------------------------------------------------------------------------------


class Full:
    """A disk that takes nothing more, for as long as the block runs: SQLite's own bound on a database's size."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store

    def _bound(self, pages: int) -> None:
        with self.store._database.writing() as connection:
            connection.execute(f"PRAGMA max_page_count = {pages}")

    def __enter__(self) -> None:
        self._bound(1)  # which means: as many as there are

    def __exit__(self, *_: object) -> None:
        self._bound(1 << 30)


def test_a_full_disk_acknowledges_nobody_and_leaves_no_trace(path: Path) -> None:
    """The batch is undone whole, the error says so, and the next letter is kept."""
    store = filled(path, "a")
    with Full(store):
        with pytest.raises(LetterNotKeptError, match=r"No space left on device.*nothing of it was kept") as caught:
            store.commit([*adds("b", "c"), Add("d", body("d", "x" * 100_000))])
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.location == str(path)
    assert ids(store) == ["a"]
    assert store.stats().total == 1
    store.commit(adds("after"))
    assert ids(SqliteStore(path)) == ["a", "after"]


LIMITED = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
from store_kit import body
from resilio.deadletters.errors import LetterNotKeptError
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import Add
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqliteStore(sys.argv[1])
store.commit([Add("a", body("a"))])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
kept = ["a"]
for number in range(100):
    try:
        store.commit([Add(str(number), body(str(number), "x" * 5000))])
        kept.append(str(number))
    except LetterNotKeptError as error:
        print(error.__cause__)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.commit([Add("after", body("after"))])
kept.append("after")
there = [each.id for each in store.peek(1000, after=None, where=__import__("resilio").LetterFilter())]
assert there == kept, (there, kept)
print("kept", len(kept))
"""


@pytest.mark.slow("starts an interpreter")
def test_a_log_that_cannot_grow_loses_nothing(path: Path) -> None:
    """The operating system refuses to write any further: what was acknowledged is there, and nothing else."""
    code = LIMITED.replace('__import__("resilio").LetterFilter()', "EVERY_LETTER")
    code = code.replace("import Add\n", "import Add\nfrom resilio.deadletters.letter_filter import EVERY_LETTER\n", 1)
    told = run_python(code, path, os.path.dirname(__file__)).stdout.splitlines()  # noqa: PTH120 -- a folder's name
    assert told.count("[Errno 5] Input/output error") > 5
    assert int(told[-1].split()[1]) > 5


def test_a_database_that_somebody_holds_is_told_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell in a transaction keeps others from writing, not from reading; the wait has an end."""
    monkeypatch.setattr(sqlite_database, "BUSY_TIMEOUT", 0.01)
    store = filled(path, "a")
    with closing(sqlite3.connect(path)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(LetterNotKeptError, match="another process holds it"):
            store.commit(adds("b"))
        assert ids(store) == ["a"]
        shell.rollback()
    store.commit(adds("c"))
    assert ids(store) == ["a", "c"]


def test_a_damaged_database_is_a_clear_error_and_nothing_is_deleted(path: Path) -> None:
    """The error says how to save what can be saved; the file stays as it is."""
    store = filled(path, *(f"{number:03}" for number in range(300)))
    store.close()
    raw = bytearray(path.read_bytes())
    raw[4096:] = os.urandom(len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(DeadLetterQueueError, match=r"is damaged.*Nothing was deleted.*\.recover"):
        store.peek(1000, after=None, where=EVERY_LETTER)
    with pytest.raises(DeadLetterQueueError, match="is damaged"):
        store.commit(adds("new"))
    assert path.read_bytes() == raw


def spoil(path: Path, *letter_ids: str) -> None:
    """Change a byte in the middle of letters, as a bad disk does, or a person with a shell: SQLite does not notice."""
    with closing(sqlite3.connect(path)) as shell, shell:
        for each, kind in zip(letter_ids, ("BLOB", "TEXT"), strict=True):
            shell.execute(
                f"UPDATE contents SET body = CAST(replace(body, 'hello', 'hullo') AS {kind}) "  # noqa: S608
                "WHERE seq = (SELECT seq FROM letters WHERE id = ?)",
                [each],
            )


@pytest.mark.parametrize("way", ["get", "peek", "claim", "claim one"])
def test_a_letter_that_fails_its_checksum_is_set_aside_and_told_of(path: Path, way: str) -> None:
    """The letters around it are none the worse; what is left of it can be looked at by hand."""
    store = SqliteStore(path)
    store.commit([Add(each, body(each)) for each in "abcd"])
    spoil(path, "b", "c")
    with heard(DamagedLineSetAside) as events:
        if way == "get":
            assert store.get("b") is store.get("c") is None
        elif way == "peek":
            assert ids(store) == ["a", "d"]
        elif way == "claim":
            [claims] = store.commit([ClaimNext(2, 30, "t")])
            assert [each.letter.id for each in claims] == ["a", "d"]  # type: ignore[attr-defined]
        else:
            found = store.commit([ClaimOne("b", 30, "t"), ClaimOne("c", 30, "t"), Release("t")])
            assert [type(each).__name__ for each in found[:2]] == ["MessageNotFoundError"] * 2
        assert ids(store) == ["a", "d"]
    assert [each.kept_in for each in events] == [f"{path}, table damaged"] * 2
    assert store.stats().total == 2
    with closing(sqlite3.connect(path)) as shell:
        kept = shell.execute("SELECT id, CAST(body AS BLOB) FROM damaged").fetchall()
    assert [each for each, _ in kept] == ["b", "c"]
    assert all(b"hullo" in raw for _, raw in kept)


# -- a file that goes away ---------------------------------------------------------------------------------------------


def names(path: Path) -> list[Path]:
    """The three files that a database is, in use."""
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


@pytest.mark.parametrize("leave", [0, 2], ids=["all of it", "only the database"])
def test_a_database_that_vanishes_is_told_of_and_begun_anew(path: Path, leave: int) -> None:
    """Letters sent after somebody deleted it are in a file that has a name; what lay in the log stays beside."""
    store, other = filled(path, "old"), SqliteStore(path)
    assert ids(other) == ["old"]
    for each in names(path)[: 3 - leave]:
        each.unlink()
    with heard(JournalVanished) as events:
        store.commit(adds("new"))
        assert ids(store) == ["new"]
    assert [each.letters for each in events] == [1]
    assert ids(other) == ["new"]
    other.commit(adds("newer"))
    store.close()
    other.close()
    assert ids(SqliteStore(path)) == ["new", "newer"]
    orphans = [each for each in beside(path) if "orphaned" in each]
    assert len(orphans) == (1 if leave else 0)


def test_who_closes_a_vanished_database_does_not_delete_the_log_of_the_new_one(path: Path) -> None:
    """SQLite deletes the log by its name, whoever has it by then."""
    old = filled(path, "old")
    for each in names(path):
        each.unlink()
    new = filled(path, "new")
    old.close()
    del old
    gc.collect()
    assert names(path)[1].exists()
    new.commit(adds("newer"))
    assert ids(SqliteStore(path)) == ["new", "newer"]


# -- size --------------------------------------------------------------------------------------------------------------


def test_the_log_is_bounded_though_somebody_always_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it has grown, a writer waits for the readers of the moment and starts it anew."""
    monkeypatch.setattr(sqlite_database, "_LARGEST_LOG", 400_000)
    monkeypatch.setattr(sqlite_database, "_PATIENCE_WITH_READERS", 0.01)
    store = SqliteStore(path)
    store.stats()
    log = names(path)[1]
    sizes: list[int] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        for number in range(60):
            if number % 5 == 0:  # there is never a moment without a reader, but none reads for long
                if reader.in_transaction:
                    reader.execute("COMMIT")
                if number % 10:
                    reader.execute("BEGIN")
                    reader.execute("SELECT count(*) FROM letters").fetchone()
            store.commit([Add(f"{number}", body(f"{number}", "x" * 20_000))])
            sizes.append(log.stat().st_size)
    assert max(sizes) < 900_000
    assert len(ids(store)) == 60


def plans(store: SqliteStore, calls: Sequence[Any]) -> list[str]:
    """How SQLite goes about what is asked of it."""
    store.stats()
    found: list[str] = []
    asked: list[str] = []
    for seat in (store._database._writing, store._database._reading):
        assert seat.connection is not None
        seat.connection.set_trace_callback(asked.append)
    for call in calls:
        call()
    connection = store._database._writing.connection
    assert connection is not None
    connection.set_trace_callback(None)
    for each in asked:
        if each.startswith(("SELECT", "UPDATE letters", "DELETE FROM letters")):
            found += [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {each}")]
    return found


def test_no_claim_acknowledgement_or_search_reads_the_whole_backlog(path: Path, time: HandClock) -> None:
    """Each goes through an index; only a search by text, and a look without a filter, walk through the letters."""
    store = filled(path, *(f"{number:03}" for number in range(50)))
    wheres: list[dict[str, Any]] = [
        {},
        {"group": "g"},
        {"error": "E"},
        {"error": "E", "since": START},
        {"group": "g", "status": "parked"},
    ]
    looks: list[dict[str, Any]] = [*wheres[1:], {"status": "parked"}, {"status": "claimed"}, {"since": START}]
    calls = [
        lambda: store.get("001"),
        store.stats,
        lambda: [store.commit([ClaimNext(10, 30, f"t{n}", LetterFilter(**each))]) for n, each in enumerate(wheres)],
        lambda: [store.peek(10, after="005", where=LetterFilter(**each)) for each in looks],
        lambda: store.commit([ClaimOne("020", 30, "u"), Book("020", "u", {}, time.now, None)]),
        lambda: store.commit([Release("t0")]),
    ]
    found = plans(store, calls)
    assert len(found) > 30
    scans = {each for each in found if each.startswith("SCAN") and "counts" not in each and "places" not in each}
    assert scans <= {"SCAN letters"}, scans  # the first row of it, for the oldest letter, and the highest number
    assert sum(each.startswith("SCAN letters") for each in found) <= 2
    sorted_for_claims = [each for each in plans(store, calls[2:3]) if "TEMP B-TREE" in each]
    assert sorted_for_claims == []
