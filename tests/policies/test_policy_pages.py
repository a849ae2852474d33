"""Every policy has a page, in its module's docstring, with the same skeleton."""

from __future__ import annotations

import importlib
import re

import pytest

PAGES = (
    "adaptive_limiter",
    "adaptive_throttle",
    "backoff",
    "bulkhead",
    "circuit_breaker",
    "fallback",
    "hedge",
    "pipeline",
    "rate_limiter",
    "retry_budget",
    "standard",
    "timeout",
    "trip",
)


def page(name: str) -> str:
    """The docstring of a policy's module."""
    return importlib.import_module(f"resilio.policies.{name}").__doc__ or ""


@pytest.mark.parametrize("section", ["Usage", "Defaults", "Events", "Patterns", "Anti-patterns"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_all_its_sections(name: str, section: str) -> None:
    """What it is about comes first, then each of the others, once."""
    assert page(name).count(f"**{section}.**") == 1
    assert "**About.**" in page(name) or name == "trip"  # its first lines say it


@pytest.mark.parametrize("name", PAGES)
def test_an_anti_pattern_says_what_is_bad_what_is_good_and_why(name: str) -> None:
    """In that order, each of them."""
    after = page(name).partition("**Anti-patterns.**")[2].split("\n\n")[1]
    points = [" ".join(point.split()) for point in re.split(r"^- ", after, flags=re.MULTILINE) if point.strip()]
    assert points
    for point in points:
        assert re.fullmatch(r"\*.+\.\* Bad: .+\. Good: .+\. Why: .+", point), point
