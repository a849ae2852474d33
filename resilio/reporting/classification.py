"""What kind of error it is: category, code, severity, and whether another try may help.

An error of the project's taxonomy says so itself. For others the builtin classes, the HTTP status and the number of an
``OSError`` are asked. The codes are those under which `ErrorMessageProvider` has words for the user.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import Final

from resilio.errors import (
    ErrorSeverity,
    IntegrationError,
    ResilioError,
    SystemError,  # noqa: A004 -- the taxonomy's
    ValidationError,
    http_status,
    is_transient,
)
from resilio.reporting.causes import next_cause, text_of

__all__ = ("Classification", "classify")

_MOST_CAUSES: Final = 10


@dataclass(frozen=True, slots=True)
class Classification:
    """What kind of error it is.

    Attributes:
        category: ``validation``, ``system``, ``integration``, ``general``, or the error's own.
        code: Names the kind of error within the category.
        severity: How bad it is.
        retryable: Whether the same call may succeed later.
    """

    category: str
    code: str
    severity: ErrorSeverity
    retryable: bool


def classify(error: BaseException) -> Classification:
    """Tell what kind of error it is."""
    retryable = is_transient(error)
    if isinstance(error, ResilioError):
        code = error.code
        if code == type(error).code:
            code = _refined(error) or code
        return Classification(str(error.category), str(code), ErrorSeverity(error.severity), retryable)
    category, code = _foreign(error)
    declared_category, declared_code = getattr(error, "category", None), getattr(error, "code", None)
    if isinstance(declared_category, str) and declared_category:
        category = declared_category
        code = declared_code if isinstance(declared_code, str) and declared_code else f"{category}_error"
    return Classification(category, code, _severity(error, category), retryable)


def _severity(error: BaseException, category: str) -> ErrorSeverity:
    declared = getattr(error, "severity", None)
    if isinstance(declared, str):
        try:
            return ErrorSeverity(declared.upper())
        except ValueError:
            return ErrorSeverity.ERROR
    if category == "system":
        return ErrorSeverity.CRITICAL
    return ErrorSeverity.WARNING if category == "validation" else ErrorSeverity.ERROR


# -- errors of the taxonomy that name no code of their own -------------------------------------------------------------

_COMPONENTS: Final = (
    (re.compile(r"\bports?\b|port_", re.IGNORECASE), "port_unavailable"),
    (re.compile(r"\bdisk\b|disk_|\bno space\b", re.IGNORECASE), "disk_space_low"),
    (re.compile(r"\bpermissions?\b", re.IGNORECASE), "permission_denied"),
)


def _refined(error: ResilioError) -> str | None:
    if type(error) is ValidationError:
        return _input(error)
    if type(error) is SystemError:
        if isinstance(cause := next_cause(error), OSError) and (code := _NUMBERS.get(cause.errno or 0)) is not None:
            return code
        told = f"{text_of(error.component)[:200]} {text_of(error)[:500]}"
        return next((code for pattern, code in _COMPONENTS if pattern.search(told)), None)
    if type(error) is IntegrationError:
        cause = next_cause(error)
        for _ in range(_MOST_CAUSES):
            if cause is None:
                break
            category, code = _foreign(cause)
            if category == "integration":
                return code
            cause = next_cause(cause)
        return "connection_failed" if str(error.operation).startswith("connect") else None
    return None


def _input(error: ValidationError) -> str | None:
    field = error.field
    if not isinstance(field, str) or not field.isidentifier():
        return None
    if error.value is None or (isinstance(error.value, (str, bytes, list, tuple, dict, set)) and not error.value):
        return f"{field}_required"
    least = error.context.get("min_length")
    if isinstance(least, int) and isinstance(error.value, (str, bytes, list, tuple)) and len(error.value) < least:
        return f"{field}_too_short"
    return None


# -- everybody else's errors -------------------------------------------------------------------------------------------

_NUMBERS: Final = {
    errno.EADDRINUSE: "port_unavailable",
    errno.EADDRNOTAVAIL: "port_unavailable",
    errno.ENOSPC: "disk_space_low",
    errno.EDQUOT: "disk_space_low",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.EMFILE: "too_many_open_files",
    errno.ENFILE: "too_many_open_files",
}
_AUTHENTICATION: Final = frozenset({401, 403})
_TIMEOUTS: Final = frozenset({408, 504})


def _foreign(error: BaseException) -> tuple[str, str]:  # noqa: PLR0911 -- one answer for each kind of witness
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "integration", "timeout"
    if isinstance(error, OSError) and (code := _NUMBERS.get(error.errno or 0)) is not None:
        return "system", code
    if isinstance(error, MemoryError):
        return "system", "out_of_memory"
    status = http_status(error)
    if status in _AUTHENTICATION:
        return "integration", "authentication_failed"
    if status in _TIMEOUTS:
        return "integration", "timeout"
    if status is not None:
        return "integration", "service_unavailable" if is_transient(error) else "integration_error"
    if isinstance(error, ConnectionError) or is_transient(error):
        return "integration", "connection_failed"
    if type(error).__name__ == "ValidationError":  # pydantic, marshmallow, jsonschema, Django
        return "validation", "validation_error"
    return "general", "general_error"
