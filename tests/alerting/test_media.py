"""What each medium can carry."""

from __future__ import annotations

import pytest
from alert_kit import notification
from hypothesis import example, given
from hypothesis import strategies as st

from resilio.alerting import media
from resilio.alerting.rendering import as_document, as_text, title_of

pytestmark = pytest.mark.slow("a hundred examples of any text each")

ANYTHING = st.text(st.characters(), max_size=600)  # with surrogates, controls and all


@given(ANYTHING)
@example("a\r\nb\u2028c\u0085d")
def test_a_subject_is_one_line(text: str) -> None:
    """Nothing in it breaks a line or turns text round, it is never empty, and a mail takes it."""
    line = media.one_line(text)
    assert line.splitlines() == [line]
    assert line.isprintable()
    assert 0 < len(line) <= 200


@given(ANYTHING)
@example("ß" * 200)
@example("\u0301" * 200)
def test_an_sns_subject_is_a_hundred_characters_of_ascii(text: str) -> None:
    """Printable, one line, never empty, not beginning with a space."""
    line = media.ascii_subject(text)
    assert 0 < len(line) <= 100
    assert all(" " <= each <= "~" for each in line)
    assert not line.startswith(" ")


@given(ANYTHING, st.integers(0, 700))
@example("é" * 10, 4)
@example("🐱", 3)
def test_bytes_are_cut_at_a_character(text: str, limit: int) -> None:
    """Never more bytes than allowed, always text, and as much of it as there is room for."""
    found = media.cut_bytes(text, limit)
    whole = text.encode("utf-8", "replace").decode()
    assert len(found.encode()) <= limit
    if len(whole.encode()) <= limit:
        assert found == whole
    else:
        kept = found.removesuffix("…")
        assert whole.startswith(kept)
        assert len(found.encode()) > limit - 4 or limit < 3


def weight(text: str) -> int:
    """Places in the GSM alphabet."""
    return sum(2 if each in "^{}\\[~]|€" else 1 for each in text)


@given(ANYTHING)
@example("[" * 159)
@example("€" * 80)
@example("x" * 161)
@example("я" * 71)
def test_an_sms_is_one_message(text: str) -> None:
    """160 places of the GSM alphabet, or 70 UTF-16 units; never empty."""
    found = media.sms(text)
    assert found
    if all(each in media._GSM or each in media._GSM_EXTENDED for each in found):
        assert weight(found) <= 160
    else:
        assert len(found.encode("utf-16-le")) <= 140


def test_an_sms_that_fits_is_not_cut() -> None:
    """At the limits exactly; typographic quotes do not cost the GSM alphabet."""
    assert media.sms("x" * 160) == "x" * 160
    assert media.sms("[" * 80) == "[" * 80
    assert media.sms("я" * 70) == "я" * 70
    assert media.sms("\u201cit\u2019s \u2013 down\u201d") == '"it\'s - down"'
    assert media.sms("x" * 161) == "x" * 157 + "..."


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_a_number_in_e164_is_taken_and_masked(number: str) -> None:
    """All digits but the first are hidden."""
    assert media.e164("number", number) == number
    assert media.mask_phone_number(number) == number[:2] + "X" * (len(number) - 2)


@given(st.text(max_size=30))
@example("+12065550199\n")
@example("+१२३४५६७८")
def test_nothing_else_is_a_number(text: str) -> None:
    """Digits of other scripts are none, and a line break at the end is no end."""
    if text.isascii() and text[:1] == "+" and text[1:].isdigit():
        return
    with pytest.raises(ValueError, match=r"^number must be a phone number in the form E\.164"):
        media.e164("number", text)


def test_a_url_is_shown_without_its_secrets() -> None:
    """Scheme, host and port."""
    assert media.mask_url("https://hooks.slack.com/services/T0/B0/xyz?token=1") == "https://hooks.slack.com/…"
    assert media.mask_url("https://user:pass@[::1]:8080/x") == "https://[::1]:8080/…"
    assert media.mask_url("http://[::1") == "(a URL that cannot be read)"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANYTHING | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3) | st.sets(st.integers()),
    max_leaves=9,
)


@given(ANYTHING, st.dictionaries(ANYTHING, VALUES, max_size=4))
def test_anything_becomes_a_letter_and_a_document(message: str, details: dict[str, object]) -> None:
    """No value and no text fails on its way to JSON in UTF-8."""
    import json  # noqa: PLC0415 -- strict, unlike a channel's

    told = notification(message, details=details)
    json.dumps(as_document(told) | {"message": "", "error_type": ""}, allow_nan=False).encode()
    assert "Notification 0123456789abcdef" in as_text(told)
    assert "\n" not in title_of(told)


def test_details_are_kept_within_bounds() -> None:
    """A circle ends, long lists are counted, long texts are cut."""
    circle: dict[str, object] = {"list": list(range(1000)), "text": "x" * 100_000}
    circle["self"] = circle
    assert len(as_text(notification(details=circle))) < 500_000
    assert as_document(notification(details=circle))["details"]["list"][-1] == "… 900 more"
