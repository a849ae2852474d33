"""Hypothesis plays against a policy, side by side with a small model of what it should do.

Each machine makes thousands of random moves (calls begin, end, fail, are cancelled; time passes, to the very edge of a
deadline) and compares the policy with a reference model of a few lines after each of them. Use them for settings and
subclasses of your own, and for policies that wrap ours::

    from resilio.testing.machines import BreakerMachine

    TestOurBreaker = BreakerMachine.for_settings(failure_threshold=3, recovery_timeout=10).TestCase
    TestWrapped = BreakerMachine.for_settings(policy=make_our_breaker, failure_threshold=3).TestCase
    TestAnySettings = BreakerMachine.TestCase            # Hypothesis draws the settings, too

A machine needs no event loop and no real time: it steps the policy's coroutines by hand, on a clock of its own.
Needs ``hypothesis``.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("hypothesis") is None:
    _msg = "resilio.testing.machines needs Hypothesis: pip install hypothesis"
    raise ModuleNotFoundError(_msg, name="hypothesis")

from resilio.testing.machines.breaker import BreakerMachine
from resilio.testing.machines.bulkhead import BulkheadMachine
from resilio.testing.machines.limiter import LimiterMachine
from resilio.testing.machines.machine import PolicyMachine
from resilio.testing.machines.retry import RetryMachine

__all__ = ("BreakerMachine", "BulkheadMachine", "LimiterMachine", "PolicyMachine", "RetryMachine")
