"""A scenario and policies in a TOML file, to keep and to run again.

[scenario]
outage = "total"        # any attribute of a scenario
clients = 100

[policies]
today = "retries=5 jitter=none"
tomorrow = { retries = 3, budget = "20%", breaker = "5/30" }
"""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from resilio.cli.simulation.contender import Contender
from resilio.cli.simulation.scenario import Scenario

__all__ = ("read",)


def read(path: str) -> tuple[dict[str, Any], list[Contender]]:
    """What a file says of the scenario, and its policies.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file; the message says what is wrong.
    """
    try:
        told = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is no TOML: {error}"
        raise ValueError(msg) from error
    scenario, policies = told.pop("scenario", {}), told.pop("policies", {})
    known = {each.name for each in dataclasses.fields(Scenario)}
    for name in (*(set(scenario) - known), *told):
        msg = f"{path}: {name!r} is unknown; there are [scenario] with {', '.join(sorted(known))}, and [policies]"
        raise ValueError(msg)
    return scenario, [_contender(name, given) for name, given in policies.items()]


def _contender(name: str, given: object) -> Contender:
    if isinstance(given, str):
        return Contender.parse(f"{name}: {given}")
    if isinstance(given, dict):
        return Contender(name, {key: str(value) for key, value in given.items()})
    msg = f"the policies {name!r} must be text such as 'retries=3', or a table, not {given!r}"
    raise ValueError(msg)
