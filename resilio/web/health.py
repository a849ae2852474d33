"""What a load balancer asks for: is this process well?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import anyio

from resilio.alerting.health_checks import HealthCheck
from resilio.reporting.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("HealthEndpoint",)

_OK: Final = "ok"
_UNAVAILABLE: Final = "unavailable"


class HealthEndpoint:
    """Looks at components side by side and says how they are; frameworks turn it into a response.

    Args:
        checks: What is looked at.
        details: Whether what the checks found may be shown to who asks for it.

    Raises:
        TypeError: One of them is no `HealthCheck`.
        ValueError: Two have the same component.
    """

    __slots__ = ("_checks", "_details")

    def __init__(self, checks: Iterable[HealthCheck], *, details: bool = False) -> None:
        self._checks = tuple(checks)
        self._details = details
        for each in self._checks:
            if not isinstance(each, HealthCheck):
                msg = f"checks must be HealthChecks, such as HealthCheck.of_circuit(breaker), not {each!r}"
                raise TypeError(msg)
        names = [each.component for each in self._checks]
        if len(set(names)) < len(names):
            msg = f"checks must have components of their own, not {names!r}"
            raise ValueError(msg)

    async def look(self, *, asks_details: bool = False) -> tuple[int, bytes]:
        """The status, 200 or 503, and the body, JSON.

        Args:
            asks_details: Whether the client wants details; it gets them if they may be shown.
        """
        found: dict[str, dict[str, Any]] = {}

        async def look(check: HealthCheck) -> None:
            is_well, details = await check.look()
            found[check.component] = {"status": _OK if is_well else _UNAVAILABLE}
            if asks_details and self._details and details:
                found[check.component]["details"] = redact(dict(details))

        async with anyio.create_task_group() as tasks:
            for each in self._checks:
                tasks.start_soon(look, each)
        is_well = all(each["status"] == _OK for each in found.values())
        body = {
            "status": _OK if is_well else _UNAVAILABLE,
            "checks": {each.component: found[each.component] for each in self._checks},
        }
        return 200 if is_well else 503, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
