"""What leaves the process leaves without its secrets."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from time import process_time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilio import Redactor, redact
from resilio.reporting.secret_patterns import redact_text
from resilio.reporting.sensitive_keys import is_sensitive_key

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA1\nc2VjcmV0\n-----END RSA PRIVATE KEY-----"

SENSITIVE = [
    *(
        "password",
        "Password",
        "db_password",
        "dbPassword",
        "PGPASSWORD",
        "user-password",
        "passwd",
        "pwd",
        "passphrase",
    ),
    *("token", "access_token", "accessToken", "refreshtoken", "id-token", "apiKey", "api_key", "api-key", "X-Api-Key"),
    *("APIKEY", "authorization", "Authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "cookies", "secret"),
    *("client_secret", "AWS_SECRET_ACCESS_KEY", "privateKey", "session_id", "sessionid", "credentials", "otp", "cvv"),
    *("X-CSRF-Token", "smtp_pass", "auth", "card_number", "jwt", "connectionString", b"token"),
]
HARMLESS = [
    *("monkey", "author", "tokenizer", "keyboard", "secretary", "passenger", "compass", "authenticated", "key", "keys"),
    *(
        "user",
        "message_sid",
        "token_count",
        "token_type",
        "password_policy",
        "cookie_name",
        "oauth_provider",
        "session_user",
    ),
    *("operation", "tokenized", "monkeys", "passport", "", "…", 7, None),
]


@pytest.mark.parametrize("name", SENSITIVE)
def test_what_stands_under_a_secrets_name_is_taken_out(name: str) -> None:
    """In whatever spelling, whatever it is."""
    assert is_sensitive_key(name)
    for value in ("x", b"x", 1234567, ["a", "b"], {"a": 1}, ("a", "b")):
        if name == "cookies" and isinstance(value, int):
            continue
        assert list(redact({name: value}).values()) == ["[redacted]"]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", HARMLESS)
def test_words_that_only_look_like_it_stay(name: str) -> None:
    """A monkey is no key, and an author gives no authorization."""
    assert not is_sensitive_key(name)


def test_amounts_and_flags_are_no_secrets() -> None:
    """`max_tokens=100` stays, `pin=1234` does not; True, False and None never say anything."""
    assert redact({"max_tokens": 100, "pin": 1234, "password": None, "token": True}) == {
        "max_tokens": 100,
        "pin": "[redacted]",
        "password": None,
        "token": True,
    }
    assert redact("max_tokens=100, pin=1234") == "max_tokens=100, pin=[redacted]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.def-ghi", "Authorization: [redacted]"),
        ("sent Bearer canary-token to it", "sent Bearer [redacted] to it"),
        ("Basic dXNlcjpwYXNz", "Basic [redacted]"),
        ("Bearer  Bearer canary-token", "Bearer  Bearer [redacted]"),
        ("Bearer basic canary-token", "Bearer basic [redacted]"),
        ("Authorization: Bearer Bearer canary-token", "Authorization: [redacted]"),
        ("https://user:p@ss@host/path?a=1", "https://[redacted]@host/path?a=1"),
        ("postgres://app:s3cret@db:5432/cats", "postgres://[redacted]@db:5432/cats"),
        (f"token {JWT} refused", "token [redacted] refused"),
        (f"key {PEM} refused", "key [redacted] refused"),
        ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
        ("card 4111 1111 1111 1111.", "card [redacted]."),
        ("card 5500-0000-0000-0004", "card [redacted]"),
        ("378282246310005", "[redacted]"),
        ("+15551234567 did not answer", "+1******4567 did not answer"),
        ("password=hunter2", "password=[redacted]"),
        ("password: api_key: 'hunter2' stays", "password: [redacted] stays"),
        ("password=hunter2&user=tzara", "password=[redacted]&user=tzara"),
        ("{'password': 'hunter 2', 'user': 'tzara'}", "{'password': [redacted], 'user': 'tzara'}"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": [redacted], "n": 1}'),
        ("User(name='tzara', token=b'abc')", "User(name='tzara', token=[redacted])"),
        ("(('Authorization', 'opaque'))", "(('Authorization', '[redacted]'))"),
        ("Cookie: a=b; session=c\nHost: x", "Cookie: [redacted]\nHost: x"),
        ("?token=abc&x=1", "?token=[redacted]&x=1"),
        ("password%3Dhunter2", "password%3D[redacted]"),
        ("sk-proj-abcdefghijklmnop1234", "[redacted]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]"),
        ("xoxb-123456789012-abcdef", "[redacted]"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_of_a_text(text: str, expected: str) -> None:
    """By its shape, or by the word before it."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "the monkey=banana author: Tzara tokenizer=gpt2",
        "basic understanding of bearer bonds",
        "at 12:30:45 on 2026-11-22, 4111111111111112 is no card",
        "order 1700000000000 of 2026",
        "https://example.com/a?page=2#top and me@example.com",
        "call +44 20 7946 0958",
        "v1.2.3-eyJ",
        "3.14159265358979",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """No alarm over what is none."""
    assert redact(text) == text


