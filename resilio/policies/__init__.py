"""What wraps a call: circuit breaker, trip rules, backoff, timeout, fallback, pipeline.

A policy decides and emits events; it never logs, counts, notifies or stores. Its decisions are plain state machines
without clock, chance or awaiting; thin drivers run them on asyncio, trio and blocking threads. What happens *after* a
call has failed for good belongs upstairs.
"""
