"""What metrics, span events and their attributes are called, after OpenTelemetry's naming conventions.

| metric | kind, unit | says | attributes (below ``resilio.`` unless whole) |
|---|---|---|---|
| ``resilio.circuit.state`` | gauge, ``{circuit}`` | 1 for the state a named circuit is in, 0 for the others | ``circuit.name``, ``circuit.state`` |
| ``resilio.circuit.calls`` | counter, ``{call}`` | calls through circuits | ``circuit.name``, ``call.outcome``: ``success`` ``failure`` ``rejected`` |
| ``resilio.circuit.transitions`` | counter, ``{transition}`` | changes of state | ``circuit.name``, ``circuit.state.before``, ``circuit.state.after`` |
| ``resilio.retries`` | counter, ``{retry}`` | attempts after the first | ``operation`` |
| ``resilio.retry.wait.duration`` | histogram, ``s`` | waits before a retry | ``operation`` |
| ``resilio.retry.ends`` | counter, ``{call}`` | how retried calls ended | ``operation``, ``retry.outcome``: ``success`` ``attempts`` ``duration`` ``stop`` ``budget`` |
| ``resilio.retry.budget.refusals`` | counter, ``{retry}`` | retries that a budget did not allow | ``operation`` |
| ``resilio.timeouts`` | counter, ``{call}`` | calls cut off | ``operation`` |
| ``resilio.fallbacks`` | counter, ``{call}`` | answers in place of an error | ``operation`` |
| ``resilio.hedges`` | counter, ``{call}`` | second calls beside slow ones | ``operation`` |
| ``resilio.bulkhead.rejections`` | counter, ``{call}`` | no place for a call | |
| ``resilio.limiter.rejections`` | counter, ``{call}`` | too many calls | ``limiter`` |
| ``resilio.operation.duration`` | histogram, ``s`` | blocks under `log_operation` | ``operation``, ``operation.outcome`` |
| ``resilio.errors`` | counter, ``{error}`` | errors that an `ErrorHandler` reported | ``error.category``, ``error.severity``, ``operation`` |
| ``resilio.error.groups`` | gauge, ``{group}`` | different errors that a tracker has seen | |
| ``resilio.dead_letters`` | gauge, ``{letter}`` | letters in a queue | ``messaging.destination.name``, ``dead_letter.status`` |
| ``resilio.dead_letters.oldest.age`` | gauge, ``s`` | since the oldest one failed; 0 when there is none | ``messaging.destination.name`` |
| ``resilio.dead_letters.kept`` | counter, ``{letter}`` | letters that came | ``messaging.destination.name``, ``error.type`` |
| ``resilio.dead_letters.replays`` | counter, ``{letter}`` | replays | ``messaging.destination.name``, ``replay.outcome``: ``success`` ``failure`` ``parked`` |
| ``resilio.dead_letters.removed`` | counter, ``{letter}`` | letters that left without a replay | ``messaging.destination.name``, ``removal.reason``: ``deleted`` ``expired`` ``purged`` ``moved`` |
| ``resilio.notifications`` | counter, ``{notification}`` | what channels were given | ``notification.channel``, ``notification.outcome``: ``sent`` ``failed`` ``dropped`` |

A queue's ``messaging.destination.name`` is the name it was given to `instrument` with, else the last part of its path or
URL. No message, no error's text and no fingerprint is ever an attribute; of names there are at most so many as
`instrument` says, and ``_OTHER``. Waits for a place or a token are told by no event, and are in the caller's own spans.
"""  # noqa: E501 -- a table's row is a line

from __future__ import annotations

from typing import Final

CIRCUIT: Final = "resilio.circuit.name"
STATE: Final = "resilio.circuit.state"
BEFORE: Final = "resilio.circuit.state.before"
AFTER: Final = "resilio.circuit.state.after"
OUTCOME: Final = "resilio.call.outcome"
OPERATION: Final = "resilio.operation"
OPERATION_OUTCOME: Final = "resilio.operation.outcome"
RETRY_OUTCOME: Final = "resilio.retry.outcome"
ATTEMPT: Final = "resilio.retry.attempt"
DELAY: Final = "resilio.retry.delay"
LIMIT: Final = "resilio.timeout.seconds"
LETTER_ID: Final = "messaging.message.id"
LIMITER: Final = "resilio.limiter"
CATEGORY: Final = "resilio.error.category"
SEVERITY: Final = "resilio.error.severity"
ERROR_TYPE: Final = "error.type"
QUEUE: Final = "messaging.destination.name"
LETTER_STATUS: Final = "resilio.dead_letter.status"
REPLAY_OUTCOME: Final = "resilio.replay.outcome"
REMOVAL_REASON: Final = "resilio.removal.reason"
CHANNEL: Final = "resilio.notification.channel"
NOTIFICATION_OUTCOME: Final = "resilio.notification.outcome"

WAITS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of a histogram's buckets, in seconds."""
