"""The pytest plugin, found by pytest through its entry point; nothing to register.

| fixture | hands out |
|---|---|
| ``virtual_clock`` | a `VirtualClock` on which the test lives: no sleep, timeout or deadline takes real time |
| ``faults`` | a `FaultInjector`, seeded, undone when the test ends |
| ``chaos_proxy`` | makes a seeded `ChaosProxy`: ``async with chaos_proxy(("127.0.0.1", port)) as proxy:`` |

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
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from resilio._core import dice

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from resilio._core.events import Subscription
    from resilio.testing.chaos_proxy import ChaosProxy
    from resilio.testing.faults import FaultInjector
    from resilio.testing.virtual_clock import VirtualClock

_SEED = pytest.StashKey[int]()
_CLOCK = pytest.StashKey["VirtualClock"]()
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
    before = dict(os.environ)
    try:
        yield
    finally:
        settings: Any = sys.modules.get("resilio.settings")
        for name in [setting.variable for setting in settings.ALL] if settings is not None else ():
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


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
    """Let the body of a test that asked for the virtual clock live on it, whichever plugin runs the event loop."""
    clock = item.stash.get(_CLOCK, None)
    if clock is None or not isinstance(item, pytest.Function):
        return (yield)
    by_hypothesis = hasattr(item.obj, "hypothesis")
    holder, name = (item.obj.hypothesis, "inner_test") if by_hypothesis else (item, "obj")
    present = getattr(holder, name)
    test = getattr(present, "_anyio_original_func", present)  # anyio leaves its wrapper there for the next backend
    if inspect.iscoroutinefunction(test):
        setattr(holder, name, _on_the_loop(test, clock))
    elif by_hypothesis:
        setattr(holder, name, _on_the_thread(test, clock))
    try:
        return (yield)
    finally:
        setattr(holder, name, present)


def _on_the_loop(test: Callable[..., Any], clock: VirtualClock) -> Callable[..., Any]:
    @functools.wraps(test)
    async def on_the_clock(*args: Any, **kwargs: Any) -> Any:
        with clock.loop():
            clock.restart()
            return await test(*args, **kwargs)

    return on_the_clock


def _on_the_thread(test: Callable[..., Any], clock: VirtualClock) -> Callable[..., Any]:
    @functools.wraps(test)
    def on_the_clock(*args: Any, **kwargs: Any) -> Any:
        clock.restart()
        return test(*args, **kwargs)

    return on_the_clock


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failing test's report how to repeat its chance, and what the virtual clock did."""
    report = yield
    if report.failed and "resilio._core.events" in sys.modules:  # else nobody uses the package
        seed = _seed(item.config)
        lines = [f"seed {seed}; to repeat what it left to chance: pytest '{item.nodeid}' --resilio-seed={seed}"]
        clock = item.stash.get(_CLOCK, None)
        if clock is not None:
            lines.append(f"virtual clock: {clock.elapsed:g} s elapsed in {len(clock.jumps)} jumps")
        report.sections.append(("resilio", "\n".join(lines)))
    return report
