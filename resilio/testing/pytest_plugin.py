"""The pytest plugin, found by pytest through its entry point; nothing to register.

| fixture | hands out |
|---|---|
| ``virtual_clock`` | a `VirtualClock` on which the test lives: no sleep, timeout or deadline takes real time |
| ``faults`` | a `FaultInjector`, seeded, undone when the test ends |
| ``chaos_proxy`` | makes a seeded `ChaosProxy`: ``async with chaos_proxy(("127.0.0.1", port)) as proxy:`` |
| ``resilio_events`` | an `EventRecorder` with every event of this test |
| ``dead_letters`` | a `DeadLetters`: what this test lost, in memory, whichever queue was to keep it |
| ``notifications`` | a `Notifications`: whom it told, in memory, whichever notifier told it |
| ``no_waits``, ``fast`` | `no_waits` itself, and in the test's body no policy waits |

Without being asked, each test starts with state of its own: named circuits, listeners for events, and the environment
variables that settings are read from. What is left to chance in this package follows from a seed, which the header
and the report of a failing test name: ``--resilio-seed``, else ``RESILIO_SEED``, else pytest-randomly's.

The module is loaded in every test run of everybody who has the package installed, so it imports nothing but pytest and
the dice; everything else comes with the first fixture that needs it. All fixtures are plain functions that hand out
objects with async methods: an async generator fixture that holds a task group breaks under pytest-asyncio.
"""

from __future__ import annotations

import functools
import inspect
import os
import random
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from resilio._core import dice

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from resilio._core.events import Subscription
    from resilio.testing.chaos_proxy import ChaosProxy
    from resilio.testing.dead_letters import DeadLetters
    from resilio.testing.faults import FaultInjector
    from resilio.testing.notifications import Notifications
    from resilio.testing.recorder import EventRecorder
    from resilio.testing.virtual_clock import VirtualClock
    from resilio.testing.waits import NoWaits

    _Around = list[Callable[[bool], AbstractContextManager[object]]]

_SEED = pytest.StashKey[int]()
_CLOCK = pytest.StashKey["VirtualClock"]()
_EVENTS = pytest.StashKey["EventRecorder"]()
_AROUND = pytest.StashKey["_Around"]()
_DICE = pytest.StashKey[random.Random]()

# Modules that hold state of the process. Each has a context manager `fresh()`: within it, the state is as new.
_STATEFUL = ("resilio.policies.registry",)


# -- fixtures ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """Time that jumps: sleeps, timeouts and deadlines of this test take no real time, on asyncio, trio and threads."""
    from resilio.testing.virtual_clock import VirtualClock  # noqa: PLC0415 -- see the module

    with VirtualClock() as clock:
        request.node.stash[_CLOCK] = clock
        _put_around(request, functools.partial(_on_the_clock, clock))
        yield clock


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Iterator[FaultInjector]:
    """Faults on schedule, seeded, and undone when this test ends."""
    from resilio.testing.faults import FaultInjector  # noqa: PLC0415 -- see the module

    with FaultInjector(seed=_seed(request.config)) as injector:
        yield injector


class _ProxyMaker(Protocol):
    def __call__(self, upstream: tuple[str, int], *, host: str = ..., port: int = ...) -> ChaosProxy: ...


@pytest.fixture
def chaos_proxy(request: pytest.FixtureRequest) -> _ProxyMaker:
    """Makes TCP proxies that misbehave on purpose, seeded; each is entered with ``async with``."""
    from resilio.testing.chaos_proxy import ChaosProxy  # noqa: PLC0415 -- see the module

    return functools.partial(ChaosProxy, seed=_seed(request.config))


@pytest.fixture
def resilio_events(request: pytest.FixtureRequest) -> Iterator[EventRecorder]:
    """Every event of this test, to look at, to assert on and to print."""
    from resilio.testing.recorder import EventRecorder  # noqa: PLC0415 -- see the module

    with EventRecorder(seed=_seed(request.config)) as recorder:
        request.node.stash[_EVENTS] = recorder
        _put_around(request, _anew(recorder.restart, recorder.clear))
        yield recorder


