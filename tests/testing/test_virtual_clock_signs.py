from __future__ import annotations

import gc
import os
import queue
import socket
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from resilio._core import clock
from resilio.testing import _thread_state, _threads_at_work, _wire
from resilio.testing._thread_state import Doing, Glance, glance
from resilio.testing._wire import Wire
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

# -- what a thread is doing --------------------------------------------------------------------------------------------


def settled(thread: threading.Thread) -> Glance | None:
    """What is to be seen of ``thread`` once it has got to where it stays."""
    last: Glance | None = None
    for _ in range(1000):
        time.sleep(0.002)
        now = glance(thread, sys._current_frames())
        if now is not None and now == last and now.doing is not Doing.RUNNING:
            return now
        last = now
    return last


def waits_for_a_lock(stop: threading.Event) -> None:
    """As most threads do."""
    stop.wait()


def waits_with_a_limit(stop: threading.Event) -> None:
    """It goes on by itself some day."""
    stop.wait(5)


def sleeps(stop: threading.Event) -> None:
    """So does this."""
    while not stop.is_set():
        time.sleep(0.05)


def waits_for_a_socket(stop: threading.Event) -> None:
    """What it waits for may come from anywhere."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        threading.Thread(target=lambda: stop.wait() and theirs.send(b"x")).start()
        ours.recv(1)


@linux
@pytest.mark.parametrize(
    ("function", "doing"),
    [
        (waits_for_a_lock, Doing.WAITING_FOR_THREAD),
        (waits_with_a_limit, Doing.WAITING_FOR_TIME),
        (sleeps, Doing.WAITING_FOR_TIME),
        (waits_for_a_socket, Doing.WAITING_FOR_IO),
    ],
)
def test_a_glance_tells_what_a_thread_waits_for(function: Callable[[threading.Event], None], doing: Doing) -> None:
    """Waiting for another thread, for time and for a socket are told apart."""
    stop = threading.Event()
    thread = threading.Thread(target=function, args=(stop,))
    thread.start()
    try:
        seen = settled(thread)
    finally:
        stop.set()
        thread.join()
    assert seen is not None
    assert seen.doing is doing


@linux
def test_a_thread_at_work_runs() -> None:
    """The thread that asks is running, and stands in the function that asks."""
    seen = glance(threading.current_thread(), sys._current_frames())
    assert seen is not None
    assert seen.doing is Doing.RUNNING
    assert seen.place[0].function is test_a_thread_at_work_runs.__code__


@pytest.mark.parametrize("was_on", [True, False], ids=["garbage is collected", "garbage is not collected"])
def test_nothing_is_collected_while_others_are_looked_at(*, was_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards it is as before; a collection could give the thread that is looked at a turn halfway."""
    seen: list[bool] = []

    def look(*_: object) -> None:
        seen.append(gc.isenabled())

    monkeypatch.setattr(_threads_at_work, "glance", look)
    ended = threading.Event()
    with VirtualClock() as virtual:
        thread = threading.Thread(target=ended.wait)
        thread.start()
        try:
            if not was_on:
                gc.disable()
            virtual._threads.at_rest(frozenset())
            assert gc.isenabled() is was_on
        finally:
            gc.enable()
            ended.set()
            thread.join()
    assert seen
    assert not any(seen)


def test_a_thread_that_is_gone_is_not_seen() -> None:
    """There is nothing to glance at in a thread that has ended."""
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert glance(thread, sys._current_frames()) is None


