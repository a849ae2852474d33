"""Which errors are the same error: a short text that stays the same while what varies between occurrences changes.

Three ways, the first that applies:

1. what the error or the caller says: an attribute ``fingerprint``, or the argument;
2. the types in the chain of causes, and the innermost function of the application that the traceback passes through.
   No line numbers, so that an edit further up in a file does not make a new error of an old one;
3. the types, and the message without its numbers, ids, addresses and quoted parts.

The version before the colon changes whenever the same error would get another fingerprint; golden tests hold it.
"""

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resilio.reporting.causes import next_cause, text_of

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ("fingerprint", "in_app_location")

VERSION: Final = "v1"
_MOST_TYPES: Final = 10
_MOST_MEMBERS: Final = 15
_MOST_FRAMES: Final = 2_000
_LONGEST_MESSAGE: Final = 300
_LONGEST_EXPLICIT: Final = 1_024

# One expression for all that varies. Every repetition is bounded and the text is cut before: no input is slow.
_VARYING: Final = re.compile(
    r"""
    "[^"]{0,300}" | '[^']{0,300}' | `[^`]{0,300}`
    | \b[a-z][a-z0-9+.-]{1,20}://[^\s]{1,300}
    | [\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}
    | \b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b
    | \b0[xX][0-9a-fA-F]{1,64}\b
    | \b(?=[a-fA-F]{0,63}[0-9])[0-9a-fA-F]{8,64}\b
    | [0-9]{1,40}(?:[.:,/-][0-9]{1,40}){0,10}
    """,
    re.VERBOSE,
)
_BLANKS: Final = re.compile(r"\s{1,300}")

_OWN: Final = str(Path(__file__).parents[1]) + "/"
_LIBRARIES: Final = ("/site-packages/", "/dist-packages/")


def fingerprint(
    error: BaseException, *, explicit: str | None = None, in_app: tuple[str, ...] = (), location: str | None = None
) -> str:
    """The error's fingerprint, such as ``"v1:6c8fb1b6a4d59f0e"``.

    Args:
        error: It is only looked at.
        explicit: What the caller says it is; wins over everything. Otherwise a text in the error's attribute
            ``fingerprint``, or under that name in its ``context``.
        in_app: The application's packages, such as ``("shop",)``. Without them, what is neither the standard library
            nor installed as a library is the application.
        location: What `in_app_location` says, if that has been asked already.

    Returns:
        The same text in every process and on every machine for errors that are the same.

    Fast whatever the message: it is cut first. Safe across threads and loops.
    """
    explicit = explicit or _declared(error)
    if explicit is not None:
        return _hashed("explicit", explicit[:_LONGEST_EXPLICIT])
    types = _types(error)
    if location is None:
        location = in_app_location(error, in_app)
    if location:
        return _hashed("location", types, location)
    return _hashed("message", types, normalised(text_of(error)))


def in_app_location(error: BaseException, in_app: tuple[str, ...] = ()) -> str:
    """``module:qualname`` of the innermost function of the application in the error's traceback; empty if none."""
    step: TracebackType | None = error.__traceback__
    found = None
    frames = 0
    while step is not None and frames < _MOST_FRAMES:
        frame = step.tb_frame
        if in_app:
            module = frame.f_globals.get("__name__")
            if isinstance(module, str) and _is_within(module, in_app):
                found = frame
        elif _is_application(frame.f_code.co_filename):
            found = frame
        step = step.tb_next
        frames += 1
    if found is None:
        return ""
    return f"{found.f_globals.get('__name__', '?')}:{found.f_code.co_qualname}"


def normalised(message: str) -> str:
    """A message without what differs from one occurrence to the next."""
    cut = message[:_LONGEST_MESSAGE]
    return _BLANKS.sub(" ", _VARYING.sub("<*>", cut)).strip()


def _declared(error: BaseException) -> str | None:
    declared = getattr(error, "fingerprint", None)
    if declared is None:
        context = getattr(error, "context", None)
        declared = context.get("fingerprint") if isinstance(context, dict) else None
    return declared if isinstance(declared, str) and declared else None


def _types(error: BaseException) -> str:
    names: list[str] = []
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen and len(names) < _MOST_TYPES:
        seen.add(id(here))
        names.append(_type_of(here))
        here = next_cause(here)
    return " < ".join(names)


def _type_of(error: BaseException) -> str:
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, BaseExceptionGroup):
        # In no order: which member fails first is chance.
        members = sorted({f"{type(each).__module__}.{type(each).__qualname__}" for each in error.exceptions[:1_000]})
        name += f"[{', '.join(members[:_MOST_MEMBERS])}]"
    return name


def _is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)


@lru_cache(maxsize=4096)
def _is_application(filename: str) -> bool:
    if filename.startswith("<frozen ") or any(part in filename for part in _LIBRARIES):
        return False
    return not filename.startswith((_OWN, *_standard_library()))


@lru_cache(maxsize=1)
def _standard_library() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    paths.add(str(Path(sys.modules["os"].__file__ or "/").parent))
    return tuple(f"{each}/" for each in paths if each)


def _hashed(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "backslashreplace")
    return f"{VERSION}:{hashlib.blake2b(text, digest_size=8).hexdigest()}"
