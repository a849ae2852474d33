"""The public names and their signatures are a contract: a change must show up in a diff of `public_api.txt`.

To accept a change: ``RESILIO_UPDATE_SNAPSHOT=1 pytest tests/project/test_public_api.py``.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import resilio
from resilio import sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

SNAPSHOT = Path(__file__).with_name("public_api.txt")
MODULES = (
    *("resilio", "resilio.sync", "resilio.errors", "resilio.settings"),
    *("resilio.testing", "resilio.dashboard", "resilio.telemetry"),
)


def _signature(thing: object) -> str:
    try:
        return re.sub(r" at 0x[0-9a-f]+", "", str(inspect.signature(thing)))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""


def _members(kind: type) -> Iterator[str]:
    for name in sorted(dir(kind)):
        static = inspect.getattr_static(kind, name)
        if name.startswith("_") or not (kind.__module__.startswith("resilio")):
            continue
        if callable(static) or isinstance(static, (classmethod, staticmethod)):
            yield f"    {name}{_signature(getattr(kind, name))}"
        elif isinstance(static, property):
            yield f"    {name}"


def _describe(module: ModuleType) -> Iterator[str]:
    yield f"# {module.__name__}"
    names = getattr(module, "__all__", None) or sorted(name for name in vars(module) if name.isupper())
    for name in sorted(names):
        thing = getattr(module, name)
        if isinstance(thing, type):
            yield f"class {name}{_signature(thing)}"
            if not issubclass(thing, BaseException):
                yield from _members(thing)
        elif callable(thing):
            yield f"{name}{_signature(thing)}"
        else:
            yield name
    yield ""


def test_public_names_and_signatures_are_those_of_the_snapshot() -> None:
    """A name that appears, disappears or changes its signature is seen in review."""
    found = "\n".join(line for name in MODULES for line in _describe(importlib.import_module(name)))
    if os.environ.get("RESILIO_UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(found, encoding="utf-8")
    assert found.splitlines() == SNAPSHOT.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", resilio.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    """`from resilio import name` works for all of `__all__`, and `dir` shows it."""
    assert getattr(resilio, name) is not None
    assert name in dir(resilio)


def test_all_is_sorted() -> None:
    """The front door lists its names in order, each once."""
    for names in (resilio.__all__, sync.__all__):
        assert list(names) == sorted(set(names))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'CircuitBraker'"):
        _ = resilio.CircuitBraker


# What events, results and channels are made of serves both colours, under one name.
SHARED = {
    "Event",
    "Subscription",
    "subscribe",
    "Policy",
    "Description",
    "Permit",
    "TripRule",
    "Channel",
    "ChannelOutcome",
    "Condition",
    "Finding",
    "HealthResult",
    "Incident",
    "Silence",
    "LogChannel",
    "Notification",
}


def test_the_blocking_facade_has_the_same_names() -> None:
    """Whatever one calls or builds has a twin in `resilio.sync`; events and base classes serve both."""
    from resilio._core.events import Event  # noqa: PLC0415

    events = {
        name
        for name in resilio.__all__
        if isinstance(thing := getattr(resilio, name), type) and issubclass(thing, Event)
    }
    assert set(resilio.__all__) - events - SHARED <= set(sync.__all__)


def test_no_star_import_hides_a_builtin() -> None:
    """`errors.SystemError` stays out of every `__all__`."""
    for module in (resilio, sync, resilio.errors):
        assert not set(module.__all__) & set(dir(__import__("builtins")))
