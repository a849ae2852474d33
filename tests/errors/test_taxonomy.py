"""The taxonomy of errors: what they carry, and that it survives every journey."""

from __future__ import annotations

import builtins
import copy
import pickle

import pytest

import resilio
from resilio import errors
from resilio.errors import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    ErrorSeverity,
    IntegrationError,
    OperationTimeoutError,
    RateLimitExceededError,
    ResilioError,
    RetryExhaustedError,
    ValidationError,
)

ONE_OF_EACH: list[ResilioError] = [
    ResilioError("It failed", user="u-1"),
    errors.SystemError("No available ports in range", component="port_registry", requested_range="3000-5000"),
    ValidationError("Project name is too short", field="project_name", value="ab", min_length=3),
    IntegrationError("Failed to connect", system="crm", operation="connect", timeout=30),
    CircuitBreakerOpenError("The circuit is open", breaker="openai-api", retry_after=12.5, region="eu"),
    CircuitBreakerOpenError.rejection("openai-api", 12.5, why="isolated"),
    RetryExhaustedError("Gave up", attempts=4, last_exception=ConnectionError("refused"), operation="send", to="crm"),
    BulkheadFullError("No place left", bulkhead="reports", waiting=3),
    RateLimitExceededError("Too many calls", limiter="sms", retry_after=0.5, account="a-1"),
    OperationTimeoutError("Too slow", seconds=2.0, operation="search", shard=7),
]


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle_and_copy(error: ResilioError) -> None:
    """Class, text, attributes and context come out of a pickle or a copy as they went in."""
    error.add_note("a note")
    error.args = (*error.args,)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 -- our own
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.context == error.context
        assert repr(twin.__dict__) == repr(error.__dict__)
        assert twin.__notes__[-1] == "a note"


def test_a_copy_has_a_life_of_its_own() -> None:
    """A changed attribute of the copy is not the original's."""
    error = ResilioError("It failed")
    twin = copy.copy(error)
    twin.message = "something else"
    assert error.message == "It failed"


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_every_error_has_its_place(error: ResilioError) -> None:
    """Message, category, code, severity and retryable are there, and the text is the message."""
    assert str(error) == error.message
    assert error.category in {"general", "system", "validation", "integration"}
    assert error.code
    assert isinstance(error.severity, ErrorSeverity)
    assert isinstance(error.retryable, bool)


def test_the_three_categories_carry_what_they_are_given_by_name() -> None:
    """The signatures of the three categories, with anything else in the context."""
    system = errors.SystemError("No ports", component="port_registry", available_ports=[])
    assert (system.component, system.context) == ("port_registry", {"available_ports": []})
    validation = ValidationError("Too short", field="project_name", value="ab", min_length=3)
    assert (validation.field, validation.value, validation.context) == ("project_name", "ab", {"min_length": 3})
    integration = IntegrationError("Failed", system="crm", operation="connect", timeout=30)
    assert (integration.system, integration.operation, integration.context) == ("crm", "connect", {"timeout": 30})


def test_code_severity_and_retryable_may_be_said_for_one_error() -> None:
    """What an error says about itself wins over its class, and does not change the class."""
    error = IntegrationError(
        "No", system="crm", operation="get", code="not_found", severity=ErrorSeverity.INFO, retryable=True
    )
    assert (error.code, error.severity, error.retryable) == ("not_found", ErrorSeverity.INFO, True)
    assert error.context == {}
    plain = IntegrationError("No", system="crm", operation="get")
    assert (plain.code, plain.severity, plain.retryable) == ("integration_error", ErrorSeverity.ERROR, False)


def test_a_severity_may_be_given_as_text_but_not_as_any_text() -> None:
    """`severity="CRITICAL"` is understood; what is no severity is refused."""
    error = ResilioError("It failed", severity="CRITICAL")  # type: ignore[arg-type]
    assert error.severity is ErrorSeverity.CRITICAL
    with pytest.raises(ValueError, match="'LOUD' is not a valid ErrorSeverity"):
        ResilioError("It failed", severity="LOUD")  # type: ignore[arg-type]


def test_rejections_are_integration_errors() -> None:
    """Whoever catches IntegrationError catches everything that a policy raises by itself."""
    for error in ONE_OF_EACH[4:]:
        assert isinstance(error, IntegrationError)


