"""Many notifications at once: few messages, exact counts, nothing lost in silence."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from resilio import (
    AdminNotifier,
    CircuitBreaker,
    DeadLetterQueue,
    DeliveryStatus,
    ErrorSeverity,
    NotificationFailed,
    NotificationsDropped,
    Route,
    StormLimit,
    sync,
)
from resilio._core import clock, events
from resilio.alerting.dedup import DedupWindow
from resilio.alerting.storms import Held

if TYPE_CHECKING:
    from pathlib import Path

    from resilio import Notification
    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


class Postbox:
    """A channel that keeps what it is given, unless it is broken, after some time."""

    def __init__(self, name: str = "postbox", takes: float = 0.0) -> None:
        self.name = name
        self.takes = takes
        self.error: Exception | None = None
        self.letters: list[Notification] = []

    async def deliver(self, notification: Notification) -> None:
        await clock.sleep(self.takes)
        if self.error is not None:
            raise self.error
        self.letters.append(notification)

    @property
    def told(self) -> list[str]:
        return [letter.message for letter in self.letters]

    @property
    def count(self) -> int:
        return sum(letter.count for letter in self.letters)


@pytest.mark.slow("ten thousand notifications, and as many jumps of the clock")
async def test_ten_thousand_in_ten_seconds_are_at_most_twenty_messages_that_add_up(virtual_clock: VirtualClock) -> None:
    """Every notification is in a message or in a digest's count; the digests name the kinds."""
    box = Postbox()
    async with AdminNotifier(channel=box) as notifier:
        for number in range(10_000):
            severity = ErrorSeverity.CRITICAL if number % 100 == 0 else ErrorSeverity.WARNING
            await notifier.send_notification(f"kind {number % 7}", severity=severity)
            await clock.sleep(0.001)
        during = len(box.letters)
    stats = notifier.stats().channels["postbox"]
    assert during <= 20
    assert box.count == 10_000
    assert (stats.told, stats.waiting, stats.dropped) == (10_000, 0, 0)
    digests = [letter for letter in box.letters if letter.error_type == "digest"]
    assert len(digests) >= 4
    for digest in digests:
        counts = digest.details["counts"]
        assert isinstance(counts, dict)
        assert sum(counts.values()) == digest.count
        assert digest.severity is ErrorSeverity.CRITICAL
    assert any("[CRITICAL] kind 0" in str(digest.details) for digest in digests)


async def test_of_too_many_kinds_the_rest_is_counted(virtual_clock: VirtualClock) -> None:
    """The queue is bounded: texts beyond it are dropped, and the digest counts them by severity."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, limit=StormLimit(burst=1, interval=60, kinds=3)))
    statuses = [(await notifier.send_notification(f"no {number}")).outcomes[0].status for number in range(11)]
    assert statuses == [DeliveryStatus.DELIVERED, *[DeliveryStatus.HELD] * 3, *[DeliveryStatus.DROPPED] * 7]
    await notifier.flush()
    digest = box.letters[1]
    assert digest.message == "10 notifications of 3 kinds and more, held back in a storm"
    assert digest.details["others"] == {"[ERROR]": 7}
    assert box.count == 11


async def test_without_a_task_the_next_notification_takes_the_digest_along(virtual_clock: VirtualClock) -> None:
    """Nothing overtakes what is held, and the caller is told that its words were told."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, limit=StormLimit(burst=1, interval=60)))
    for number in range(3):
        await notifier.send_notification(f"no {number}")
    await clock.sleep(61)
    assert (await notifier.send_notification("no 3")).delivered
    assert box.told == ["no 0", "3 notifications of 3 kinds, held back in a storm"]


