"""A remote queue with a local file behind it: what SQS does not take waits in the file, and is handed on in order."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from letter_kit import heard
from sqs_kit import RemoteQueue, a_letter, keep, remote_queue

from resilio._core import clock
from resilio.deadletters.errors import DeadLetterQueueError, MessageNotFoundError
from resilio.deadletters.events import LettersForwarded, LetterSpilled, RemoteQueueUnavailable
from resilio.deadletters.forwarding import ForwardingStore
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.sqs_errors import RemoteQueueUnreachableError
from resilio.deadletters.sqs_store import SqsStore
from resilio.deadletters.threaded_store import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from resilio.deadletters.store import Claim

pytest_plugins = ["sqs_fixtures"]
pytestmark = [pytest.mark.usefixtures("credentials"), pytest.mark.slow("a real server is started")]


@asynccontextmanager
async def forwarding(queue: RemoteQueue, path: Path, **arguments: Any) -> AsyncIterator[ForwardingStore]:
    """A store on a queue and a file, which tries again soon, and is closed afterwards."""
    store = ForwardingStore(
        SqsStore(queue.url, wait=0), ThreadedStore(Journal(path)), **{"retry_every": 0.05, "deadline": 5, **arguments}
    )
    try:
        yield store
    finally:
        await store.aclose()


async def drained(store: ForwardingStore) -> None:
    """Wait until nothing waits in the file."""
    while (await store.local.stats()).total:
        await clock.sleep(0.02)


def messages(queue: RemoteQueue) -> list[Any]:
    """What arrived, in the order in which it was sent."""
    return [each["message"] for each in queue.bodies()]


@pytest.mark.asyncio
async def test_while_sqs_answers_the_file_is_not_needed(queue: RemoteQueue, path: Path) -> None:
    """Letters go straight to the queue."""
    async with forwarding(queue, path) as store:
        await asyncio.gather(*(keep(store, each) for each in range(5)))
        assert (await store.local.stats()).total == 0
        assert (await store.stats()).total == 5


@pytest.mark.asyncio
async def test_what_sqs_does_not_take_is_handed_on_in_order_when_it_is_back(queue: RemoteQueue, path: Path) -> None:
    """Letters that are sent meanwhile wait behind those in the file; each arrives once."""
    with heard(LetterSpilled, RemoteQueueUnavailable, LettersForwarded) as events:
        async with forwarding(queue, path) as store:
            await keep(store, 0)
            queue.wire.refuse("SendMessageBatch", "AccessDenied", status=403)
            ids = [await keep(store, each) for each in range(1, 24)]
            assert (await store.stats()).total == 24
            del queue.wire.rules["SendMessageBatch"]
            await drained(store)
            await keep(store, 24)
            await drained(store)
    assert messages(queue) == list(range(25))
    spilled = [each for each in events if isinstance(each, LetterSpilled)]
    assert [each.message_id for each in spilled[:23]] == ids
    assert "permission denied" in spilled[0].reason
    assert spilled[0].queue_url == queue.url
    assert not spilled[0].stays
    assert sum(each.count for each in events if isinstance(each, LettersForwarded)) == len(spilled)
    assert [each.queue_url for each in events if isinstance(each, RemoteQueueUnavailable)] == [queue.url]


@pytest.mark.asyncio
async def test_a_server_that_hangs_costs_one_deadline_and_not_one_for_each_letter(
    mini_queue: RemoteQueue, path: Path
) -> None:
    """After the first that was too late, letters go to the file at once; the late one is not sent twice."""
    may_go = threading.Event()

    def hang(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        may_go.wait(20)
        return forward(payload)

    async with forwarding(mini_queue, path, deadline=0.3) as store:
        await keep(store.remote, 0)  # the first call takes longer
        mini_queue.wire.rules["SendMessageBatch"] = hang
        with heard(LetterSpilled) as events:
            await keep(store, 1)
            for each in range(2, 8):
                await keep(store, each)
        assert "within 0.3 s" in events[0].reason
        assert all("wait in the file" in each.reason for each in events[1:])
        may_go.set()
        await drained(store)
    assert sorted(messages(mini_queue)) == list(range(8))


@pytest.mark.asyncio
async def test_a_letter_that_is_too_large_stays_in_the_file_whole(path: Path) -> None:
    """It holds up no other, it is replayed from there, and it is not tried again and again."""
    noise = random.Random(1).randbytes(30_000).hex()
    with remote_queue("ministack", MaximumMessageSize="20000") as small, heard(LetterSpilled) as events:
        async with forwarding(small, path) as store:
            letter_id = await keep(store, noise)
            await keep(store, "small")
            assert (await store.local.stats()).total == 1
            assert [(each.message_id, each.stays) for each in events] == [(letter_id, True)]
            claims = await store.claim(10, seconds=30)
            assert {each.letter.message for each in claims} == {noise, "small"}
            for each in claims:
                assert await store.settle(each)
            assert (await store.stats()).total == 0


@pytest.mark.asyncio
async def test_a_letter_that_grows_too_large_moves_to_the_file(path: Path) -> None:
    """A failed replay makes it longer: the attempt is written down where there is room."""
    noise = random.Random(1).randbytes(7_000).hex()
    with remote_queue("ministack", MaximumMessageSize="10000") as small:
        async with forwarding(small, path) as store:
            letter_id = await keep(store, noise)
            (claim,) = await store.claim(1, seconds=30)
            error = {"error_type": "E", "traceback": random.Random(2).randbytes(3_000).hex()}
            assert await store.book(claim, error, failed_at=clock.utcnow(), park_at=5) == 1
            (letter,) = await store.peek(10)
            assert (letter.id, letter.message, letter.attempts) == (letter_id, noise, 1)
            assert small.counts() == (0, 0)
            assert (await store.local.stats()).total == 1


@pytest.mark.asyncio
async def test_what_an_earlier_process_left_is_handed_on(mini_queue: RemoteQueue, path: Path) -> None:
    """The first use of the store finds it in the file, with its attempts and history."""
    left = ThreadedStore(Journal(path))
    ids = [await keep(left, each) for each in range(3)]
    (claim,) = await left.claim(1, seconds=30)
    await left.book(claim, {"error_type": "E"}, failed_at=clock.utcnow(), park_at=None)
    await left.aclose()
    async with forwarding(mini_queue, path) as store:
        await store.stats()
        await drained(store)
        letters = await store.remote.peek(10)
    assert [(each.id, each.attempts) for each in letters] == [(ids[0], 1), (ids[1], 0), (ids[2], 0)]
    assert len(letters[0].history) == 1


@pytest.mark.asyncio
async def test_while_sqs_is_away_the_letters_in_the_file_can_be_had(mini_queue: RemoteQueue, path: Path) -> None:
    """Claims, looking and counting use the file; what only SQS could answer says why it does not."""
    async with forwarding(mini_queue, path) as store:
        await keep(store, "remote")
        mini_queue.wire.is_down = True
        ids = [await keep(store, each) for each in range(3)]
        assert [each.message for each in await store.peek(10)] == [0, 1, 2]
        assert (await store.stats()).total == 3
        claims: list[Claim] = []
        while len(claims) < 2:  # one may just be on trial, to see whether SQS is back
            with suppress(RemoteQueueUnreachableError):
                claims += await store.claim(2 - len(claims), seconds=30)
        claims.sort(key=lambda each: each.letter.id)
        one, other, third = sorted(ids, key=lambda each: each not in {claim.letter.id for claim in claims})
        assert await store.settle(claims[0])
        longer = await store.extend(claims[1], seconds=60)
        assert longer is not None
        assert await store.book(longer, {"error_type": "E"}, failed_at=clock.utcnow(), park_at=1) == 1
        parked = await store.get(other)
        assert parked is not None
        assert parked.status is LetterStatus.PARKED
        assert await store.edit(third, "edited")
        assert await store.park(other, parked=False)
        assert await store.delete(other)
        with pytest.raises(RemoteQueueUnreachableError):
            await store.get(one)
        mini_queue.wire.is_down = False
        await drained(store)
    assert sorted(messages(mini_queue)) == ["edited", "remote"]


@pytest.mark.asyncio
async def test_claims_of_both_are_told_apart(mini_queue: RemoteQueue, path: Path) -> None:
    """Each is settled, released and extended where it was made."""
    async with forwarding(mini_queue, path, retry_every=60) as store:
        remote_id = await keep(store, "remote")
        mini_queue.wire.refuse("SendMessageBatch", "AccessDenied", times=2)
        local_id = await keep(store, "local")
        here, there = await store.claim(10, seconds=30)
        assert (here.letter.id, there.letter.id) == (local_id, remote_id)
        assert await store.extend(here, seconds=60) is not None
        assert await store.extend(there, seconds=60) is not None
        await store.release(here.token)
        await store.release(there.token)
        again = await store.claim_one(local_id, seconds=30)
        far = await store.claim_one(remote_id, seconds=30)
        far = await store.claim_one(remote_id, seconds=30, held=far.token)
        assert await store.settle(again)
        assert await store.settle(far)
        with pytest.raises(MessageNotFoundError):
            await store.claim_one(local_id, seconds=30)
        assert (await store.stats()).total == 0


@pytest.mark.asyncio
async def test_purge_and_prune_reach_both(mini_queue: RemoteQueue, path: Path) -> None:
    """What is tidied is tidied in the file as well as in the queue."""
    async with forwarding(mini_queue, path, retry_every=60) as store:
        first = await keep(store, 0)
        mini_queue.wire.refuse("SendMessageBatch", "AccessDenied", times=2)
        second = await keep(store, 1)
        assert set(await store.prune(older_than=clock.utcnow(), at_most=None)) == {first, second}
        await store.local.add(*a_letter())
        await store.remote.add(*a_letter())
        assert await store.purge() == 2


@pytest.mark.asyncio
async def test_when_neither_takes_it_the_sender_is_told(mini_queue: RemoteQueue, path: Path) -> None:
    """The error is the file's, and its cause says what SQS said."""
    path.mkdir()  # noqa: ASYNC240 -- a folder where the file should be
    async with forwarding(mini_queue, path) as store:
        with pytest.raises(DeadLetterQueueError) as caught:
            await keep(store)
    assert str(path) in str(caught.value)


