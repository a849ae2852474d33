"""Where users meet an error, and where calls leave: problem details, web frameworks, HTTP clients, state handlers.

Each module belongs to one library, which comes with an extra: `resilio.web.starlette` with ``web``,
`resilio.web.fastapi` with ``fastapi``, `resilio.web.httpx` with ``http``. What an error is, and what it is called, the
room `reporting` says; when a call is made again, the room `policies`.
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
