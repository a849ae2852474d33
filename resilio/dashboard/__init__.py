"""The dashboard: a mountable web application that shows what the other rooms know, and lets an operator act on it.

It decides nothing by itself: it reads trackers, queues, circuits and alerts, and calls their methods. What it adds is
who may do that, and that every action is written down. Needs the extra ``dashboard``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilio.dashboard.access import Action, AuthHook, Identity, Role, basic_auth
    from resilio.dashboard.app import create_app

__all__ = ("Action", "AuthHook", "Identity", "Role", "basic_auth", "create_app")

_HOMES = {"create_app": "app"} | dict.fromkeys(("Action", "AuthHook", "Identity", "Role", "basic_auth"), "access")


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    if name == "create_app":
        from resilio.alerting.optional import require  # noqa: PLC0415 -- only now is it needed

        for library in ("starlette", "jinja2", "sse_starlette"):
            require(library, extra="dashboard", what="resilio.dashboard")
    found: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