def test_rejections_carry_what_a_caller_needs_to_wait() -> None:
    """The circuit and the limiter say how long."""
    circuit = CircuitBreakerOpenError("open", breaker="openai-api", retry_after=12.5)
    assert (circuit.breaker, circuit.retry_after, circuit.system) == ("openai-api", 12.5, "openai-api")
    assert CircuitBreakerOpenError("open", breaker="b").retry_after is None
    limiter = RateLimitExceededError("too many", limiter="sms", retry_after=0.5)
    assert (limiter.limiter, limiter.retry_after) == ("sms", 0.5)


def test_a_rejection_is_put_into_words_when_somebody_reads_it() -> None:
    """What a circuit raises thousands of times a second has everything that an error built by hand has."""
    error = CircuitBreakerOpenError.rejection("openai-api", 12.5)
    assert str(error) == "circuit 'openai-api' is open; try again in 12 s"
    assert repr(error) == f"CircuitBreakerOpenError({error.message!r})"
    assert (error.system, error.operation, error.context, error.retryable) == ("openai-api", "call", {}, True)
    assert str(CircuitBreakerOpenError.rejection("sms", 0.25)).endswith("try again in 0.25 s")
    isolated = CircuitBreakerOpenError.rejection("sms", None, why="isolated by hand")
    assert str(isolated) == "circuit 'sms' is isolated by hand"
    isolated.context["region"] = "eu"
    assert isolated.context == {"region": "eu"}
    assert error.context == {}


def test_a_timeout_is_the_builtin_timeout_too() -> None:
    """Code that catches TimeoutError needs no change."""
    error = OperationTimeoutError("too slow", seconds=2.0, operation="search")
    assert isinstance(error, builtins.TimeoutError)
    assert (error.seconds, error.operation) == (2.0, "search")


def test_an_exhausted_retry_is_as_retryable_as_its_last_error() -> None:
    """Trying again later makes sense where the last error was transient, or where a result was refused."""
    assert RetryExhaustedError("gave up", attempts=2, last_exception=ConnectionError()).retryable
    assert not RetryExhaustedError("gave up", attempts=2, last_exception=ValueError()).retryable
    refused = RetryExhaustedError("gave up", attempts=3, last_result="pending")
    assert (refused.retryable, refused.last_result, refused.attempts) == (True, "pending", 3)


def test_an_exhausted_retry_names_the_system_of_its_last_error() -> None:
    """Who reads the outer error learns which system it was."""
    last = IntegrationError("no", system="crm", operation="get")
    assert RetryExhaustedError("gave up", attempts=2, last_exception=last, operation="sync").system == "crm"


def test_no_star_import_hides_the_builtin_system_error() -> None:
    """`SystemError` is reached through the module, and in no `__all__`."""
    assert "SystemError" not in errors.__all__
    assert "SystemError" not in resilio.__all__
    assert not issubclass(errors.SystemError, builtins.SystemError)
    assert issubclass(errors.SystemError, ResilioError)


# -- severities --------------------------------------------------------------------------------------------------------


def test_severities_compare_by_rank() -> None:
    """From DEBUG up to CRITICAL, whatever their spelling says."""
    ascending = [
        ErrorSeverity.DEBUG,
        ErrorSeverity.INFO,
        ErrorSeverity.WARNING,
        ErrorSeverity.ERROR,
        ErrorSeverity.CRITICAL,
    ]
    assert sorted(sorted(ErrorSeverity, key=lambda severity: severity.value)) == ascending
    assert [severity.rank for severity in ascending] == [0, 1, 2, 3, 4]
    assert max(ErrorSeverity) is ErrorSeverity.CRITICAL


def test_a_severity_compares_with_its_text() -> None:
    """`severity >= "ERROR"` means what it says; text that is no severity is an error, not an answer."""
    critical, info = ErrorSeverity.CRITICAL, ErrorSeverity.INFO
    assert critical >= "ERROR"
    assert critical > "ERROR"
    assert info <= "INFO"
    assert info < "WARNING"
    with pytest.raises(ValueError, match="LOUD"):
        _ = info < "LOUD"
