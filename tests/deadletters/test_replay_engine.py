from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from letter_kit import filled, heard, statuses

from resilio._core import clock
from resilio.deadletters.errors import DeadLetterQueueError, LetterNotKeptError
from resilio.deadletters.events import ClaimNotExtended, ReplayFailed
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.queue import DeadLetterQueue
from resilio.deadletters.replay_rules import StopWhenFailing
from resilio.deadletters.replay_run import ReplayProgress
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from letter_kit import HandClock

    from resilio.deadletters.replay_context import ReplayContext
    from resilio.deadletters.store import Claim
    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


ERROR = {"error_type": "api_error", "error_message": "boom"}


# -- so many, so fast --------------------------------------------------------------------------------------------------


async def test_so_many_run_at_once_and_no_more(virtual_clock: VirtualClock) -> None:
    """Twelve letters of a second each, four at a time, take three seconds."""
    running = most = 0

    async def handle(message: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await clock.sleep(1)
        running -= 1

    dlq = DeadLetterQueue(store=MemoryStore("x"), reprocessor=handle)
    await filled(dlq, 12)
    began = clock.monotonic()
    summary = await dlq.reprocess_all(max_concurrency=4)
    assert (summary.replayed, most) == (12, 4)
    assert clock.monotonic() - began == pytest.approx(3)


async def test_no_more_than_the_rate_are_begun(virtual_clock: VirtualClock) -> None:
    """Starts are spread evenly, whatever the concurrency."""
    begun: list[float] = []

    async def handle(message: object) -> None:
        begun.append(clock.monotonic())

    dlq = DeadLetterQueue(store=MemoryStore("x"), reprocessor=handle)
    await filled(dlq, 6)
    await dlq.reprocess_all(rate=2, max_concurrency=3)
    assert [round(each - begun[0], 3) for each in begun] == [0, 0.5, 1, 1.5, 2, 2.5]


async def test_the_limit_holds_whatever_the_concurrency(path: Path) -> None:
    """The summary says that the limit ended the run, and what was not tried is untouched."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: None)
    await filled(dlq, 9)
    summary = await dlq.reprocess_all(limit=5, max_concurrency=3)
    assert (summary.replayed, summary.ended, summary.why) == (5, "limit", "5 letters were tried")
    assert await statuses(dlq) == [(number, "waiting", 0) for number in range(5, 9)]
    assert (await dlq.reprocess_all()).ended == "done"


async def test_only_the_letters_that_are_meant_are_replayed(path: Path) -> None:
    """A filter by error and by group; the others are not even claimed for a moment longer."""
    handled: list[object] = []
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handled.append)
    await dlq.send_to_dlq("a", ConnectionError("x"))
    await dlq.send_to_dlq("b", ValueError("x"))
    await dlq.send_to_dlq("c", {"error_type": "ConnectionError"}, group="special")
    assert (await dlq.reprocess_all(LetterFilter(error="ConnectionError"))).replayed == 2
    assert handled == ["a", "c"]
    assert await statuses(dlq) == [("b", "waiting", 0)]
    assert (await dlq.reprocess_all(LetterFilter(group="special"))).replayed == 0


async def test_letters_that_come_meanwhile_are_left_for_the_next_run(time: HandClock) -> None:
    """Even where time stands still; and they are free again when the run is over."""

    async def handle(message: int) -> None:
        await dlq.send_to_dlq(message + 100, ERROR)

    dlq = DeadLetterQueue(store=MemoryStore("x"), reprocessor=handle)
    await filled(dlq, 4)
    assert (await dlq.reprocess_all(max_concurrency=2)).replayed == 4
    assert sorted(await statuses(dlq)) == [(number, "waiting", 0) for number in (100, 101, 102, 103)]


async def test_a_letter_that_fails_is_tried_once_in_a_run(time: HandClock) -> None:
    """Even if it need not rest, and time stands still."""
    tried: list[object] = []

    def handle(message: object) -> None:
        tried.append(message)
        raise ValueError(message)

    dlq = DeadLetterQueue(store=MemoryStore("x"), reprocessor=handle, replay_delay=0)
    await filled(dlq, 3)
    summary = await dlq.reprocess_all()
    assert (summary.failed, tried) == (3, [0, 1, 2])
    assert await statuses(dlq) == [(number, "waiting", 1) for number in range(3)]


# -- progress ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
async def test_progress_is_told_after_each_letter(path: Path, is_async: bool) -> None:  # noqa: FBT001
    """How many so far, which letter, and why it failed; to a plain function or an async one."""
    told: list[ReplayProgress] = []

    async def tell(progress: ReplayProgress) -> None:
        await anyio.lowlevel.checkpoint()
        told.append(progress)

    def handle(message: object) -> None:
        if message == 1:
            raise ValueError("no")

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle, max_attempts=1)
    ids = await filled(dlq, 3)
    await dlq.reprocess_all(on_progress=tell if is_async else told.append)
    assert told == [
        ReplayProgress(replayed=1, failed=0, parked=0, waiting=3, message_id=ids[0], error=""),
        ReplayProgress(replayed=1, failed=1, parked=1, waiting=3, message_id=ids[1], error="ValueError: no"),
        ReplayProgress(replayed=2, failed=1, parked=1, waiting=3, message_id=ids[2], error=""),
    ]


async def test_what_a_progress_function_raises_is_logged_and_changes_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken progress bar must not stop a replay."""

    def tell(progress: ReplayProgress) -> None:
        raise ZeroDivisionError

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: None)
    await filled(dlq, 2)
    with caplog.at_level(logging.ERROR, "resilio"):
        assert (await dlq.reprocess_all(on_progress=tell)).replayed == 2
    assert len([each for each in caplog.records if "on_progress" in each.getMessage()]) == 2


