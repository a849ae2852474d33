"""Where a fault is put, and that it is taken away again."""

from __future__ import annotations

import functools
import inspect
import math
import sys
import types
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock, Mock

import pytest

from resilio.testing.faults import FaultInjector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

pytestmark = pytest.mark.anyio


class Base:
    """What a shop's client derives from."""

    def inherited(self) -> str:
        return "inherited"


class Whole:
    """A callable object, which does not bind to what holds it."""

    def __call__(self, number: float) -> int:
        return int(number)


class Client(Base):
    """Every kind of method."""

    def __init__(self) -> None:
        self.name = "client"

    async def get(self, path: str) -> str:
        """Fetch a path."""
        return f"{self.name}:{path}"

    def put(self, path: str) -> str:
        return f"{self.name}:{path}"

    @classmethod
    def made(cls) -> str:
        return cls.__name__

    @staticmethod
    def ping() -> str:
        return "pong"

    @property
    def label(self) -> str:
        return self.name

    half = staticmethod(functools.partial(math.pow, 2))
    whole = Whole()
    halved = functools.partialmethod(put, "/half")


class Slotted:
    """An object whose methods cannot be replaced on the object."""

    __slots__ = ("hook",)

    def __init__(self) -> None:
        self.hook: Callable[[], str] = lambda: "hooked"

    def method(self) -> str:
        return "slotted"


class Caller:
    """An object that is called."""

    async def __call__(self, number: int) -> int:
        return number


@pytest.fixture
def faults() -> Iterator[FaultInjector]:
    """An injector of its own for each test, checked at the end."""
    with FaultInjector(seed=7) as injector:
        yield injector


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package ``shop`` with a module ``shop.till``, as a user's project has them."""
    package, module = types.ModuleType("shop"), types.ModuleType("shop.till")
    package.__path__ = []

    def charge(amount: int) -> int:
        return amount

    def fresh() -> type[Client]:
        return type("Client", (Client,), {**vars(Client)})

    charge.__module__ = "shop.till"
    module.charge = charge  # type: ignore[attr-defined]
    module.Client = fresh()  # type: ignore[attr-defined]
    module.client = module.Client()  # type: ignore[attr-defined]
    module.rate = 5  # type: ignore[attr-defined]
    package.till = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop", package)
    monkeypatch.setitem(sys.modules, "shop.till", module)
    return module


# -- methods of an object ----------------------------------------------------------------------------------------------


async def test_a_bound_method_is_replaced_on_its_object_alone() -> None:
    """Another object of the class goes on as before, and afterwards so does this one."""
    struck, other = Client(), Client()
    with FaultInjector() as faults:
        faults.on(struck.get).raises(ConnectionError)
        with pytest.raises(ConnectionError):
            await struck.get("/")
        assert await other.get("/") == "client:/"
        assert inspect.iscoroutinefunction(struck.get)
        assert struck.get.__doc__ == "Fetch a path."
    assert await struck.get("/") == "client:/"
    assert vars(struck) == {"name": "client"}


def test_two_rules_for_one_method_share_its_count(faults: FaultInjector) -> None:
    """Naming the method again means the same target."""
    client = Client()
    faults.on(client.put).nth(1).raises(OSError)
    faults.on(client.put).nth(1).raises(LookupError)
    with pytest.raises(OSError, match=r"call 1 of test_faults_targets\.Client\.put"):
        client.put("/")
    assert faults.calls(client.put) == 1


def test_one_method_on_two_objects_is_two_targets(faults: FaultInjector) -> None:
    """The later one is told apart by a number, and draws its own faults."""
    first, second = Client(), Client()
    for client in (first, second):
        faults.on(client.put).rate(0.5).returns("struck")
    for _ in range(40):
        first.put("/")
        second.put("/")
    one, two = "test_faults_targets.Client.put", "test_faults_targets.Client.put#2"
    assert {each.target for each in faults.log} == {one, two}
    assert [e.call for e in faults.log if e.target == one] != [e.call for e in faults.log if e.target == two]


def test_an_attribute_that_was_there_is_put_back() -> None:
    """A method that the object holds itself is restored, not deleted."""
    client = Client()
    mine = Client().put
    client.put = mine  # type: ignore[method-assign]
    with FaultInjector() as faults:
        faults.on("test_faults_targets.PRESENT.put").returns("struck")
        assert PRESENT.put("/") == "struck"
    assert vars(PRESENT)["put"] is PRESENT_PUT


PRESENT_PUT = Client().put
PRESENT = Client()
PRESENT.put = PRESENT_PUT  # type: ignore[method-assign]


def test_a_class_method_keeps_its_class(faults: FaultInjector) -> None:
    """Struck on the class, it still learns which class it was called on."""
    faults.on(Client.made).nth(2).returns("struck")
    assert [Client.made(), Client.made(), Client.made()] == ["Client", "struck", "Client"]
    faults.close()
    assert isinstance(vars(Client)["made"], classmethod)


