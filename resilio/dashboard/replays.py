"""Replays that were asked for here: each once, bounded, with their progress.

A replay runs in the background of the request that asked for it, as the server's own task: it needs no lifespan, which
a mounted application does not have, and ends with the server. What it had claimed is given back then.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from resilio._core import clock, dice
from resilio.dashboard.rows import ReplayRow
from resilio.deadletters.error_info import brief
from resilio.deadletters.errors import DeadLetterQueueError, MessageClaimedError, MessageNotFoundError
from resilio.deadletters.replay_rules import FailureWatch, Pace, StopWhenFailing
from resilio.deadletters.replay_run import ReplayEnd
from resilio.reporting.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.queue import DeadLetterQueue
    from resilio.deadletters.replay_run import ReplayProgress

__all__ = ("LEAST_RATE", "MOST_LETTERS", "MOST_RATE", "Replay", "Replays")

MOST_LETTERS: Final = 1000
"""How many letters one go replays at most."""

MOST_RATE: Final = 200.0
"""How many a second at most."""

LEAST_RATE: Final = 0.1
"""And at least: one in ten seconds."""

_KEPT: Final = 100
_LINES: Final = 100
_AT_ONCE: Final = 4


class Replay:
    """One replay, and how far it is. Its fields may be read from any thread.

    Args:
        what: What is replayed, in words.
        by: Who asked for it.
        most: How many letters at most.
    """

    def __init__(self, what: str, by: str, most: int) -> None:
        self._lock = threading.Lock()
        self._stop = False
        self._lines: deque[list[str]] = deque(maxlen=_LINES)
        self._row = ReplayRow(
            id=dice.randbytes(12).hex(), what=what, by=by, most=most, began=clock.utcnow().timestamp()
        )

    @property
    def id(self) -> str:
        """Names it."""
        return self._row.id

    def row(self) -> ReplayRow:
        """How far it is."""
        with self._lock:
            return replace(self._row, lines=[list(each) for each in self._lines])

    def stop(self) -> None:
        """Let it end before its next letter."""
        self._stop = True

    async def run_ids(self, queue: DeadLetterQueue, ids: Sequence[str], rate: float | None) -> None:
        """Replay single letters, parked and resting ones, too."""
        pace, watch = Pace(rate), FailureWatch(StopWhenFailing())
        try:
            for letter_id in ids:
                wait = pace.wait(clock.monotonic())
                if wait > 0:
                    await clock.sleep(wait)
                if self._stop:
                    return self._end("stopped", "somebody stopped it")
                why = await self._one(queue, letter_id)
                if stop := watch.see(failed=bool(why)):
                    return self._end("failing", stop)
            self._end("done", "")
        except DeadLetterQueueError as error:
            self._end("broken", _shown(error))
        finally:
            self._end_early()

    async def _one(self, queue: DeadLetterQueue, letter_id: str) -> str:
        why = ""
        try:
            await queue.reprocess_message(letter_id)
        except MessageNotFoundError:
            self._note(letter_id, "gone", "it was replayed or deleted already")
            return ""
        except MessageClaimedError:
            self._note(letter_id, "claimed", "somebody else replays it just now")
            return ""
        except DeadLetterQueueError:
            raise
        except Exception as error:
            why = _shown(error)
        with self._lock:
            self._row.replayed += not why
            self._row.failed += bool(why)
        self._note(letter_id, "failed" if why else "replayed", why)
        return why

    async def run_all(self, queue: DeadLetterQueue, where: LetterFilter, rate: float | None) -> None:
        """Replay the waiting letters that a filter means."""
        try:
            with anyio.CancelScope() as scope:

                async def note(progress: ReplayProgress) -> None:
                    self._take(progress)
                    if self._stop:
                        scope.cancel()

                summary = await queue.reprocess_all(
                    where, limit=self._row.most, max_concurrency=_AT_ONCE, rate=rate, on_progress=note
                )
                state = "failing" if summary.ended is ReplayEnd.FAILING else "done"
                return self._end(state, summary.why)
            self._end("stopped", "somebody stopped it")
        except DeadLetterQueueError as error:
            self._end("broken", _shown(error))
        finally:
            self._end_early()

    def _take(self, progress: ReplayProgress) -> None:
        with self._lock:
            self._row.replayed, self._row.failed = progress.replayed, progress.failed
            self._row.parked = progress.parked
        self._note(progress.message_id, "failed" if progress.error else "replayed", str(redact(progress.error)))

    def _note(self, letter_id: str, outcome: str, why: str) -> None:
        with self._lock:
            self._lines.append([letter_id, outcome, why])

    def _end(self, state: str, why: str) -> None:
        with self._lock:
            self._row.state, self._row.why, self._row.ended = state, why, clock.utcnow().timestamp()

    def _end_early(self) -> None:
        """Whatever ended it without a word was the server's end."""
        if self._row.state == "running":
            self._end("interrupted", "the server ended, or the request was cancelled")


class Replays:
    """The last hundred replays of this process. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: OrderedDict[str, Replay] = OrderedDict()
        self._by_nonce: OrderedDict[str, str] = OrderedDict()

    def begin(self, nonce: str, *, what: str, by: str, most: int) -> tuple[Replay, bool]:
        """A new replay, or the one that the same form asked for before.

        Args:
            nonce: What the form carries, different in each that is shown; empty where every call counts.
            what: What is replayed, in words.
            by: Who asks for it.
            most: How many letters at most.

        Returns:
            The replay, and whether it is new: then it is the caller's to run.
        """
        with self._lock:
            known = self._by_id.get(self._by_nonce.get(nonce, ""))
            if nonce and known is not None:
                return known, False
            made = Replay(what, by, most)
            self._by_id[made.id] = made
            if nonce:
                self._by_nonce[nonce] = made.id
            while len(self._by_id) > _KEPT:
                self._by_id.popitem(last=False)
            while len(self._by_nonce) > _KEPT:
                self._by_nonce.popitem(last=False)
        return made, True

    def find(self, replay_id: str) -> Replay | None:
        """The replay with that id."""
        with self._lock:
            return self._by_id.get(replay_id)

    def rows(self) -> list[ReplayRow]:
        """How far they are, the last one first; without their lines."""
        with self._lock:
            found = list(reversed(self._by_id.values()))
        return [replace(each.row(), lines=[]) for each in found[:20]]


def _shown(error: BaseException) -> str:
    return str(redact(brief(error)))
