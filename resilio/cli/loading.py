"""Objects of the user's own program, named as ``module:attribute``."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

__all__ = ("load",)


def load(option: str, name: str) -> Any:
    """The object that ``module:attribute`` names; the present folder is looked in first.

    Raises:
        click.BadParameter: There is no such thing; the message says what is missing.
    """
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        msg = f"should be module:function, such as shop.orders:handle, not {name!r}"
        raise click.BadParameter(msg, param_hint=f"'{option}'")
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 -- sys.path holds texts
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        known = error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}."))
        msg = (
            f"there is no module {error.name!r} here or on the path" if known else f"{module_name} needs {error.name!r}"
        )
        raise click.BadParameter(msg, param_hint=f"'{option}'") from error
    except Exception as error:
        msg = f"importing {module_name} raised {type(error).__name__}: {error}"
        raise click.BadParameter(msg, param_hint=f"'{option}'") from error
    for part in path.split("."):
        if not hasattr(found, part):
            msg = f"{module_name} has no {path!r}"
            raise click.BadParameter(msg, param_hint=f"'{option}'")
        found = getattr(found, part)
    return found
