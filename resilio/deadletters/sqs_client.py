"""Talking to SQS: one session and one client for each event loop, and a few tries for what is only a bad moment.

aiobotocore is slow to import (a quarter of a second), so that happens in a worker thread when the first call needs it.
"""

from __future__ import annotations

import asyncio
import importlib
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import anyio

from resilio._core import dice
from resilio._core.pauses import async_pause
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.sqs_errors import RemoteQueueError, translated
from resilio.deadletters.worker import in_trio, in_worker

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ("Address", "SqsClient", "refuse_trio")

T = TypeVar("T")

_TRIES: Final = 4
_BASE_DELAY: Final = 0.1  # seconds
_MAX_DELAY: Final = 2.0
_CONNECT_WITHIN: Final = 5.0
_ANSWER_WITHIN: Final = 30.0  # longer than SQS's longest poll
_CONNECTIONS: Final = 50  # with the default of 10, a hundred callers wait for each other
_CLOSE_WITHIN: Final = 5.0
_AMAZON: Final = re.compile(r"(?:^|\.)(?:amazonaws\.com(?:\.cn)?|api\.aws)$")
_REGION: Final = re.compile(r"(?:^|\.)(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com(?:\.cn)?$")


class Address:
    """Where a queue is, as the client wants to know it.

    Args:
        queue_url: The queue's URL.
        region: Its region; by default the one in the URL, else what the environment says.
        endpoint_url: The server; by default the one in the URL if that is not Amazon's own, else Amazon's.

    Raises:
        ValueError: ``queue_url`` is no URL.
    """

    __slots__ = ("endpoint_url", "is_fifo", "queue_url", "region")

    def __init__(self, queue_url: str, region: str | None, endpoint_url: str | None) -> None:
        parts = urlsplit(queue_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not parts.path.strip("/"):
            example = "https://sqs.eu-central-1.amazonaws.com/123456789012/dead-letters"
            msg = f"queue_url must be the URL of an SQS queue, such as {example}, not {queue_url!r}"
            raise ValueError(msg)
        self.queue_url: str = queue_url
        self.is_fifo: bool = queue_url.endswith(".fifo")
        found = _REGION.search(parts.hostname)
        self.region: str | None = region or (None if found is None else found[1] or found[2])
        if endpoint_url is None and not _AMAZON.search(parts.hostname):
            endpoint_url = f"{parts.scheme}://{parts.netloc}"
            self.region = self.region or "us-east-1"  # a local server does not mind, but the client needs one
        self.endpoint_url: str | None = endpoint_url


class SqsClient:
    """What one event loop has of a queue: a client, and the tasks that work for it.

    Use it on the event loop that it was made on.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client: Any = None
        self._context: Any = None
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def call(self, operation: str, *, doing: str, **parameters: Any) -> dict[str, Any]:
        """Make a call about the queue; several times, with pauses, while the trouble is of the kind that passes.

        Raises:
            RemoteQueueError: The last try failed as well, or another would not help.
            DeadLetterQueueError: The extra is not installed, or this is no asyncio.
        """
        tries = 0
        while True:
            try:
                return await self._try(operation, doing, parameters)
            except RemoteQueueError as error:
                tries += 1
                if not error.retryable or tries == _TRIES:
                    raise
            await pause_before(tries)

    async def _try(self, operation: str, doing: str, parameters: dict[str, Any]) -> dict[str, Any]:
        queue_url = self.address.queue_url
        try:
            client = self._client or await self._opened()
            answer: dict[str, Any] = await getattr(client, operation)(**parameters)
        except DeadLetterQueueError:
            raise
        except Exception as error:
            raise translated(error, location=queue_url, doing=doing) from error
        return answer

    async def _opened(self) -> Any:
        async with self._opening:
            if self._is_closed:
                msg = f"{self.address.queue_url} was closed while it was in use"
                raise DeadLetterQueueError(msg, location=self.address.queue_url)
            if self._client is None:
                session, config = await in_worker(_load)
                address = self.address
                self._context = session.create_client(
                    "sqs", region_name=address.region, endpoint_url=address.endpoint_url, config=config
                )
                self._client = await self._context.__aenter__()
            return self._client

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` as a task that belongs to this client, which waits for it before it closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it has it; where nobody does, there is nobody to tell

    async def to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work``, which goes on to its end even when the caller is cancelled."""
        task = self.start(work)
        await asyncio.wait([task])
        return task.result()

    async def aclose(self) -> None:
        """Wait for what is on its way, a few seconds at most, and let go of the connections."""
        with anyio.move_on_after(_CLOSE_WITHIN):
            while self._tasks:  # one may start another
                await asyncio.wait(set(self._tasks))
        late = set(self._tasks)
        for each in late:
            each.cancel()
        if late:
            await asyncio.wait(late)
        self._is_closed = True
        context, self._context, self._client = self._context, None, None
        if context is not None:
            await context.__aexit__(None, None, None)


async def pause_before(tries: int) -> None:
    """Wait before another try, the longer the more there were: exponential back-off with full jitter."""
    await async_pause(dice.uniform(0.0, min(_MAX_DELAY, _BASE_DELAY * 2.0**tries)))


def refuse_trio(location: str) -> None:
    """Say so where trio runs this.

    Raises:
        DeadLetterQueueError: It does.
    """
    if in_trio():
        msg = (
            f"{location}: SQS needs asyncio, because aiobotocore does, and this is trio; run it with asyncio, or call "
            "the blocking queue of resilio.sync in a worker thread (trio.to_thread.run_sync)"
        )
        raise DeadLetterQueueError(msg, location=location)


def _load() -> tuple[Any, Any]:
    """A session, and the settings of its clients; blocks while aiobotocore is imported."""
    try:
        sessions = importlib.import_module("aiobotocore.session")
        configs = importlib.import_module("aiobotocore.config")
    except ImportError as error:
        msg = "queue_url needs aiobotocore; install the extra: pip install 'resilio-toolkit[aws]'"
        raise DeadLetterQueueError(msg, location="SQS") from error
    session = sessions.get_session()
    session.register_component("data_loader", _files_of(session))
    config = configs.AioConfig(
        connect_timeout=_CONNECT_WITHIN,
        read_timeout=_ANSWER_WITHIN,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1},  # tries are made here, where they can be told apart and interrupted
    )
    return session, config


_loaders: list[Any] = []


def _files_of(session: Any) -> Any:
    """What reads and keeps the client's description of SQS: the same files for every session, read once."""
    if not _loaders:
        loader = session.get_component("data_loader")
        loader.load_service_model("sqs", "service-2")
        loader.load_service_model("sqs", "endpoint-rule-set-1")
        loader.load_data("endpoints")
        _loaders.append(loader)
    return _loaders[0]
