"""What is measured, and what is to be reached: the rows of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from benchmarks import drivers, work
from benchmarks.goals import AheadOfPeers, TimesLimit, Within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.drivers import Driver, Operation
    from benchmarks.goals import Goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        key: The name of the row's function in `limits`, `ours` and the modules of `peers`, and after ``--row``.
        title: For people.
        driver: How the operation is run.
        protected: What makes the function that is protected.
        unprotected: What makes the function that is called without protection, to compare with.
        check: Sees, before anything is timed, that a contestant does what the row is about.
        goals: What is to be reached, all of it.
        count: Operations in a repetition; None for as many as fill the time.
        is_above_none: Whether what counts is the cost above that of the unprotected function.
    """

    key: str
    title: str
    driver: Driver = drivers.awaited
    protected: Callable[[], Operation] = work.answer
    unprotected: Callable[[], Operation] = work.answer
    check: Callable[[Operation], Awaitable[None]] = work.check_answer
    goals: tuple[Goal, ...] = ()
    count: int | None = None
    is_above_none: bool = False


Part: TypeAlias = Literal["import", "first breaker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUpRow:
    """A comparison of what happens once in a process, each time in a new one.

    Attributes:
        key: After ``--row``.
        title: For people.
        goals: What is to be reached, all of it.
        parts: What is timed: the import, the first breaker, or both.
        has_peers: Whether the peers take part. Most of them do all their work in the import, so that what the first
            breaker adds to it compares badly.
    """

    key: str
    title: str
    parts: tuple[Part, ...]
    goals: tuple[Goal, ...] = ()
    has_peers: bool = True


ROWS: tuple[Row | StartUpRow, ...] = (
    Row(
        key="breaker_closed",
        title="breaker closed, consecutive failures, async decorator",
        goals=(TimesLimit(1.3), AheadOfPeers()),
    ),
    Row(key="breaker_execute", title="the same through execute()"),
    Row(key="breaker_block", title="the same as an async with block"),
    Row(key="breaker_rate", title="breaker closed, failure rate over the last 100 calls"),
    Row(
        key="breaker_window",
        title="breaker closed, sliding window with slow calls",
        goals=(TimesLimit(1.5),),
    ),
    Row(key="breaker_time_window", title="the same, over the last 30 seconds"),
    Row(
        key="breaker_open",
        title="breaker open, rejection",
        driver=drivers.rejected,
        protected=work.failure,
        check=work.check_rejection,
        goals=(TimesLimit(1.3),),
    ),
    Row(
        key="breaker_blocking",
        title="breaker closed, consecutive failures, blocking",
        driver=drivers.called,
        protected=work.answer_blocking,
        unprotected=work.answer_blocking,
        check=work.check_plain_answer,
        goals=(TimesLimit(1.8),),
    ),
    Row(key="retry_none", title="retry, no failure", goals=(TimesLimit(1.2),)),
    Row(key="retry_two", title="retry, two failures, no wait", protected=work.flaky, goals=(TimesLimit(2.5),)),
    Row(key="retry_breaker", title="retry + breaker", goals=(TimesLimit(1.8),)),
    Row(key="stack", title="fallback + retry + breaker + bulkhead + timeout", goals=(AheadOfPeers(0.5),)),
    Row(key="rate_limiter", title="rate limiter, uncontended", goals=(TimesLimit(1.2),)),
    Row(key="bulkhead", title="bulkhead, uncontended", goals=(TimesLimit(1.3),)),
    Row(key="timeout", title="timeout that does not fire, asyncio", goals=(AheadOfPeers(0.5),)),
    Row(
        key="breaker_tasks",
        title="10 000 tasks through one breaker, per task above none",
        driver=drivers.in_tasks,
        protected=work.pause,
        unprotected=work.pause,
        goals=(AheadOfPeers(),),
        count=10_000,
        is_above_none=True,
    ),
    Row(key="unheard", title="asking whether anybody listens, nobody does", goals=(TimesLimit(1.1),)),
    Row(
        key="report_error",
        title="an error that came through ten functions, reported by handle(), not logged",
        protected=work.deep_failure,
        unprotected=work.deep_failure_caught,
        goals=(AheadOfPeers(0.1),),
    ),
    Row(key="redact_text", title="redaction of 1 KiB of prose"),
    Row(key="track_report", title="a report counted by the tracker, a thousand kinds in turn"),
    Row(key="notify", title="a notification to one channel"),
    Row(key="notify_guarded", title="the same through the standard tries and a storm limit"),
    Row(key="notify_held", title="a notification held in a storm"),
    Row(key="notify_duplicate", title="a notification that was told a moment ago"),
    StartUpRow(key="import", title="import after anyio", parts=("import",), goals=(Within(0.005),)),
    StartUpRow(
        key="first_breaker",
        title="first breaker after the import",
        parts=("first breaker",),
        goals=(Within(0.010),),
        has_peers=False,
    ),
    StartUpRow(key="ready", title="import after anyio, and the first breaker", parts=("import", "first breaker")),
)