def test_an_object_that_cannot_be_changed_is_refused_by_name(faults: FaultInjector) -> None:
    """The refusal tells what to do instead."""
    with pytest.raises(TypeError, match=r"cannot put a fault on .*Slotted\.method: 'Slotted' does not let .*'method'"):
        faults.on(Slotted().method).raises(OSError)
    with pytest.raises(TypeError, match=r"cannot put a fault on list\.append"):
        faults.on([].append).raises(OSError)


def test_a_function_in_a_slot_is_put_back() -> None:
    """A slot is restored to the function that it held."""
    slotted = Slotted()
    held = slotted.hook
    sys.modules[__name__].SLOTTED = slotted  # type: ignore[attr-defined]
    with FaultInjector() as faults:
        faults.on(f"{__name__}.SLOTTED.hook").returns("struck")
        assert slotted.hook() == "struck"
    assert slotted.hook is held


def test_a_method_under_another_name_is_refused(faults: FaultInjector) -> None:
    """A bound method that its object does not hold under its name has no place to be replaced in."""
    loose = types.MethodType(lambda self: self, Client())
    with pytest.raises(TypeError, match="does not hold it as '<lambda>'"):
        faults.on(loose).raises(OSError)


# -- import paths ------------------------------------------------------------------------------------------------------


async def test_an_import_path_is_replaced_there(shop: types.ModuleType) -> None:
    """Functions of a module and every kind of method of a class; all of it is undone at the end."""
    before = dict(vars(shop.Client))
    function = shop.charge
    with FaultInjector() as faults:
        for name in ("charge", "Client.get", "Client.put", "Client.made", "Client.ping", "Client.inherited"):
            faults.on(f"shop.till.{name}").nth(1).returns("struck")
        for name in ("half", "whole"):
            faults.on(f"shop.till.Client.{name}").nth(1).returns("struck")
        client = shop.Client()
        calls = [
            (lambda: shop.charge(3), 3),
            (lambda: client.put("/"), "client:/"),
            (client.made, "Client"),
            (shop.Client.ping, "pong"),
            (client.inherited, "inherited"),
            (lambda: client.half(3), 8.0),
            (lambda: client.whole(3.5), 3),
        ]
        assert [call() for call, _ in calls] == ["struck"] * len(calls)
        assert [call() for call, _ in calls] == [expected for _, expected in calls]
        assert [await client.get("/"), await client.get("/")] == ["struck", "client:/"]
    assert shop.charge is function
    assert dict(vars(shop.Client)) == before


def test_a_method_of_an_object_in_a_module(shop: types.ModuleType) -> None:
    """The path may go through an object; then it is replaced on that object."""
    with FaultInjector() as faults:
        faults.on("shop.till.client.put").nth(1).returns("struck")
        assert shop.client.put("/") == "struck"
        assert shop.client.put("/") == "client:/"
        assert shop.Client().put("/") == "client:/"
    assert vars(shop.client) == {"name": "client"}


def test_naming_a_path_twice_means_the_same_target(faults: FaultInjector, shop: types.ModuleType) -> None:
    """Also by the function that stands there meanwhile."""
    faults.on("shop.till.charge").nth(1).returns(1)
    faults.on("shop.till.charge").nth(2).returns(2)
    faults.on(shop.charge).nth(3).returns(3)
    assert [shop.charge(0) for _ in range(4)] == [1, 2, 3, 0]
    assert faults.calls("shop.till.charge") == 4
    assert faults.wrap(shop.charge) is shop.charge