@pytest.mark.asyncio
async def test_closing_ends_the_forwarding_and_the_next_use_goes_on(mini_queue: RemoteQueue, path: Path) -> None:
    """No task is left behind, and no letter."""
    async with forwarding(mini_queue, path) as store:
        mini_queue.wire.refuse("SendMessageBatch", "AccessDenied")
        await keep(store, 1)
        await store.aclose()
        assert {each for each in asyncio.all_tasks() if each is not asyncio.current_task()} == set()
        del mini_queue.wire.rules["SendMessageBatch"]
        await keep(store, 2)
        await drained(store)
    assert messages(mini_queue) == [1, 2]


def test_another_event_loop_goes_on_where_one_has_ended(mini_queue: RemoteQueue, path: Path) -> None:
    """The task ends with its loop; the next use on another one starts a new one."""
    store = ForwardingStore(SqsStore(mini_queue.url, wait=0), ThreadedStore(Journal(path)), retry_every=0.05)

    async def spill() -> None:
        mini_queue.wire.refuse("GetQueueAttributes", "AccessDenied")
        mini_queue.wire.refuse("SendMessageBatch", "AccessDenied")
        await keep(store, 1)
        await store.remote.aclose()  # as for any client; the task is left to the end of the loop

    async def go_on() -> None:
        mini_queue.wire.rules.clear()
        await store.peek(1)
        await store.stats()
        await drained(store)
        await store.aclose()

    asyncio.run(spill())
    asyncio.run(go_on())
    assert messages(mini_queue) == [1]


