"""What is asked of the application while the service has its moods, and what is shown of the answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import httpx

if TYPE_CHECKING:
    from examples.web.upstream import Upstream

_HEADERS = ("Content-Type", "Retry-After")


class Questions:
    """Asks, and prints each question with its answer."""

    def __init__(self, url: str, upstream: Upstream) -> None:
        self._url = url
        self._upstream = upstream

    async def ask_all(self) -> None:
        """The whole day."""
        async with httpx.AsyncClient(base_url=self._url, timeout=30) as client:
            await self._ask(client, "all is well", "/cats/0")
            self._upstream.mood = "busy"
            await self._ask(client, "the service is busy and asks for a second; nobody notices", "/cats/1")
            await self._ask(client, "the client's own mistake, pointed to", "/cats/1?lives=1000")
            await self._ask(client, "a mistake that the application finds, in German", "/cats/13", "de")
            await self._ask(client, "a bug: the id of its report, and nothing else", "/bug")
            self._upstream.mood = "broken"
            await self._ask(client, "the service is broken", "/cats/2")
            await self._ask(client, "still broken, for the fourth time", "/cats/2")
            await self._ask(client, "its circuit is open: nobody waits", "/cats/2")
            await self._ask(client, "the load balancer sees it", "/health")
            self._upstream.mood = "well"
            await anyio.sleep(1.6)
            await self._ask(client, "well again", "/cats/2")
            await self._ask(client, "and healthy", "/health")

    async def _ask(self, client: httpx.AsyncClient, why: str, path: str, language: str = "en") -> None:
        asked = self._upstream.asked
        response = await client.get(path, headers={"Accept-Language": language})
        print(f"\n# {why} (the service was asked {self._upstream.asked - asked} times)")
        print(f"GET {path}\n{response.status_code} {response.reason_phrase}")
        for name in _HEADERS:
            if name in response.headers:
                print(f"{name}: {response.headers[name]}")
        print(json.dumps(response.json(), ensure_ascii=False, indent=2))
