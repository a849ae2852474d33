"""A secret, and an error that holds it wherever an error can."""

from __future__ import annotations

CANARY = "Canary4711xyzzy"
SHAPES = [
    f"https://user:{CANARY}@example.com/path",
    f"Authorization: Bearer {CANARY}",
    f"password={CANARY}",
    f'{{"apiKey": "{CANARY}"}}',
    f"Cookie: session={CANARY}; theme=dark",
]


class Carrier(Exception):  # noqa: N818
    """An error that holds a secret wherever it can."""

    def __init__(self, text: str) -> None:
        super().__init__(text, {"token": CANARY})
        self.password = CANARY


def thrown(text: str) -> Exception:
    """An error with the secret in message, arguments, notes, cause, group, attributes and local variables."""
    password = CANARY

    def inner(secret: str) -> None:
        note = f"said {secret}"
        raise Carrier(text) from ExceptionGroup(text, [ValueError(text), KeyError(note)])

    try:
        inner(password)
    except Carrier as error:
        error.add_note(text)
        if error.__cause__ is not None:
            error.__cause__.add_note(text)
        return error
    raise AssertionError
