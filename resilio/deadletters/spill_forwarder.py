"""Handing on what lies in the local file because the remote queue could not take it."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from resilio._core import clock, dice, events
from resilio.deadletters.encoding import dump
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.events import LettersForwarded, LetterSpilled
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.sqs_errors import LetterRefusedError
from resilio.deadletters.store import GIVE_BACK_WITHIN
from resilio.deadletters.worker import in_trio

if TYPE_CHECKING:
    from resilio.deadletters.store import Claim, Store

__all__ = ("Forwarder",)

_AT_ONCE: Final = 10  # what SQS takes in one request; one request after the other keeps the order
_SLOWEST: Final = 60.0  # seconds between two tries, when many have failed
_JITTER: Final = 0.2


class Forwarder:
    """Moves letters from a local store to a remote one, oldest first, with a task that belongs to it.

    A letter is claimed in the file, sent, and deleted there. A process that is killed in between leaves the letter in
    the file, and its claim runs out; only the letters that it was just sending may reach the remote queue twice.

    Args:
        remote: Where they go.
        local: Where they come from.
        deadline: Seconds that the remote store has for a letter.
        retry_every: Seconds until the next try when the remote store fails; longer when it goes on failing.
    """

    def __init__(self, remote: Store, local: Store, *, deadline: float, retry_every: float) -> None:
        self._remote = remote
        self._local = local
        self._deadline = deadline
        self._retry_every = retry_every
        self._lock = threading.Lock()
        self._task: tuple[int, asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._is_up = False  # whether the last letters that were handed on arrived
        self._calls = 0  # how often `start` was called
        self.refused: set[str] = set()
        """The ids of letters in the file that the remote store never takes."""
        self.in_hand: set[str] = set()
        """The ids of those that are just being sent."""
        self.is_idle: bool = False
        """Whether nothing waits in the file, as far as is known, that should be handed on."""

    @property
    def is_at_work(self) -> bool:
        """Whether the task runs, or waits for the next try."""
        mine = self._task
        return mine is not None and mine[0] == os.getpid() and not mine[2].done() and mine[1].is_running()

    # -- the task ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Hand on in the background until nothing is left; where a task of ours does so already, it goes on."""
        self.is_idle = False
        if in_trio():  # the remote queue needs asyncio
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            self._calls += 1
            if not self.is_at_work:
                self._task = os.getpid(), loop, loop.create_task(self._run())

    async def stop(self) -> None:
        """End the task, once the letters that it is sending have arrived; what is left waits for the next start."""
        self.is_idle = False
        with self._lock:
            mine, self._task = self._task, None
        if mine is None or mine[0] != os.getpid() or mine[2].done():
            return
        _, loop, task = mine
        if not in_trio() and loop is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])
        elif loop.is_running():
            loop.call_soon_threadsafe(task.cancel)

    async def _run(self) -> None:
        failures = 0
        while True:
            calls = self._calls
            try:
                await self.forward()
                if calls != self._calls:  # more came meanwhile
                    continue
                self.is_idle = True
                stats = await self._local.stats()
                failures = 0
                # Otherwise some are claimed by somebody, or not due.
                if stats.claimed == 0 and stats.waiting <= len(self.refused) and self._is_last(calls):
                    return
            except DeadLetterQueueError:
                failures += 1
            pause = min(_SLOWEST, self._retry_every * 2.0 ** min(max(failures - 1, 0), 10))
            await clock.sleep(dice.uniform(1 - _JITTER, 1 + _JITTER) * pause)

    def _is_last(self, calls: int) -> bool:
        """Leave, unless somebody called `start` meanwhile and relies on this task."""
        with self._lock:
            if calls != self._calls:
                return False
            self._task = None
            return True

    # -- handing on ----------------------------------------------------------------------------------------------------

    async def forward(self) -> int:
        """Hand on what waits in the file, and return how many letters that was.

        Raises:
            DeadLetterQueueError: The remote queue does not take them, or the file cannot be used. What was not handed
                on waits in the file.
        """
        count = 0
        refused: list[Claim] = []
        try:
            while True:
                # One letter finds out whether the remote queue is back; the others can be had meanwhile.
                most = _AT_ONCE if self._is_up else 1
                claims = await self._local.claim(most, seconds=2 * self._deadline + 1)
                if not claims:
                    return count
                self._is_up = False
                in_hand = {each.letter.id for each in claims}
                self.in_hand |= in_hand
                try:
                    count += await self._uninterrupted(claims, refused)
                finally:
                    self.in_hand -= in_hand
                self._is_up = True
        finally:
            if count and events.listeners:
                remote = self._remote.location
                events.emit(LettersForwarded(location=self._local.location, count=count, queue_url=remote))
            await self._release(refused)

    async def _uninterrupted(self, claims: list[Claim], refused: list[Claim]) -> int:
        """Hand on some letters; cancelled, that comes to its end all the same, for else some would be sent twice."""
        work = self._hand_on(claims, refused)
        if in_trio():
            return await work
        task = asyncio.get_running_loop().create_task(work)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                await asyncio.wait([task])
            if not task.done():
                task.cancel()
            elif not task.cancelled():
                task.exception()  # what was not handed on waits in the file; nobody is left to tell
            raise
        return task.result()

    async def _hand_on(self, claims: list[Claim], refused: list[Claim]) -> int:
        outcomes: dict[str, DeadLetterQueueError | None] = {}
        new = [each for each in claims if each.letter.id not in self.refused]
        try:
            async with anyio.create_task_group() as tasks:
                for each in new:
                    tasks.start_soon(self._send, each, outcomes)
        finally:
            sent = [each for each in new if outcomes.get(each.letter.id, self) is None]
            failed = [each for each in new if each not in sent]
            refused += [each for each in claims if each.letter.id in self.refused]
            await self._release([each for each in failed if each.letter.id not in self.refused])
            with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                async with anyio.create_task_group() as tasks:
                    for each in sent:
                        tasks.start_soon(self._local.settle, each)
        trouble = [each for each in outcomes.values() if each is not None and not isinstance(each, LetterRefusedError)]
        if trouble:
            raise trouble[0]
        return len(sent)

    async def _send(self, claim: Claim, outcomes: dict[str, DeadLetterQueueError | None]) -> None:
        letter = claim.letter
        body = dump(replace(letter, status=LetterStatus.WAITING).to_dict())
        try:
            with anyio.move_on_after(self._deadline) as scope:
                await self._remote.add(letter.id, body, deduplication_key=letter.deduplication_key)
        except LetterRefusedError as error:
            outcomes[letter.id] = error
            self.refuse(letter.id, str(error))
        except DeadLetterQueueError as error:
            outcomes[letter.id] = error
        else:
            outcomes[letter.id] = self.too_late() if scope.cancelled_caught else None

    def too_late(self) -> DeadLetterQueueError:
        """The error of a remote store that did not answer in time."""
        msg = f"{self._remote.location} did not take a letter within {self._deadline:g} s"
        return DeadLetterQueueError(msg, location=self._remote.location, retryable=True)

    def refuse(self, letter_id: str, reason: str) -> None:
        """The remote store never takes this letter: it stays in the file."""
        self.refused.add(letter_id)
        if events.listeners:
            location, remote = self._local.location, self._remote.location
            events.emit(
                LetterSpilled(location=location, message_id=letter_id, queue_url=remote, reason=reason, stays=True)
            )

    async def _release(self, claims: list[Claim]) -> None:
        with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
            for token in {each.token for each in claims}:
                await self._local.release(token)
