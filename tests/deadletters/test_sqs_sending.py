"""Sending letters to SQS: few requests, nothing lost, nothing cut."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqs_kit import RemoteQueue, a_letter, entries_of, keep, opened_store, remote_queue

from resilio.deadletters.sqs_errors import LetterRefusedError, LetterTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["sqs_fixtures"]
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.usefixtures("credentials"),
    pytest.mark.slow("a real server is started"),
]

MIB = 1_048_576
ATTRIBUTES = len("resilio_id" + "String") + 36


async def test_a_hundred_senders_share_at_most_twenty_requests(queue: RemoteQueue) -> None:
    """What is sent at the same moment goes to SQS in batches of ten."""
    async with opened_store(queue) as store:
        ids = await asyncio.gather(*(keep(store, {"n": each}) for each in range(90)))
    assert queue.wire.calls["SendMessageBatch"] <= 18
    assert sum(queue.wire.calls.values()) <= 20
    assert {each["id"] for each in queue.bodies()} == set(ids)


async def test_senders_a_moment_apart_share_a_request(mini_queue: RemoteQueue) -> None:
    """The first one waits a few milliseconds for others."""
    async with opened_store(mini_queue) as store:
        await keep(store)  # asks for the queue's limit
        first = asyncio.create_task(keep(store))
        await asyncio.sleep(0)
        await asyncio.gather(keep(store), keep(store), first)
    assert [len(each) for each in entries_of(mini_queue.wire)] == [1, 3]


async def test_our_id_is_in_the_body_and_in_an_attribute(queue: RemoteQueue) -> None:
    """SQS's own id changes when a message is moved; ours is in the envelope and beside it."""
    async with opened_store(queue) as store:
        letter_id = await keep(store, {"n": 1})
    (message,) = queue.receive()
    assert json.loads(message["Body"])["id"] == letter_id
    assert message["MessageAttributes"]["resilio_id"]["StringValue"] == letter_id
    assert message["MessageId"] != letter_id


async def test_a_batch_stays_under_a_mebibyte_with_its_attributes() -> None:
    """SQS counts bodies and attributes of all entries together."""
    with remote_queue("moto") as large:  # ministack goes no further than a quarter of that
        async with opened_store(large) as store:
            await asyncio.gather(*(keep(store, "x" * 300_000) for _ in range(7)))
        batches = entries_of(large.wire)
    assert sorted(len(each) for each in batches) == [1, 3, 3]
    for batch in batches:
        assert sum(len(each["MessageBody"]) + ATTRIBUTES for each in batch) <= MIB


AWKWARD = ["\0", "\x1b[31m", "\x7f\x85\u2028", "\ufffe\uffff", "\ud800 alone", "\udfff", "😀é\r\n\t", "", "]]>&amp;<x>"]


async def test_every_text_survives(queue: RemoteQueue) -> None:
    """What XML has no place for, SQS refuses: it is escaped, in keys as well as in values."""
    messages = [{"text": text, f"key {text}": [text]} for text in AWKWARD]
    async with opened_store(queue) as store:
        await asyncio.gather(*(keep(store, each) for each in messages))
        claims = await store.claim(10, seconds=30)
    assert sorted((each.letter.message for each in claims), key=str) == sorted(messages, key=str)


