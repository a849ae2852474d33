"""What a type checker sees of the dead letter queue. Not run: `test_revealed_types.py` has mypy read it.

``# is: T`` at the end of a line is the type that must be revealed there. A wrong use carries its `type: ignore`, which
strict mypy takes back where the use is allowed after all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, reveal_type

import resilio.sync
from resilio import DeadLetterQueue, LetterFilter, ReplayContext, ReplayProgress, StopWhenFailing, dead_lettered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

dlq = DeadLetterQueue()
blocking = resilio.sync.DeadLetterQueue()


# -- decorated functions keep their signature --------------------------------------------------------------------------


@dead_lettered(dlq, message="order")
async def ship(order: int, *, carrier: str = "cat") -> list[str]:
    """Async."""
    return [carrier] * order


@dead_lettered(dlq, suppress=True)
async def try_to_ship(order: int) -> str:
    """Async, and None where it failed."""
    return str(order)


@dead_lettered(dlq, suppress=True)
async def stream(count: int) -> AsyncGenerator[int, None]:
    """An async generator only ends early."""
    yield count


@resilio.sync.dead_lettered(blocking, message=lambda x: x)
def compute(x: int) -> float:
    """Plain."""
    return 1 / x


@resilio.sync.dead_lettered(blocking)
def generate(count: int) -> Iterator[int]:
    """A generator."""
    yield count


@resilio.sync.dead_lettered(blocking, suppress=True)
def try_to_compute(x: int) -> float:
    """Plain, and None where it failed."""
    return 1 / x


reveal_type(ship)  # is: def (order: int, *, carrier: str =) -> Coroutine[Any, Any, list[str]]
reveal_type(try_to_ship)  # is: def (order: int) -> Coroutine[Any, Any, str | None]
reveal_type(stream)  # is: def (count: int) -> AsyncGenerator[int, None]
reveal_type(compute)  # is: def (x: int) -> float
reveal_type(generate)  # is: def (count: int) -> Iterator[int]
reveal_type(try_to_compute)  # is: def (x: int) -> float | None
compute("a")  # type: ignore[arg-type]
dead_lettered(7)  # type: ignore[call-overload]


# -- the queue ---------------------------------------------------------------------------------------------------------


async def look_and_replay() -> None:
    """What comes out of it."""
    reveal_type(await dlq.send_to_dlq({"a": 1}, ValueError(), headers={"a": "b"}))  # is: str
    reveal_type(await dlq.peek(error="E"))  # is: list[resilio.deadletters.letter.DeadLetter]
    summary = await dlq.reprocess_all(LetterFilter(group="g"), rate=5, stop_when_failing=StopWhenFailing(ratio=0.9))
    reveal_type(summary.ended)  # is: resilio.deadletters.replay_run.ReplayEnd
    reveal_type(summary.errors)  # is: Mapping[str, str]
    reveal_type(await dlq.move(to=DeadLetterQueue()))  # is: int
    await dlq.move(to=blocking)  # type: ignore[arg-type]
    await dlq.send_to_dlq(1, {}, headers={"a": 1})  # type: ignore[dict-item]
    await dlq.purge(True)  # type: ignore[call-arg]
    async with dlq.guard({"a": 1}) as guard:
        reveal_type(guard.message_id)  # is: str | None
    with blocking.guard({"a": 1}) as blocking_guard:
        reveal_type(blocking_guard.message_id)  # is: str | None
    with dlq.guard({"a": 1}):  # type: ignore[attr-defined]
        pass


def tell(progress: ReplayProgress) -> None:
    """A progress function."""
    reveal_type(progress.message_id)  # is: str


async def handle(message: object, context: ReplayContext) -> None:
    """A reprocessor with a context."""
    reveal_type(context.idempotency_key)  # is: str
    reveal_type(context.letter.headers)  # is: Mapping[str, str]


DeadLetterQueue(reprocessor=handle, retention=86_400, max_letters=10_000)
resilio.sync.DeadLetterQueue(reprocessor=handle).reprocess_all(on_progress=tell)
DeadLetterQueue(max_letters="many")  # type: ignore[arg-type]
