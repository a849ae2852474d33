"""What a client wants to be answered in: media types and languages, by their q-values (RFC 9110, section 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ("language", "wants_html")

_LONGEST = 1_000
_MOST = 50


def _preferences(header: str) -> list[tuple[str, float]]:
    """The values of a header with their q; what cannot be read is left out."""
    found: list[tuple[str, float]] = []
    for part in header[:_LONGEST].split(",")[:_MOST]:
        value, *parameters = (each.strip() for each in part.lower().split(";"))
        quality = 1.0
        for each in parameters:
            name, _, text = each.partition("=")
            if name.strip() == "q":
                try:
                    quality = min(max(float(text), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        if value and quality == quality:  # noqa: PLR0124 -- NaN is a number to `float`
            found.append((value, quality))
    return found


def _quality(preferences: list[tuple[str, float]], media_type: str) -> float:
    """How much a media type is wanted: the most specific entry that fits says so."""
    family = media_type.partition("/")[0]
    by_range = dict(preferences)
    for each in (media_type, f"{family}/*", "*/*"):
        if each in by_range:
            return by_range[each]
    return 0.0


def wants_html(accept: str) -> bool:
    """Tell whether a page for people is wanted more than JSON; where both are the same, JSON it is.

    >>> wants_html("text/html,application/xml;q=0.9,*/*;q=0.8"), wants_html("*/*"), wants_html("")
    (True, False, False)
    """
    preferences = _preferences(accept)
    of_json = max(_quality(preferences, each) for each in ("application/problem+json", "application/json"))
    return _quality(preferences, "text/html") > of_json


def language(accept_language: str, available: Collection[str], default: str) -> str:
    """The language of those available that is wanted most.

    Args:
        accept_language: The header. ``de-AT`` is content with ``de`` (look-up of RFC 4647, section 3.4).
        available: Languages that there are texts in.
        default: For who wants none of them, or any.

        >>> language("fr, de-AT;q=0.8, en;q=0.5", {"de", "en"}, "en")
        'de'
    """
    spoken = {each.lower(): each for each in available}
    wanted = _preferences(accept_language)
    refused = {tag for tag, quality in wanted if not quality}
    for tag, quality in sorted(wanted, key=lambda each: -each[1]):
        if not quality:
            break
        if tag == "*":
            return default
        parts = tag.split("-")
        for length in range(len(parts), 0, -1):
            shorter = "-".join(parts[:length])
            if shorter in spoken and shorter not in refused:
                return spoken[shorter]
    return default
