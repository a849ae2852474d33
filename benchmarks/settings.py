"""The settings that everybody gets, so that all do the same work."""

from __future__ import annotations

from datetime import timedelta

FAILURES = 5
"""So many failures open a circuit."""

BREAK = 3600
"""Seconds that it stays open: longer than any row takes."""

WINDOW = 100
"""Calls that a counting window looks back on."""

SPAN = 30
"""Seconds that a window of time looks back on."""

RATIO = 0.5
"""The share of failed or of slow calls that opens a circuit."""

SLOW = 5.0
"""Seconds after which a call is slow."""

ATTEMPTS = 4
"""Attempts that a retry makes at most, the first included; it never waits."""

PLACES = 10
"""Calls at once in a bulkhead."""

RATE = 1_000_000_000
"""Calls a second that a rate limiter lets through: more than anybody manages."""

SECONDS = 10
"""After which a timeout would fire."""

BREAK_DELTA = timedelta(seconds=BREAK)
