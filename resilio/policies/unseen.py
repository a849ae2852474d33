"""Closing results that nobody will see: a response that is dropped without that holds its connection."""

from __future__ import annotations

from resilio._core.colour import is_awaitable


async def close_unseen(result: object, *, may_await: bool) -> None:
    """Close ``result`` by its ``aclose`` or ``close``, if it has one.

    Args:
        result: What was refused, or came too late.
        may_await: Whether this runs on an event loop; if not, only a plain ``close`` is called.
    """
    aclose = getattr(result, "aclose", None)
    if may_await and callable(aclose):
        closing = aclose()
        if is_awaitable(closing):
            await closing
        return
    close = getattr(result, "close", None)
    if callable(close):
        closing = close()
        if may_await and is_awaitable(closing):
            await closing
