"""A small file in which something outlives its process: JSON, replaced in one step.

Whoever reads it finds the former state or the new one, whole, also if the process was killed while it wrote.
"""

from __future__ import annotations

import glob
import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock, dice

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("read_state", "time_of", "write_state")

_STALE: Final = 60.0  # seconds after which nobody is still writing


def write_state(path: str | os.PathLike[str], form: str, state: Mapping[str, Any]) -> None:
    """Replace the file. Blocks for some milliseconds, until it is safe on the disk.

    Args:
        path: Where it is; its folder must exist.
        form: Names what is in it, and in which version, such as ``"resilio-error-tracker-1"``.
        state: What JSON can carry.

    Raises:
        OSError: It cannot be written; then the file is as it was.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{dice.randbytes(4).hex()}.new")
    content = json.dumps({"format": form, **state}, ensure_ascii=True, separators=(",", ":"))
    try:
        with beside.open("w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_state(path: str | os.PathLike[str], form: str) -> dict[str, Any] | None:
    """Read the file; None if there is none. What a killed process left half written beside it is removed.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds something else.
    """
    path = Path(path)
    _tidy(path)
    try:
        content = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    state = json.loads(content)
    found = state.get("format") if isinstance(state, dict) else None
    if found != form:
        msg = f"its format is {found!r}, not {form!r}"
        raise ValueError(msg)
    del state["format"]
    return dict(state)


def time_of(text: str) -> datetime:
    """A time as ``isoformat()`` wrote it.

    Raises:
        ValueError: It is none, or says no zone.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        msg = f"expected a time with its zone, found {text!r}"
        raise ValueError(msg)
    return found


def _tidy(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????.new"):
        try:
            if clock.utcnow().timestamp() - left.stat().st_mtime > _STALE:
                left.unlink()
        except OSError:
            continue  # another process was quicker