@pytest.mark.parametrize(
    ("call", "doing"),
    [
        ("", Doing.UNKNOWN),
        ("running", Doing.RUNNING),
        ("7 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8", Doing.WAITING_FOR_IO),
        ("230 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8", Doing.WAITING_FOR_TIME),
        ("202 0x1 0x189 0x0 0x0 0x0 0xffffffff 0x7 0x8", Doing.WAITING_FOR_THREAD),
        ("202 0x1 0x189 0x0 0x7f00 0x0 0xffffffff 0x7 0x8", Doing.WAITING_FOR_TIME),
        ("202 0x1 0x80 0x2 0x0 0x0 0xffffffff 0x7 0x8", Doing.RUNNING),
    ],
)
def test_system_calls_are_read(call: str, doing: Doing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A futex without a limit waits for a thread, with one for time; a mutex of the interpreter's is held briefly."""
    monkeypatch.setattr(_thread_state, "_FUTEX", b"202")
    monkeypatch.setattr(_thread_state, "_SLEEPS", [b"35", b"230"])
    assert _thread_state._doing(tuple(call.encode().split())) is doing


@pytest.mark.parametrize("unreadable", ["no such system", "no such file"])
def test_threads_jump_where_the_system_tells_nothing(unreadable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere a thread that has stood in one place for a while is taken to wait."""
    if unreadable == "no such system":
        monkeypatch.setattr(_thread_state, "_FUTEX", b"")
    else:
        monkeypatch.setattr(_thread_state, "_read", lambda _path: os.close(-1))
    order: queue.SimpleQueue[tuple[float, int]] = queue.SimpleQueue()

    def work(seconds: int) -> None:
        for _ in range(2):
            clock.sleep_blocking(seconds)
            order.put((virtual.elapsed, seconds))

    with VirtualClock(io_grace=0.1) as virtual:
        threads = [threading.Thread(target=work, args=(seconds,)) for seconds in (5, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [order.get() for _ in range(4)] == [(3, 3), (5, 5), (6, 3), (10, 5)]


# -- what is on its way ------------------------------------------------------------------------------------------------

GRACE = 0.25


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The other end cannot be found in this process; returns a clock to set."""
    monkeypatch.setattr(os, "listdir", lambda _path: [])
    now = SimpleNamespace(offset=0.0)
    monkeypatch.setattr(_wire, "real_time", lambda: time.monotonic() + now.offset)
    return now


@linux
def test_what_has_arrived_is_not_on_its_way(pair: tuple[socket.socket, socket.socket]) -> None:
    """Between two ends in this process nothing is under way once it was delivered, read or not."""
    ours, theirs = pair
    wire = Wire(GRACE)
    for message in (b"ping", b"pong" * 1000):
        ours.sendall(message)
        theirs.sendall(message)
        while wire.is_busy([ours.fileno(), theirs.fileno()]):
            time.sleep(0.001)
        assert not wire.is_busy([ours.fileno()])


@linux
def test_what_was_sent_and_has_not_arrived_is_on_its_way(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the kernel has delivered it to the other end, something is under way, in either direction."""
    ours, theirs = pair
    inspect = _wire._inspect
    for fd, change in ((theirs.fileno(), {"sent": 1}), (ours.fileno(), {"sent": 1})):
        with monkeypatch.context() as patch:
            patch.setattr(
                _wire,
                "_inspect",
                lambda each, fd=fd, change=change: (
                    seen._replace(**change) if (seen := inspect(each)) is not None and each == fd else seen
                ),
            )
            assert Wire(GRACE).is_busy([ours.fileno()])
    assert not Wire(GRACE).is_busy([ours.fileno()])


@linux
def test_an_answer_from_elsewhere_is_awaited_for_a_while(
    pair: tuple[socket.socket, socket.socket], elsewhere: SimpleNamespace
) -> None:
    """After something was sent, an answer is on its way for the grace, and more of it for a tenth of that."""
    ours, theirs = pair
    wire = Wire(GRACE)
    elsewhere.offset += 1
    wire.is_busy([ours.fileno()])
    elsewhere.offset += 1
    assert not wire.is_busy([ours.fileno()])

    ours.sendall(b"ping")
    assert wire.is_busy([ours.fileno()])
    elsewhere.offset += GRACE * 0.9
    assert wire.is_busy([ours.fileno()])
    elsewhere.offset += GRACE * 0.2
    assert not wire.is_busy([ours.fileno()])

    ours.sendall(b"ping")
    assert wire.is_busy([ours.fileno()])
    theirs.sendall(b"pong")
    while _wire._inspect(ours.fileno()).received < 4:  # type: ignore[union-attr]
        time.sleep(0.001)
    assert wire.is_busy([ours.fileno()])
    elsewhere.offset += GRACE * 0.11
    assert not wire.is_busy([ours.fileno()])


@linux
def test_a_new_connection_to_elsewhere_may_be_greeted(
    pair: tuple[socket.socket, socket.socket], elsewhere: SimpleNamespace
) -> None:
    """On a connection just made, the other side may speak first."""
    ours, _ = pair
    wire = Wire(GRACE)
    assert wire.is_busy([ours.fileno()])
    elsewhere.offset += GRACE * 1.1
    assert not wire.is_busy([ours.fileno()])


def test_a_connection_in_the_making_is_waited_for(elsewhere: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a handshake is under way, its answer is, for the grace."""
    ends = (("127.0.0.1", 1), ("", 0))
    shaking = _wire._Connection(ends, _wire._CONNECTING, sent=0, received=0, sent_ago=1e6, received_ago=1e6)
    monkeypatch.setattr(_wire, "_inspect", lambda _fd: shaking)
    wire = Wire(GRACE)
    assert wire.is_busy([3])
    elsewhere.offset += GRACE * 1.1
    assert not wire.is_busy([3])


def test_what_is_left_of_an_old_answer_is_not_waited_for(
    elsewhere: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection first seen when it has been silent for long holds nothing up."""
    ends = (("127.0.0.1", 1), ("127.0.0.1", 2))
    silent = _wire._Connection(ends, 1, sent=10, received=10, sent_ago=2.0, received_ago=1.0)
    monkeypatch.setattr(_wire, "_inspect", lambda _fd: silent)
    assert not Wire(GRACE).is_busy([3])


@linux
def test_the_ends_of_a_dual_stack_server_are_known() -> None:
    """A server that sees its IPv4 client under a mapped address is still the other end."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no dual-stack sockets")
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as ours, listener.accept()[0]:
            assert not Wire(GRACE).is_busy([ours.fileno()])


@linux
def test_what_is_no_connection_is_quiet(pair: tuple[socket.socket, socket.socket]) -> None:
    """Pipes, listeners, datagram and Unix sockets, files that are closed, and ended connections bring nothing."""
    ours, theirs = pair
    reading, writing = os.pipe()
    left, right = socket.socketpair()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(type=socket.SOCK_DGRAM) as datagram,
        left,
        right,
    ):
        theirs.close()
        files = [reading, writing, left.fileno(), listener.fileno(), datagram.fileno(), ours.fileno(), 10_000]
        assert [_wire._inspect(fd) for fd in files] == [None] * len(files)
        assert not Wire(GRACE).is_busy(files)
    os.close(reading)
    os.close(writing)


def test_other_systems_tell_nothing(pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel is not asked, nothing is ever taken to be on its way."""
    ours, theirs = pair
    monkeypatch.setattr(sys, "platform", "other")
    theirs.sendall(b"x")
    assert not Wire(GRACE).is_busy([ours.fileno()])
