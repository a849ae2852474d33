"""``async with policy:``: one policy object, many blocks at once, each with a state of its own.

A policy opens a block by handing out a fresh context manager that has already been entered. It is kept until the block
ends, and found again by the frame that runs the ``with`` statement and by the task's context: blocks of many tasks,
nested ones, and those of generators that are read by turns or closed by another task never meet.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from inspect import CO_ASYNC_GENERATOR
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import FrameType

    Block = AbstractContextManager[object]


class _Entry:
    """One block that ``policy`` opened. Contexts are copied, entries are not: all copies see that it is over."""

    __slots__ = ("block", "frame", "is_over", "policy")

    def __init__(self, policy: object, block: Block, frame: FrameType) -> None:
        self.policy: object = policy
        self.block: Block | None = block
        self.frame: FrameType | None = frame
        self.is_over: bool = False

    def end(self) -> Block | None:
        """Let go of everything, as a copied context may hold the entry for long; return the block."""
        block, self.block, self.frame, self.is_over = self.block, None, None, True
        return block


class _Entries(set[_Entry]):
    """The open blocks of all contexts.

    An async generator whose event loop was closed before it is destroyed without being closed, and its block never
    ends. Its frame is then left to its entry alone: from time to time such ones are looked for, and let go.
    """

    __slots__ = ("_until_look",)

    def __init__(self) -> None:
        super().__init__()
        self._until_look = _OFTEN

    def enter(self, entry: _Entry) -> None:
        self.add(entry)
        self._until_look -= 1  # threads may miscount it now and then: it need not be exact
        if self._until_look <= 0:
            for each in list(self):
                if _is_lost(each):
                    self.discard(each)
                    each.end()
            self._until_look = max(_OFTEN, len(self))


def _is_lost(entry: _Entry) -> bool:
    # The interpreter holds the frame of whatever can still run: one reference beside the entry's and the call's own.
    # Frames of other code may end before their block does, as those that enter it for an exit stack.
    frame = entry.frame
    if frame is None or not frame.f_code.co_flags & CO_ASYNC_GENERATOR:
        return False
    del frame
    return sys.getrefcount(entry.frame) <= 2  # noqa: PLR2004 -- see above


_OFTEN = 64
"""Blocks between two looks, at least; with more open ones as many as these, so that a look costs no block much."""

_open: ContextVar[tuple[_Entry, ...]] = ContextVar("resilio_open_blocks", default=())
_everywhere = _Entries()


def push(policy: object, block: Block, frame: FrameType) -> None:
    """Remember the block that ``policy`` opened for the ``with`` statement that ``frame`` runs."""
    entry = _Entry(policy, block, frame)
    _everywhere.enter(entry)
    # Blocks that ended in a copy of this context, as those of abandoned generators do, are forgotten here.
    _open.set((*(each for each in _open.get() if not each.is_over), entry))


def pop(policy: object, frame: FrameType) -> Block | None:
    """The block of ``policy`` that the ``with`` statement run by ``frame`` opened last; it counts as ended now.

    An exit stack enters and leaves from different frames: for those, the innermost block of the present context. None
    if there is none, as for an exit stack that is closed by another task.
    """
    here = [each for each in reversed(_open.get()) if each.policy is policy and not each.is_over]
    found = next((each for each in here if each.frame is frame), None)
    if found is None:  # a generator that is closed by another task, say
        found = next((each for each in list(_everywhere) if each.policy is policy and each.frame is frame), None)
    if found is None and here:
        found = here[0]
    if found is None:
        return None
    _everywhere.discard(found)
    block = found.end()
    _open.set(tuple(each for each in _open.get() if not each.is_over))
    return block