def test_a_subclass_is_struck_apart_from_its_base(faults: FaultInjector) -> None:
    """A path that names the subclass leaves the base alone."""
    faults.on(f"{__name__}.Client.inherited").returns("struck")
    assert Client().inherited() == "struck"
    assert Base().inherited() == "inherited"
    faults.on(f"{__name__}.Base.inherited").returns("base")
    assert [Client().inherited(), Base().inherited()] == ["struck", "base"]
    faults.close()
    assert [Client().inherited(), Base().inherited()] == ["inherited", "inherited"]
    assert "inherited" not in vars(Client)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("charge", "an import path is 'package.module.name'"),
        ("shop..charge", "an import path is"),
        ("", "an import path is"),
        ("shop.till.refund", "there is no 'shop.till.refund': shop.till has no attribute 'refund'"),
        ("shop.bank.charge", "there is no 'shop.bank.charge': shop has no attribute 'bank'"),
        ("shop.till.Client.nope", "Client has no attribute 'nope'"),
        ("no_such_package.charge", "no module or attribute named 'no_such_package'"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(
    faults: FaultInjector, shop: types.ModuleType, path: str, complaint: str
) -> None:
    """The message says how far the path went."""
    with pytest.raises(ValueError, match=complaint):
        faults.on(path)


@pytest.mark.parametrize("name", ["rate", "Client", "Client.label", "Client.halved"])
def test_what_is_no_function_is_refused(faults: FaultInjector, shop: types.ModuleType, name: str) -> None:
    """A number, a class, a property and a partial method cannot be stood in for."""
    with pytest.raises(TypeError, match=r"cannot put a fault on|cannot decorate the class Client"):
        faults.on(f"shop.till.{name}")


def test_a_module_that_is_not_imported_yet_is(faults: FaultInjector) -> None:
    """The path alone is enough."""
    sys.modules.pop("colorsys", None)
    faults.on("colorsys.rgb_to_hsv").returns("struck")
    import colorsys  # noqa: PLC0415 -- the point is who imports it first

    assert vars(colorsys)["rgb_to_hsv"](0, 0, 0) == "struck"


def test_a_module_that_fails_to_import_says_so_itself(
    faults: FaultInjector, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing dependency of the module is not mistaken for a wrong path."""
    (tmp_path / "needy.py").write_text("import not_installed_anywhere\n")  # type: ignore[operator]
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        faults.on("needy.function")


# -- other callables ---------------------------------------------------------------------------------------------------


async def test_partials_callable_objects_and_mocks_are_wrapped(faults: FaultInjector) -> None:
    """What comes back is a function of the colour of what it stands for, with its signature."""
    client = Client()
    partial = functools.partial(client.get, "/part")
    caller = Caller()
    mock = AsyncMock(return_value=3)
    for target, arguments, expected in ((partial, (), "client:/part"), (caller, (4,), 4), (mock, (), 3)):
        wrapped: Callable[..., Awaitable[object]] = faults.wrap(target)
        assert isinstance(wrapped, types.FunctionType)
        assert inspect.iscoroutinefunction(wrapped)
        faults.on(target).nth(2).raises(ConnectionError)
        assert await wrapped(*arguments) == expected
        with pytest.raises(ConnectionError):
            await wrapped(*arguments)
        assert await wrapped(*arguments) == expected
    assert inspect.signature(faults.wrap(partial)) == inspect.signature(partial)
    plain = Mock(return_value=1)
    faults.on(faults.wrap(plain)).nth(2).returns(2)
    assert [faults.wrap(plain)(), faults.wrap(plain)()] == [1, 2]


def test_wrap_is_a_decorator_that_can_be_named_either_way(faults: FaultInjector) -> None:
    """The function and what stands in for it are one target; wrapping twice gives the same."""

    def original() -> int:
        return 0

    wrapped = faults.wrap(original)
    assert faults.wrap(original) is wrapped
    assert faults.wrap(wrapped) is wrapped
    assert wrapped.__name__ == "original"
    faults.on(original).nth(1).returns(1)
    faults.on(wrapped).nth(2).returns(2)
    assert [wrapped(), wrapped(), wrapped(), original()] == [1, 2, 0, 0]


def test_a_builtin_function_can_be_wrapped(faults: FaultInjector) -> None:
    """A function written in C is wrapped as any other."""
    root = faults.wrap(math.sqrt)
    faults.on(math.sqrt).nth(2).raises(OSError)
    assert root(9) == 3
    with pytest.raises(OSError, match=r"call 2 of math\.sqrt"):
        root(9)


def test_a_method_that_was_wrapped_is_not_also_replaced(faults: FaultInjector) -> None:
    """Who takes the wrapper in hand leaves the object alone."""
    client = Client()
    put = faults.wrap(client.put)
    faults.on(client.put).returns("struck")
    assert put("/") == "struck"
    assert client.put("/") == "client:/"


def test_what_cannot_be_guarded_is_refused(faults: FaultInjector) -> None:
    """Classes, functions of context managers and non-callables: a fault there would strike the wrong moment."""

    @contextmanager
    def block() -> Generator[None]:
        yield

    @asynccontextmanager
    async def async_block() -> AsyncIterator[None]:
        yield

    for refused in (Client, block, async_block, 7):
        with pytest.raises(TypeError, match=r"cannot decorate the class|returns a context manager|expected a callable"):
            faults.on(refused)  # type: ignore[arg-type]


async def test_a_plain_function_that_returns_an_awaitable_is_refused(faults: FaultInjector) -> None:
    """Its delay would block and its result would not be there yet; the message says what to do."""
    client = Client()

    def lazily() -> Awaitable[str]:
        return client.get("/")

    lazy = faults.wrap(lazily)
    with pytest.raises(TypeError, match="returned an awaitable; inject into the async function itself"):
        lazy()

    class Promise:
        """Something to await that cannot be closed."""

        def __await__(self) -> Iterator[None]:
            yield

    def promising() -> Promise:
        return Promise()

    promised = faults.wrap(promising)
    with pytest.raises(TypeError, match="returned an awaitable"):
        promised()

    def streaming() -> Iterator[int]:
        return (number for number in range(3))

    stream = faults.wrap(streaming)
    with pytest.raises(TypeError, match="returned a generator"):
        stream()
