"""Ports for generated applications: reserved across processes, and checked by binding them."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from resilio import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, LAST = 3000, 5000


@dataclass(frozen=True, slots=True)
class PortPair:
    """The two ports of an application.

    Attributes:
        frontend: Serves its page.
        backend: Serves its data.
    """

    frontend: int
    backend: int


class PortRegistry:
    """Reserves pairs of ports for the processes of this machine.

    A reservation belongs to the process that made it and ends with it, if it was not released before. Reservations are
    kept in a file under a lock, so that two processes never get the same port; a port that anybody else listens on is
    passed over.

    Args:
        first: The lowest port.
        last: The highest port.
        file: Where reservations are kept; the same for everybody who takes part.

    Raises:
        ValueError: ``first`` and ``last`` are no range of ports.

    Safe for threads and processes. Blocks while another one reserves, which takes milliseconds.
    """

    def __init__(self, first: int = FIRST, last: int = LAST, *, file: Path | None = None) -> None:
        if not 1 <= first <= last <= 65_535:  # noqa: PLR2004 -- ports
            msg = f"first and last must be a range of ports within 1 and 65535, not {first} and {last}"
            raise ValueError(msg)
        self._range = range(first, last + 1)
        self._file = file or Path(tempfile.gettempdir()) / f"proto-ddf-ports-{os.getuid()}.json"

    def reserve_pair(self, name: str) -> PortPair:
        """Reserve two free ports for the application ``name``; one that has a pair already gets the same again.

        Raises:
            resilio.errors.SystemError: Fewer than two are free.
        """
        with self._reservations() as taken:
            held = sorted(int(port) for port, owner in taken.items() if owner == _owner(name))
            if len(held) == 2:  # noqa: PLR2004 -- a pair
                return PortPair(*held)
            free = []
            for port in self._range:
                if str(port) not in taken and _can_be_bound(port):
                    free.append(port)
                    if len(free) == 2:  # noqa: PLR2004
                        taken.update({str(each): _owner(name) for each in free})
                        return PortPair(*free)
            msg = "No available ports in range"
            raise errors.SystemError(
                msg,
                component="port_registry",
                code="port_unavailable",
                retryable=True,
                requested_range=f"{self._range.start}-{self._range.stop - 1}",
                available_ports=len(free),
            )

    def release(self, pair: PortPair) -> None:
        """Give a pair back; one that is not reserved by this process is left alone."""
        with self._reservations() as taken:
            for port in (pair.frontend, pair.backend):
                if taken.get(str(port), {}).get("pid") == os.getpid():
                    del taken[str(port)]

    @contextmanager
    def _reservations(self) -> Iterator[dict[str, dict[str, Any]]]:
        """The reservations of living processes, by port; what the block changes is kept."""
        # The lock's file is another one: the data's is replaced whole, so that a crash never leaves half of it.
        with self._file.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file closes, also by a process that dies
            try:
                kept = json.loads(self._file.read_text(encoding="utf-8"))
            except FileNotFoundError:
                kept = {}
            taken = {port: owner for port, owner in kept.items() if _is_alive(owner)}
            yield taken
            if taken != kept:
                fresh = self._file.with_suffix(".new")
                fresh.write_text(json.dumps(taken), encoding="utf-8")
                fresh.replace(self._file)


def _owner(name: str) -> dict[str, Any]:
    return {"name": name, "pid": os.getpid(), "born": _born(os.getpid())}


def _is_alive(owner: dict[str, Any]) -> bool:
    # The number alone could be another process's by now.
    return bool(_born(owner["pid"]) == owner["born"])


def _born(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _can_be_bound(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just been closed is free
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


PORT_REGISTRY = PortRegistry()
