"""Chaos for code without an event loop."""

from __future__ import annotations

from resilio.policies.policy import BlockingForms
from resilio.testing.chaos import ChaosBase

__all__ = ("BlockingChaos",)


class BlockingChaos(BlockingForms, ChaosBase):
    """Does to a share of the calls what a bad day would do; the blocking twin of `resilio.testing.Chaos`.

    Takes the same arguments, and belongs innermost into a pipeline of `resilio.sync`. Delays block the thread; a hang
    needs a ``limit``.

        >>> from resilio.testing.fault_actions import returns
        >>> BlockingChaos(returns("nonsense"), rate=1, enabled=True, dry_run=False).execute(str.upper, "a")
        'nonsense'
    """

    __slots__ = ()
