"""What a test lost: dead letters that are kept in memory and can be looked at.

    with DeadLetters() as dead_letters:
        ...
    letter = dead_letters.assert_kept({"text": "Hi"}, error=ConnectionError)

In a pytest test the fixture ``dead_letters`` is this, from its start to its end.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn, Self
from unittest.mock import patch

from resilio._core import durations
from resilio.deadletters.queue import DeadLetterQueue
from resilio.testing.memory_store import MemoryStore
from resilio.testing.recorder_text import often

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import Store

__all__ = ("DeadLetters",)


class DeadLetters:
    """Keeps in memory what the dead letter queues of the process should keep on disk, while the block runs.

    They are the real queues, async and blocking, whenever they were made, with ids, claims, replays, events and errors
    as ever; only their files are not touched. Queues with the same path share their letters, as they would on disk.
    `queue` is one to hand to the code under test.

    `letters` and `messages` are what is there now, in all queues together: a letter that was replayed or deleted is not
    lost. Safe to use from any thread and any event loop.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: dict[str, MemoryStore] = {}
        self._stack = ExitStack()
        self.queue: DeadLetterQueue = _OwnQueue(self.store("in memory"))
        """A queue in memory, in the block and after it."""

    def __enter__(self) -> Self:
        def in_memory(queue: DeadLetterQueue) -> Store:
            return self.store(queue.location)

        # The one place where a queue gets at its letters; asked anew for each call, so old queues come here too.
        self._stack.enter_context(patch.object(DeadLetterQueue, "_inner_store", in_memory))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def store(self, location: str) -> MemoryStore:
        """The letters that belong into this file."""
        with self._lock:
            return self._stores.setdefault(location, MemoryStore(location))

    def clear(self) -> None:
        """Forget every letter."""
        with self._lock:
            for store in self._stores.values():
                store.clear()

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def letters(self) -> tuple[DeadLetter, ...]:
        """The letters of all queues, those that failed first first."""
        with self._lock:
            stores = list(self._stores.values())
        letters = [letter for store in stores for letter in store.letters()]
        return tuple(sorted(letters, key=lambda each: (each.first_failed_at, each.id)))

    @property
    def messages(self) -> list[Any]:
        """The messages of `letters`."""
        return [letter.message for letter in self.letters]

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(self.letters)

    def __len__(self) -> int:
        return len(self.letters)

    def __bool__(self) -> bool:
        return True  # even while it is empty

    def __repr__(self) -> str:
        return f"<DeadLetters {len(self)} kept>"

    # -- asserting -----------------------------------------------------------------------------------------------------

    def assert_kept(
        self,
        message: object,
        *,
        error: type[BaseException] | str | None = None,
        times: int = 1,
    ) -> DeadLetter:
        """Assert that a message lies in a queue.

        Args:
            message: The message; or a plain function of a message that says whether it is meant.
            error: The class of the error that it is there for, or the name of that class.
            times: How many letters there are with it, at least 1.

        Returns:
            The first letter.

        Raises:
            AssertionError: It does not, or not so often; the message shows every letter that does.
            ValueError: ``times`` is less than 1; for a queue that is empty there is `assert_empty`.
        """
        __tracebackhide__ = True
        durations.whole("times", times, at_least=1)
        is_meant: Callable[[Any], Any] = message if callable(message) else lambda found: found == message
        kind = error.__name__ if isinstance(error, type) else error
        found = [
            letter
            for letter in self.letters
            if is_meant(letter.message) and kind in (None, letter.error_info.get("error_type"))
        ]
        if len(found) != times:
            because = "" if kind is None else f" because of {kind}"
            self._fail(f"{message!r} should be kept {often(times)}{because}, and is {often(len(found))}")
        return found[0]

    def assert_empty(self) -> None:
        """Assert that nothing was lost.

        Raises:
            AssertionError: Something was; the message shows every letter.
        """
        __tracebackhide__ = True
        if self.letters:
            self._fail("no message should be kept")

    def _fail(self, what: str) -> NoReturn:
        __tracebackhide__ = True
        lines = [f"  {letter!r}" for letter in self.letters] or ["  none"]
        raise AssertionError("\n".join((what, "", "the letters:", *lines)))


class _OwnQueue(DeadLetterQueue):
    """A queue whose letters are in memory, whether a block catches the others or not."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(local_file_path="unused.jsonl")
        self._memory = store

    @property
    def location(self) -> str:
        return self._memory.location

    def _inner_store(self) -> Store:
        return self._memory
