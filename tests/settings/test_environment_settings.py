"""Defaults read from the environment."""

from __future__ import annotations

import pytest

from resilio import settings

NUMBERS = [
    settings.CIRCUIT_BREAKER_FAILURE_THRESHOLD,
    settings.CIRCUIT_BREAKER_RECOVERY_TIMEOUT,
    settings.BACKOFF_BASE_DELAY,
    settings.BACKOFF_MAX_DELAY,
    settings.BACKOFF_MAX_RETRIES,
]
TEXTS = [settings.DLQ_QUEUE_URL, settings.DLQ_LOCAL_FILE_PATH, settings.SNS_TOPIC_ARN]


def test_the_variables_are_those_of_the_reference() -> None:
    """Eight names, each listed once."""
    assert [setting.variable for setting in settings.ALL] == [
        "CIRCUIT_BREAKER_FAILURE_THRESHOLD",
        "CIRCUIT_BREAKER_RECOVERY_TIMEOUT",
        "BACKOFF_BASE_DELAY",
        "BACKOFF_MAX_DELAY",
        "BACKOFF_MAX_RETRIES",
        "DLQ_QUEUE_URL",
        "DLQ_LOCAL_FILE_PATH",
        "SNS_TOPIC_ARN",
    ]


def test_unset_variables_give_the_documented_defaults() -> None:
    """5 failures, 60 s; 1 s to 60 s and 5 retries; no queue, no file, no topic."""
    assert [setting.read({}) for setting in settings.ALL] == [5, 60.0, 1.0, 60.0, 5, None, None, None]


@pytest.mark.parametrize("setting", [*NUMBERS, *TEXTS], ids=lambda setting: setting.variable)
@pytest.mark.parametrize("value", ["", "   ", "\n"])
def test_an_empty_value_counts_as_unset(setting: settings.Setting[object], value: str) -> None:
    """As shells and container files have it."""
    assert setting.read({setting.variable: value}) == setting.default


def test_values_are_read_with_or_without_blanks_around() -> None:
    """Numbers parse as numbers, texts stay texts."""
    assert settings.CIRCUIT_BREAKER_FAILURE_THRESHOLD.read({"CIRCUIT_BREAKER_FAILURE_THRESHOLD": " 3 "}) == 3
    assert settings.CIRCUIT_BREAKER_RECOVERY_TIMEOUT.read({"CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "0.5"}) == 0.5
    assert settings.BACKOFF_MAX_RETRIES.read({"BACKOFF_MAX_RETRIES": "0"}) == 0
    assert settings.BACKOFF_BASE_DELAY.read({"BACKOFF_BASE_DELAY": "0"}) == 0.0
    assert settings.DLQ_LOCAL_FILE_PATH.read({"DLQ_LOCAL_FILE_PATH": " ./dead.jsonl\n"}) == "./dead.jsonl"


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.variable)
@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf", "1_0s", "True", "1,5"])
def test_a_value_that_does_not_parse_is_named(setting: settings.Setting[object], value: str) -> None:
    """The error says which variable, what it should be, and what it is."""
    expected = rf"^the environment variable {setting.variable} should be (a number|a whole number).*, not '{value}'$"
    with pytest.raises(ValueError, match=expected):
        setting.read({setting.variable: value})


def test_whole_numbers_and_thresholds_have_their_own_limits() -> None:
    """Half a retry is none, and a threshold of zero would never let a call through."""
    for setting, value in (
        (settings.BACKOFF_MAX_RETRIES, "1.5"),
        (settings.CIRCUIT_BREAKER_FAILURE_THRESHOLD, "0"),
    ):
        with pytest.raises(ValueError, match=setting.variable):
            setting.read({setting.variable: value})


def test_the_environment_is_read_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set after the import counts."""
    monkeypatch.setenv("BACKOFF_MAX_RETRIES", "9")
    assert settings.BACKOFF_MAX_RETRIES.read() == 9
    monkeypatch.delenv("BACKOFF_MAX_RETRIES")
    assert settings.BACKOFF_MAX_RETRIES.read() == 5
