"""Many callers at once: threads, and event loops in threads."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

THREADS = 8

LOOPS: list[tuple[str, dict[str, Any]]] = [
    ("asyncio", {}),
    ("trio", {}),
    ("asyncio", {"use_uvloop": True}),
    ("trio", {}),
]
"""Four event loops: the backend of each, and its options."""

VIRTUAL_LOOPS: list[tuple[str, dict[str, Any]]] = [("asyncio", {}), ("trio", {}), ("asyncio", {}), ("trio", {})]
"""Four that a virtual clock can take over."""


def in_threads(work: Callable[[int], object], threads: int = THREADS, patience: float | None = 60) -> None:
    """Run ``work(number)`` in so many threads at once, which take turns very often; raise what the first one raises.

    On a virtual clock give it no ``patience``: who waits with a timeout holds time back.
    """
    together = threading.Barrier(threads)
    raised: list[BaseException] = []

    def run(number: int) -> None:
        try:
            together.wait(patience)
            work(number)
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    with _restless():
        for each in running:
            each.start()
        for each in running:
            each.join(patience)
    assert not any(each.is_alive() for each in running), "a thread hangs"
    if raised:
        raise raised[0]


def on_loops(
    main: Callable[[int], Awaitable[object]],
    patience: float | None = 60,
    loops: list[tuple[str, dict[str, Any]]] = LOOPS,
) -> None:
    """Run ``await main(number)`` on four event loops at once: asyncio, uvloop and trio."""

    def run(number: int) -> None:
        backend, options = loops[number]
        anyio.run(main, number, backend=backend, backend_options=options)

    in_threads(run, len(loops), patience)


@contextmanager
def _restless() -> Iterator[None]:
    # Threads take turns a thousand times as often as usual.
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
