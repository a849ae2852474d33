"""The page that a browser shows for a problem: plain, small, and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from resilio.reporting.messages import ErrorMessageProvider
    from resilio.web.problem import ProblemDetails

__all__ = ("PAGE_HEADERS", "page")

_STYLE: Final = """
:root { color-scheme: light dark; --accent: #b3261e; --faint: #6b6b6b }
@media (prefers-color-scheme: dark) { :root { --accent: #ff8a80; --faint: #a8a8a8 } }
body { font: 1.05rem/1.55 system-ui, sans-serif; margin: 0; padding: 12vh 1.5rem 3rem }
main { max-width: 34rem; margin: auto; border-left: 4px solid var(--accent); padding: .2rem 0 .2rem 1.5rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .8rem; text-wrap: balance }
p { margin: 0 0 .8rem }
ul { margin: 0 0 .8rem; padding-left: 1.2rem }
footer { color: var(--faint); font-size: .9rem; margin-top: 1.6rem }
code { font: .95em ui-monospace, monospace; user-select: all; white-space: nowrap }
"""

_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
}


def page(problem: ProblemDetails, heading: str, messages: ErrorMessageProvider, locale: str) -> bytes:
    """The page for a problem.

    Args:
        problem: What is told.
        heading: What happened in a few words, in the reader's language.
        messages: Has the words around it.
        locale: The reader's language.
    """
    parts = [f"<h1>{escape(heading)}</h1>"]
    if problem.detail:
        parts.append(f"<p>{escape(problem.detail)}</p>")
    if problem.errors:
        rows = (f"<li><code>{escape(each.pointer)}</code> {escape(each.detail)}</li>" for each in problem.errors)
        parts.append(f"<ul>{''.join(rows)}</ul>")
    foot = f"{problem.status}"
    if problem.error_id is not None:
        named = messages.message_for("page", "default", {"error_id": problem.error_id}, locale=locale).action
        shown = escape(problem.error_id)
        foot += f" · {escape(named).replace(shown, f'<code>{shown}</code>')}"
    parts.append(f"<footer>{foot}</footer>")
    html = (
        f'<!doctype html><html lang="{escape(locale)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(heading)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>"
    )
    return html.encode("utf-8", "replace")