# -- stopping ----------------------------------------------------------------------------------------------------------


async def test_ten_failures_in_a_row_stop_a_run(path: Path) -> None:
    """The cause has not gone: the other letters keep their attempts, and the summary says why."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: 1 / 0)
    await filled(dlq, 30)
    summary = await dlq.reprocess_all()
    assert (summary.failed, summary.ended, summary.why) == (10, "failing", "10 replays in a row have failed")
    assert [attempts for _, _, attempts in await statuses(dlq)] == [1] * 10 + [0] * 20
    assert (await dlq.reprocess_all(stop_when_failing=None)).failed == 20


async def test_a_share_of_failures_stops_a_run(path: Path) -> None:
    """Every other one fails: after twenty it is enough."""

    def handle(message: int) -> None:
        if message % 2:
            raise ValueError

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    await filled(dlq, 40)
    summary = await dlq.reprocess_all()
    assert (summary.replayed, summary.failed) == (10, 10)
    assert (summary.ended, summary.why) == ("failing", "of the last 20 replays 10 have failed")


async def test_the_rule_for_stopping_can_be_set(path: Path) -> None:
    """Three in a row are enough where the caller says so; wrong values are refused by name."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: 1 / 0)
    await filled(dlq, 5)
    assert (await dlq.reprocess_all(stop_when_failing=StopWhenFailing(consecutive=3))).failed == 3
    with pytest.raises(ValueError, match="ratio must be a number, above 0 and at most 1, not 2"):
        StopWhenFailing(ratio=2)
    with pytest.raises(TypeError, match="stop_when_failing must be a StopWhenFailing or None, not 3"):
        await dlq.reprocess_all(stop_when_failing=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"max_concurrency": 0}, "max_concurrency must be a whole number, at least 1"),
        ({"rate": 0}, "rate must be a number, above 0"),
        ({"on_progress": 7}, "on_progress must be a function, not 7"),
        ({"where": "ValueError"}, "where must be a LetterFilter, not 'ValueError'"),
    ],
)
async def test_wrong_arguments_of_a_run_are_refused_by_name(path: Path, wrong: dict[str, Any], text: str) -> None:
    """Before anything is claimed."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=print)
    with pytest.raises((TypeError, ValueError), match=text):
        await dlq.reprocess_all(**wrong)


# -- rest --------------------------------------------------------------------------------------------------------------


async def test_letters_rest_longer_after_each_failure(time: HandClock) -> None:
    """Twice as long, half of it by chance, up to the limit; their ids replay them all the same."""
    dlq = DeadLetterQueue(
        store=MemoryStore("x"), reprocessor=lambda message: 1 / 0, replay_delay=10, max_replay_delay=30, max_attempts=9
    )
    [message_id] = await filled(dlq, 1)
    for longest in (10, 20, 30, 30):
        with pytest.raises(ZeroDivisionError):
            await dlq.reprocess_message(message_id)
        time.advance(longest / 2 - 0.001)
        assert await dlq.receive_from_dlq() == []
        time.advance(longest / 2 + 0.001)
        [letter] = await dlq.receive_from_dlq()
    assert letter.attempts == 4
    assert [(each["attempt"], each["error_type"]) for each in letter.history] == [
        (number, "ZeroDivisionError") for number in (1, 2, 3, 4)
    ]


async def test_without_a_delay_a_failed_letter_is_free_at_once(path: Path) -> None:
    """For those who pace their own replays."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: 1 / 0, replay_delay=0)
    await filled(dlq, 1)
    assert [(await dlq.reprocess_all()).failed for _ in range(3)] == [1, 1, 1]


