"""What the pages show, as plain rows of texts and numbers, so that one process can hand them to another."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "ChangeRow",
    "CircuitRow",
    "Glance",
    "GroupRow",
    "HealthRow",
    "IncidentRow",
    "ProcessRow",
    "ReplayRow",
    "Row",
)


@dataclass(slots=True, kw_only=True)
class Row:
    """A row that JSON can carry there and back.

    Attributes:
        process: The id of the process that it is from.
    """

    process: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """As it was written, by this release or another one: what is missing has its default, what is new is left out.

        Raises:
            ValueError: It is no such row.
        """
        if not isinstance(data, dict):
            msg = f"a {cls.__name__} must be an object, not {type(data).__name__}"
            raise ValueError(msg)  # noqa: TRY004 -- the one error for whatever is wrong with a file
        known = {}
        for each in dataclasses.fields(cls):
            if each.name in data:
                wanted = _KINDS.get(str(each.type).split("[")[0], ())
                if not isinstance(data[each.name], wanted):
                    msg = f"{each.name} of a {cls.__name__} must be {each.type}, not {type(data[each.name]).__name__}"
                    raise ValueError(msg)
                known[each.name] = data[each.name]
        return cls(**known)


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "list": (list,),
    "dict": (dict,),
}


@dataclass(slots=True, kw_only=True)
class ProcessRow(Row):
    """A process. Times are seconds since 1970.

    Attributes:
        host: Its machine.
        pid: Its number there.
        started: When its dashboard was made.
        at: When it was looked at.
        is_here: Whether it is the one that answers.
    """

    host: str = ""
    pid: int = 0
    started: float = 0.0
    at: float = 0.0
    is_here: bool = False


@dataclass(slots=True, kw_only=True)
class GroupRow(Row):
    """Errors with one fingerprint; see `resilio.ErrorGroup`.

    Attributes:
        status: ``new``, ``returning``, ``active`` or ``quiet``.
        trace: How many there were in each five minutes of the last two hours, oldest first.
        trace_end: Which five minutes the last one is, counted from 1970.
    """

    fingerprint: str = ""
    count: int = 0
    error_type: str = ""
    error_message: str = ""
    category: str = ""
    code: str = ""
    severity: str = ""
    operation: str = ""
    location: str = ""
    first_seen: float = 0.0
    last_seen: float = 0.0
    last_error_id: str = ""
    status: str = "quiet"
    trace: list[int] = field(default_factory=list)
    trace_end: int = 0
    processes: int = 1


@dataclass(slots=True, kw_only=True)
class CircuitRow(Row):
    """A circuit; see `resilio.CircuitSnapshot`.

    Attributes:
        trip: When it opens, in words.
        retry_at: When a call may be let through, seconds since 1970; None when that does not depend on time.
        isolated_by: Who isolated it from the dashboard; empty if nobody did.
    """

    name: str = ""
    state: str = ""
    trip: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    retry_at: float | None = None
    rejected: int = 0
    failed: int = 0
    failed_probes: int = 0
    transitions: int = 0
    changed_at: float | None = None
    last_failure: str = ""
    isolated_by: str = ""


@dataclass(slots=True, kw_only=True)
class ChangeRow(Row):
    """A circuit's change of state."""

    circuit: str = ""
    number: int = 0
    before: str = ""
    after: str = ""
    at: float = 0.0
    error: str = ""


@dataclass(slots=True, kw_only=True)
class IncidentRow(Row):
    """An incident of an alert rule.

    Attributes:
        told: Whether somebody was told of it.
        muted: Whether a silence or another rule keeps it from being told.
    """

    rule: str = ""
    state: str = ""
    severity: str = ""
    summary: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    since: float = 0.0
    told: bool = False
    muted: bool = False


@dataclass(slots=True, kw_only=True)
class HealthRow(Row):
    """What a health check found."""

    component: str = ""
    healthy: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0


@dataclass(slots=True, kw_only=True)
class ReplayRow(Row):
    """A replay of one letter or many.

    Attributes:
        state: ``running``, ``done``, ``failing``, ``stopped``, ``broken`` or ``interrupted``.
        most: How many letters at most.
        lines: The last letters: id, ``replayed`` or ``failed``, and why.
    """

    id: str = ""
    what: str = ""
    by: str = ""
    state: str = "running"
    why: str = ""
    most: int = 0
    replayed: int = 0
    failed: int = 0
    parked: int = 0
    began: float = 0.0
    ended: float | None = None
    lines: list[list[str]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many letters were tried."""
        return self.replayed + self.failed


@dataclass(slots=True, kw_only=True)
class Glance:
    """All that one process knows at one moment.

    Attributes:
        process: Whose it is.
        total: Errors since counting began.
        unique: Different ones.
        last_minutes: Errors in the last five minutes.
        minutes: Errors in each minute of the last hour, oldest first.
        letters: Letters that came in each of these minutes.
        rejections: Calls that circuits rejected in each of these minutes.
        minutes_end: Which minute the last one is, counted from 1970.
        has_tracker: Whether errors are counted there at all.
    """

    process: ProcessRow
    total: int = 0
    unique: int = 0
    last_minutes: int = 0
    minutes: list[int] = field(default_factory=list)
    letters: list[int] = field(default_factory=list)
    rejections: list[int] = field(default_factory=list)
    minutes_end: int = 0
    has_tracker: bool = False
    groups: list[GroupRow] = field(default_factory=list)
    circuits: list[CircuitRow] = field(default_factory=list)
    changes: list[ChangeRow] = field(default_factory=list)
    incidents: list[IncidentRow] = field(default_factory=list)
    health: list[HealthRow] = field(default_factory=list)
    replays: list[ReplayRow] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Glance:
        """As it was written.

        Raises:
            ValueError: It is none.
        """
        try:
            rows: dict[str, Any] = {
                name: [kind.from_dict(each) for each in data[name]] for name, kind in _LISTS.items()
            }
            rows |= {name: _whole(data[name]) for name in ("total", "unique", "last_minutes", "minutes_end")}
            rows |= {name: [_whole(each) for each in data[name]] for name in ("minutes", "letters", "rejections")}
            return cls(
                has_tracker=bool(data["has_tracker"]),
                process=ProcessRow.from_dict(data["process"]),
                **rows,
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"not the state of a process: {type(error).__name__}: {error}"
            raise ValueError(msg) from error


_LISTS: dict[str, Any] = {
    "groups": GroupRow,
    "circuits": CircuitRow,
    "changes": ChangeRow,
    "incidents": IncidentRow,
    "health": HealthRow,
    "replays": ReplayRow,
}


def _whole(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"expected a whole number, found {value!r}"
        raise ValueError(msg)  # noqa: TRY004 -- likewise
    return value
