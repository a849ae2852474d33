"""What a server asks for with ``Retry-After``: seconds, or a date (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, timedelta

from resilio._core import clock


def retry_after(source: object) -> float | None:
    """Seconds that ``source``, an error or a response, asks to wait; None if it does not ask.

    Looked at in this order: its ``retry_after`` attribute (a number, a ``timedelta``, or the header's text), its own
    headers, its response's headers. A date in the past means now; what cannot be read counts as not asked.
    """
    if type(source).__module__ == "builtins" and not getattr(source, "__dict__", None):
        return None  # nobody has put anything on it to look at
    asked = getattr(source, "retry_after", None)
    if asked is None:
        asked = _header(source)
    return _seconds(asked)


def _header(source: object) -> object:
    response = getattr(source, "response", None)
    if isinstance(response, Mapping):  # botocore
        metadata = response.get("ResponseMetadata")
        headers = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
        return headers.get("retry-after") if isinstance(headers, Mapping) else None
    for holder in (source, response):
        # Not every client's headers are a mapping: urllib's are an `email.message.Message`.
        get = getattr(getattr(holder, "headers", None), "get", None)
        if callable(get):
            found = get("Retry-After") or get("retry-after")
            if found is not None:
                return found
    return None


def _seconds(asked: object) -> float | None:
    if isinstance(asked, bool) or asked is None:
        return None
    if isinstance(asked, timedelta):
        return max(asked.total_seconds(), 0.0)
    if isinstance(asked, (int, float)):
        return _finite(asked)
    if isinstance(asked, str):
        try:
            return _finite(float(asked))
        except ValueError:
            return _until(asked)
    return None


def _finite(asked: float) -> float | None:
    try:
        seconds = float(asked)
    except OverflowError:  # an int beyond all floats
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until(date: str) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 -- milliseconds that only a date costs

    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # the latter: an offset of a billion hours
        return None
    if moment.tzinfo is None:  # "-0000": UTC without saying so
        moment = moment.replace(tzinfo=UTC)
    return max((moment - clock.utcnow()).total_seconds(), 0.0)