async def test_an_end_is_told_in_spite_of_a_storm(virtual_clock: VirtualClock) -> None:
    """What resolves an incident waits for no digest."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, limit=StormLimit(burst=1, interval=60)))
    for _ in range(3):
        await notifier.send_notification("down")
    await notifier.send_notification("up", severity=ErrorSeverity.INFO, resolves=ErrorSeverity.ERROR)
    assert box.told == ["down", "up"]


async def test_at_the_end_what_is_left_is_sent_or_said_within_two_seconds(
    virtual_clock: VirtualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A channel that hangs costs two seconds; what it did not take is logged, told, counted and kept."""
    quick, slow = Postbox("quick"), Postbox("slow")
    queue = DeadLetterQueue(local_file_path=tmp_path / "untold.jsonl")
    limit = StormLimit(burst=1, interval=600)
    heard: list[NotificationsDropped] = []
    routes = [Route(box, limit=limit) for box in (quick, slow)]
    with events.subscribe(heard.append, NotificationsDropped):
        async with AdminNotifier(channel=routes, dead_letters=queue) as notifier:
            for _ in range(5):
                await notifier.send_notification("down")
            slow.takes = 60
            ended = clock.monotonic()
        assert clock.monotonic() - ended <= 2.0
    assert (quick.count, slow.count) == (5, 1)
    assert [(each.channel, each.count) for each in heard] == [("slow", 4)]
    assert notifier.stats().channels["slow"].dropped == 4
    assert "4 notifications for channel slow were held for a digest and are dropped" in caplog.text
    (letter,) = await queue.peek()
    assert letter["message"]["notification"]["count"] == 4
    await queue.aclose()


async def test_a_cancelled_program_still_sends_what_is_left(virtual_clock: VirtualClock) -> None:
    """Shutdown by cancellation, as servers do it."""
    box = Postbox()
    with anyio.CancelScope() as scope:
        async with AdminNotifier(channel=Route(box, limit=StormLimit(burst=1, interval=600))) as notifier:
            for _ in range(5):
                await notifier.send_notification("down")
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert box.count == 5


async def test_a_cancelled_digest_is_not_lost(virtual_clock: VirtualClock) -> None:
    """Who is cancelled while a digest is on its way leaves it to the next."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, limit=StormLimit(burst=1, interval=60)))
    for _ in range(3):
        await notifier.send_notification("down")
    await clock.sleep(61)
    box.takes = 5
    with anyio.move_on_after(1):
        await notifier.send_notification("down")
    assert notifier.stats().channels["postbox"].waiting == 3
    assert await notifier.flush() == 3  # it takes five seconds
    assert (box.count, notifier.stats().channels["postbox"].dropped) == (1, 3)


def test_a_notifier_that_nobody_flushed_says_so_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A storm in a program that just ends is not lost in silence."""
    notifier = sync.AdminNotifier(channel=Route(Postbox(), limit=StormLimit(burst=1, interval=600)))
    for _ in range(4):
        notifier.send_notification("down")
    del notifier
    gc.collect()
    assert "3 notifications for channel postbox were held for a digest that was never sent" in caplog.text


def test_the_blocking_notifier_sends_its_digest_at_the_end() -> None:
    """With a `with` block nothing is left over."""
    box = Postbox()
    with sync.AdminNotifier(channel=Route(box, limit=StormLimit(burst=1, interval=600))) as notifier:
        for _ in range(4):
            notifier.send_notification("down")
    assert box.count == 4
    assert notifier.stats().channels["postbox"].waiting == 0


def test_held_counts_survive_being_joined() -> None:
    """Within the bound by kind, beyond it by severity: never lost."""
    older, newer = (Held(events.Event().at, float(number)) for number in range(2))
    for held in (older, newer):
        for number in range(10):
            held.add(ErrorSeverity.ERROR, f"{id(held)} {number}", 3, room=4)
    older.join(newer, room=6)
    assert older.count == 60
    assert len(older.kinds) == 6


# -- the same trouble --------------------------------------------------------------------------------------------------


