"""What a sender writes on a letter, checked by name."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ("checked_headers", "checked_label")


def checked_label(name: str, value: object) -> str | None:
    """Return a text that is not empty, or None.

    Raises:
        TypeError: ``value`` is something else.
        ValueError: It is empty, or holds half a surrogate pair, which has no UTF-8.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        msg = f"{name} must be text, not {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if not value or not _has_utf8(value):
        msg = f"{name} must be text that is not empty and has a UTF-8, not {value!r}"
        raise ValueError(msg)
    return value


def checked_headers(headers: object) -> dict[str, str]:
    """Return headers as a dict of their own; none for None.

    Raises:
        TypeError: They are no mapping, or a name or a value is no text.
        ValueError: A name or a value holds half a surrogate pair, which has no UTF-8.
    """
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        msg = f"headers must be a mapping of text to text, not {headers!r} ({type(headers).__name__})"
        raise TypeError(msg)
    for name, value in headers.items():
        if not isinstance(name, str):
            msg = f"headers must have text as names, not {name!r} ({type(name).__name__})"
            raise TypeError(msg)
        if not isinstance(value, str):
            msg = f"headers[{name!r}] must be text, not {value!r} ({type(value).__name__})"
            raise TypeError(msg)
        if not (_has_utf8(name) and _has_utf8(value)):
            msg = f"headers[{name!r}] must have a UTF-8, not {value!r}"
            raise ValueError(msg)
    return dict(headers)


def _has_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
