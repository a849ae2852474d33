"""Who may look, and who may do what."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ("Action", "AuthHook", "Identity", "Role", "basic_auth")


class Action(StrEnum):
    """What can be done from the dashboard."""

    REPLAY = "replay"
    """Replay dead letters, and stop a replay."""
    EDIT = "edit"
    """Put another message into a letter, park it or make it wait again."""
    DISCARD = "discard"
    """Delete letters."""
    CIRCUIT = "circuit"
    """Reset, isolate or force open a circuit."""
    SILENCE = "silence"
    """Silence alerts, and end silences."""
    NOTIFY = "notify"
    """Send a test message to a channel."""


@dataclass(frozen=True, slots=True)
class Role:
    """What somebody may do: ``Role.ALL``, ``Role.READ_ONLY``, ``Role.NONE``, or single actions.

        Role.allowing("replay", "edit")

    Attributes:
        reads: Whether the pages are shown at all.
        actions: What may be done.

    A frozen value: safe to share.
    """

    reads: bool = True
    actions: frozenset[Action] = frozenset()

    ALL: ClassVar[Role]
    READ_ONLY: ClassVar[Role]
    NONE: ClassVar[Role]

    @classmethod
    def allowing(cls, *actions: Action | str) -> Role:
        """A role that sees everything and may do these things.

        Args:
            actions: Of ``replay``, ``edit``, ``discard``, ``circuit``, ``silence``, ``notify``.

        Raises:
            ValueError: There is no such action.
        """
        known = {each.value: each for each in Action}
        unknown = [each for each in actions if str(each) not in known]
        if unknown:
            msg = f"actions must be of {', '.join(known)}, not {', '.join(map(repr, unknown))}"
            raise ValueError(msg)
        return cls(reads=True, actions=frozenset(known[str(each)] for each in actions))

    def may(self, action: Action) -> bool:
        """Tell whether ``action`` is allowed."""
        return self.reads and action in self.actions


Role.ALL = Role(reads=True, actions=frozenset(Action))
Role.READ_ONLY = Role()
Role.NONE = Role(reads=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        name: As it stands in the log beside every action.
        role: What they may do.
    """

    name: str
    role: Role = field(default=Role.READ_ONLY)


AuthHook: TypeAlias = "Callable[[Request], Identity | Response | Awaitable[Identity | Response | None] | None]"
"""Says who asks, as an async or a plain and quick function: None for nobody, who gets a 401 and, where the hook has an
attribute ``challenge``, that as ``WWW-Authenticate``; a response is sent as it is, such as a redirect to a log-in."""

_ANYBODY: Final = "\0"


class _BasicAuth:
    """Names and passwords as RFC 7617 has them; see `basic_auth`."""

    challenge = 'Basic realm="resilio", charset="UTF-8"'

    def __init__(self, users: Mapping[str, tuple[str, Role]]) -> None:
        self._users = {name: (password.encode(), role) for name, (password, role) in users.items()}

    def __repr__(self) -> str:
        return f"<basic_auth for {len(self._users)} users>"

    def __call__(self, request: Request) -> Identity | None:
        name, password = _credentials(request.headers.get("authorization", ""))
        expected, role = self._users.get(name, (_ANYBODY.encode(), Role.NONE))
        # An unknown name takes as long as a wrong password.
        is_right = hmac.compare_digest(password.encode("utf-8", "surrogateescape"), expected)
        return Identity(name, role) if is_right and name in self._users else None


def basic_auth(users: Mapping[str, tuple[str, Role]]) -> AuthHook:
    """A hook that asks for a name and a password, as every browser can.

        create_app(queue=letters, auth=basic_auth({"ada": (os.environ["ADA"], Role.ALL)}))

    Args:
        users: Passwords and roles by name.

    Returns:
        The hook. Passwords are compared in constant time. They travel as text: serve the dashboard over HTTPS.

    Raises:
        ValueError: There is no user, a name has a colon, or a password is empty.
        TypeError: A value is no pair of a text and a `Role`.
    """
    if not users:
        msg = "users must hold at least one name, such as {'ada': (password, Role.ALL)}"
        raise ValueError(msg)
    for name, found in users.items():
        if not (
            isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], str) and isinstance(found[1], Role)  # noqa: PLR2004 -- a pair
        ):
            msg = f"users[{name!r}] must be a pair of a password and a Role"
            raise TypeError(msg)
        if not isinstance(name, str) or not name or ":" in name:
            msg = f"users must have names without a colon, not {name!r}"
            raise ValueError(msg)
        if not found[0]:
            msg = f"users[{name!r}] must have a password that is not empty"
            raise ValueError(msg)
    return _BasicAuth(users)


def _credentials(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return name, password