async def test_the_same_key_is_told_once_within_the_window(virtual_clock: VirtualClock) -> None:
    """Then again, and it says how often it was left out."""
    box = Postbox()
    notifier = AdminNotifier(channel=box, dedup_window=300)
    results = []
    for _ in range(31):
        results.append(await notifier.send_notification("disk", dedup_key="disk"))
        await clock.sleep(10)
    assert [letter.details for letter in box.letters] == [{}, {"repeated": 29}]
    assert results[1].outcomes[0].status is DeliveryStatus.DUPLICATE
    assert results[1].heard
    assert not results[1].delivered
    assert notifier.stats().duplicates == 29


async def test_worse_and_over_are_news(virtual_clock: VirtualClock) -> None:
    """A key is told again if it got worse, when it is over, and when it begins anew."""
    box = Postbox()
    notifier = AdminNotifier(channel=box)
    error, critical, info = ErrorSeverity.ERROR, ErrorSeverity.CRITICAL, ErrorSeverity.INFO
    await notifier.send_notification("1", severity=error, dedup_key="k")
    await notifier.send_notification("2", severity=critical, dedup_key="k")
    await notifier.send_notification("3", severity=error, dedup_key="k")
    await notifier.send_notification("4", severity=info, dedup_key="k", resolves=critical)
    await notifier.send_notification("5", severity=info, dedup_key="k", resolves=critical)
    await notifier.send_notification("6", severity=error, dedup_key="k")
    assert box.told == ["1", "2", "4", "6"]


async def test_what_nobody_heard_is_told_the_next_time() -> None:
    """A key whose delivery failed is free again."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, policy=None))
    box.error = ConnectionError()
    await notifier.send_notification("1", dedup_key="k")
    box.error = None
    await notifier.send_notification("2", dedup_key="k")
    assert box.told == ["2"]


def test_keys_are_bounded() -> None:
    """However many a caller makes up."""
    window = DedupWindow(300)
    for number in range(10_500):
        window.claim(str(number), ErrorSeverity.ERROR, resolved=False, now=0.0)
    assert len(window._told) == 10_000
    assert window.claim("0", ErrorSeverity.ERROR, resolved=False, now=1.0) == 0


# -- routes, retries, letters ------------------------------------------------------------------------------------------


async def test_severity_decides_who_is_told() -> None:
    """And whoever was told of the trouble is told of its end, although that is only INFO."""
    mail, pager = Postbox("mail"), Postbox("pager")
    notifier = AdminNotifier(channel=[mail, Route(pager, min_severity="CRITICAL")])
    await notifier.send_notification("slow", severity=ErrorSeverity.WARNING)
    await notifier.send_notification("down", severity=ErrorSeverity.CRITICAL)
    await notifier.send_notification("fast", severity=ErrorSeverity.INFO, resolves=ErrorSeverity.WARNING)
    await notifier.send_notification("up", severity=ErrorSeverity.INFO, resolves=ErrorSeverity.CRITICAL)
    assert mail.told == ["slow", "down", "fast", "up"]
    assert pager.told == ["down", "up"]


async def test_a_delivery_is_tried_three_times(virtual_clock: VirtualClock) -> None:
    """What passes is delivered; what is no passing trouble is tried once."""

    class Flaky:
        def __init__(self, *errors: Exception) -> None:
            self.errors = list(errors)
            self.tries = 0

        async def deliver(self, _: Notification) -> None:
            self.tries += 1
            if self.errors:
                raise self.errors.pop(0)

    passing = Flaky(ConnectionError(), TimeoutError())
    staying = Flaky(ConnectionError(), ConnectionError(), ConnectionError("the last"))
    wrong = Flaky(ValueError("wrong"), ValueError())
    result = await AdminNotifier(channel=[passing, staying, wrong]).send_notification("told")
    assert [each.delivered for each in result.outcomes] == [True, False, False]
    assert [each.error for each in result.outcomes] == ["", "ConnectionError: the last", "ValueError: wrong"]
    assert [each.channel for each in result.outcomes] == ["Flaky", "Flaky-2", "Flaky-3"]
    assert (passing.tries, staying.tries, wrong.tries) == (3, 3, 1)


async def test_what_no_try_could_deliver_is_a_dead_letter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The letter holds the notification; the event names the letter; the stats count it."""
    box = Postbox()
    box.error = ConnectionError("no route")
    queue = DeadLetterQueue(local_file_path=tmp_path / "untold.jsonl")
    notifier = AdminNotifier(channel=Route(box, policy=None), dead_letters=queue)
    heard: list[NotificationFailed] = []
    with events.subscribe(heard.append, NotificationFailed):
        result = await notifier.send_notification("down", {"free": 0}, ErrorSeverity.CRITICAL)
    (letter,) = await queue.peek()
    assert letter["message"]["channel"] == "postbox"
    assert letter["message"]["notification"]["id"] == result.id
    assert letter["message"]["notification"]["details"] == {"free": 0}
    assert letter["error_info"]["error_message"] == "ConnectionError: no route"
    assert heard[0].letter_id == letter.id
    stats = notifier.stats().channels["postbox"]
    assert (stats.failed, stats.letters, stats.delivered) == (1, 1, 0)
    await queue.aclose()


