"""One line in the application's own log, whatever the application logs with."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap

import pytest
import structlog

from resilio._core import logs


def test_a_configured_structlog_gets_the_fields() -> None:
    """Where the application configured structlog, its processors see level, event and fields."""
    with structlog.testing.capture_logs() as lines:
        logs.write("warning", "circuit opened", {"circuit": "openai", "failures": 3})
    assert lines == [{"log_level": "warning", "event": "circuit opened", "circuit": "openai", "failures": 3}]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_every_level_is_that_level(level: str, caplog: pytest.LogCaptureFixture) -> None:
    """The five levels mean the same to structlog and to stdlib logging."""
    with caplog.at_level(logging.DEBUG):
        logs.write(level, "told", {})
    assert [record.levelname.lower() for record in caplog.records] == [level]
    with structlog.testing.capture_logs() as lines:
        logs.write(level, "told", {})
    assert [line["log_level"] for line in lines] == [level]


def test_a_structlog_over_stdlib_loggers_gets_the_loggers_name(caplog: pytest.LogCaptureFixture) -> None:
    """The usual bridge from structlog to logging works, with the name asked for."""
    structlog.configure(
        processors=[structlog.stdlib.add_logger_name, structlog.processors.JSONRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logs.write("error", "100 % lost", {"queue": "q"}, logger="resilio.alerting")
    (record,) = caplog.records
    assert json.loads(record.getMessage()) == {"event": "100 % lost", "queue": "q", "logger": "resilio.alerting"}


def test_stdlib_logging_gets_the_fields_in_text_and_record(caplog: pytest.LogCaptureFixture) -> None:
    """Where the application has only stdlib logging, a plain formatter shows the fields and a JSON one finds them."""
    logs.write("error", "100 % lost %s", {"queue": "main", "depth": 7}, logger="resilio.alerting")
    (record,) = caplog.records
    assert record.name == "resilio.alerting"
    assert record.getMessage() == "100 % lost %s queue='main' depth=7"
    assert record.__dict__["queue"] == "main"
    assert record.__dict__["depth"] == 7


def test_a_field_cannot_take_the_place_of_the_librarys_own(caplog: pytest.LogCaptureFixture) -> None:
    """Names that structlog or logging need get an underscore; nothing is lost or overwritten, nothing raises."""
    hostile = {"event": 1, "message": 2, "exc_info": 3, "args": 4, "self": 5, "level": 6, "event_": 7, 8: "eight"}
    renamed = {
        "event_": 1,
        "message_": 2,
        "exc_info_": 3,
        "args_": 4,
        "self_": 5,
        "level_": 6,
        "event__": 7,
        "8": "eight",
    }
    logs.write("error", "told", hostile)  # type: ignore[arg-type]
    (record,) = caplog.records
    assert {name: record.__dict__[name] for name in renamed} == renamed
    with structlog.testing.capture_logs() as lines:
        logs.write("error", "told", hostile)  # type: ignore[arg-type]
    assert lines == [{"log_level": "error", "event": "told", **renamed}]


def test_a_message_cannot_forge_a_second_line(caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks in the message and the fields stay within the line."""
    logs.write("error", "first\nERROR forged\rand\u2028more", {"why": "a\nb"})
    (record,) = caplog.records
    assert record.getMessage() == r"first ERROR forged and more why='a\nb'"


def test_a_value_that_cannot_be_shown_is_told_as_such(caplog: pytest.LogCaptureFixture) -> None:
    """A repr that raises costs its own field only."""

    class Shy:
        def __repr__(self) -> str:
            raise ValueError

    logs.write("error", "told", {"shy": Shy(), "queue": "q"})
    (record,) = caplog.records
    assert record.getMessage() == "told shy=<Shy whose repr raises ValueError> queue='q'"


@pytest.mark.slow("starts an interpreter, where nothing is configured")
def test_an_application_without_logging_gets_a_line_on_stderr() -> None:
    """Nothing configured: one readable line with time, level, message and fields, uncoloured away from a terminal."""
    script = """
        from resilio._core import logs
        logs.write("info", "openai is healthy again", {"unhealthy_for": 12.5})
    """
    finished = subprocess.run(  # noqa: S603 -- our own interpreter and script
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "NO_COLOR"}},
    )
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("20")
    assert line.split(maxsplit=2)[2].split() == ["[info", "]", "openai", "is", "healthy", "again", "unhealthy_for=12.5"]
