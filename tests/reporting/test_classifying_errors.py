"""What kind of error it is."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from resilio import (
    CircuitBreakerOpenError,
    ErrorMessageProvider,
    ErrorTracker,
    IntegrationError,
    ValidationError,
    errors,
)
from resilio.reporting.classification import classify


class Answered(Exception):  # noqa: N818
    """An HTTP client's error."""

    def __init__(self, status: int) -> None:
        self.response = SimpleNamespace(status_code=status)


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """``error``, raised from ``cause``."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("x"), "general/general_error/ERROR/False"),
        (ConnectionResetError(), "integration/connection_failed/ERROR/True"),
        (TimeoutError(), "integration/timeout/ERROR/True"),
        (PermissionError(errno.EACCES, "x"), "system/permission_denied/CRITICAL/False"),
        (OSError(errno.ENOSPC, "x"), "system/disk_space_low/CRITICAL/False"),
        (OSError(errno.EADDRINUSE, "x"), "system/port_unavailable/CRITICAL/False"),
        (MemoryError(), "system/out_of_memory/CRITICAL/False"),
        (Answered(401), "integration/authentication_failed/ERROR/False"),
        (Answered(503), "integration/service_unavailable/ERROR/True"),
        (Answered(504), "integration/timeout/ERROR/True"),
        (errors.SystemError("No available ports in range", "port_registry"), "system/port_unavailable/CRITICAL/False"),
        (errors.SystemError("the report is lost", "archive"), "system/system_error/CRITICAL/False"),
        (
            caused(errors.SystemError("x", "y"), OSError(errno.ENOSPC, "z")),
            "system/disk_space_low/CRITICAL/False",
        ),
        (ValidationError("x", "project_name", ""), "validation/project_name_required/WARNING/False"),
        (
            ValidationError("x", "project_name", "ab", min_length=3),
            "validation/project_name_too_short/WARNING/False",
        ),
        (ValidationError("x", "age", 7), "validation/validation_error/WARNING/False"),
        (ValidationError("x", "age", 7, code="too_young"), "validation/too_young/WARNING/False"),
        (IntegrationError("x", "crm", "connection_test"), "integration/connection_failed/ERROR/False"),
        (caused(IntegrationError("x", "crm", "get"), TimeoutError()), "integration/timeout/ERROR/False"),
        (IntegrationError("x", "crm", "get"), "integration/integration_error/ERROR/False"),
        (CircuitBreakerOpenError("x", breaker="b"), "integration/circuit_open/WARNING/True"),
    ],
    ids=str,
)
def test_category_code_severity_and_whether_to_retry(error: BaseException, expected: str) -> None:
    """The taxonomy says so itself; for others the class, the status and the error number do."""
    found = classify(error)
    assert f"{found.category}/{found.code}/{found.severity}/{found.retryable}" == expected


def test_an_error_of_ones_own_may_say_so_itself() -> None:
    """By attributes of the same names, without deriving from anything."""

    class Meow(Exception):  # noqa: N818
        category, code, severity, retryable = "cats", "hungry", "critical", True

    report = ErrorTracker().track_error(Meow())
    assert (report.category, report.code, str(report.severity), report.retryable) == (
        "cats",
        "hungry",
        "CRITICAL",
        True,
    )


def test_every_code_has_words() -> None:
    """What the classification can say, the messages know by its own code."""
    known = ErrorMessageProvider()
    for code in ("too_many_open_files", "out_of_memory", "disk_space_low", "port_unavailable", "permission_denied"):
        assert known.get_message("system", code) != known.get_message("system", "default")