def test_values_of_every_kind_are_reached() -> None:
    """Dicts, lists, tuples, sets, dataclasses, named tuples, exceptions, and the texts of anything else."""

    @dataclass
    class Login:
        user: str
        password: str

    class Opaque:
        def __repr__(self) -> str:
            return "<Opaque password='canary'>"

    point = namedtuple("point", ["x", "api_key"])  # noqa: PYI024 -- as users have them

    class Colour(Enum):
        RED = "red"

    found = redact(
        OrderedDict(
            login=Login("tzara", "canary"),
            headers=[("Authorization", "canary"), ("Accept", "*/*")],
            opaque=Opaque(),
            error=ValueError("token=canary"),
            point=point(1, "canary"),
            many={"token=canary"},
            raw=b"password=canary",
            colour=Colour.RED,
            at=datetime(2026, 1, 1, tzinfo=UTC),
            took=timedelta(seconds=2),
            number=4111111111111111,
            nothing=None,
        )
    )
    assert "canary" not in json.dumps(found)
    assert found["login"] == {"user": "tzara", "password": "[redacted]"}  # type: ignore[index,call-overload]
    assert found["headers"][1] == ["Accept", "*/*"]  # type: ignore[index,call-overload]
    assert found["number"] == "[redacted]"  # type: ignore[index,call-overload]
    assert (found["colour"], found["took"], found["at"]) == ("red", 2.0, "2026-01-01T00:00:00+00:00")  # type: ignore[index,call-overload]


def test_a_secret_that_came_to_light_is_taken_out_everywhere() -> None:
    """The value of a password is a secret wherever else it is said."""
    assert redact({"note": "logged in with hunter22", "password": "hunter22", "n": "n"}) == {
        "note": "logged in with [redacted]",
        "password": "[redacted]",
        "n": "n",
    }


def test_names_and_secrets_of_ones_own() -> None:
    """A redactor knows more names, keeps others, and takes out given texts."""
    redactor = Redactor(keys=["Shoe_Size"], keep=["token"], secrets=["open-sesame"])
    assert redactor({"shoe_size": 44, "token": "abc", "said": ["open-sesame!"]}) == {
        "shoe_size": "[redacted]",
        "token": "abc",
        "said": ["[redacted]!"],
    }


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"secrets": ["abc"]}, ValueError, "at least 5"),
        ({"secrets": "open-sesame"}, TypeError, "secrets must be several texts"),
        ({"keys": [1]}, TypeError, "keys must be texts, not int"),
        ({"longest": 0}, ValueError, "longest must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], error: type[Exception], told: str) -> None:
    """By name; a secret that is refused is not quoted."""
    with pytest.raises(error, match=told):
        Redactor(**arguments)


def test_what_is_large_deep_or_endless_is_cut() -> None:
    """The copy is bounded, and says what is missing."""
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert redact(endless) == ["[left out: it contains itself]"]
    assert "too deep" in json.dumps(redact(deep))
    wide = redact(list(range(100_000)))
    assert isinstance(wide, list)
    assert len(wide) < 1_000
    assert str(wide[-1]).endswith("more]")
    long = redact("x" * 1_000_000)
    assert isinstance(long, str)
    assert len(long) < 5_000
    assert long.endswith("more characters]")
    assert len(json.dumps(redact({str(n): "y" * 10_000 for n in range(1_000)}))) < 100_000
    assert redact(10**5_000) == "[a number of 16610 bits]"


@pytest.mark.parametrize("secret", [f"https://u:{'p' * 100}@host", f"password={'p' * 100}", f"Bearer {'p' * 100}"])
def test_a_secret_that_lies_across_the_cut_is_found(secret: str) -> None:
    """Wherever the text is cut, no part of it is left."""
    for before in range(4_096 - len(secret) - 2, 4_098):
        assert "ppp" not in redact_text(" " * before + secret + " tail")


def test_what_cannot_be_read_does_not_raise() -> None:
    """An object whose repr, text, or items raise is told as such."""

    class Broken(dict[str, str]):
        def __repr__(self) -> str:
            raise RuntimeError

        def items(self) -> Any:
            raise RuntimeError

    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    assert redact([Broken(a="b"), Shy()]) == "<list that cannot be read: RuntimeError>"
    assert redact([Shy()]) == ["<Shy whose repr raises RuntimeError>"]


FRAGMENTS = [
    *("password", "token", "pin", "count", "Cookie", "Bearer ", "basic ", "sk-", "eyJhbGciOiJ", "AKIAIOSFODNN7EXAMPLE"),
    *("-----BEGIN PRIVATE KEY-----", "-----END", "4111111111111111", "0", "+15551234567", "b1", "a", "x" * 60, "ü"),
    *("=", ":", " ", '"', "'", "(", ")", "[", "]", "{", "}", ",", ";", "&", "\\", "\n", "://", "@", "%3D", ".", "_2"),
    *("…", "[redacted]", "… [5 more characters]", " more", "\ud800"),
]
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=25).map("".join)
plain = st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary() | texts