# -- context -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_reprocessor_with_two_parameters_is_given_the_context(path: Path, is_async: bool) -> None:  # noqa: FBT001
    """The letter, which attempt it is, and a key that stays the same until the message is edited."""
    seen: list[ReplayContext] = []

    def handle(message: object, context: ReplayContext) -> None:
        seen.append(context)
        raise ValueError

    async def handle_async(message: object, context: ReplayContext) -> None:
        handle(message, context)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle_async if is_async else handle)
    first, second = await dlq.send_to_dlq({"a": 1, "b": 2}, ERROR), await dlq.send_to_dlq({"a": 1, "b": 2}, ERROR)
    for message_id in (first, first, second):
        with pytest.raises(ValueError, match=r"^$"):
            await dlq.reprocess_message(message_id)
    await dlq.edit(first, {"a": 2})
    with pytest.raises(ValueError, match=r"^$"):
        await dlq.reprocess_message(first)
    assert [(each.letter.id, each.attempt) for each in seen] == [(first, 1), (first, 2), (second, 1), (first, 3)]
    keys = [each.idempotency_key for each in seen]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert all(len(each) == 32 for each in keys)


async def test_a_second_parameter_with_a_default_is_left_alone(path: Path) -> None:
    """So are gathering ones, and builtins that do not say."""
    seen: list[object] = []
    handlers: tuple[Any, ...] = (lambda message, more=7: seen.append(more), lambda *args: seen.append(len(args)), str)
    for handle in handlers:
        dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
        await dlq.reprocess_message(await dlq.send_to_dlq("x", ERROR))
    assert seen == [7, 1]


# -- claims that are kept alive ----------------------------------------------------------------------------------------


async def test_a_claim_lasts_for_as_long_as_the_reprocessor_runs(virtual_clock: VirtualClock) -> None:
    """Ten times the visibility timeout, and nobody else gets the letter."""
    store = MemoryStore("x")
    other = DeadLetterQueue(store=store)
    seen: list[int] = []

    async def handle(message: object) -> str:
        for _ in range(10):
            await clock.sleep(30)
            seen.append(len(await other.receive_from_dlq()))
        return "done"

    dlq = DeadLetterQueue(store=store, reprocessor=handle, visibility_timeout=30)
    [message_id] = await filled(dlq, 1)
    assert await dlq.reprocess_message(message_id) == "done"
    await filled(dlq, 1)
    assert (await dlq.reprocess_all()).replayed == 1
    assert seen == [0] * 20


class Forgetful(MemoryStore):
    """A store that cannot make claims longer, or says that they have passed to somebody else."""

    def __init__(self, trouble: Exception | None) -> None:
        super().__init__("forgetful")
        self.trouble = trouble

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        await anyio.lowlevel.checkpoint()
        if self.trouble is not None:
            raise self.trouble
        return None


@pytest.mark.parametrize("trouble", [None, DeadLetterQueueError("disk", location="x"), OSError("disk")])
async def test_a_claim_that_cannot_be_made_longer_does_not_stop_the_reprocessor(
    virtual_clock: VirtualClock, trouble: Exception | None
) -> None:
    """It is told by an event: once if the claim has passed on, with each try otherwise. The success counts."""

    async def handle(message: object) -> None:
        await clock.sleep(25)

    dlq = DeadLetterQueue(store=Forgetful(trouble), reprocessor=handle, visibility_timeout=30)
    [message_id] = await filled(dlq, 1)
    with heard(ClaimNotExtended) as events:
        await dlq.reprocess_message(message_id)
    expected = [""] if trouble is None else ["disk", "disk"]
    assert [(each.message_id, each.error) for each in events] == [(message_id, each) for each in expected]
    assert await statuses(dlq) == []


