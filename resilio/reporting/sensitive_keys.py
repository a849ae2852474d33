"""Telling from a name whether its value is a secret: ``db_password`` yes, ``monkey`` no.

A name is taken apart into words, at its separators and at its capitals, and the words are looked at one by one and in
pairs. ``tokenizer``, ``author`` and ``secretary`` are words of their own and stay.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

__all__ = ("is_sensitive_key",)

_LONGEST_NAME: Final = 128

_SECRETS: Final = frozenset(
    {
        *("password", "passwords", "passwd", "passphrase", "passcode", "pwd", "pw", "pin", "otp", "totp", "mfa"),
        *("secret", "secrets", "token", "tokens", "credential", "credentials", "creds", "authorization", "bearer"),
        *("cookie", "cookies", "jwt", "cvv", "cvc", "ssn", "csrf", "xsrf", "apikey", "apikeys"),
        *("sessionid", "session", "passwort", "kennwort", "geheimnis"),
    }
)
# A word that ends so is a secret without any separator: PGPASSWORD, accesstoken, xapikey.
_ENDINGS: Final = ("password", "passwd", "passphrase", "secret", "token", "apikey", "cookie", "credentials")
_KINDS_OF_KEY: Final = frozenset(
    {"api", "access", "private", "secret", "encryption", "signing", "session", "account", "shared", "master", "auth"}
    | {"ssh", "pgp", "gpg", "service", "subscription", "app", "license", "deploy", "host", "storage", "aes", "hmac"}
)
_PAIRS: Final = frozenset(
    {
        ("session", "id"),
        ("connection", "string"),
        ("card", "number"),
        ("account", "number"),
        ("security", "code"),
        ("verification", "code"),
        ("amz", "signature"),
    }
)
_HOLDERS_OF_A_PASS: Final = frozenset({"db", "user", "smtp", "admin", "root", "mysql", "pg", "redis", "ftp", "http"})
# What is said about a secret, and is none: token_count, password_policy, cookie_name.
_ABOUT: Final = frozenset(
    {"count", "counts", "type", "limit", "length", "name", "names", "enabled", "required", "policy", "at", "used"}
    | {"error", "errors", "field", "expires", "expired", "expiry", "ttl", "status", "valid", "attempts", "budget"}
)
_AMOUNTS: Final = frozenset({"tokens", "session", "cookies", "secrets"})

_CAPITALS: Final = re.compile(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])")
_WORDS: Final = re.compile(r"[^\W_]+")


def is_sensitive_key(name: object, *, holds_number: bool = False) -> bool:
    """Tell whether what stands under ``name`` is a secret.

    Args:
        name: A key of a mapping, a field of a dataclass, or a word before ``=`` in a text. Bytes are read as text.
        holds_number: Whether the value is a number: ``max_tokens=100`` is an amount, ``pin=1234`` is not.

    A name that is no text is none.
    """
    if isinstance(name, bytes):
        name = name[:_LONGEST_NAME].decode("utf-8", "replace")
    if not isinstance(name, str):
        return False
    return _is_sensitive(str(name[:_LONGEST_NAME]), holds_number)


@lru_cache(maxsize=4096)
def _is_sensitive(name: str, holds_number: bool) -> bool:  # noqa: FBT001 -- for the cache
    words = [word.lower() for word in _WORDS.findall(_CAPITALS.sub(r"\1\3_\2\4", name))]
    if not words or (len(words) > 1 and words[-1] in _ABOUT):
        return False
    found = {word for word in words if word in _SECRETS or word.endswith(_ENDINGS)}
    if holds_number:
        found -= _AMOUNTS
    # "session" says what something belongs to, unless it is all there is.
    if found - {"session"} or (found and len(words) == 1):
        return True
    if words[-1] == "auth" or words in (["pass"], ["pin", "code"]):
        return True
    return any(
        pair in _PAIRS
        or (pair[1] in {"key", "keys"} and pair[0] in _KINDS_OF_KEY)
        or (pair[1] == "pass" and pair[0] in _HOLDERS_OF_A_PASS)
        for pair in pairwise(words)
    )