@pytest.mark.slow("a hundred values, some of them sixty times over")
@given(
    st.recursive(
        plain,
        lambda inner: st.lists(inner) | st.dictionaries(texts | st.integers(), inner) | st.tuples(texts | inner, inner),
        max_leaves=20,
    ),
    st.sampled_from([1, 60]),
)
def test_the_copy_is_json_and_stays_what_it_is(value: object, times: int) -> None:
    """Whatever comes in: what comes out is plain, can be written as UTF-8, and has nothing more to redact."""
    once = redact([value] * times)
    json.dumps(once, ensure_ascii=False, allow_nan=False).encode()
    assert redact(once) == once


@pytest.mark.slow("a hundred texts")
@given(texts, st.integers(min_value=1, max_value=80))
@example("+15551234567", 3)
@example("+15551234567… [5 more characters]", 10)
def test_a_text_that_was_cut_is_not_cut_again(text: str, longest: int) -> None:
    """Wherever it is cut, and whatever is found in it."""
    once = redact_text(text, longest=longest)
    assert redact_text(once, longest=longest) == once


@pytest.mark.parametrize(
    "value",
    [
        {"k" * 201: 1},
        {"k" * 300: 1, "k" * 301: 2},
        {"k" * 200: 1, b"k" * 200: 2},
        {f"+1555{number}4567": number for number in range(100, 250)},
        "pin=1 " * 900,
        ["x" * 5_000] * 6,
        [[n, (f"name{n}", n), {"pin": n, "n": [n]}] for n in range(400)],
        {"note": "abcde " * 700, "password": "abcde"},
    ],
    ids=["key", "keys", "same-keys", "masked-keys", "grows", "long-texts", "large", "scrubbed"],
)
def test_what_was_cut_or_renamed_stays_so(value: object) -> None:
    """Keys that were cut or became the same, texts that grew by what was taken out, and what was too large."""
    once = redact(value)
    assert redact(once) == once
    assert not isinstance(value, dict) or len(once) == len(value)  # type: ignore[arg-type]


HOSTILE = [
    "a.",
    "a",
    "a-",
    "a=",
    "a:",
    "1 ",
    "1",
    "://",
    "a://",
    "eyJ",
    '"',
    "\\",
    "Bearer ",
    "('a'",
    "a@",
    "4-",
    "[",
    "=b",
]


@pytest.mark.slow("times sixteen kinds of hostile text at two sizes")
@pytest.mark.parametrize(
    "unit", [*HOSTILE, "-----BEGIN PRIVATE KEY-----", "password=", "basic aaaa ", "ab_password:", "[redacted]"]
)
def test_the_time_grows_with_the_text_and_no_faster(unit: str) -> None:
    """Eight times the text takes nowhere near sixty-four times the time."""

    def best(size: int) -> float:
        text = (unit * size)[:size]
        times = []
        for _ in range(3):
            began = process_time()
            redact_text(text, longest=size)
            times.append(process_time() - began)
        return min(times)

    assert best(160_000) < 24 * max(best(20_000), 0.0005)
