"""Handing out letters from SQS: receipts, scans that give back, and letters that must not come."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqs_kit import RemoteQueue, entries_of, keep, opened_store, remote_queue

from resilio._core import clock
from resilio.deadletters.errors import MessageClaimedError, MessageNotFoundError
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.deadletters.sqs_receipts import Receipt
    from resilio.deadletters.sqs_store import SqsStore
    from resilio.deadletters.store import Claim

pytest_plugins = ["sqs_fixtures"]
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.usefixtures("credentials"),
    pytest.mark.slow("a real server is started"),
]


async def filled(store: SqsStore, count: int, **more: Any) -> list[str]:
    """Have a store keep so many letters; returns their ids."""
    return list(await asyncio.gather(*(keep(store, each, **more) for each in range(count))))


async def fail(store: SqsStore, claim: Claim, *, park_at: int | None = None, **more: Any) -> int | None:
    """Book a failed attempt."""
    error = {"error_type": "KeyError", "error_message": "again"}
    return await store.book(claim, error, failed_at=clock.utcnow(), park_at=park_at, **more)


# -- claims ------------------------------------------------------------------------------------------------------------


async def test_a_claimed_letter_is_hidden_until_it_is_given_back(queue: RemoteQueue) -> None:
    """Nobody else gets it meanwhile, neither through this store nor beside it."""
    async with opened_store(queue) as store:
        await filled(store, 3)
        claims = await store.claim(10, seconds=30)
        assert [each.letter.status for each in claims] == [LetterStatus.CLAIMED] * 3
        assert await store.claim(10, seconds=30) == []
        assert queue.receive() == []
        await store.release(claims[0].token)
        assert len(queue.receive()) == 3


async def test_a_settled_letter_is_gone(queue: RemoteQueue) -> None:
    """Deleting by a receipt that holds takes one request and no scan."""
    async with opened_store(queue) as store:
        await filled(store, 2)
        (claim,) = await store.claim(1, seconds=30)
        before = queue.wire.calls["ReceiveMessage"]
        assert await store.settle(claim)
        assert queue.wire.calls["ReceiveMessage"] == before
        assert (await store.stats()).total == 1


async def test_a_claim_is_extended_under_its_token(mini_queue: RemoteQueue) -> None:
    """The heartbeat of a long replay tells SQS to go on hiding the letter."""
    async with opened_store(mini_queue) as store:
        await filled(store, 1)
        (claim,) = await store.claim(1, seconds=5)
        longer = await store.extend(claim, seconds=600)
    assert longer is not None
    assert longer.token == claim.token
    assert longer.until > claim.until + timedelta(seconds=500)
    action, payload = mini_queue.wire.sent[-1]
    assert (action, payload["VisibilityTimeout"]) == ("ChangeMessageVisibility", 600)


async def test_no_claim_lasts_longer_than_twelve_hours(moto_queue: RemoteQueue, time: Any) -> None:
    """SQS counts from when the letter was received: near the end a claim is extended by what is left, then not."""
    async with opened_store(moto_queue) as store:
        await filled(store, 1)
        (claim,) = await store.claim(1, seconds=43_200)
        time.advance(43_000)
        longer = await store.extend(claim, seconds=3600)
        assert longer is not None
        assert moto_queue.wire.sent[-1][1]["VisibilityTimeout"] < 200
        time.advance(200)
        assert await store.extend(longer, seconds=3600) is None


async def test_an_extension_that_sqs_refuses_means_that_the_claim_is_lost(mini_queue: RemoteQueue) -> None:
    """``ReceiptHandleIsInvalid`` is no failure of the call: somebody else has the letter."""
    mini_queue.wire.refuse("ChangeMessageVisibility", "ReceiptHandleIsInvalid")
    async with opened_store(mini_queue) as store:
        await filled(store, 1)
        (claim,) = await store.claim(1, seconds=30)
        assert await store.extend(claim, seconds=30) is None


async def test_a_filter_takes_what_it_means_and_gives_back_the_rest(mini_queue: RemoteQueue) -> None:
    """Others see the letters that were not meant as soon as the call is over."""
    async with opened_store(mini_queue) as store:
        await filled(store, 8, error="OSError")
        await keep(store, "wanted", error="KeyError")
        claims = await store.claim(5, seconds=30, where=LetterFilter(error="KeyError"))
        assert [each.letter.message for each in claims] == ["wanted"]
        assert mini_queue.counts() == (8, 1)


async def test_cancelling_a_claim_gives_it_back(moto_queue: RemoteQueue) -> None:
    """The answer is waited for, and what came with it is shown to others again."""
    arrived, may_go = threading.Event(), threading.Event()

    def hold(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        arrived.set()
        assert may_go.wait(10)
        return forward(payload)

    async with opened_store(moto_queue) as store:
        await filled(store, 2)
        moto_queue.wire.rules["ReceiveMessage"] = hold
        claiming = asyncio.create_task(store.claim(2, seconds=30))
        await asyncio.to_thread(arrived.wait, 10)
        claiming.cancel()
        await asyncio.sleep(0)
        may_go.set()
        with pytest.raises(asyncio.CancelledError):
            await claiming
        assert moto_queue.counts() == (2, 0)


async def test_what_another_program_sent_is_a_letter_too(queue: RemoteQueue) -> None:
    """SQS's own redrive policy puts messages into a dead letter queue as they were."""
    queue.send("no JSON")
    queue.send('{"order": 7}')
    queue.send('{"id": "x", "zlib": "damaged", "size": 5}')
    async with opened_store(queue) as store:
        claims = await store.claim(10, seconds=30)
        assert [each.letter.message for each in claims[:2]] == ["no JSON", {"order": 7}]
        assert await fail(store, claims[0]) == 1
        assert await store.settle(claims[1])
        (again,) = await store.claim(10, seconds=30)
    assert (again.letter.id, again.letter.message, again.letter.attempts) == (claims[0].letter.id, "no JSON", 1)


