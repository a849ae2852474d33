"""Defaults read from the environment, at the moment an object is built without the argument.

| variable | what it sets | default |
|---|---|---|
| ``CIRCUIT_BREAKER_FAILURE_THRESHOLD`` | consecutive failures that open a circuit | 5 |
| ``CIRCUIT_BREAKER_RECOVERY_TIMEOUT`` | seconds an open circuit waits before it tries again | 60 |
| ``BACKOFF_BASE_DELAY`` | seconds before the first retry, before jitter | 1 |
| ``BACKOFF_MAX_DELAY`` | longest wait in seconds, before jitter | 60 |
| ``BACKOFF_MAX_RETRIES`` | retries after the first attempt | 5 |
| ``DLQ_QUEUE_URL`` | the SQS queue for dead letters | none |
| ``DLQ_LOCAL_FILE_PATH`` | the file for dead letters | ``./local_dlq.json`` |
| ``SNS_TOPIC_ARN`` | the SNS topic for notifications | none |

An empty value counts as unset, as shells and container files have it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from resilio._core import durations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One variable of the environment: its name, its default, and how its text becomes a value."""

    variable: str
    default: T
    meaning: str
    parse: Callable[[str, str], T]

    def read(self, environ: Mapping[str, str] | None = None) -> T:
        """Return the variable's value, or the default when it is unset or empty.

        Raises:
            ValueError: The value does not parse; the message names the variable and what it should be.
        """
        text = (os.environ if environ is None else environ).get(self.variable, "").strip()
        if not text:
            return self.default
        try:
            return self.parse(self.variable, text)
        except (TypeError, ValueError):
            msg = f"the environment variable {self.variable} should be {self.meaning}, not {text!r}"
            raise ValueError(msg) from None


def _count(name: str, text: str) -> int:
    return durations.whole(name, int(text), at_least=0)


def _threshold(name: str, text: str) -> int:
    return durations.whole(name, int(text), at_least=1)


def _seconds(name: str, text: str) -> float:
    return durations.seconds(name, float(text))


def _text(_name: str, text: str) -> str | None:
    return text


CIRCUIT_BREAKER_FAILURE_THRESHOLD = Setting(
    "CIRCUIT_BREAKER_FAILURE_THRESHOLD", 5, "a whole number, at least 1", _threshold
)
CIRCUIT_BREAKER_RECOVERY_TIMEOUT = Setting(
    "CIRCUIT_BREAKER_RECOVERY_TIMEOUT", 60.0, "a number of seconds, at least 0", _seconds
)
BACKOFF_BASE_DELAY = Setting("BACKOFF_BASE_DELAY", 1.0, "a number of seconds, at least 0", _seconds)
BACKOFF_MAX_DELAY = Setting("BACKOFF_MAX_DELAY", 60.0, "a number of seconds, at least 0", _seconds)
BACKOFF_MAX_RETRIES = Setting("BACKOFF_MAX_RETRIES", 5, "a whole number, at least 0", _count)
DLQ_QUEUE_URL = Setting("DLQ_QUEUE_URL", None, "the URL of an SQS queue", _text)
DLQ_LOCAL_FILE_PATH = Setting("DLQ_LOCAL_FILE_PATH", None, "the path of a file", _text)
SNS_TOPIC_ARN = Setting("SNS_TOPIC_ARN", None, "the ARN of an SNS topic", _text)

ALL: tuple[Setting[int] | Setting[float] | Setting[str | None], ...] = (
    CIRCUIT_BREAKER_FAILURE_THRESHOLD,
    CIRCUIT_BREAKER_RECOVERY_TIMEOUT,
    BACKOFF_BASE_DELAY,
    BACKOFF_MAX_DELAY,
    BACKOFF_MAX_RETRIES,
    DLQ_QUEUE_URL,
    DLQ_LOCAL_FILE_PATH,
    SNS_TOPIC_ARN,
)
"""Every variable that is read, for tools that check a deployment."""