async def test_entries_that_failed_are_sent_again_by_themselves(mini_queue: RemoteQueue) -> None:
    """Of a batch, those that SQS took are not sent a second time."""
    attempts = 0

    def fail_the_odd_ones(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            return forward(payload)
        even = [each for each in payload["Entries"] if int(each["Id"]) % 2 == 0]
        status, answer = forward({**payload, "Entries": even})
        failed = [
            {"Id": each["Id"], "Code": "ServiceUnavailable", "SenderFault": False}
            for each in payload["Entries"]
            if each not in even
        ]
        return status, {**answer, "Failed": failed}

    mini_queue.wire.rules["SendMessageBatch"] = fail_the_odd_ones
    async with opened_store(mini_queue) as store:
        ids = await asyncio.gather(*(keep(store, each) for each in range(10)))
    assert [len(each) for each in entries_of(mini_queue.wire)] == [10, 5]
    assert sorted(each["id"] for each in mini_queue.bodies()) == sorted(ids)


async def test_an_entry_that_is_refused_for_good_fails_alone(mini_queue: RemoteQueue) -> None:
    """Its sender gets the reason, the others their ids; nobody tries it again."""

    def refuse_one(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        good = [each for each in payload["Entries"] if "bad" not in each["MessageBody"]]
        status, answer = forward({**payload, "Entries": good})
        failed = [
            {"Id": each["Id"], "Code": "InvalidMessageContents", "Message": "no", "SenderFault": True}
            for each in payload["Entries"]
            if each not in good
        ]
        return status, {**answer, "Failed": failed}

    mini_queue.wire.rules["SendMessageBatch"] = refuse_one
    async with opened_store(mini_queue) as store:
        found = await asyncio.gather(*(keep(store, each) for each in ("good", "bad", "fine")), return_exceptions=True)
    assert [type(each) for each in found] == [str, LetterRefusedError, str]
    assert "InvalidMessageContents: no" in str(found[1])
    assert mini_queue.wire.calls["SendMessageBatch"] == 1


async def test_a_batch_that_is_refused_whole_is_sent_one_by_one(mini_queue: RemoteQueue) -> None:
    """Moto's server, unlike SQS, refuses all entries for one: the others are not to suffer for it."""

    def refuse_batches_with_a_bad_one(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        if any("bad" in each["MessageBody"] for each in payload["Entries"]):
            return 400, {"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "one of them"}
        return forward(payload)

    mini_queue.wire.rules["SendMessageBatch"] = refuse_batches_with_a_bad_one
    async with opened_store(mini_queue) as store:
        found = await asyncio.gather(*(keep(store, each) for each in ("good", "bad", "fine")), return_exceptions=True)
    assert [type(each) for each in found] == [str, LetterRefusedError, str]
    assert len(mini_queue.bodies()) == 2


async def test_an_id_that_was_sent_is_not_sent_again(mini_queue: RemoteQueue) -> None:
    """Adding an id twice keeps it once."""
    letter_id, body = a_letter()
    async with opened_store(mini_queue) as store:
        assert await store.add(letter_id, body) == await store.add(letter_id, body) == letter_id
    assert len(mini_queue.bodies()) == 1


async def test_a_send_that_was_given_up_is_joined(mini_queue: RemoteQueue) -> None:
    """Who gives up waiting and asks again waits for the request that is on its way, and sends no second one."""
    arrived, may_go = threading.Event(), threading.Event()

    def hold(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        arrived.set()
        assert may_go.wait(10)
        return forward(payload)

    mini_queue.wire.rules["SendMessageBatch"] = hold
    letter_id, body = a_letter()
    async with opened_store(mini_queue) as store:
        first = asyncio.create_task(store.add(letter_id, body))
        await asyncio.to_thread(arrived.wait, 10)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(store.add(letter_id, body))
        await asyncio.sleep(0)
        may_go.set()
        assert await second == letter_id
    assert mini_queue.wire.calls["SendMessageBatch"] == len(mini_queue.bodies()) == 1


async def test_cancelled_before_its_batch_a_letter_is_not_sent(mini_queue: RemoteQueue) -> None:
    """Cancellation takes it out of the batch that gathers; its neighbour is sent."""
    async with opened_store(mini_queue) as store:
        await keep(store, 0)
        gone = asyncio.create_task(keep(store, 1))
        stays = asyncio.create_task(keep(store, 2))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
    assert [each["message"] for each in mini_queue.bodies()] == [0, 2]


async def test_a_letter_over_the_limit_is_compressed_and_comes_back_whole(queue: RemoteQueue) -> None:
    """Nothing of it is cut, and its id can still be read."""
    message = {"text": "so it goes " * 200_000}
    async with opened_store(queue) as store:
        letter_id = await keep(store, message)
        (claim,) = await store.claim(1, seconds=30)
    assert claim.letter.message == message
    (entry,) = entries_of(queue.wire)[0]
    assert len(entry["MessageBody"]) < MIB
    assert json.loads(entry["MessageBody"])["id"] == letter_id


async def test_a_letter_that_does_not_fit_at_all_is_refused_with_its_size() -> None:
    """It says how large it is, what the queue takes, and what would help; SQS is not asked."""
    noise = random.Random(1).randbytes(30_000).hex()
    with remote_queue("ministack", MaximumMessageSize="20000") as small:
        async with opened_store(small) as store:
            with pytest.raises(LetterTooLargeError, match="local_file_path") as caught:
                await keep(store, noise)
            await keep(store, "small enough")
        assert len(small.bodies()) == 1
    assert caught.value.limit == 20_000
    assert 30_000 < caught.value.size < 60_000


@pytest.mark.parametrize("spare", [0, 1])
async def test_the_limit_is_exact(spare: int) -> None:
    """A body that takes what there is with its attributes goes as it is; one more byte, and it is compressed."""
    with remote_queue("moto", MaximumMessageSize="2000") as small:
        letter_id, body = a_letter("")
        room = 2000 - ATTRIBUTES - len(body)
        letter_id, body = a_letter("x" * (room + spare))
        async with opened_store(small) as store:
            await store.add(letter_id, body)
        (message,) = small.receive()
    assert ("zlib" in json.loads(message["Body"])) is bool(spare)


@pytest.mark.parametrize("kind", ["moto", "ministack"])
async def test_a_fifo_queue_gets_group_and_deduplication_ids(kind: str) -> None:
    """Each letter is a group of its own, so that one which is claimed holds up no other."""
    with remote_queue(kind, name=f"{kind}-own.fifo", FifoQueue="true") as fifo:
        async with opened_store(fifo) as store:
            ids = [await keep(store, each, group="same reason") for each in range(3)]
            (first,) = await store.claim(1, seconds=30)
            others = await store.claim(10, seconds=30)
            assert await store.settle(first)
        entries = [each for batch in entries_of(fifo.wire) for each in batch]
    assert len(others) == 2
    assert [each["MessageGroupId"] for each in entries] == ids
    assert [each["MessageDeduplicationId"] for each in entries] == [f"{each}.0" for each in ids]


async def test_a_fifo_queue_can_keep_the_order_within_a_group() -> None:
    """With message_group="group" a claimed letter holds up those that failed for the same reason."""
    with remote_queue("ministack", name="by-group.fifo", FifoQueue="true") as fifo:
        async with opened_store(fifo, message_group="group") as store:
            for group, message in (("é b", 1), ("é b", 2), ("c", 3)):
                await keep(store, message, group=group)
            (first,) = await store.claim(1, seconds=30)
            others = await store.claim(10, seconds=30)
        groups = [each["MessageGroupId"] for batch in entries_of(fifo.wire) for each in batch]
    assert (first.letter.message, [each.letter.message for each in others]) == (1, [3])
    assert groups == ["__b", "__b", "c"]


async def test_a_fifo_queue_takes_a_letter_again_that_was_deleted_minutes_ago() -> None:
    """It would swallow the same deduplication id for five minutes, and a letter that moved back would be lost."""
    letter_id, body = a_letter("there and back")
    with remote_queue("ministack", name="back.fifo", FifoQueue="true") as fifo:
        async with opened_store(fifo) as store:
            await store.add(letter_id, body)
            (claim,) = await store.claim(1, seconds=30)
            await store.settle(claim)
            assert await store.add(letter_id, body) == letter_id
            (again,) = await store.claim(1, seconds=30)
    assert again.letter.message == "there and back"


async def test_a_deduplication_key_counts_for_letters_that_are_there_for_sure(mini_queue: RemoteQueue) -> None:
    """That is those which are being sent, and those that this store has a claim on."""
    async with opened_store(mini_queue) as store:
        first, second = await asyncio.gather(
            keep(store, 1, deduplication_key="k"), keep(store, 2, deduplication_key="k")
        )
        (claim,) = await store.claim(1, seconds=30)
        third = await keep(store, 3, deduplication_key="k")
        await store.settle(claim)
        fourth = await keep(store, 4, deduplication_key="k")
    assert first == second == third != fourth
    assert [each["message"] for each in mini_queue.bodies()] == [4]


async def test_one_store_serves_several_event_loops(mini_queue: RemoteQueue) -> None:
    """Each loop has a client of its own; closing the store closes those of loops that run."""
    ids: list[str] = []
    async with opened_store(mini_queue) as store:
        ready, done = threading.Barrier(3), threading.Event()

        async def elsewhere() -> None:
            ids.extend(await asyncio.gather(*(keep(store, each) for each in range(10))))
            await asyncio.to_thread(ready.wait, 10)
            await asyncio.to_thread(done.wait, 10)

        threads = [threading.Thread(target=asyncio.run, args=(elsewhere(),)) for _ in range(2)]
        for each in threads:
            each.start()
        ids.extend(await asyncio.gather(*(keep(store, each) for each in range(10))))
        await asyncio.to_thread(ready.wait, 10)
        clients = [lane.client for lane in store._queue.lanes._lanes.values()]
        await store.aclose()
        done.set()
        for each in threads:
            await asyncio.to_thread(each.join)
    assert len({id(each) for each in clients}) == 3
    assert {each["id"] for each in mini_queue.bodies()} == set(ids)
    assert len(ids) == 30


async def test_a_closed_store_opens_again(mini_queue: RemoteQueue) -> None:
    """The next call makes a new client."""
    async with opened_store(mini_queue) as store:
        await keep(store)
        await store.aclose()
        await keep(store)
    assert len(mini_queue.bodies()) == 2


async def test_closing_lets_a_letter_arrive_that_is_on_its_way(mini_queue: RemoteQueue) -> None:
    """A sender that still waits gets its id."""
    async with opened_store(mini_queue) as store:
        await keep(store)
        sending = asyncio.create_task(keep(store))
        await asyncio.sleep(0)
        await store.aclose()
        await sending
    assert len(mini_queue.bodies()) == 2