@pytest.fixture
def dead_letters(request: pytest.FixtureRequest) -> Iterator[DeadLetters]:
    """What this test lost: every dead letter queue of the process keeps its letters in memory, here."""
    from resilio.testing.dead_letters import DeadLetters  # noqa: PLC0415 -- see the module

    with DeadLetters() as kept:
        _put_around(request, _anew(None, kept.clear))
        yield kept


@pytest.fixture
def notifications(request: pytest.FixtureRequest) -> Iterator[Notifications]:
    """Whom this test told: every notifier of the process tells this object, and nobody else."""
    from resilio.testing.notifications import Notifications  # noqa: PLC0415 -- see the module

    with Notifications() as told:
        _put_around(request, _anew(told.restart, told.clear))
        yield told


@pytest.fixture
def no_waits(request: pytest.FixtureRequest) -> Callable[..., NoWaits]:
    """No policy waits in this test's body; hands out the switch itself, to cap attempts in a block."""
    from resilio.testing.waits import no_waits as switch  # noqa: PLC0415 -- see the module

    _put_around(request, lambda _is_async: switch())
    return switch


@pytest.fixture
def fast(no_waits: Callable[..., NoWaits]) -> Callable[..., NoWaits]:
    """The same as ``no_waits``."""
    return no_waits


