"""Where a message failed, and which messages failed for the same reason.

Both are found out for every letter, so both are cheap: what does not change is put together once in a process, and of a
traceback only the innermost frame is looked at.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("group_of", "source_of")

_LONGEST_GROUP: Final = 200

_lock = threading.Lock()
_facts: tuple[int, bytes] = (0, b"")  # the process that they are of, and the JSON without an operation
_UNNAMED: Final = len(b'{"operation":null')


def source_of(operation: str | None) -> bytes:
    """The JSON of a letter's ``source``: what was being done, and the host, process and version that did it."""
    pid = os.getpid()
    found = _facts
    if found[0] != pid:  # the first letter, or the first one after a fork
        found = _find_out(pid)
    return found[1] if operation is None else b'{"operation":%b%b' % (_json(operation), found[1][_UNNAMED:])


def _find_out(pid: int) -> tuple[int, bytes]:
    global _facts  # noqa: PLW0603 -- facts of the process, the same whoever finds them out
    version = sys.modules["resilio"].__version__  # the front door is a floor above, and open already
    rest = b'{"operation":null,"host":%b,"pid":%d,"version":%b}' % (_json(socket.gethostname()), pid, _json(version))
    with _lock:
        _facts = (pid, rest)
    return _facts


def _json(text: str) -> bytes:
    return json.dumps(text).encode()


def group_of(error_info: object, described: Mapping[str, Any]) -> str:
    """What letters that failed for the same reason have in common; empty if nobody can tell.

    That is the ``fingerprint`` of an error report. Of an exception it is its class and the function that raised it, as
    in ``ConnectionError in shop.payment.charge``; of anything else its ``error_type``.
    """
    known = described.get("fingerprint") or described.get("error_type")
    if not isinstance(known, str):
        return ""
    if isinstance(error_info, BaseException):
        known = f"{known}{_raised_in(error_info)}"
    known = known[:_LONGEST_GROUP]
    return known if known.isascii() else known.encode("utf-8", "backslashreplace").decode()


def _raised_in(error: BaseException) -> str:
    step = error.__traceback__
    if step is None:
        return ""
    while step.tb_next is not None:
        step = step.tb_next
    frame = step.tb_frame
    return f" in {frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
