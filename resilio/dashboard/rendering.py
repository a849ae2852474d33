"""Turning rows into pages: the templates, and how times, durations and small plots are written."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from resilio._core import clock
from resilio.dashboard.editing import as_text
from resilio.reporting.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jinja2

__all__ = ("STATIC", "Renderer", "ago", "length")

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_JUST_NOW: Final = 10


class Renderer:
    """Makes pages of templates. Safe from any thread.

    Args:
        title: What stands in the head of every page.
    """

    def __init__(self, title: str) -> None:
        import jinja2  # noqa: PLC0415 -- comes with the extra

        self._templates: jinja2.Environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._templates.globals.update(title=title, static=_static, query=_query)
        self._templates.filters.update(
            ago=ago, length_of=length, clock=clock_time, iso=iso, spark=spark, number=number, plain=as_text,
            excerpt=excerpt, cut=cut, words=words, redacted=_redacted,
        )  # fmt: skip

    def render(self, template: str, **values: Any) -> str:
        """The text of a template."""
        page = self._templates.get_template(template).render(now=clock.utcnow().timestamp(), **values)
        return page.encode("utf-8", "replace").decode("utf-8")  # a file's name may hold what has no UTF-8


def ago(at: float | datetime | None) -> str:
    """How long ago it was, in one rounded unit; rounded, so that a page that is looked at does not flicker."""
    if at is None:
        return "never"
    at = at.timestamp() if isinstance(at, datetime) else at
    passed = clock.utcnow().timestamp() - at
    if passed < _JUST_NOW:
        return "just now" if passed > -_JUST_NOW else f"in {length(-passed)}"
    return f"{length(passed)} ago"


def length(seconds: float | None) -> str:
    """Seconds in words, such as ``20 s`` or ``3 h``."""
    if seconds is None:
        return "\u2013"
    if seconds < _MINUTE:
        return f"{seconds // _JUST_NOW * _JUST_NOW if seconds >= _JUST_NOW else max(seconds, 0):.0f} s"
    for unit, size, until in (("min", _MINUTE, _HOUR), ("h", _HOUR, 2 * _DAY)):
        if seconds < until:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // _DAY:.0f} days"


def _moment(at: float | datetime) -> datetime:
    return at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)


def clock_time(at: float | datetime | None) -> str:
    """A time as people read it, in UTC."""
    return "\u2013" if at is None else f"{_moment(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: float | datetime | None) -> str:
    """A time as machines read it."""
    return "" if at is None else _moment(at).astimezone(UTC).isoformat(timespec="seconds")


def number(value: float | None) -> str:
    """A count with thin spaces between thousands; of fractions, one digit."""
    if value is None:
        return "\u2013"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.2f}".replace(",", "\u202f") if abs(value) < 10 else f"{value:,.1f}".replace(",", "\u202f")  # noqa: PLR2004
    return f"{int(value):,}".replace(",", "\u202f")


def spark(counts: Sequence[int], width: int = 120, height: int = 24) -> str:
    """The path of a bar for each count, for ``<path d=...>``."""
    most = max(counts, default=0)
    if not most:
        return f"M0 {height - 0.5}H{width}"
    step = width / len(counts)
    bars = []
    for index, count in enumerate(counts):
        tall = 0.0 if not count else max(2.0, (height - 1) * count / most)
        bars.append(f"M{index * step:.1f} {height}v-{tall:.1f}h{step - 1:.1f}v{tall:.1f}z" if tall else "")
    return "".join(bars)


def excerpt(value: object, longest: int = 140) -> str:
    """The beginning of a value without its secrets, on one line."""
    shown = redact(value)
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def cut(text: object, longest: int = 60) -> str:
    """The beginning of a text that can hold no secret, such as an id."""
    text = str(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def words(name: object) -> str:
    """A name as people write it: ``HALF_OPEN`` is half open."""
    return str(name).replace("_", " ").replace("-", " ").lower()


def _redacted(value: object) -> str:
    return str(redact(value))


def _query(**values: object) -> str:
    kept = {name: str(value) for name, value in values.items() if value not in (None, "")}
    return f"?{urlencode(kept, errors='replace')}" if kept else ""


@cache
def _static(name: str) -> str:
    """The link to a static file; another one when the file changes, since browsers keep it for a year."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:8]
    return f"static/{name}?v={digest}"
