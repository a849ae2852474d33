"""What a policy is set to, as a value: printed for people, compared by tests."""

from __future__ import annotations

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
            return "\n".join(f"{place}. {policy}" for place, policy in enumerate(self.policies, 1))
        return f"{self.kind}({', '.join(f'{name}={value!r}' for name, value in self.settings)})"
