"""``async with policy:``: one policy object, many blocks at once, each with a state of its own.

A policy opens a block by handing out a fresh context manager that has already been entered. It lies in the task's
context until the block ends, innermost last, so that blocks of many tasks, and nested ones, never meet.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    Block = AbstractContextManager[object]


class _Entry:
    """One block that ``policy`` opened. Contexts are copied, entries are not: all copies see that it is over."""

    __slots__ = ("block", "is_over", "policy")

    def __init__(self, policy: object, block: Block) -> None:
        self.policy = policy
        self.block = block
        self.is_over = False


_open: ContextVar[tuple[_Entry, ...]] = ContextVar("resilio_open_blocks", default=())


def push(policy: object, block: Block) -> None:
    """Remember the block that ``policy`` opened in this context."""
    # Blocks that ended in a copy of this context, as those of abandoned generators do, are forgotten here.
    _open.set((*(each for each in _open.get() if not each.is_over), _Entry(policy, block)))


def pop(policy: object) -> Block | None:
    """The innermost open block of ``policy`` in this context; it counts as ended now.

    None if the block was opened elsewhere: by a generator, say, that the event loop now closes from a task of its own.
    """
    blocks = _open.get()
    for entry in reversed(blocks):
        if entry.policy is policy and not entry.is_over:
            entry.is_over = True
            _open.set(tuple(each for each in blocks if not each.is_over))
            return entry.block
    return None
