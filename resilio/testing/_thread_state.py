"""What a thread is doing just now, as the system and the interpreter tell from outside."""

from __future__ import annotations

import enum
import gc
import os
import platform
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping
    from types import CodeType, FrameType


class Doing(enum.Enum):
    """Running, or what a thread waits for."""

    RUNNING = enum.auto()
    WAITING_FOR_THREAD = enum.auto()  # for a lock, without a limit: only another thread can wake it
    WAITING_FOR_TIME = enum.auto()  # asleep, or for a lock with a limit
    WAITING_FOR_IO = enum.auto()
    UNKNOWN = enum.auto()  # the system does not tell


class Step(NamedTuple):
    """A function that a thread is in, and the instruction that it is at."""

    function: CodeType
    instruction: int


class Glance(NamedTuple):
    """A thread at one moment. Two equal glances in a row: it has not moved in between.

    Attributes:
        doing: What it does.
        place: The innermost functions that it is in, innermost first.
        call: The system call that it is in, arguments and all.
    """

    doing: Doing
    place: tuple[Step, ...]
    call: tuple[bytes, ...]


def glance(thread: threading.Thread, frames: Mapping[int, FrameType]) -> Glance | None:
    """Look at ``thread``; None while it is starting, ending, or inside the virtual clock itself.

    Args:
        thread: The thread.
        frames: What ``sys._current_frames()`` returned just now, `undisturbed` as this is.
    """
    frame = frames.get(thread.ident or 0)
    # A thread inside the clock may well wait for the lock that is held by whoever looks.
    if frame is None or _in_the_clock(frame) or _in_the_clock(frame.f_back):
        return None
    call = _system_call(thread.native_id)
    return Glance(_doing(call), _place(frame), call)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Collect no garbage while other threads are looked at.

    The interpreter makes an object of each frame that is asked for. A collection in the middle of that may give the
    other thread a turn, and the frame may be gone before the object points to it: that would end the process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


_CLOCKWORK = frozenset({f"{__package__}._timeline", f"{__package__}._thread_time"})
_DEPTH = 4


def _in_the_clock(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_globals.get("__name__") in _CLOCKWORK


def _place(frame: FrameType | None) -> tuple[Step, ...]:
    steps: list[Step] = []
    while frame is not None and len(steps) < _DEPTH:
        steps.append(Step(frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(steps)


# The numbers of the system calls futex, nanosleep and clock_nanosleep.
_CALLS = {"x86_64": (b"202", b"35", b"230"), "aarch64": (b"98", b"101", b"115"), "riscv64": (b"98", b"101", b"115")}
_FUTEX_COMMAND = 0x7F  # zero: wait as glibc does for a mutex, whose value is then 2; locks of Python wait otherwise
_FUTEX, *_SLEEPS = _CALLS.get(platform.machine(), (b"",)) if sys.platform == "linux" else (b"",)


def _system_call(native_id: int | None) -> tuple[bytes, ...]:
    """Number and arguments; ``running`` if the thread runs or could; nothing if the system does not tell."""
    if not _FUTEX:
        return ()
    try:
        call = tuple(_read(f"/proc/self/task/{native_id}/syscall").split())
        # Woken up, but without a processor so far, a thread still shows its last call.
        asleep = _read(f"/proc/self/task/{native_id}/stat").rpartition(b")")[2].lstrip().startswith((b"S", b"D"))
    except OSError:
        return ()
    return call if asleep else (b"running",)


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)  # five times as fast as a `Path`
    try:
        return os.read(file, 400)
    finally:
        os.close(file)


def _doing(call: tuple[bytes, ...]) -> Doing:
    if not call:
        return Doing.UNKNOWN
    if call[0] == b"running":
        return Doing.RUNNING
    if call[0] == _FUTEX:
        _, _, operation, value, limit, *_ = call
        if int(operation, 16) & _FUTEX_COMMAND == 0 and value == b"0x2":
            return Doing.RUNNING  # for a mutex inside the interpreter, which is held for an instant only
        # Waiting for the interpreter's own lock has a limit.
        return Doing.WAITING_FOR_THREAD if limit == b"0x0" else Doing.WAITING_FOR_TIME
    return Doing.WAITING_FOR_TIME if call[0] in _SLEEPS else Doing.WAITING_FOR_IO