def test_under_trio_letters_wait_in_the_file(mini_queue: RemoteQueue, path: Path) -> None:
    """SQS needs asyncio: a store that was built before trio ran keeps letters until asyncio uses it."""
    store = ForwardingStore(SqsStore(mini_queue.url, wait=0), ThreadedStore(Journal(path)), retry_every=0.05)

    async def spill() -> None:
        await keep(store, 1)
        await store.aclose()

    async def go_on() -> None:
        await keep(store, 2)
        await drained(store)
        await store.aclose()

    trio.run(spill)
    asyncio.run(go_on())
    assert messages(mini_queue) == [1, 2]


@pytest.mark.asyncio
async def test_a_letter_is_not_sent_while_somebody_replays_it_from_the_file(
    mini_queue: RemoteQueue, path: Path
) -> None:
    """Forwarding claims a letter like everybody else; it goes on when the claim is given back."""
    async with forwarding(mini_queue, path) as store:
        mini_queue.wire.refuse("SendMessageBatch", "AccessDenied")
        await keep(store, 1)
        claim = await store.local.claim(1, seconds=30)
        while not claim:
            claim = await store.local.claim(1, seconds=30)
        del mini_queue.wire.rules["SendMessageBatch"]
        assert await store.forward() == 0
        await store.local.release(claim[0].token)
        await drained(store)
    assert messages(mini_queue) == [1]


@pytest.mark.asyncio
async def test_a_letter_in_the_file_that_sqs_refuses_holds_up_no_other(mini_queue: RemoteQueue, path: Path) -> None:
    """It stays, and an event says so once."""
    left = ThreadedStore(Journal(path))
    for each in ("good", "bad", "fine"):
        await keep(left, each)
    await left.aclose()

    def refuse(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        good = [each for each in payload["Entries"] if json.loads(each["MessageBody"])["message"] != "bad"]
        status, answer = forward({**payload, "Entries": good}) if good else (200, {})
        failed = [
            {"Id": each["Id"], "Code": "InvalidMessageContents", "SenderFault": True}
            for each in payload["Entries"]
            if each not in good
        ]
        return status, {**answer, "Failed": failed}

    mini_queue.wire.rules["SendMessageBatch"] = refuse
    with heard(LetterSpilled) as events:
        async with forwarding(mini_queue, path) as store:
            await store.stats()
            while (await store.local.stats()).total > 1:
                await clock.sleep(0.02)
            await keep(store, "later")
            while (await store.local.stats()).total > 1:
                await clock.sleep(0.02)
    assert [each.stays for each in events].count(True) == 1
    assert sorted(messages(mini_queue)) == ["fine", "good", "later"]
