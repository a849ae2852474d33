"""Where users meet an error: problem details, HTTP clients and frameworks, and the state behind a page.

What is shown is always read from the one report that `resilio.reporting` made of the error. Nothing here decides
whether a call is tried again or let through: that is the policies' business. Import the module you need, such as
`resilio.web.fastapi`; each framework is an extra and is loaded by its own module only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilio.web.problem import InvalidField, ProblemDetails

__all__ = ("InvalidField", "ProblemDetails")

_HOMES = {"InvalidField": "resilio.web.problem", "ProblemDetails": "resilio.web.problem"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_HOMES[name]), name)
