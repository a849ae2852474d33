"""The surroundings of an error."""

from __future__ import annotations

import json
import platform
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psutil

from resilio import enhance_error_context
from resilio._core import clock
from resilio.reporting import context as room

if TYPE_CHECKING:
    import pytest


def test_it_says_what_the_reference_says() -> None:
    """Type, message, time, interpreter, platform and memory."""
    found = enhance_error_context(ValueError("no cats"), {"operation": "feed"})
    assert list(found) == [
        *("error_type", "error_message", "timestamp", "python_version", "platform", "memory_usage", "operation"),
    ]
    assert (found["error_type"], found["error_message"]) == ("ValueError", "no cats")
    assert found["python_version"] == sys.version
    assert found["platform"] == platform.platform()
    assert 0 < found["memory_usage"] <= 100
    assert datetime.fromisoformat(found["timestamp"]).utcoffset() == timedelta(0)
    json.dumps(found)


def test_the_callers_names_win_and_the_input_stays_as_it_is() -> None:
    """What is given is not overwritten, nor changed."""
    given = {"error_type": "mine", "platform": "a toaster", "timestamp": 0, "password": "canary", "n": 1}
    before = dict(given)
    found = enhance_error_context(ValueError(), given)
    assert (found["error_type"], found["platform"], found["timestamp"]) == ("mine", "a toaster", 0)
    assert (found["n"], found["password"]) == (1, "[redacted]")
    assert given == before
    assert enhance_error_context(ValueError())["error_message"] == ""


def test_the_memory_is_read_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many errors there are."""
    reads = []
    real = psutil.virtual_memory

    def counted() -> object:
        reads.append(clock.monotonic())
        return real()

    monkeypatch.setattr(psutil, "virtual_memory", counted)
    monkeypatch.setattr(room, "_memory", room._Memory())
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    for step in range(100):
        now[0] = 100 + step / 50
        enhance_error_context(ValueError())
    assert len(reads) == 2
    now[0] = 5.0  # another clock, that began later
    enhance_error_context(ValueError())
    assert len(reads) == 3


def test_without_psutil_the_memory_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is None, and no error."""

    def fail() -> object:
        raise RuntimeError("no /proc")

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    monkeypatch.setattr(room, "_memory", room._Memory())
    assert enhance_error_context(ValueError())["memory_usage"] is None


def test_an_error_without_a_text_does_no_harm() -> None:
    """Nor does a context with anything in it."""

    class Shy(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

    found = enhance_error_context(Shy(), {"self": object, "n": float("nan")})
    assert found["error_message"] == "<Shy whose text raises RuntimeError>"
    assert found["n"] == "nan"
