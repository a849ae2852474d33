from __future__ import annotations

import gc
import math
import pickle
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from resilio.deadletters.errors import (
    DeadLetterQueueError,
    LetterNotKeptError,
    MessageClaimedError,
    MessageNotFoundError,
    NotOurFileError,
)
from resilio.deadletters.forwarding import ForwardingStore
from resilio.deadletters.journal import Journal
from resilio.deadletters.queue import DeadLetterQueue
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.sqs_store import SqsStore
from resilio.deadletters.threaded_store import ThreadedStore
from resilio.errors import ErrorSeverity, ResilioError, SystemError, is_transient  # noqa: A004 -- ours
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUEUE = "https://sqs.eu-west-1.amazonaws.com/1/letters"


def generator(message: object) -> Any:
    """A reprocessor that would do nothing."""
    yield message


async def async_generator(message: object) -> Any:
    """The same in the other colour."""
    yield message


def needs_a_keyword(message: object, *, tenant: str) -> None:
    """A reprocessor that nobody could call."""


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"visibility_timeout": 0}, ValueError, "visibility_timeout must be seconds or a timedelta, above 0"),
        ({"visibility_timeout": -1}, ValueError, "visibility_timeout"),
        ({"visibility_timeout": math.nan}, ValueError, "visibility_timeout"),
        ({"visibility_timeout": 43_201}, ValueError, "at most 43200"),
        ({"visibility_timeout": "30"}, TypeError, "visibility_timeout .* not '30' .str."),
        ({"visibility_timeout": True}, TypeError, "visibility_timeout"),
        ({"max_attempts": 0}, ValueError, "max_attempts must be a whole number, at least 1, not 0"),
        ({"max_attempts": 2.5}, TypeError, "max_attempts"),
        ({"fallback": "repr"}, TypeError, "fallback must be a function that returns text, not 'repr'"),
        ({"reprocessor": "handle"}, TypeError, "expected a callable, not 'handle'"),
        (
            {"reprocessor": generator},
            TypeError,
            "reprocessor must be an async or a plain function; .*generator is a kind of generator",
        ),
        ({"reprocessor": async_generator}, TypeError, "async_generator is a kind of async generator"),
        ({"local_file_path": 7}, TypeError, "local_file_path must be a path, not 7"),
        ({"local_file_path": b"letters"}, TypeError, "local_file_path must be a path, not b'letters'"),
        ({"local_file_path": ""}, ValueError, "local_file_path must be the path of a file, not ''"),
        ({"local_file_path": "a\0b"}, ValueError, "local_file_path"),
        ({"replay_delay": -1}, ValueError, "replay_delay must be seconds or a timedelta"),
        ({"max_replay_delay": "1h"}, TypeError, "max_replay_delay"),
        ({"retention": 0}, ValueError, "retention must be seconds or a timedelta, above 0"),
        ({"max_letters": 0}, ValueError, "max_letters must be a whole number, at least 1, not 0"),
        ({"encoder": repr}, TypeError, "encoder must be an Encoder, not"),
        ({"codec": "fernet"}, TypeError, "codec must have the methods seal and open, as FernetCodec has, not 'fernet'"),
        (
            {"reprocessor": lambda message, context, more: None},
            TypeError,
            "reprocessor is called with a message, or with a message and a context; .* wants message, context, more",
        ),
        ({"reprocessor": needs_a_keyword}, TypeError, "needs_a_keyword wants message, tenant"),
        ({"store": MemoryStore("here"), "local_file_path": "x"}, TypeError, "store is given in place of queue_url"),
        ({"queue_url": 7}, TypeError, "queue_url must be text, not 7"),
        ({"region": b"eu"}, TypeError, "region must be text"),
    ],
)
def test_a_wrong_parameter_is_refused_when_the_queue_is_built(
    kwargs: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The message has the parameter's name, the value and what is allowed."""
    with pytest.raises(error, match=text):
        DeadLetterQueue(**kwargs)


@pytest.mark.anyio
@pytest.mark.parametrize("value", [0, -1, 1.5, "10", True])
async def test_wrong_counts_are_refused(path: Path, value: Any) -> None:
    """max_messages, limit and peek's limit are whole numbers above 0."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=print)
    with pytest.raises((TypeError, ValueError), match="max_messages"):
        await dlq.receive_from_dlq(value)
    with pytest.raises((TypeError, ValueError), match="limit"):
        await dlq.peek(value)
    with pytest.raises((TypeError, ValueError), match="limit"):
        await dlq.reprocess_all(limit=value)


def test_a_timedelta_is_a_duration() -> None:
    """Minutes may be written as such."""
    assert DeadLetterQueue(visibility_timeout=timedelta(minutes=2)).visibility_timeout == 120


# -- where the letters lie ---------------------------------------------------------------------------------------------


def test_without_arguments_the_letters_lie_in_the_working_directory(folder: Path) -> None:
    """./local_dlq.json, as it was when the queue was built, wherever the process goes later."""
    assert DeadLetterQueue().local_file_path == folder / "local_dlq.json"
    assert DeadLetterQueue(queue_url=None, region="us-east-1").location == str(folder / "local_dlq.json")


def test_the_environment_names_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DLQ_LOCAL_FILE_PATH is read when the queue is built; an argument goes before it."""
    monkeypatch.setenv("DLQ_LOCAL_FILE_PATH", "from_env.jsonl")
    assert DeadLetterQueue().local_file_path == folder / "from_env.jsonl"
    assert DeadLetterQueue(local_file_path="given.jsonl").local_file_path == folder / "given.jsonl"


@pytest.mark.parametrize("name", ["letters.db", "letters.SQLite3", "letters.sqlite"])
def test_the_ending_of_the_file_chooses_the_store(folder: Path, name: str) -> None:
    """A database for .db, .sqlite and .sqlite3, whatever their case; a journal for all else."""

    def blocking(path: Path) -> object:
        store = DeadLetterQueue(local_file_path=path)._inner_store()
        assert isinstance(store, ThreadedStore)
        return store._blocking

    assert isinstance(blocking(folder / name), SqliteStore)
    assert isinstance(blocking(folder / f"{name}.jsonl"), Journal)


def test_a_queue_url_chooses_sqs_and_a_file_beside_it_stands_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From arguments or from the environment; building either asks nobody anything."""
    alone = DeadLetterQueue(queue_url=QUEUE, region="eu-west-1")
    assert isinstance(alone._inner_store(), SqsStore)
    assert (alone.location, alone.queue_url, alone.region, alone.local_file_path) == (QUEUE, QUEUE, "eu-west-1", None)
    both = DeadLetterQueue(queue_url=QUEUE, region="eu-west-1", local_file_path=folder / "spill.jsonl")
    store = both._inner_store()
    assert isinstance(store, ForwardingStore)
    assert isinstance(store.remote, SqsStore)
    assert store.local.location == str(folder / "spill.jsonl")
    monkeypatch.setenv("DLQ_QUEUE_URL", QUEUE)
    assert DeadLetterQueue().location == QUEUE
    assert list(folder.iterdir()) == []


def test_queues_of_one_url_share_their_connections(folder: Path) -> None:
    """A queue may be built for each message; the last one that is in use closes the store."""
    first, second = DeadLetterQueue(queue_url=QUEUE), DeadLetterQueue(queue_url=QUEUE)
    other = DeadLetterQueue(queue_url=QUEUE, local_file_path=folder / "spill.jsonl")
    store = first._inner_store()
    assert second._inner_store() is store
    assert other._inner_store() is not store
    assert not first._place.leave()
    assert second._place.leave()
    first._place.enter()
    del first
    gc.collect()
    assert second._place.leave()
    assert DeadLetterQueue(queue_url=QUEUE)._inner_store() is store


@pytest.mark.anyio
async def test_a_store_of_ones_own_is_used_as_it_is() -> None:
    """Whatever fulfils the protocol."""
    store = MemoryStore("my shelf")
    dlq = DeadLetterQueue(store=store)
    message_id = await dlq.send_to_dlq("hello", {})
    assert [each.id for each in store.letters()] == [message_id]
    assert dlq.location == "my shelf"
    await dlq.aclose()


def test_a_queue_shows_where_it_is(path: Path) -> None:
    """For logs."""
    assert repr(DeadLetterQueue(local_file_path=path)) == f"<DeadLetterQueue {path}>"


# -- the errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        DeadLetterQueueError("m", location="here"),
        NotOurFileError("m", location="here"),
        LetterNotKeptError("m", location="here", extra=1),
        MessageNotFoundError("m", message_id="a", location="here"),
        MessageClaimedError("m", message_id="a", until=NOW, retry_after=3.0, location="here"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_errors_have_their_place_in_the_taxonomy_and_pickle(error: DeadLetterQueueError) -> None:
    """They are system errors of the component "dead letter queue"."""
    assert isinstance(error, (ResilioError, SystemError))
    assert error.component == "dead letter queue"
    assert error.category == "system"
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copied) is type(error)
    assert str(copied) == "m"
    assert vars(copied) == vars(error)


def test_only_a_claimed_letter_is_worth_another_try() -> None:
    """Waiting helps against a claim, and not against a foreign file."""
    claimed = MessageClaimedError("m", message_id="a", until=NOW, retry_after=3.0, location="here")
    assert is_transient(claimed)
    assert claimed.severity is ErrorSeverity.WARNING
    assert not is_transient(NotOurFileError("m", location="here"))
