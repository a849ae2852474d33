"""Several processes of one service on one page: each writes what it knows to a shared directory now and then.

A file is replaced in one step, is readable by its owner only, and is believed only while it is fresh and its owner is
ours. Nothing in it is more than a text or a number, and all of it is escaped like anything else that is shown.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resilio._core import clock, logs
from resilio.dashboard.orders import Order, leave_order, take_orders
from resilio.dashboard.rows import Glance

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.dashboard.collector import Collector

__all__ = ("Fleet",)

EVERY: Final = 2.0
"""Seconds between two writes."""

FRESH: Final = 10.0
"""Seconds after which a process that wrote nothing is not shown any more."""

_FORGOTTEN: Final = 3600.0
_MOST_BYTES: Final = 4_000_000
_MOST_PROCESSES: Final = 64
_MOST_GROUPS: Final = 100
_SUFFIX: Final = ".resilio.json"

_log = logging.getLogger("resilio")


class Fleet:
    """The processes that share a directory; this one alone without one. Safe from any thread.

    Args:
        collector: What looks at this process.
        directory: The directory, made if it is not there; None for this process alone.

    Raises:
        OSError: The directory cannot be made.

    The writing is done by a daemon thread of its own, so that a worker is shown before anybody asked it for a page. It
    ends when the fleet is garbage, and begins anew in a forked child.
    """

    def __init__(self, collector: Collector, directory: str | os.PathLike[str] | None) -> None:
        self._collector = collector
        self.directory: Path | None = None if directory is None else Path(directory)
        self._over = threading.Event()
        self._writing = threading.Lock()
        self._pid = 0
        if self.directory is not None:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.start()
            _alive.add(self)
            weakref.finalize(self, self._over.set)

    def start(self) -> None:
        """Begin to write, unless this process does already."""
        if self.directory is None or self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._writing = threading.Lock()  # a fork may have copied one that is held
        beat = weakref.WeakMethod(self.write)
        threading.Thread(
            target=_write_now_and_then, args=(beat, self._over), name="resilio-dashboard", daemon=True
        ).start()

    def close(self) -> None:
        """Stop writing, and take this process's file away."""
        self._over.set()
        if self.directory is not None:
            with self._writing, suppress(OSError):
                self._path().unlink()

    def glances(self, *, most_groups: int | None = None) -> list[Glance]:
        """What every process knows: this one now, first; the others as they wrote it last."""
        here = self._collector.glance(most_groups=most_groups)
        return [here, *sorted(self.others(), key=lambda each: each.process.started)]

    def write(self) -> None:
        """Write what this process knows.

        Raises:
            OSError: It cannot be written.
        """
        if self.directory is None:
            return
        with self._writing:
            if not self._over.is_set():
                self._replace(self._path())
        self.obey()
        self._tidy()

    def order(self, process: str, name: str, action: str, *, who: str) -> bool:
        """Let another process do something with one of its circuits; tell whether there is one of that id.

        Raises:
            OSError: The order cannot be written.
        """
        known = {each.process.process for each in self.others()}
        if self.directory is None or process not in known:
            return False
        at = clock.utcnow().timestamp()
        leave_order(self.directory, Order(process=process, name=name, action=action, who=who, at=at))
        return True

    def obey(self) -> None:
        """Do what other processes ask this one for."""
        if self.directory is None:
            return
        for order in take_orders(self.directory, self._collector.process_id):
            try:
                told = self._collector.circuits.act(order.name, order.action, who=order.who)
            except KeyError as error:
                told = f"there is no circuit or action {error.args[0]!r} here"
            fields = {"who": order.who, "action": "circuit", "what": f"{order.action} {order.name}", "outcome": told}
            logs.write("info", "dashboard action", {**fields, "process": self._collector.process_id}, logger="resilio")

    def _replace(self, path: Path) -> None:
        glance = self._collector.glance(most_groups=_MOST_GROUPS).to_dict()
        fresh = path.with_suffix(f".{threading.get_ident()}.tmp")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(glance, file, separators=(",", ":"))
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)

    def _path(self) -> Path:
        assert self.directory is not None  # noqa: S101 -- only called with one
        return self.directory / f"{self._collector.process_id}{_SUFFIX}"

    def _files(self) -> list[Path]:
        if self.directory is None:
            return []
        try:
            return sorted(each for each in self.directory.iterdir() if each.name.endswith(_SUFFIX))
        except OSError:
            _log.exception("the dashboard cannot look into %s", self.directory)
            return []

    def others(self) -> list[Glance]:
        """What the other processes wrote last."""
        if self.directory is None:
            return []
        now = clock.utcnow().timestamp()
        own = self._collector.process_id
        found = []
        for path in self._files():
            glance = _read(path)
            if glance is None or glance.process.process == own or abs(now - glance.process.at) > FRESH:
                continue
            glance.process.is_here = False
            found.append(glance)
        return found[:_MOST_PROCESSES]

    def _tidy(self) -> None:
        """Take away the files of processes that ended long ago without doing it themselves."""
        now = clock.utcnow().timestamp()
        for path in self._files():
            with suppress(OSError):
                if now - path.stat().st_mtime > _FORGOTTEN:
                    path.unlink()


def _read(path: Path) -> Glance | None:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if hasattr(os, "getuid") and found.st_uid != os.getuid():
                return None
            data = json.loads(file.read(_MOST_BYTES))
        return Glance.from_dict(data) if isinstance(data, dict) else None
    except FileNotFoundError:
        return None  # its process has just ended
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("the dashboard cannot read %s: %s", path, error)
        return None


def _write_now_and_then(beat: Callable[[], Callable[[], None] | None], over: threading.Event) -> None:
    while True:
        write = beat()
        if write is None or over.is_set():
            return
        try:
            write()
        except Exception:
            _log.exception("the dashboard cannot write what this process knows")
        del write
        # Real time on purpose: a test that stops the clock must not stop this thread, nor be held up by it.
        if over.wait(EVERY):
            return


_alive: weakref.WeakSet[Fleet] = weakref.WeakSet()


def _go_on_in_child() -> None:
    for fleet in list(_alive):
        fleet.start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_go_on_in_child)
