"""Documentation that is run and counted."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import resilio
from resilio import sync

MODULES = sorted(
    each.name for each in pkgutil.walk_packages(resilio.__path__, "resilio.") if not each.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `>>>` line does what it shows."""
    monkeypatch.chdir(str(tmp_path))
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name: str) -> None:
    """A module without a docstring is a room without a door plate."""
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", sorted({*resilio.__all__, *sync.__all__}))
def test_every_public_name_and_method_is_documented(name: str) -> None:
    """Public classes, functions and methods have a docstring, their own or inherited."""
    thing = getattr(resilio, name, None) or getattr(sync, name)
    assert inspect.getdoc(thing), name
    if isinstance(thing, type) and thing.__module__.startswith("resilio"):
        for member, value in inspect.getmembers(thing):
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{name}.{member}"
