"""What can be done from the dashboard, by a form or over JSON: checked, done, and written to the log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from resilio._core import logs
from resilio.dashboard.access import Action
from resilio.dashboard.circuits import CIRCUIT_ACTIONS
from resilio.dashboard.editing import EditError, edited, is_editable
from resilio.dashboard.replays import LEAST_RATE, MOST_LETTERS, MOST_RATE, Replay
from resilio.deadletters.errors import DeadLetterQueueError, MessageClaimedError, MessageNotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from resilio.alerting.alerts import Alerts
    from resilio.alerting.notification import ChannelOutcome
    from resilio.alerting.silences import Silence
    from resilio.dashboard.access import Identity
    from resilio.dashboard.collector import Collector
    from resilio.dashboard.fleet import Fleet
    from resilio.dashboard.replays import Replays
    from resilio.dashboard.requests import LetterQuery
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.queue import DeadLetterQueue

__all__ = ("DEFAULT_RATE", "Operations", "queue_troubles")

DEFAULT_RATE: Final = 20.0
"""Letters a second, unless somebody asks for another rate."""

_LONGEST_REASON: Final = 500


class Operations:
    """The actions. Every one checks the role of who asks, and is logged with who, what and outcome.

    Args:
        collector: What this process has.
        replays: Where replays are kept.
        fleet: The other processes.
    """

    def __init__(self, collector: Collector, replays: Replays, fleet: Fleet) -> None:
        self._fleet = fleet
        self._collector = collector
        self._replays = replays

    @property
    def queue(self) -> DeadLetterQueue:
        """The queue.

        Raises:
            HTTPException: There is none.
        """
        queue = self._collector.sources.queue
        if queue is None:
            raise HTTPException(404, "This dashboard was made without a dead letter queue.")
        return queue

    # -- letters -------------------------------------------------------------------------------------------------------

    def replay(
        self, who: Identity, ids: Sequence[str], *, nonce: str, rate: float
    ) -> tuple[Replay, BackgroundTask | None]:
        """Replay some letters in the background of the answer; a form that comes twice replays once.

        Returns:
            The replay, and what runs it; None if it runs already.
        """
        queue = self._replayable(who, f"{len(ids)} letters", rate)
        if not ids:
            raise HTTPException(422, "No letter is selected.")
        ids = list(dict.fromkeys(ids))
        if len(ids) > MOST_LETTERS:
            raise HTTPException(422, f"One go replays at most {MOST_LETTERS} letters.")
        what = f"letter {ids[0]}" if len(ids) == 1 else f"{len(ids)} selected letters"
        replay, is_new = self._replays.begin(nonce, what=what, by=who.name, most=len(ids))
        return self._running(who, replay, lambda: replay.run_ids(queue, ids, rate), is_new=is_new)

    def replay_all(
        self, who: Identity, query: LetterQuery, *, nonce: str, rate: float, most: int = MOST_LETTERS
    ) -> tuple[Replay, BackgroundTask | None]:
        """The same for the waiting letters that a query means."""
        queue = self._replayable(who, query.said, rate)
        if not 1 <= most <= MOST_LETTERS:
            raise HTTPException(422, f"One go replays 1 to {MOST_LETTERS} letters, not {most}.")
        replay, is_new = self._replays.begin(nonce, what=query.said, by=who.name, most=most)
        return self._running(who, replay, lambda: replay.run_all(queue, query.filter, rate), is_new=is_new)

    def _replayable(self, who: Identity, what: str, rate: float) -> DeadLetterQueue:
        self._check(who, Action.REPLAY, what)
        if not LEAST_RATE <= rate <= MOST_RATE:
            limits = f"{LEAST_RATE:g} to {MOST_RATE:g}"
            raise HTTPException(422, f"The rate must be {limits} letters a second, not {rate:g}.")
        if not self.queue.can_replay:
            raise HTTPException(409, "The queue was made without a reprocessor, and cannot replay.")
        return self.queue

    def _running(
        self, who: Identity, replay: Replay, run: Callable[[], Awaitable[None]], *, is_new: bool
    ) -> tuple[Replay, BackgroundTask | None]:
        what = replay.row().what
        if not is_new:
            self.log(who, Action.REPLAY, what, "it runs already: the form came twice")
            return replay, None

        async def run_and_log() -> None:
            try:
                await run()
            finally:
                row = replay.row()
                told = f"{row.state}: {row.replayed} replayed, {row.failed} failed"
                self.log(who, Action.REPLAY, what, f"{told}; {row.why}" if row.why else told)

        self.log(who, Action.REPLAY, what, "begun")
        return replay, BackgroundTask(run_and_log)

    def stop(self, who: Identity, replay_id: str) -> Replay:
        """Let a replay end before its next letter."""
        self._check(who, Action.REPLAY, f"stop {replay_id}")
        replay = self._replays.find(replay_id)
        if replay is None:
            raise HTTPException(404, f"This process runs no replay {replay_id}.")
        replay.stop()
        self.log(who, Action.REPLAY, replay.row().what, "told to stop")
        return replay

    async def edit(self, who: Identity, letter_id: str, text: str) -> None:
        """Put another message into a letter; what was not shown and was not touched stays."""
        letter = await self._letter(who, Action.EDIT, letter_id)
        if not is_editable(letter.message):
            raise HTTPException(409, "The message is too large to be shown whole, and cannot be edited here.")
        try:
            message = edited(text, letter.message)
        except EditError as error:
            raise HTTPException(422, str(error)) from error
        with queue_troubles():
            try:
                await self.queue.edit(letter_id, message)
            except TypeError as error:
                raise HTTPException(422, f"The message cannot be kept: {error}") from error
        self.log(who, Action.EDIT, f"letter {letter_id}", "edited")

    async def park(self, who: Identity, letter_id: str) -> None:
        """Set a letter aside."""
        self._check(who, Action.EDIT, f"letter {letter_id}")
        with queue_troubles():
            await self.queue.park(letter_id)
        self.log(who, Action.EDIT, f"letter {letter_id}", "parked")

    async def requeue(self, who: Identity, letter_id: str) -> None:
        """Make a letter wait again."""
        self._check(who, Action.EDIT, f"letter {letter_id}")
        with queue_troubles():
            await self.queue.requeue(letter_id)
        self.log(who, Action.EDIT, f"letter {letter_id}", "waiting again")

    async def discard(self, who: Identity, ids: Sequence[str], reason: str) -> int:
        """Delete letters for a reason; return how many there were."""
        self._check(who, Action.DISCARD, f"{len(ids)} letters")
        reason = reason.strip()
        if not reason or len(reason) > _LONGEST_REASON:
            raise HTTPException(422, f"Say why in 1 to {_LONGEST_REASON} characters: the log keeps it.")
        if not ids:
            raise HTTPException(422, "No letter is selected.")
        gone = 0
        for letter_id in dict.fromkeys(ids[:MOST_LETTERS]):
            try:
                with queue_troubles():
                    await self.queue.discard(letter_id, f"{reason} ({who.name})")
                gone += 1
            except HTTPException as error:
                self.log(who, Action.DISCARD, f"letter {letter_id}", error.detail)
                if len(ids) == 1 or error.status_code != 404:  # noqa: PLR2004 -- not found
                    raise
            else:
                self.log(who, Action.DISCARD, f"letter {letter_id}", f"discarded: {reason}")
        return gone

    async def _letter(self, who: Identity, action: Action, letter_id: str) -> DeadLetter:
        self._check(who, action, f"letter {letter_id}")
        with queue_troubles():
            return await self.queue.get(letter_id)

    # -- circuits ------------------------------------------------------------------------------------------------------

    def circuit(self, who: Identity, name: str, action: str, *, process: str = "") -> str:
        """Do something with a circuit of this process; return what came of it, in words.

        Args:
            who: Who asks.
            name: The circuit's name.
            action: One of `resilio.dashboard.circuits.CIRCUIT_ACTIONS`.
            process: Which process is meant; any that answers if it is empty.
        """
        self._check(who, Action.CIRCUIT, f"{action} {name}")
        here = self._collector.process_id
        if process and process != here:
            if action in CIRCUIT_ACTIONS and self._fleet.order(process, name, action, who=who.name):
                self.log(who, Action.CIRCUIT, f"{action} {name}", f"handed to {process}")
                return f"{name}: handed to {process}, which does it within a few seconds"
            self.log(who, Action.CIRCUIT, f"{action} {name}", f"not done: it was meant for {process}")
            raise HTTPException(
                409,
                f"This request reached the process {here}, and was meant for {process}. Nothing was done: try again.",
            )
        try:
            told = self._collector.circuits.act(name, action, who=who.name)
        except KeyError as error:
            raise HTTPException(404, f"There is no circuit or action {error.args[0]!r} in this process.") from error
        self.log(who, Action.CIRCUIT, f"{action} {name}", told)
        return told

    # -- alerts --------------------------------------------------------------------------------------------------------

    async def silence(self, who: Identity, rule: str, seconds: float, comment: str) -> Silence:
        """Tell nothing of a rule's incidents for a while; of all rules' if ``rule`` is empty."""
        what = f"silence {rule or 'all rules'} for {seconds:g} s"
        self._check(who, Action.SILENCE, what)
        try:
            silence = await anyio.to_thread.run_sync(
                lambda: self._alerts.silence(
                    rule or None, seconds=seconds, comment=comment[:_LONGEST_REASON], created_by=who.name
                )
            )
        except ValueError as error:
            raise HTTPException(422, f"{error}.") from error
        self.log(who, Action.SILENCE, what, f"silenced as {silence.id}: {silence.comment}")
        return silence

    async def end_silence(self, who: Identity, silence_id: str) -> None:
        """End a silence before its time."""
        self._check(who, Action.SILENCE, f"end {silence_id}")
        ended = await anyio.to_thread.run_sync(lambda: self._alerts.unsilence(silence_id, by=who.name))
        if ended is None:
            raise HTTPException(404, "There is no such silence that still holds.")
        self.log(who, Action.SILENCE, f"end {silence_id}", "ended")

    async def test_channel(self, who: Identity, channel: str) -> ChannelOutcome:
        """Send a test message to a channel."""
        self._check(who, Action.NOTIFY, f"test {channel}")
        notifier = self._collector.sources.notifier
        if notifier is None:
            raise HTTPException(404, "This dashboard was made without a notifier.")
        if channel not in notifier.channels:
            raise HTTPException(404, f"There is no channel {channel!r}.")
        outcome = await notifier.test_channel(channel, by=who.name)
        told = f"{outcome.status}: {outcome.error}" if outcome.error else str(outcome.status)
        self.log(who, Action.NOTIFY, f"test {channel}", told)
        return outcome

    @property
    def _alerts(self) -> Alerts:
        alerts = self._collector.sources.alerts
        if alerts is None:
            raise HTTPException(404, "This dashboard was made without alerts.")
        return alerts

    # -- the log -------------------------------------------------------------------------------------------------------

    def _check(self, who: Identity, action: Action, what: str) -> None:
        if not who.role.may(action):
            self.log(who, action, what, "refused: the role does not allow it", level="warning")
            raise HTTPException(403, f"Your role does not allow you to {action}.")

    def log(self, who: Identity, action: Action, what: str, outcome: str, *, level: str = "info") -> None:
        """Write down who did what, and what came of it."""
        logs.write(
            level,
            "dashboard action",
            {"who": who.name, "action": str(action), "what": what, "outcome": outcome},
            logger="resilio",
        )


@contextmanager
def queue_troubles() -> Iterator[None]:
    """Answer what a queue raises as HTTP does.

    Raises:
        HTTPException: 404 for a letter that is not there, 409 for one that is claimed, 503 for a store out of order.
    """
    try:
        yield
    except MessageNotFoundError as error:
        raise HTTPException(404, "There is no such letter any more: it was replayed or deleted.") from error
    except MessageClaimedError as error:
        raise HTTPException(409, "Somebody else has the letter just now.") from error
    except DeadLetterQueueError as error:
        raise HTTPException(503, f"The dead letter queue cannot be used: {error}") from error