# -- by id -------------------------------------------------------------------------------------------------------------


async def test_a_letter_that_was_received_is_found_by_its_receipt(mini_queue: RemoteQueue) -> None:
    """No scan is needed for what this store has in its hands."""
    async with opened_store(mini_queue) as store:
        await filled(store, 3)
        (claim,) = await store.claim(1, seconds=30)
        before = mini_queue.wire.calls["ReceiveMessage"]
        again = await store.claim_one(claim.letter.id, seconds=60, held=claim.token)
        assert (await store.get(claim.letter.id)) == again.letter or again.letter.id == claim.letter.id
        with pytest.raises(MessageClaimedError) as caught:
            await store.claim_one(claim.letter.id, seconds=60, held=claim.token)
        assert await store.delete(claim.letter.id)
        assert mini_queue.wire.calls["ReceiveMessage"] == before
    assert 0 < caught.value.retry_after <= 60


async def test_a_scan_gives_back_what_it_did_not_want(queue: RemoteQueue) -> None:
    """Without a receipt letters are received until the right one comes; the others are free again at once."""
    async with opened_store(queue) as store:
        ids = await filled(store, 25)
        claim = await store.claim_one(ids[20], seconds=30)
        assert claim.letter.message == 20
        assert queue.counts() == (24, 1)
        found = await store.get(ids[10])
        assert found is not None
        assert (found.message, found.status) == (10, LetterStatus.WAITING)
        assert queue.counts() == (24, 1)


async def test_a_scan_is_bounded_and_says_what_it_saw(mini_queue: RemoteQueue) -> None:
    """It looks at ``max_scan`` letters and no more; the error counts them."""
    async with opened_store(mini_queue, max_scan=12) as store:
        await filled(store, 20)
        before = mini_queue.wire.calls["ReceiveMessage"]
        with pytest.raises(MessageNotFoundError, match=r"12 letters that were seen.*max_scan is 12") as caught:
            await store.claim_one("nobody", seconds=30)
        assert mini_queue.wire.calls["ReceiveMessage"] == before + 2
        assert mini_queue.counts() == (20, 0)
    assert caught.value.context["seen"] == 12


