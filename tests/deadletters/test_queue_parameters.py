from __future__ import annotations

import math
import pickle
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from letter_kit import heard

from resilio.deadletters.errors import (
    DeadLetterQueueError,
    LetterNotKeptError,
    MessageClaimedError,
    MessageNotFoundError,
    NotOurFileError,
)
from resilio.deadletters.events import RemoteQueueUnavailable
from resilio.deadletters.queue import DeadLetterQueue
from resilio.errors import ErrorSeverity, ResilioError, SystemError, is_transient  # noqa: A004 -- ours

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
        ({"local_file_path": "letters.db"}, ValueError, "SQLite is not supported yet"),
        ({"local_file_path": "letters.SQLite3"}, ValueError, "SQLite is not supported yet"),
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


def test_a_remote_queue_alone_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody believes that letters go to SQS while they do not."""
    with pytest.raises(DeadLetterQueueError, match="SQS is not supported yet; give local_file_path too"):
        DeadLetterQueue(queue_url=QUEUE)
    monkeypatch.setenv("DLQ_QUEUE_URL", QUEUE)
    with pytest.raises(DeadLetterQueueError, match=QUEUE):
        DeadLetterQueue()


@pytest.mark.anyio
async def test_with_both_the_file_is_used_and_that_is_told(path: Path) -> None:
    """The fallback of the reference: the letters are safe in the file, and an event warns once."""
    dlq = DeadLetterQueue(queue_url=QUEUE, local_file_path=path)
    with heard(RemoteQueueUnavailable) as events:
        message_id = await dlq.send_to_dlq("hello", {})
        await dlq.send_to_dlq("again", {})
    assert [(each.queue_url, each.location) for each in events] == [(QUEUE, str(path))]
    assert (await DeadLetterQueue(local_file_path=path).get(message_id)).message == "hello"


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
