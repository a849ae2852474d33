"""What a type checker sees of handlers that handle their errors. Not run: `test_revealed_types.py` has mypy read it.

``# is: T`` at the end of a line is the type that must be revealed there. A wrong use carries its `type: ignore`, which
strict mypy takes back where the use is allowed after all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, reveal_type

from resilio.web.state import ErrorStateMixin, handles_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator


class Page(ErrorStateMixin):
    """Handlers of every colour."""

    @handles_errors("connect", retryable=True)
    async def connect(self, source: str, *, timeout: float = 3) -> int:  # noqa: ASYNC109 -- just a name
        """Async: None where it failed."""
        return len(source)

    @handles_errors("count")
    def count(self, source: str) -> int:
        """Plain: the same."""
        return len(source)

    @handles_errors("updates")
    async def updates(self, count: int) -> AsyncIterator[str]:
        """An async generator only ends early."""
        yield "x" * count

    @handles_errors("stream")
    async def stream(self, count: int) -> AsyncGenerator[str, None]:
        """The same, with its full type."""
        yield "x" * count

    @handles_errors("steps")
    def steps(self, count: int) -> Iterator[int]:
        """A generator."""
        yield count


page = Page()

reveal_type(page.connect)  # is: def (source: str, *, timeout: float =) -> Coroutine[Any, Any, int | None]
reveal_type(page.count)  # is: def (source: str) -> int | None
reveal_type(page.updates)  # is: def (count: int) -> AsyncIterator[str]
reveal_type(page.stream)  # is: def (count: int) -> AsyncGenerator[str, None]
reveal_type(page.steps)  # is: def (count: int) -> Iterator[int]
reveal_type(page.error_message)  # is: str
reveal_type(page.retry_possible)  # is: bool
page.count(1)  # type: ignore[arg-type]
handles_errors(operation="x")  # type: ignore[call-arg]
handles_errors("x", retryable="yes")  # type: ignore[arg-type]
