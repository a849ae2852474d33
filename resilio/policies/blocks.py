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

_open: ContextVar[tuple[tuple[object, Block], ...]] = ContextVar("resilio_open_blocks", default=())


def push(policy: object, block: Block) -> None:
    """Remember the block that ``policy`` opened in this context."""
    _open.set((*_open.get(), (policy, block)))


def pop(policy: object) -> Block | None:
    """The innermost open block of ``policy`` in this context.

    None if the block was opened elsewhere: by a generator, say, that the event loop now closes from a task of its own.
    """
    blocks = _open.get()
    for index in range(len(blocks) - 1, -1, -1):
        if blocks[index][0] is policy:
            _open.set(blocks[:index] + blocks[index + 1 :])
            return blocks[index][1]
    return None
