"""What goes wrong with SQS, and what the caller is told."""

from __future__ import annotations

import asyncio
import builtins
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
from sqs_kit import RemoteQueue, keep, opened_store

from resilio.deadletters import sqs_client
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.sqs_client import Address
from resilio.deadletters.sqs_errors import (
    LetterTooLargeError,
    RemoteQueueDeniedError,
    RemoteQueueError,
    RemoteQueueMissingError,
    RemoteQueueThrottledError,
    RemoteQueueUnreachableError,
)
from resilio.deadletters.sqs_store import SqsStore
from resilio.errors import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["sqs_fixtures"]
pytestmark = [pytest.mark.usefixtures("credentials"), pytest.mark.slow("a real server is started")]

URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/dead-letters"

REFUSALS = [
    ("ExpiredToken", 403, RemoteQueueDeniedError, "credentials have expired; renew them"),
    ("AccessDenied", 403, RemoteQueueDeniedError, "permission denied"),
    ("InvalidClientTokenId", 403, RemoteQueueDeniedError, "permission denied"),
    ("KmsAccessDenied", 400, RemoteQueueDeniedError, "permission denied"),
    ("QueueDoesNotExist", 400, RemoteQueueMissingError, "there is no such queue"),
    ("AWS.SimpleQueueService.NonExistentQueue", 400, RemoteQueueMissingError, "there is no such queue"),
    ("RequestThrottled", 403, RemoteQueueThrottledError, "wants fewer calls"),
    ("ThrottlingException", 400, RemoteQueueThrottledError, "wants fewer calls"),
    ("KmsThrottled", 400, RemoteQueueThrottledError, "wants fewer calls"),
    ("ServiceUnavailable", 503, RemoteQueueUnreachableError, "out of order"),
    ("InternalFailure", 500, RemoteQueueUnreachableError, "out of order"),
    ("UnsupportedOperation", 400, RemoteQueueError, "SQS refused"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("code", "status", "kind", "words"), REFUSALS, ids=[each[0] for each in REFUSALS])
async def test_every_refusal_has_its_error(
    mini_queue: RemoteQueue, time: Any, code: str, status: int, kind: type[RemoteQueueError], words: str
) -> None:
    """It names the queue, says what to do, and only what may pass is tried again: four times in all."""
    mini_queue.wire.refuse("SendMessageBatch", code, status=status)
    async with opened_store(mini_queue) as store:
        with pytest.raises(kind, match=words) as caught:
            await keep(store)
    error = caught.value
    assert type(error) is kind
    assert (error.location, error.aws_code) == (mini_queue.url, code)
    assert mini_queue.url in str(error)
    assert error.__cause__ is not None
    assert is_transient(error.__cause__) is is_transient(error) or code.startswith("Kms")
    assert mini_queue.wire.calls["SendMessageBatch"] == (4 if is_transient(error) else 1)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 -- our own


@pytest.mark.asyncio
async def test_a_bad_moment_passes_unnoticed(mini_queue: RemoteQueue, time: Any) -> None:
    """Throttling that ends before the tries do costs only time, with a pause before each try."""
    mini_queue.wire.refuse("SendMessageBatch", "RequestThrottled", times=3)
    async with opened_store(mini_queue) as store:
        await keep(store)
    assert len(mini_queue.bodies()) == 1
    assert mini_queue.wire.calls["SendMessageBatch"] == 4


@pytest.mark.asyncio
async def test_throttled_entries_are_told_as_such(mini_queue: RemoteQueue, time: Any) -> None:
    """SQS can refuse an entry for lack of capacity while it takes the batch."""

    def refuse(payload: dict[str, Any], _: Callable[..., Any]) -> Any:
        failed = [{"Id": each["Id"], "Code": "KmsThrottled", "SenderFault": True} for each in payload["Entries"]]
        return 200, {"Failed": failed}

    mini_queue.wire.rules["SendMessageBatch"] = refuse
    async with opened_store(mini_queue) as store:
        with pytest.raises(RemoteQueueThrottledError):
            await keep(store)
    assert mini_queue.wire.calls["SendMessageBatch"] == 4


@pytest.mark.asyncio
async def test_a_cut_connection_is_tried_again(mini_queue: RemoteQueue, time: Any) -> None:
    """Nobody knows whether the request arrived: it is made again, and the letter may be there twice."""
    cut = iter((True, False))

    def arrive_and_cut(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        answer = forward(payload)
        if next(cut):
            raise ConnectionAbortedError
        return answer

    mini_queue.wire.rules["SendMessageBatch"] = arrive_and_cut
    async with opened_store(mini_queue) as store:
        letter_id = await keep(store)
        (claim,) = await store.claim(1, seconds=30)
        assert await store.claim(1, seconds=30) == []  # the copy is deleted, for the letter is claimed
        assert await store.settle(claim)
    assert claim.letter.id == letter_id
    assert mini_queue.bodies() == []


@pytest.mark.asyncio
async def test_nobody_listens_at_the_address(time: Any) -> None:
    """A connection that is refused is tried four times, then told."""
    store = SqsStore("http://127.0.0.1:9/123456789012/nothing", wait=0)
    with pytest.raises(RemoteQueueUnreachableError, match="no answer; check the network"):
        await store.stats()
    await store.aclose()


@pytest.mark.asyncio
async def test_a_queue_that_is_deleted_while_in_use(queue: RemoteQueue) -> None:
    """Each call says that there is no such queue, and a send does not claim to have kept anything."""
    async with opened_store(queue) as store:
        await keep(store)
        (claim,) = await store.claim(1, seconds=30)
        queue.other.delete_queue(QueueUrl=queue.direct_url)
        calls = (keep(store), store.claim(1, seconds=30), store.settle(claim), store.stats(), store.peek(10))
        for each in calls:
            with pytest.raises(RemoteQueueMissingError):
                await each


@pytest.mark.asyncio
async def test_a_sender_need_not_be_allowed_to_ask_for_the_limit(mini_queue: RemoteQueue) -> None:
    """Without that permission, SQS's own limit is taken for the queue's."""
    mini_queue.wire.refuse("GetQueueAttributes", "AccessDenied", status=403)
    async with opened_store(mini_queue) as store:
        await keep(store)
    assert len(mini_queue.bodies()) == 1


@pytest.mark.asyncio
async def test_there_are_no_credentials(mini_queue: RemoteQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and no request is made."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with opened_store(mini_queue) as store:
        with pytest.raises(RemoteQueueDeniedError, match="there are no credentials"):
            await keep(store)
    assert not mini_queue.wire.calls


@pytest.mark.asyncio
async def test_without_the_extra_the_first_use_names_it(
    mini_queue: RemoteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store can be built without aiobotocore; using it says what to install."""
    real_import = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("aiobotocore"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real_import(name, *args, **more)

    for name in [each for each in sys.modules if each.startswith("aiobotocore")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", without)
    async with opened_store(mini_queue) as store:
        with pytest.raises(DeadLetterQueueError, match=r"pip install 'resilio-toolkit\[aws\]'") as caught:
            await keep(store)
    assert isinstance(caught.value.__cause__, ImportError)


def test_trio_is_told_what_to_do() -> None:
    """At construction if trio runs, else at the first use: aiobotocore knows asyncio alone."""
    early = SqsStore(URL)

    async def main() -> None:
        with pytest.raises(DeadLetterQueueError, match=r"needs asyncio.*resilio\.sync"):
            SqsStore(URL)
        with pytest.raises(DeadLetterQueueError, match=r"needs asyncio.*resilio\.sync"):
            await early.stats()

    trio.run(main)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"queue_url": "dead-letters"}, "queue_url must be the URL of an SQS queue"),
        ({"queue_url": "https://sqs.eu-central-1.amazonaws.com/"}, "queue_url must be the URL"),
        ({"max_scan": 0}, "max_scan must be a whole number, at least 1"),
        ({"wait": 21}, "wait must be a whole number.* at most 20"),
        ({"scan_timeout": 0}, "scan_timeout must be"),
        ({"hide_for": 50_000}, "hide_for must be"),
        ({"message_group": "all"}, 'message_group must be "letter" or "group"'),
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, Any], words: str) -> None:
    """What is wrong with it is said when the store is built."""
    with pytest.raises(ValueError, match=words):
        SqsStore(**{"queue_url": URL, **arguments})


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        (URL, "eu-central-1", None),
        ("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1", None),
        ("http://localhost:4566/000000000000/q", "us-east-1", "http://localhost:4566"),
        (
            "http://sqs.us-west-2.amazonaws.com.evil.example/1/q",
            "us-east-1",
            "http://sqs.us-west-2.amazonaws.com.evil.example",
        ),
    ],
)
def test_region_and_server_are_read_from_the_url(url: str, region: str, endpoint: str | None) -> None:
    """A queue of Amazon's is asked there; any other where its URL points."""
    address = Address(url, None, None)
    assert (address.region, address.endpoint_url) == (region, endpoint)


def test_a_region_that_is_given_wins() -> None:
    """As does a server."""
    address = Address(URL, "eu-west-3", "http://127.0.0.1:1")
    assert (address.region, address.endpoint_url) == ("eu-west-3", "http://127.0.0.1:1")


def test_errors_with_numbers_pickle() -> None:
    """They cross process borders with what they carry."""
    error = LetterTooLargeError("too large", size=2, limit=1, location=URL)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    assert (copy.size, copy.limit, copy.location) == (2, 1, URL)


@pytest.mark.asyncio
async def test_the_redrive_task_is_a_thin_call(mini_queue: RemoteQueue) -> None:
    """It asks for the queue's ARN and starts the task; no local server has that call, so the answer is written here."""
    mini_queue.wire.rules["StartMessageMoveTask"] = lambda _, __: (200, {"TaskHandle": "task-1"})
    async with opened_store(mini_queue) as store:
        assert await store.redrive("arn:aws:sqs:us-east-1:1:main", per_second=50) == "task-1"
        assert await store.redrive() == "task-1"
        with pytest.raises(ValueError, match="per_second"):
            await store.redrive(per_second=501)
    first, second = [payload for action, payload in mini_queue.wire.sent if action == "StartMessageMoveTask"]
    assert first["SourceArn"].endswith(mini_queue.url.rpartition("/")[2])
    assert (first["DestinationArn"], first["MaxNumberOfMessagesPerSecond"]) == ("arn:aws:sqs:us-east-1:1:main", 50)
    assert set(second) == {"SourceArn"}


@pytest.mark.asyncio
async def test_closing_does_not_wait_for_ever(mini_queue: RemoteQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that hangs is given up after a few seconds, and its sender is told."""
    monkeypatch.setattr(sqs_client, "_CLOSE_WITHIN", 0.1)
    arrived, may_go = threading.Event(), threading.Event()

    def hang(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        arrived.set()
        may_go.wait(10)
        return forward(payload)

    mini_queue.wire.rules["SendMessageBatch"] = hang
    async with opened_store(mini_queue) as store:
        sending = asyncio.create_task(keep(store))
        await asyncio.to_thread(arrived.wait, 10)
        await store.aclose()
        with pytest.raises(RemoteQueueUnreachableError, match="was closed while the letter was on its way"):
            await sending
    may_go.set()