async def test_dead_letters_of_the_notifier_are_replayed_through_it(
    tmp_path: Path, virtual_clock: VirtualClock
) -> None:
    """By the channel that could not take them, and by no other; what fails again stays, and is one letter still."""
    broken, well = Postbox("broken"), Postbox("well")
    broken.error = ConnectionError("no route")

    async def again(message: dict[str, Any]) -> None:
        await notifier.redeliver(message)

    queue = DeadLetterQueue(local_file_path=tmp_path / "untold.jsonl", reprocessor=again)
    notifier = AdminNotifier(channel=[Route(each, policy=None) for each in (broken, well)], dead_letters=queue)
    result = await notifier.send_notification("down", {"free": 0}, ErrorSeverity.CRITICAL, dedup_key="disk")
    summary = await queue.reprocess_all()
    assert (summary.replayed, summary.failed) == (0, 1)
    (letter,) = await queue.peek()
    assert letter.error_info["error_message"] == "ConnectionError: no route"
    broken.error = None
    await clock.sleep(60)
    assert (await queue.reprocess_all()).replayed == 1
    (told,) = broken.letters
    assert (told.id, told.message, told.severity) == (result.id, "down", ErrorSeverity.CRITICAL)
    assert (told.details, told.dedup_key, told.resolved) == ({"free": 0}, "disk", False)
    assert well.told == ["down"]
    assert (await queue.stats()).total == 0
    assert notifier.stats().channels["broken"].delivered == 1
    await queue.aclose()


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ({}, "not a dead letter of a notifier"),
        ([], "not a dead letter of a notifier"),
        ({"channel": "postbox", "notification": {"id": "1"}}, "not a notification: KeyError: 'severity'"),
        ({"channel": "pager", "notification": None}, "not a notification"),
    ],
)
async def test_what_is_no_letter_of_the_notifier_is_refused(message: Any, what: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError, match=what):
        await AdminNotifier(channel=Postbox()).redeliver(message)


def test_blocking_code_replays_them_too(tmp_path: Path) -> None:
    """The blocking notifier's `redeliver`, given to a blocking queue."""
    box = Postbox()
    box.error = ConnectionError()
    letters = sync.DeadLetterQueue(local_file_path=tmp_path / "untold.jsonl")
    notifier = sync.AdminNotifier(channel=Route(box, policy=None), dead_letters=letters)
    notifier.send_notification("down")
    box.error = None
    (letter,) = letters.peek()
    notifier.redeliver(letter.message)
    assert box.told == ["down"]
    letters.close()


