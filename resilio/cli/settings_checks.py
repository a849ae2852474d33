"""The check-up of settings and of what is installed: nothing is opened, nothing is asked."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import os
import platform
from typing import TYPE_CHECKING, Final

from resilio import __version__, settings
from resilio.cli.checks import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("EXTRAS", "check_installation", "check_settings")

EXTRAS: Final = {
    "apprise": ("apprise",),
    "aws": ("aiobotocore",),
    "cli": ("click", "rich"),
    "crypto": ("cryptography",),
    "dashboard": ("starlette", "jinja2", "sse_starlette", "uvicorn"),
    "email": ("aiosmtplib",),
    "fast": ("orjson",),
    "http": ("httpx",),
    "otel": ("opentelemetry.sdk",),
    "prometheus": ("opentelemetry.exporter.prometheus",),
    "reflex": ("reflex",),
}
"""The extras, and what each brings, by the names that are imported."""

_DISTRIBUTIONS: Final = {
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.prometheus": "opentelemetry-exporter-prometheus",
    "sse_starlette": "sse-starlette",
}
_PREFIXES: Final = ("BACKOFF_", "CIRCUIT_BREAKER_", "DLQ_", "SNS_TOPIC")


def check_settings() -> Iterator[Finding]:
    """Each variable of the environment: its value, where that is from, and whether it makes sense."""
    values: dict[str, object] = {}
    for setting in settings.ALL:
        name = setting.variable
        source = "environment" if os.environ.get(name, "").strip() else "default"
        try:
            values[name] = value = setting.read()
        except ValueError as error:
            advice = f"set it to {setting.meaning}, or unset it for {setting.default}"
            yield Finding(area="settings", name=name, verdict=Verdict.PROBLEM, told=str(error), advice=advice)
            continue
        shown = "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        told = shown if value is None else f"{shown} ({source})"
        yield Finding(area="settings", name=name, verdict=Verdict.OK, told=told)
    base, most = values.get("BACKOFF_BASE_DELAY"), values.get("BACKOFF_MAX_DELAY")
    if isinstance(base, float) and isinstance(most, float) and base > most:
        yield Finding(
            area="settings",
            name="BACKOFF_MAX_DELAY",
            verdict=Verdict.WARNING,
            told=f"{most:g} is less than BACKOFF_BASE_DELAY, {base:g}: every wait is {most:g} s, without growth",
            advice="make the longest wait several times the first",
        )
    yield from _strangers()


def _strangers() -> Iterator[Finding]:
    known = {setting.variable for setting in settings.ALL}
    for name in sorted(os.environ):
        if name.startswith(_PREFIXES) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield Finding(
                area="settings",
                name=name,
                verdict=Verdict.WARNING,
                told="is set, and nothing of resilio reads it",
                advice=f"is {near[0]} meant?" if near else "look at `python -c 'help(\"resilio.settings\")'`",
            )


def check_installation(needed: dict[str, str]) -> Iterator[Finding]:
    """Versions of what is installed, and what is missing although it is needed.

    Args:
        needed: Extras that the settings ask for, and why.
    """
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    yield Finding(area="installation", name="resilio", verdict=Verdict.OK, told=f"{__version__}, {python}")
    for extra, libraries in EXTRAS.items():
        missing = [each for each in libraries if not _is_there(each)]
        if not missing:
            told = ", ".join(f"{_DISTRIBUTIONS.get(each, each)} {_version(each)}" for each in libraries)
            yield Finding(area="installation", name=extra, verdict=Verdict.OK, told=told)
            continue
        reason = needed.get(extra)
        lacks = ", ".join(_DISTRIBUTIONS.get(each, each) for each in missing)
        yield Finding(
            area="installation",
            name=extra,
            verdict=Verdict.PROBLEM if reason else Verdict.NOTE,
            told=f"without {lacks}" if reason is None else f"without {lacks}, which {reason} needs",
            advice=f"pip install 'resilio-toolkit[{extra}]'" if reason else "",
        )


def _is_there(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
