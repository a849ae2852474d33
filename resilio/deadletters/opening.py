"""Where a queue keeps its letters: checked when the queue is built, opened when it is first used."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from resilio import settings
from resilio.deadletters.journal import Journal
from resilio.deadletters.threaded_store import ThreadedStore

if TYPE_CHECKING:
    from resilio.deadletters.store import Store

__all__ = ("Place", "local_store")

_DEFAULT_PATH: Final = "./local_dlq.json"
_DATABASES: Final = (".db", ".sqlite", ".sqlite3")
_MOST_SHARED: Final = 32


class _Shared:
    """A remote store, and the places that use it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.users: WeakSet[Place] = WeakSet()


# A program may build a queue for each message: they share one client and its connections.
_shared: OrderedDict[tuple[int, str, str | None, Path | None], _Shared] = OrderedDict()
_sharing = threading.Lock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: globals().update(_sharing=threading.Lock()))


class Place:
    """A remote queue, a file, both, or a store that the caller has made.

    Args:
        queue_url: The URL of an SQS queue; the environment's by default.
        region: Its region.
        local_file_path: A file; the environment's by default, else one in the working directory.
        store: What is used instead of all these.

    Raises:
        TypeError, ValueError: An argument is not what it should be; the message names it.
    """

    def __init__(self, queue_url: object, region: object, local_file_path: object, store: Store | None) -> None:
        self.store: Store | None = store
        self._shared: _Shared | None = None
        self.queue_url: str | None = _text("queue_url", queue_url)
        self.region: str | None = _text("region", region)
        path = _path(local_file_path)
        if store is not None:
            if self.queue_url or self.region or path:
                msg = "store is given in place of queue_url, region and local_file_path, not beside them"
                raise TypeError(msg)
            self.path: Path | None = None
            return
        self.queue_url = self.queue_url or settings.DLQ_QUEUE_URL.read()
        path = path or settings.DLQ_LOCAL_FILE_PATH.read()
        if not path and not self.queue_url:
            path = _DEFAULT_PATH
        self.path = Path(path).absolute() if path else None

    @property
    def location(self) -> str:
        """The file or queue, for people."""
        if self.store is not None:
            return self.store.location
        return self.queue_url or str(self.path)

    def open(self) -> Store:
        """The store, which opens its files and connections when they are needed."""
        if self.store is not None:
            return self.store
        if self.queue_url is None:
            return self._local()
        key = (os.getpid(), self.queue_url, self.region, self.path)
        with _sharing:
            found = _shared.pop(key, None)
            if found is None:
                found = _Shared(self._remote(self.queue_url))
            _shared[key] = found
            while len(_shared) > _MOST_SHARED:
                _shared.popitem(last=False)
        self._shared = found
        self.enter()
        return found.store

    def enter(self) -> None:
        """Say that the store is in use here."""
        if self._shared is not None:
            with _sharing:
                self._shared.users.add(self)

    def leave(self) -> bool:
        """Say that it is not any more, and tell whether nobody else uses it, so that it can be closed."""
        if self._shared is None:
            return True
        with _sharing:
            self._shared.users.discard(self)
            return not self._shared.users

    def _remote(self, queue_url: str) -> Store:
        from resilio.deadletters.sqs_store import SqsStore  # noqa: PLC0415 -- only for those who use it

        remote = SqsStore(queue_url, region=self.region)
        if self.path is None:
            return remote
        from resilio.deadletters.forwarding import ForwardingStore  # noqa: PLC0415 -- see above

        return ForwardingStore(remote, self._local())

    def _local(self) -> Store:
        if self.path is None:  # pragma: no cover -- whoever has no queue has a file
            raise AssertionError
        return local_store(self.path)


def local_store(path: Path) -> Store:
    """The store for a file: SQLite where its name ends as a database's does, else a journal."""
    if path.suffix.lower() in _DATABASES:
        from resilio.deadletters.sqlite_store import SqliteStore  # noqa: PLC0415 -- only for those who use it

        return ThreadedStore(SqliteStore(path))
    return ThreadedStore(Journal(path))


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        msg = f"{name} must be text, not {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    return value or None


def _path(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        msg = f"local_file_path must be a path, not {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    path = os.fspath(value)
    if not path or "\0" in path:
        msg = f"local_file_path must be the path of a file, not {value!r}"
        raise ValueError(msg)
    return path
