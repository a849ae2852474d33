"""What a policy is set to, as a value: printed for people, compared by tests."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Description:
    """A policy's kind and settings; a pipeline's policies, outermost first.

    >>> print(Description("Timeout", (("seconds", 10.0),)))
    Timeout(seconds=10.0)
    """

    kind: str
    settings: tuple[tuple[str, object], ...] = ()
    policies: tuple[Description, ...] = ()

    def __str__(self) -> str:
        if self.policies:
            return "\n".join(f"{place}. {policy._as_item()}" for place, policy in enumerate(self.policies, 1))  # noqa: SLF001
        return f"{self.kind}({', '.join(f'{name}={value!r}' for name, value in self.settings)})"

    def _as_item(self) -> str:
        return f"{self.kind}\n{textwrap.indent(str(self), '   ')}" if self.policies else str(self)
