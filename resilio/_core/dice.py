"""The one source of randomness, so that a test can load it: jitter, sampling and ids draw from here alone."""

from __future__ import annotations

import os
import random as _random
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_rolled: list[_random.Random] = [_random.Random()]  # noqa: S311 -- jitter, not cryptography

if hasattr(os, "register_at_fork"):
    # A child that went on with a copy of its parent's dice would make the same ids.
    os.register_at_fork(after_in_child=_rolled[0].seed)


def random() -> float:
    """A number in [0, 1)."""
    return _rolled[-1].random()


def uniform(low: float, high: float) -> float:
    """A number between ``low`` and ``high``."""
    return low + (high - low) * _rolled[-1].random()


def randbytes(count: int) -> bytes:
    """``count`` random bytes, for identifiers; not for secrets."""
    return _rolled[-1].randbytes(count)


@contextmanager
def loaded(source: _random.Random) -> Iterator[None]:
    """Draw from ``source`` in the whole process while the block runs; blocks may nest, last in first out."""
    _rolled.append(source)
    try:
        yield
    finally:
        _rolled.remove(source)
