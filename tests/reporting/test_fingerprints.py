"""Which errors are the same error."""

from __future__ import annotations

import subprocess
import sys
from time import process_time
from typing import TYPE_CHECKING, Any

import pytest

from resilio import IntegrationError, fingerprint
from resilio.reporting.fingerprint import in_app_location, normalised

if TYPE_CHECKING:
    from collections.abc import Callable


def in_module(code: str, module: str = "shop.orders", filename: str = "/srv/shop/orders.py") -> dict[str, Any]:
    """Run code as if it were a module of an application."""
    space: dict[str, Any] = {"__name__": module}
    exec(compile(code, filename, "exec"), space)  # noqa: S102 -- our own text
    return space


def raised(fn: Callable[..., object], *args: object) -> BaseException:
    """What ``fn`` raises, with its traceback beginning here."""
    try:
        fn(*args)
    except BaseException as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without this function
        return error
    raise AssertionError


SHOP = """
import json
class NoStock(Exception): pass
def order(n): raise NoStock(f"no {n} left")
def wrapped():
    try:
        order(1)
    except NoStock as error:
        raise RuntimeError("failed") from error
def parse(text): json.loads(text)
class Basket:
    def add(self): order(2)
"""


def test_golden_fingerprints() -> None:
    """These never change: a change to any of them needs another version before the colon."""
    shop = in_module(SHOP)
    errors = {
        "explicit": (ValueError("x"), "crm-down"),
        "location": (raised(shop["order"], 3), None),
        "chain": (raised(shop["wrapped"]), None),
        "library": (raised(shop["parse"], "{"), None),
        "method": (raised(shop["Basket"]().add), None),
        "message": (ValueError("user 17 at 10.0.0.1 has no 'cat'"), None),
        "empty": (KeyError(), None),
        "group": (ExceptionGroup("two", [ValueError("a"), KeyError("b"), ValueError("c")]), None),
    }
    found = {name: fingerprint(error, explicit=explicit) for name, (error, explicit) in errors.items()}
    assert found == {
        "explicit": "v1:91c7db188796837a",
        "location": "v1:3669f6972a94b10e",
        "chain": "v1:24eae3340b0f6ec0",
        "library": "v1:ab1d19b80e97fbf8",
        "method": "v1:3669f6972a94b10e",
        "message": "v1:e6c7183cd7dc5745",
        "empty": "v1:6984d69f2d44a599",
        "group": "v1:6967f1e05205d977",
    }


def test_what_the_error_or_the_caller_says_comes_first() -> None:
    """An argument, then an attribute, then the context of an error of the taxonomy."""
    error = IntegrationError("x", system="crm", operation="get", fingerprint="crm-down")
    assert fingerprint(error) == fingerprint(ValueError("y"), explicit="crm-down")
    assert fingerprint(error, explicit="other") != fingerprint(error)
    marked = ValueError("z")
    marked.fingerprint = "crm-down"  # type: ignore[attr-defined]
    assert fingerprint(marked) == fingerprint(error)


def test_line_numbers_and_messages_do_not_matter_where_the_place_is_known() -> None:
    """An edit further up in the file, or another message, makes no new error; another function does."""
    one = raised(in_module(SHOP)["order"], 1)
    moved = raised(in_module("\n\n\n" + SHOP)["order"], 2)
    assert fingerprint(one) == fingerprint(moved)
    assert fingerprint(one) != fingerprint(raised(in_module(SHOP)["wrapped"]))
    assert fingerprint(one) != fingerprint(raised(in_module(SHOP, module="shop.other")["order"], 1))


def test_the_innermost_function_of_the_application_counts() -> None:
    """Not the library that it called, nor resilio itself."""
    assert in_app_location(raised(in_module(SHOP)["parse"], "{")) == "shop.orders:parse"
    library = in_module(SHOP, "lib", "/x/site-packages/lib.py")
    assert in_app_location(raised(library["order"], 1)) == ""
    assert in_app_location(raised(library["order"], 1), ("lib",)) == "lib:order"
    assert in_app_location(raised(in_module(SHOP)["order"], 1), ("lib",)) == ""
    assert in_app_location(raised(in_module(SHOP, "library")["order"], 1), ("lib",)) == ""


def test_messages_without_a_place_are_compared_without_what_varies() -> None:
    """Numbers, ids, addresses, quoted parts."""
    same = [
        "user 17 of 4711 at 10.0.0.1:8080 has no 'cat'",
        "user 9 of 1 at 192.168.1.20:80 has no 'dog and mouse'",
    ]
    assert len({fingerprint(ValueError(each)) for each in same}) == 1
    assert fingerprint(ValueError("user 1 has no cat")) != fingerprint(ValueError("user 1 has no dog"))
    assert fingerprint(ValueError("x")) != fingerprint(KeyError("x"))
    assert normalised("id 550e8400-e29b-41d4-a716-446655440000, 0xdeadBEEF, deadbeef01, a@b.example, http://x/y?z") == (
        "id <*>, <*>, <*>, <*>, <*>"
    )


def test_the_order_of_a_groups_members_is_chance() -> None:
    """Two groups with the same kinds of errors are the same."""
    one = ExceptionGroup("g", [ValueError("a"), KeyError("b")])
    other = ExceptionGroup("g", [KeyError("c"), ValueError("d"), ValueError("e")])
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.slow("starts an interpreter")
def test_it_is_the_same_in_every_process() -> None:
    """Nothing of it depends on this process's hashing."""
    code = "from resilio import fingerprint; print(fingerprint(ValueError('no 17')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.strip() == fingerprint(ValueError("no 18"))


@pytest.mark.parametrize("unit", ["a.", "1.", "a@", "'", '"', "a-", "0x", "://", " ", "deadbeef", "a.a@", "\x00", "ü"])
def test_hostile_messages_are_cut_first(unit: str) -> None:
    """A hundred times the message takes about the same time."""

    def best(size: int) -> float:
        error = ValueError((unit * size)[:size])
        times = []
        for _ in range(5):
            began = process_time()
            fingerprint(error)
            times.append(process_time() - began)
        return min(times)

    assert best(100_000) < 10 * max(best(1_000), 0.0002)


def test_a_chain_in_a_circle_ends() -> None:
    """Errors that are each other's cause have a fingerprint."""
    one, other = ValueError("a"), KeyError("b")
    one.__cause__, other.__cause__ = other, one
    assert fingerprint(one).startswith("v1:")


def test_an_error_without_a_text_has_one() -> None:
    """One whose text raises, too."""

    class Shy(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

    assert fingerprint(Shy()) == fingerprint(Shy())
    assert fingerprint(ValueError("\ud800")).startswith("v1:")