async def test_a_scan_ends_in_time(moto_queue: RemoteQueue, time: Any) -> None:
    """``scan_timeout`` bounds it as well."""

    def slowly(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        time.advance(4)
        return forward(payload)

    async with opened_store(moto_queue, scan_timeout=10) as store:
        await filled(store, 50)
        moto_queue.wire.rules["ReceiveMessage"] = slowly
        with pytest.raises(MessageNotFoundError) as caught:
            await store.claim_one("nobody", seconds=30)
    assert caught.value.context["seen"] == 30


async def test_none_means_that_there_is_no_such_letter(mini_queue: RemoteQueue) -> None:
    """Only a scan that saw all there is says so; otherwise it says how much it could not see."""
    async with opened_store(mini_queue) as store:
        await filled(store, 2)
        assert await store.get("nobody") is None
        assert await store.delete("nobody") is False
        assert await store.edit("nobody", "else") is False
        assert await store.park("nobody", parked=True) is False
        mini_queue.receive(1)  # somebody else has one
        for call in (store.get("nobody"), store.delete("nobody"), store.edit("nobody", "else")):
            with pytest.raises(MessageNotFoundError, match=r"among the 1 letters.* 1 could not be seen"):
                await call


async def test_two_scans_at_once_do_not_hide_letters_from_each_other(moto_queue: RemoteQueue) -> None:
    """They take turns, so that each finds what is there."""
    async with opened_store(moto_queue) as store:
        ids = await filled(store, 20)
        found = await asyncio.gather(*(store.get(each) for each in (ids[0], ids[19], ids[10])))
    assert [each and each.message for each in found] == [0, 19, 10]


async def test_cancelling_a_scan_gives_everything_back(moto_queue: RemoteQueue) -> None:
    """Nothing stays hidden for the sake of a caller who has gone."""
    arrived, may_go = threading.Event(), threading.Event()

    def hold_the_third(payload: dict[str, Any], forward: Callable[..., Any]) -> Any:
        if moto_queue.wire.calls["ReceiveMessage"] == 3:
            arrived.set()
            assert may_go.wait(10)
        return forward(payload)

    async with opened_store(moto_queue) as store:
        await filled(store, 30)
        moto_queue.wire.rules["ReceiveMessage"] = hold_the_third
        looking = asyncio.create_task(store.claim_one("nobody", seconds=30))
        await asyncio.to_thread(arrived.wait, 10)
        looking.cancel()
        await asyncio.sleep(0)
        may_go.set()
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert moto_queue.counts() == (30, 0)


# -- stale receipts ----------------------------------------------------------------------------------------------------


async def test_a_letter_whose_receipt_is_stale_is_deleted_by_the_one_it_has_now(queue: RemoteQueue) -> None:
    """Its claim ran out and somebody else had it since: it is looked for."""
    async with opened_store(queue) as store:
        await filled(store, 3)
        (claim,) = await store.claim(1, seconds=30)
        await pass_around(queue, store, claim)
        assert await store.settle(claim)
        assert queue.counts() == (2, 0)


async def test_a_stale_deletion_that_sqs_accepts_is_not_trusted(queue: RemoteQueue, time: Any) -> None:
    """SQS says yes to a receipt that ran out, and keeps the letter: nobody gets it again through this store."""
    async with opened_store(queue) as store:
        await filled(store, 1)
        (claim,) = await store.claim(1, seconds=30)
        time.advance(60)
        queue.wire.rules["DeleteMessage"] = lambda _, __: (200, {})
        await store.settle(claim)
        await pass_around(queue, store, claim)
        del queue.wire.rules["DeleteMessage"]
        assert await store.claim(1, seconds=30) == []
        assert queue.counts() == (0, 0)


async def test_a_letter_that_is_still_there_after_its_deletion_is_deleted_again(queue: RemoteQueue) -> None:
    """SQS may hand out what it said was deleted; this store shows it to nobody."""
    async with opened_store(queue) as store:
        await filled(store, 1)
        (claim,) = await store.claim(1, seconds=30)
        queue.wire.rules["DeleteMessage"] = lambda _, __: (200, {})
        assert await store.settle(claim)
        await pass_around(queue, store, claim)
        del queue.wire.rules["DeleteMessage"]
        assert await store.peek(10) == []
        assert await store.claim(1, seconds=30) == []
        assert queue.counts() == (0, 0)


async def test_a_message_that_comes_twice_is_handed_out_once(queue: RemoteQueue) -> None:
    """While the claim holds, a second delivery only renews its receipt."""
    async with opened_store(queue) as store:
        await filled(store, 1)
        (claim,) = await store.claim(1, seconds=30)
        await pass_around(queue, store, claim)
        assert await store.claim(1, seconds=30) == []
        assert await store.settle(claim)
        assert queue.counts() == (0, 0)


async def test_a_copy_of_a_letter_that_is_claimed_is_deleted(mini_queue: RemoteQueue) -> None:
    """Two messages with one id are one letter that was sent twice."""
    async with opened_store(mini_queue) as store:
        await filled(store, 1)
        (claim,) = await store.claim(1, seconds=30)
        (entry,) = next(payload["Entries"] for action, payload in mini_queue.wire.sent if action == "SendMessageBatch")
        mini_queue.send(entry["MessageBody"])
        assert await store.claim(1, seconds=30) == []
        assert await store.settle(claim)
        assert mini_queue.counts() == (0, 0)


async def test_a_failed_attempt_on_a_stale_claim_is_written_down_if_the_letter_can_be_had(queue: RemoteQueue) -> None:
    """It is looked for; if somebody else has it by now, the attempt is theirs to count."""
    async with opened_store(queue) as store:
        await filled(store, 1)
        (claim,) = await store.claim(1, seconds=30)
        await pass_around(queue, store, claim)
        store._queue.receipts.put(expired(store, claim))
        assert await fail(store, claim) == 1
        (again,) = await store.claim(1, seconds=30)
        await pass_around(queue, store, again, seconds=30)
        store._queue.receipts.put(expired(store, again))
        assert await fail(store, again) is None


def expired(store: SqsStore, claim: Claim) -> Receipt:
    """The receipt of a claim, as it is when its time is up."""
    receipt = store._queue.receipts.last(claim.letter.id, claim.token)
    assert receipt is not None
    return replace(receipt, ends=0.0)


async def pass_around(queue: RemoteQueue, store: SqsStore, claim: Claim, *, seconds: int = 0) -> None:
    """Have the claim run out on the server, and another consumer receive the letter for ``seconds``."""
    receipt = store._queue.receipts.last(claim.letter.id, claim.token)
    if receipt is not None:
        handle = receipt.found.handle
    else:
        handle = next(
            payload["ReceiptHandle"] for action, payload in reversed(queue.wire.sent) if action == "DeleteMessage"
        )
    queue.other.change_message_visibility(QueueUrl=queue.direct_url, ReceiptHandle=handle, VisibilityTimeout=0)
    for message in queue.receive(10):
        time_left = seconds if claim.letter.id in message["Body"] else 0
        queue.other.change_message_visibility(
            QueueUrl=queue.direct_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=time_left
        )


# -- other versions ----------------------------------------------------------------------------------------------------


async def test_a_failed_attempt_sends_the_new_version_before_it_deletes_the_old_one(queue: RemoteQueue) -> None:
    """A crash in between leaves both, and loses none."""
    async with opened_store(queue) as store:
        (letter_id,) = await filled(store, 1)
        (claim,) = await store.claim(1, seconds=30)
        assert await fail(store, claim) == 1
        (again,) = await store.claim(1, seconds=30)
    actions = [action for action, _ in queue.wire.sent]
    assert actions.index("DeleteMessage") > [at for at, each in enumerate(actions) if each == "SendMessageBatch"][1]
    letter = again.letter
    assert (letter.id, letter.attempts, letter.error_info["error_type"]) == (letter_id, 1, "KeyError")
    assert [each["attempt"] for each in letter.history] == [1]
    assert letter.first_failed_at == claim.letter.first_failed_at
    assert letter.last_failed_at > claim.letter.last_failed_at


async def test_an_edited_letter_keeps_its_id_and_all_else(mini_queue: RemoteQueue) -> None:
    """Only the message is another one."""
    async with opened_store(mini_queue) as store:
        letter_id = await keep(store, {"n": 1}, group="g", headers={"content-type": "text/plain"})
        assert await store.edit(letter_id, {"n": 2})
        (letter,) = await store.peek(10)
    assert (letter.id, letter.message, letter.group) == (letter_id, {"n": 2}, "g")
    assert letter.headers == {"content-type": "text/plain"}
    assert letter.attempts == 0


async def test_a_letter_under_a_claim_is_not_edited(moto_queue: RemoteQueue) -> None:
    """The new version would be free for others while the old one is being replayed."""
    async with opened_store(moto_queue) as store:
        (letter_id,) = await filled(store, 1)
        await store.claim(1, seconds=30)
        with pytest.raises(MessageClaimedError):
            await store.edit(letter_id, "else")


async def test_a_parked_letter_is_not_handed_out_but_by_its_id(mini_queue: RemoteQueue) -> None:
    """It lies in the queue; who meets it hides it for a while, and can still take it."""
    async with opened_store(mini_queue) as store:
        await filled(store, 2)
        first, second = await store.claim(2, seconds=30)
        assert await fail(store, first, park_at=1) == 1
        await store.release(second.token)
        (free,) = await store.claim(10, seconds=30)
        assert free.letter.id == second.letter.id
        assert (await store.stats()).parked == 1
        assert mini_queue.counts() == (0, 2)
        taken = await store.claim_one(first.letter.id, seconds=30)
        assert taken.letter.attempts == 1
        assert await store.settle(taken)


async def test_another_consumer_passes_a_parked_letter_over_too(mini_queue: RemoteQueue) -> None:
    """That it is parked stands in the letter, not in this process."""
    async with opened_store(mini_queue) as store, opened_store(mini_queue) as other:
        (letter_id,) = await filled(store, 1)
        assert await store.park(letter_id, parked=True)
        assert await other.claim(10, seconds=30) == []
        (letter,) = await other.peek(10)
        assert letter.status is LetterStatus.PARKED
        assert await other.park(letter_id, parked=False)
        assert len(await store.claim(10, seconds=30)) == 1


async def test_a_letter_is_not_handed_out_before_it_is_due(mini_queue: RemoteQueue, time: Any) -> None:
    """It is passed over until then, but for a call with its id."""
    async with opened_store(mini_queue, hide_for=60) as store:
        (letter_id,) = await filled(store, 1)
        (claim,) = await store.claim(1, seconds=30)
        due = clock.utcnow() + timedelta(seconds=100)
        assert await fail(store, claim, not_before=due) == 1
        assert await store.claim(1, seconds=30) == []
        (hidden,) = entries_of(mini_queue.wire, "ChangeMessageVisibilityBatch")
        assert [each["VisibilityTimeout"] for each in hidden] == [60]
        assert (await store.stats()).waiting == 1
        taken = await store.claim_one(letter_id, seconds=30)
        await store.release(taken.token)
        assert await store.claim(1, seconds=30) == []
        await store.release((await store.claim_one(letter_id, seconds=30)).token)
        time.advance(101)
        assert len(await store.claim(1, seconds=30)) == 1


# -- tidying -----------------------------------------------------------------------------------------------------------


async def test_prune_deletes_parked_ones_first_then_the_oldest(mini_queue: RemoteQueue) -> None:
    """What is claimed stays, and so does what is not past its time."""
    async with opened_store(mini_queue) as store:
        ids = await filled(store, 6)
        await store.claim_one(ids[0], seconds=30)
        await store.park(ids[5], parked=True)
        assert await store.prune(older_than=None, at_most=3) == [ids[5], ids[1]]
        assert mini_queue.counts() == (3, 1)
        assert await store.prune(older_than=clock.utcnow(), at_most=None) == ids[2:5]


async def test_purge_deletes_what_can_be_had_and_counts_it(mini_queue: RemoteQueue) -> None:
    """Letters that another consumer has are left to it; SQS's own purge is not used."""
    async with opened_store(mini_queue) as store:
        await filled(store, 23)
        await store.claim(3, seconds=30)
        mini_queue.receive(2)
        assert await store.purge() == 21
        assert mini_queue.counts() == (0, 2)
    assert "PurgeQueue" not in mini_queue.wire.calls


async def test_a_fifo_queue_is_scanned_like_any_other() -> None:
    """A letter that somebody has claimed hides no other."""
    with remote_queue("ministack", name="scan.fifo", FifoQueue="true") as fifo:
        async with opened_store(fifo) as store:
            ids = await filled(store, 15)
            await store.claim(2, seconds=30)
            claim = await store.claim_one(ids[14], seconds=30)
            assert await fail(store, claim, park_at=1) == 1
            assert len(await store.claim(20, seconds=30)) == 12