async def test_a_channel_that_is_gone_is_named(tmp_path: Path) -> None:
    """A letter for it stays until there is one again."""
    box = Postbox("pager")
    box.error = ConnectionError()
    queue = DeadLetterQueue(local_file_path=tmp_path / "untold.jsonl")
    await AdminNotifier(channel=Route(box, policy=None), dead_letters=queue).send_notification("down")
    (letter,) = await queue.peek()
    with pytest.raises(ValueError, match="has no channel 'pager', only postbox"):
        await AdminNotifier(channel=Postbox()).redeliver(letter.message)
    await queue.aclose()


async def test_a_queue_that_fails_does_not_raise(caplog: pytest.LogCaptureFixture) -> None:
    """The last resort is the log."""

    class Full:
        async def send_to_dlq(self, message: object, error_info: object) -> str:
            raise OSError(28, "No space left on device")

    box = Postbox()
    box.error = ConnectionError()
    result = await AdminNotifier(channel=Route(box, policy=None), dead_letters=Full()).send_notification("down")
    assert not result.delivered
    assert "could not be kept as a dead letter: OSError: [Errno 28] No space left on device" in caplog.text


async def test_the_notifier_does_not_notify_about_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A channel that tells of its own trouble through the same notifier is logged, once, and not told."""

    class Chatty:
        tries = 0

        async def deliver(self, _: Notification) -> None:
            self.tries += 1
            inner.append(await notifier.send_notification("my channel is broken"))
            raise ValueError

    inner: list[Any] = []
    chatty = Chatty()
    notifier = AdminNotifier(channel=chatty)
    await notifier.send_notification("down")
    assert chatty.tries == 1
    assert inner[0].outcomes[0].status is DeliveryStatus.REFUSED
    assert "my channel is broken" in caplog.text
    assert notifier.stats().refused == 1
    await notifier.send_notification("afterwards it works as before")
    assert chatty.tries == 2


async def test_no_secret_leaves(caplog: pytest.LogCaptureFixture) -> None:
    """Message, details and a channel's own error are redacted before any channel, log or event has them."""
    canary = "hunter2-canary"
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, policy=None))
    await notifier.send_notification(f"Authorization: Bearer {canary}", {"apiKey": canary, "in": {"password": canary}})
    box.error = ValueError(f"https://user:{canary}@example.com/")
    result = await notifier.send_notification("told")
    assert len(box.letters) == 1
    assert canary not in repr(box.letters) + repr(result) + caplog.text


async def test_own_policies_guard_a_delivery() -> None:
    """Any policy of this package; anything else is refused when the route is built."""
    box = Postbox()
    box.error = ValueError()
    breaker = CircuitBreaker(failure_threshold=1)
    notifier = AdminNotifier(channel=Route(box, policy=breaker))
    await notifier.send_notification("1")
    result = await notifier.send_notification("2")
    assert result.outcomes[0].error.startswith("CircuitBreakerOpenError")
    with pytest.raises(TypeError, match=r"^policy must be one of resilio's async policies"):
        Route(box, policy=sync.Timeout(1))
    with pytest.raises(TypeError, match=r"^limit must be a StormLimit"):
        Route(box, limit=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^min_severity must be one of DEBUG"):
        Route(box, min_severity="BAD")
    with pytest.raises(TypeError, match=r"^dead_letters must be a DeadLetterQueue"):
        AdminNotifier(dead_letters=[])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^channel must be at least one channel"):
        AdminNotifier(channel=[])


async def test_a_channel_cancelled_from_inside_is_a_failure_beside_others() -> None:
    """Its outcome says so; the others are told."""

    class Confused:
        async def deliver(self, _: Notification) -> None:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep_forever()
            raise TimeoutError

    box = Postbox()
    result = await AdminNotifier(channel=[Route(Confused(), policy=None), box]).send_notification("told")
    assert [each.delivered for each in result.outcomes] == [False, True]