class Renaming(MemoryStore):
    """A store that knows a longer claim only under another token, as a remote one may."""

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        longer = await super().extend(claim, seconds=seconds)
        if longer is None:
            return None
        entry = self._entries[claim.letter.id]
        entry.token = f"{claim.token}+"
        return replace(longer, token=entry.token)


@pytest.mark.parametrize("ending", ["failure", "cancellation"])
async def test_a_run_goes_on_with_the_claim_as_it_was_renamed(virtual_clock: VirtualClock, ending: str) -> None:
    """After two extensions the letter is given back under the token of the last one."""

    async def handle(message: object) -> None:
        await clock.sleep(25)
        if ending == "failure":
            raise ValueError
        scope.cancel()
        await anyio.lowlevel.checkpoint()

    dlq = DeadLetterQueue(store=Renaming("x"), reprocessor=handle, visibility_timeout=30)
    await filled(dlq, 1)
    with anyio.CancelScope() as scope:
        await dlq.reprocess_all()
    assert await statuses(dlq) == [(0, "waiting", 1 if ending == "failure" else 0)]


# -- trouble and crashes -----------------------------------------------------------------------------------------------


class Full(MemoryStore):
    """A store that can delete nothing any more."""

    async def settle(self, claim: Claim) -> bool:
        await anyio.lowlevel.checkpoint()
        raise LetterNotKeptError("disk full", location=self.location)


async def test_a_store_that_fails_ends_the_run_when_what_runs_has_ended() -> None:
    """No reprocessor is cut off in the middle; the error says how far the run came."""
    ended: list[object] = []

    async def handle(message: object) -> None:
        for _ in range(int(str(message))):
            await anyio.lowlevel.checkpoint()
        ended.append(message)

    dlq = DeadLetterQueue(store=Full("full"), reprocessor=handle)
    for turns in (0, 50, 100, 0, 0):
        await dlq.send_to_dlq(turns, ERROR)
    with pytest.raises(DeadLetterQueueError, match="was reprocessed but could not be removed") as caught:
        await dlq.reprocess_all(max_concurrency=3)
    assert sorted(map(str, ended)) == ["0", "100", "50"]
    assert caught.value.__notes__ == ["before that, 0 letters were replayed and 0 failed"]


async def test_a_run_goes_on_where_a_dead_process_left_off(path: Path, time: HandClock) -> None:
    """Claims that nobody gave back run out, and the next run has those letters too."""
    handled: list[object] = []
    ids = await filled(DeadLetterQueue(local_file_path=path), 4)
    assert len(await DeadLetterQueue(local_file_path=path).receive_from_dlq(2)) == 2  # and then it died
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handled.append)
    assert (await dlq.reprocess_all()).replayed == 2
    time.advance(31)
    assert (await dlq.reprocess_all()).replayed == 2
    assert handled == [2, 3, 0, 1]
    assert len(ids) == 4


async def test_a_letter_deleted_meanwhile_is_no_failure_of_the_run(path: Path) -> None:
    """Its failed attempt can be written nowhere, and that is all right."""

    async def handle(message: object) -> None:
        await dlq.delete(message_id)
        raise ValueError

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle, max_attempts=1)
    [message_id] = await filled(dlq, 1)
    with heard(ReplayFailed) as events:
        summary = await dlq.reprocess_all()
    assert (summary.failed, summary.parked, events) == (1, 0, [])


async def test_letters_of_a_clock_that_runs_ahead_wait_for_that_time(time: HandClock) -> None:
    """What failed in the future, by this machine's clock, is left for a later run, and not lost."""
    dlq = DeadLetterQueue(store=MemoryStore("x"), reprocessor=lambda message: None)
    time.advance(3600)
    await filled(dlq, 1)
    time.now -= timedelta(hours=1)
    assert (await dlq.reprocess_all()).replayed == 0
    time.advance(3601)
    assert (await dlq.reprocess_all()).replayed == 1
