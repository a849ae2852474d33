"""Handing an action on a circuit to the process that has the circuit, through the directory that they share.

A request reaches whichever worker is free; the circuit may be another one's. So the worker that was asked leaves a
file, and the other one, which looks into the directory every other second, takes it away and does what it says. A file
is obeyed once, only by the process that it names, only while it is fresh, and only if it belongs to the same user.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from resilio._core import clock, dice
from resilio.dashboard.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ("Order", "leave_order", "take_orders")

FRESH: Final = 30.0
"""Seconds after which an order is not obeyed any more."""

_SUFFIX: Final = ".order.json"
_MOST_BYTES: Final = 10_000

_log = logging.getLogger("resilio")


@dataclass(slots=True, kw_only=True)
class Order(Row):
    """What another process is to do with one of its circuits; ``process`` says which.

    Attributes:
        name: The circuit.
        action: One of `resilio.dashboard.circuits.CIRCUIT_ACTIONS`.
        who: Who asked for it.
        at: When, seconds since 1970.
    """

    name: str = ""
    action: str = ""
    who: str = ""
    at: float = 0.0


def leave_order(directory: Path, order: Order) -> None:
    """Leave an order for another process.

    Raises:
        OSError: It cannot be written.
    """
    path = directory / f"{dice.randbytes(12).hex()}{_SUFFIX}"
    fresh = path.with_suffix(".tmp")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(order.to_dict(), file)
    fresh.replace(path)


def take_orders(directory: Path, process: str) -> Iterator[Order]:
    """The orders for ``process``, each of which is gone before it is given; those that are too old go, too."""
    now = clock.utcnow().timestamp()
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        order = _read(path)
        if order is None or abs(now - order.at) > FRESH:
            with suppress(OSError):
                path.unlink()
        elif order.process == process:
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            yield order


def _read(path: Path) -> Order | None:
    try:
        with path.open("rb") as file:
            if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            return Order.from_dict(json.loads(file.read(_MOST_BYTES)))
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("the dashboard cannot read the order %s: %s", path, error)
        return None
