"""Closing results that nobody will see: a response that is dropped without that holds its connection."""

from __future__ import annotations

from collections.abc import Coroutine

from resilio._core.colour import is_awaitable
from resilio._core.mishaps import log_exception


async def close_unseen(result: object, *, may_await: bool) -> None:
    """Close ``result`` by its ``aclose`` or ``close``, if it has one. A closing that fails is logged, no more.

    Args:
        result: What was refused, or came too late.
        may_await: Whether this runs on an event loop; if not, only a plain ``close`` is called.
    """
    try:
        aclose = getattr(result, "aclose", None)
        close = aclose if may_await and callable(aclose) else getattr(result, "close", None)
        closing = close() if callable(close) else None
        if is_awaitable(closing):
            if may_await:
                await closing
            elif isinstance(closing, Coroutine):
                closing.close()  # nobody can await it here
    except Exception:
        log_exception("closing a discarded result failed (a %s)", type(result).__name__)
