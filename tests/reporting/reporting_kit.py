"""Whom the tests of this room tell, and where they keep messages: the protocols' smallest forms."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel


class Told:
    """A notifier that remembers, or fails."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure
        self.heard: list[tuple[Any, ...]] = []

    async def send_notification(self, *told: Any) -> None:
        await anyio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.heard.append(told)


class PlainTold(Told):
    """The same without an event loop."""

    def send_notification(self, *told: Any) -> None:  # type: ignore[override]
        if self.failure is not None:
            raise self.failure
        self.heard.append(told)
