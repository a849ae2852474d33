"""Where users meet an error, and where calls leave: problem details, web frameworks, HTTP clients, states behind pages.

What is shown is always read from the one report that `resilio.reporting` made of the error; whether a call is tried
again or let through is the policies' business. Each module belongs to one framework and is loaded by itself alone:

| module | for | extra |
|---|---|---|
| `resilio.web.state` | state objects of any framework, or of none | |
| `resilio.web.reflex` | Reflex | ``reflex`` |
| `resilio.web.starlette`, `resilio.web.fastapi` | applications | ``web``, ``fastapi`` |
| `resilio.web.litestar` | applications | ``litestar`` |
| `resilio.web.httpx`, `resilio.web.httpx2` | clients that call others | ``http``, ``httpx2`` |
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
