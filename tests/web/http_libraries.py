"""httpx and httpx2 behind the same few names, so that one test speaks for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest

import resilio.web.httpx
import resilio.web.httpx2

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True)
class HttpLibrary:
    """A client library, and our module for it."""

    name: str
    itself: ModuleType
    ours: ModuleType

    def transport(self, inner: Any = None, **settings: Any) -> Any:
        """A transport that retries without waiting, unless told otherwise."""
        inner = inner or self.itself.AsyncHTTPTransport(verify=False)  # no TLS here, and its certificates take 20 ms
        return self.ours.ResilientTransport(inner, **{"base_delay": 0, **settings})

    def client(self, transport: Any = None, **settings: Any) -> Any:
        """An async client above a transport, ours unless one is given."""
        return self.itself.AsyncClient(transport=transport or self.transport(**settings))

    def blocking(self, **settings: Any) -> Any:
        """A blocking client above our transport."""
        inner = self.itself.HTTPTransport(verify=False)
        transport = self.ours.ResilientSyncTransport(inner, **{"base_delay": 0, **settings})
        return self.itself.Client(transport=transport)


LIBRARIES = (
    HttpLibrary("httpx", httpx, resilio.web.httpx),
    HttpLibrary("httpx2", httpx2, resilio.web.httpx2),
)


@pytest.fixture(params=LIBRARIES, ids=[each.name for each in LIBRARIES])
def each_library(request: pytest.FixtureRequest) -> HttpLibrary:
    """httpx, then httpx2; a test module gives it a name of its own."""
    library: HttpLibrary = request.param
    return library


def host_of(transport: Any, url: str) -> Any:
    """What the transport keeps for the host of a URL."""
    return transport._hosts.of(transport._library.url(url))