@pytest.fixture(autouse=True)
def _resilio_fresh_state(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give this test state of its own. Being a fixture, it comes after those of wider scopes, and spares theirs."""
    with ExitStack() as stack:
        stack.enter_context(_seeded_dice(request.config, request.node.nodeid))
        stack.enter_context(_own_environment())
        stack.enter_context(_own_listeners())
        for name in _STATEFUL:
            module: Any = sys.modules.get(name)
            if module is not None:
                stack.enter_context(module.fresh())
        yield


@contextmanager
def _seeded_dice(config: pytest.Config, nodeid: str) -> Iterator[None]:
    source = config.stash.setdefault(_DICE, random.Random())  # noqa: S311 -- it is to be foreseen
    source.seed(f"{_seed(config)} {nodeid}")
    hypothesis: Any = sys.modules.get("hypothesis")
    if hypothesis is not None:
        hypothesis.register_random(source)  # each example starts it anew; telling it twice does no harm
    with dice.loaded(source):
        yield


@contextmanager
def _own_environment() -> Iterator[None]:
    settings: Any = sys.modules.get("resilio.settings")
    names = [setting.variable for setting in settings.ALL] if settings is not None else []
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            elif os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def _own_listeners() -> Iterator[None]:
    before = _listeners()
    try:
        yield
    finally:
        for each in _listeners():
            if each not in before:
                each.cancel()


def _listeners() -> tuple[Subscription[Any], ...]:
    events: Any = sys.modules.get("resilio._core.events")
    listeners: tuple[Subscription[Any], ...] = events.listeners if events is not None else ()
    return listeners


# -- the seed ----------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--resilio-seed``."""
    parser.getgroup("resilio").addoption(
        "--resilio-seed",
        type=int,
        metavar="N",
        help="seed of everything that resilio leaves to chance (default: RESILIO_SEED, else pytest-randomly's seed, "
        "else a new one for each run)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the seed, as far as it was given to us.

    Raises:
        pytest.UsageError: ``RESILIO_SEED`` is no whole number.
    """
    given = config.getoption("--resilio-seed")
    variable = os.environ.get("RESILIO_SEED", "").strip()
    if given is None and variable:
        try:
            given = int(variable)
        except ValueError:
            msg = f"the environment variable RESILIO_SEED should be a whole number, not {variable!r}"
            raise pytest.UsageError(msg) from None
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    given = worker.get("resilio_seed", given)
    if given is not None:
        config.stash[_SEED] = given


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the seed to a worker of pytest-xdist."""
    node.workerinput["resilio_seed"] = _seed(node.config)


def pytest_report_header(config: pytest.Config) -> str:
    """Name the seed."""
    return f"resilio: --resilio-seed={_seed(config)}"


def _seed(config: pytest.Config) -> int:
    # Not in `pytest_configure`, because pytest-randomly settles on its own seed there, before us or after.
    if _SEED not in config.stash:
        randomly = config.getoption("randomly_seed", None)
        config.stash[_SEED] = randomly if isinstance(randomly, int) else random.SystemRandom().getrandbits(32)
    return config.stash[_SEED]


# -- running a test ----------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Warn where pytest-asyncio has taken a test that is anyio's: ``test_x[trio]`` would pass while on asyncio."""
    taken = any(kind.__name__ == "PytestAsyncioFunction" for kind in type(item).__mro__)
    if taken and item.get_closest_marker("anyio") is not None:
        item.warn(
            pytest.PytestWarning(
                "this test is marked for anyio, but pytest-asyncio runs it, on asyncio, whatever backend its id names; "
                "set `asyncio_mode = strict`, and mark it for one of the two only"
            )
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Put around the body of a test what its fixtures asked for, whichever plugin runs the event loop."""
    around = item.stash.get(_AROUND, None)
    if around is None or not isinstance(item, pytest.Function):
        return (yield)
    by_hypothesis = hasattr(item.obj, "hypothesis")
    holder, name = (item.obj.hypothesis, "inner_test") if by_hypothesis else (item, "obj")
    present = getattr(holder, name)
    test = getattr(present, "_anyio_original_func", present)  # anyio leaves its wrapper there for the next backend
    setattr(holder, name, _within(around, test))
    try:
        return (yield)
    finally:
        setattr(holder, name, present)


def _put_around(request: pytest.FixtureRequest, block: Callable[[bool], AbstractContextManager[object]]) -> None:
    """Have the test's body run in what ``block`` makes, each time it runs; it is told whether that is a coroutine."""
    request.node.stash.setdefault(_AROUND, []).append(block)


def _within(around: _Around, test: Callable[..., Any]) -> Callable[..., Any]:
    def entered(*, is_async: bool) -> ExitStack:
        with ExitStack() as stack:
            for block in around:
                stack.enter_context(block(is_async))
            return stack.pop_all()

    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def body(*args: Any, **kwargs: Any) -> Any:
            with entered(is_async=True):
                return await test(*args, **kwargs)
    else:

        @functools.wraps(test)
        def body(*args: Any, **kwargs: Any) -> Any:
            with entered(is_async=False):
                return test(*args, **kwargs)

    return body


@contextmanager
def _on_the_clock(clock: VirtualClock, is_async: bool) -> Iterator[None]:  # noqa: FBT001 -- see `_put_around`
    with clock.loop() if is_async else nullcontext():
        clock.restart()
        yield


def _anew(
    begin: Callable[[], object] | None, begin_again: Callable[[], object]
) -> Callable[[bool], AbstractContextManager[object]]:
    """Call ``begin`` before the test's body, and ``begin_again`` before each further example of Hypothesis."""
    calls = [begin_again, begin]

    def block(_is_async: bool) -> AbstractContextManager[object]:  # noqa: FBT001 -- see `_put_around`
        call = calls.pop() if len(calls) > 1 else calls[0]
        if call is not None:
            call()
        return nullcontext()

    return block


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failing test's report how to repeat its chance, and what the virtual clock did."""
    report = yield
    if report.failed and "resilio._core.clock" in sys.modules:  # else nobody uses the package
        seed = _seed(item.config)
        lines = [f"seed {seed}; to repeat what it left to chance: pytest '{item.nodeid}' --resilio-seed={seed}"]
        clock = item.stash.get(_CLOCK, None)
        if clock is not None:
            lines.append(f"virtual clock: {clock.elapsed:g} s elapsed in {len(clock.jumps)} jumps")
        recorder = item.stash.get(_EVENTS, None)
        if recorder is not None and "what happened, " not in report.longreprtext:  # else it says so already
            lines.append(f"what happened, {recorder.timeline()}")
        report.sections.append(("resilio", "\n".join(lines)))
    return report
