"""How many different things there were, in four kilobytes: exactly for the first thousand, then within a few per cent.

HyperLogLog; Flajolet, Fusy, Gandouet, Meunier (2007). The standard error with 4 096 registers is 1.6 %.
"""

from __future__ import annotations

import base64
import hashlib
import math
from typing import Final

__all__ = ("DistinctCount",)

_BITS: Final = 12
_REGISTERS: Final = 1 << _BITS
_EXACT: Final = 1_024
_ALPHA: Final = 0.7213 / (1 + 1.079 / _REGISTERS)


class DistinctCount:
    """Counts different texts; not safe across threads."""

    __slots__ = ("_registers", "_seen")

    def __init__(self) -> None:
        self._seen: set[int] | None = set()
        self._registers = bytearray(_REGISTERS)

    def add(self, text: str) -> None:
        """Count a text, if it is a new one."""
        hashed = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
        if self._seen is not None:
            self._seen.add(hashed)
            if len(self._seen) > _EXACT:
                self._seen = None
        register, rest = hashed >> (64 - _BITS), hashed & ((1 << (64 - _BITS)) - 1)
        rank = 64 - _BITS - rest.bit_length() + 1
        self._registers[register] = max(self._registers[register], rank)

    @property
    def is_exact(self) -> bool:
        """Whether `count` is the number itself."""
        return self._seen is not None

    @property
    def count(self) -> int:
        """How many different ones there were."""
        if self._seen is not None:
            return len(self._seen)
        estimate = _ALPHA * _REGISTERS**2 / sum(2.0**-rank for rank in self._registers)
        empty = self._registers.count(0)
        if estimate <= 2.5 * _REGISTERS and empty:  # where counting the empty ones is more exact
            estimate = _REGISTERS * math.log(_REGISTERS / empty)
        return round(estimate)

    def to_dict(self) -> dict[str, object]:
        """As JSON can carry it."""
        return {
            "seen": None if self._seen is None else sorted(self._seen),
            "registers": base64.b85encode(bytes(self._registers)).decode(),
        }

    @classmethod
    def from_dict(cls, saved: dict[str, object]) -> DistinctCount:
        """As it was saved.

        Raises:
            ValueError: It was not saved by `to_dict`.
        """
        made = cls()
        registers = bytearray(base64.b85decode(str(saved["registers"])))
        if len(registers) != _REGISTERS:
            msg = f"expected {_REGISTERS} registers, found {len(registers)}"
            raise ValueError(msg)
        made._registers = registers
        seen = saved["seen"]
        made._seen = {int(each) for each in seen} if isinstance(seen, list) else None
        return made
