"""What comes in: who asks, and forms, queries and JSON, read with limits."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

from resilio._core import clock
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from resilio.dashboard.access import Identity

__all__ = ("Asked", "LetterQuery", "asked", "read_form", "read_json")

SCOPE_KEY: Final = "resilio.dashboard"

WITHIN: Final = {"1h": 3600.0, "24h": 86_400.0, "7d": 604_800.0}
"""How long ago a letter failed last, as the page offers it."""

_MOST_BYTES: Final = 1_000_000
_MOST_FIELDS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and how.

    Attributes:
        identity: Who.
        is_api: Whether for JSON.
        base: The way from the address that was asked for to the dashboard's first page, for relative links.
    """

    identity: Identity
    is_api: bool = False
    base: str = ""


def asked(request: Request) -> Asked:
    """What the guard found out about this request."""
    found = request.scope[SCOPE_KEY]
    assert isinstance(found, Asked)  # noqa: S101 -- the guard puts it there
    return found


async def _body(request: Request) -> bytes:
    too_large = HTTPException(413, f"The request is larger than {_MOST_BYTES} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > _MOST_BYTES:
        raise too_large
    body = bytearray()
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            body += chunk
            if len(body) > _MOST_BYTES:
                raise too_large
    return bytes(body)


async def read_form(request: Request) -> dict[str, list[str]]:
    """The fields of a form as browsers send it.

    Raises:
        HTTPException: It is something else, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Expected the fields of a form.")
    body = await _body(request)
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise HTTPException(400, f"The form cannot be read: {error}") from error


async def read_json(request: Request) -> dict[str, Any]:
    """The object that a request carries; an empty one for no body.

    Raises:
        HTTPException: It is something else, or too large.
    """
    body = await _body(request)
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Expected application/json.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise HTTPException(422, "The body must be a JSON object.")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterQuery:
    """Which letters a page shows, as it stands in its address."""

    error: str = ""
    group: str = ""
    status: str = ""
    within: str = ""
    text: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> LetterQuery:
        """Read it.

        Raises:
            HTTPException: A value is not one that there is.
        """
        status, within = fields.get("status", "").strip(), fields.get("within", "").strip()
        if status and status not in {each.value for each in LetterStatus}:
            raise HTTPException(422, f"status must be waiting, claimed or parked, not {status!r}.")
        if within and within not in WITHIN:
            raise HTTPException(422, f"within must be 1h, 24h or 7d, not {within!r}.")
        named = {name: fields.get(name, "").strip()[:500] for name in ("error", "group", "text")}
        return cls(status=status, within=within, **named)

    def to_dict(self) -> dict[str, str]:
        """What of it is not empty, for an address."""
        values = {name: getattr(self, name) for name in ("error", "group", "status", "within", "text")}
        return {name: value for name, value in values.items() if value}

    @property
    def filter(self) -> LetterFilter:
        """The filter that it means now."""
        since = clock.utcnow() - timedelta(seconds=WITHIN[self.within]) if self.within else None
        return LetterFilter(
            error=self.error or None,
            group=self.group or None,
            status=self.status or None,
            since=since,
            text=self.text or None,
        )

    @property
    def said(self) -> str:
        """The same in words."""
        if not self.to_dict():
            return "all letters"
        return "letters with " + ", ".join(f"{name} {value!r}" for name, value in self.to_dict().items())


def moment(name: str, text: str) -> datetime | None:
    """A time in ISO 8601 with its zone; None for an empty text.

    Raises:
        HTTPException: It is something else.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise HTTPException(422, f"{name} must be a time in ISO 8601, not {text!r}.") from error
    if found.tzinfo is None:
        raise HTTPException(422, f"{name} must have an offset from UTC, not {text!r}.")
    return found
