"""httpx2 with resilience below it: `ResilientTransport`, and its blocking twin.

`resilio.web.transport` tells the whole story: what is sent again, what counts as a failure, what a body holds. httpx2
is the successor of httpx; its classes are others, so that this module has its own.
"""

from __future__ import annotations

from typing import Final

from resilio.alerting.optional import require

require("httpx2", extra="httpx2", what="resilio.web.httpx2")

import httpx2

from resilio.errors import BulkheadFullError, CircuitBreakerOpenError, OperationTimeoutError
from resilio.web.transport import AsyncResilience, BlockingResilience, Library
from resilio.web.transport_body import AsyncBody, BlockingBody
from resilio.web.transport_settings import IDEMPOTENT_METHODS

__all__ = (
    "IDEMPOTENT_METHODS",
    "ResilientSyncTransport",
    "ResilientTransport",
    "TransportBulkheadFullError",
    "TransportCircuitOpenError",
    "TransportTimeoutError",
)


class TransportCircuitOpenError(CircuitBreakerOpenError, httpx2.TransportError):
    """The host's circuit is open: nothing was sent. A `CircuitBreakerOpenError`, and a ``TransportError`` of httpx2."""

    _request: httpx2.Request | None = None


class TransportBulkheadFullError(BulkheadFullError, httpx2.TransportError):
    """Too many requests to the host are under way. A `BulkheadFullError`, and a ``TransportError`` of httpx2."""

    _request: httpx2.Request | None = None


class TransportTimeoutError(OperationTimeoutError, httpx2.TimeoutException):
    """An attempt, or all together, took too long. An `OperationTimeoutError`, and httpx2's ``TimeoutException``."""

    _request: httpx2.Request | None = None


class _AsyncBody(AsyncBody, httpx2.AsyncByteStream):
    """A body whose end settles what its request held."""


class _BlockingBody(BlockingBody, httpx2.SyncByteStream):
    """The same for a blocking client."""


_LIBRARY: Final = Library(
    url=httpx2.URL,
    in_memory=httpx2.ByteStream,
    sender=httpx2.AsyncHTTPTransport,
    body=_AsyncBody,
    own_error=httpx2.TransportError,
    circuit_open=TransportCircuitOpenError,
    bulkhead_full=TransportBulkheadFullError,
    timed_out=TransportTimeoutError,
)


class ResilientTransport(AsyncResilience[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport):
    """Below an ``httpx2.AsyncClient``: limiter, retries, circuit and times for each host of its own.

    Args:
        transport: The one that sends; ``httpx2.AsyncHTTPTransport()`` by default. What a client gives it otherwise,
            such as ``verify`` or ``http2``, must be given to it here.
        name: Transports of one name share their circuits, host by host; None makes them the transport's own.
        max_concurrent: Requests to one host that may be under way at once, their bodies included.
        total_timeout: Seconds for all attempts together, until the headers of an answer.
        max_retries: Attempts after the first.
        base_delay: Seconds before the first retry, before jitter.
        budget: Limits retries across hosts and transports.
        trip: When a host's circuit opens.
        recovery_timeout: Seconds that it stays open.
        attempt_timeout: Seconds for each attempt, until the headers of its answer.
        retry_methods: Methods that may be sent more than once; any may that carries an ``Idempotency-Key``.
        max_hosts: Hosts that are remembered; beyond it, the idle one that was used longest ago is forgotten.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Arguments are out of range, or defeat each other.

    Works on asyncio and trio. Make it with its client, once; the transport that sends belongs to one event loop, what
    is decided here to none.

        >>> import httpx2
        >>> client = httpx2.AsyncClient(transport=ResilientTransport(max_retries=2))
    """

    _library = _LIBRARY

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request under the policies of its host.

        Raises:
            TransportCircuitOpenError: The host's circuit is open.
            TransportBulkheadFullError: Too many requests to it are under way.
            TransportTimeoutError: An attempt, or all together, took too long.
            httpx2.TransportError: What the last attempt failed with.
        """
        response: httpx2.Response = await self._handle(request)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class ResilientSyncTransport(BlockingResilience[httpx2.BaseTransport], httpx2.BaseTransport):
    """Below an ``httpx2.Client``: the blocking twin of `ResilientTransport`, with the same arguments and decisions.

    A thread cannot be cancelled: times are kept through httpx2's own timeouts, of which each (to connect, to write, to
    wait for the answer) is cut to what is left of the attempt. Safe to share between threads.

        >>> import httpx2
        >>> client = httpx2.Client(transport=ResilientSyncTransport(max_retries=2))
    """

    _library = _LIBRARY._replace(sender=httpx2.HTTPTransport, body=_BlockingBody)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request under the policies of its host; raises as the async method does."""
        response: httpx2.Response = self._handle(request)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()
