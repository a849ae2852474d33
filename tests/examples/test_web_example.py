"""The web example does what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow("a process of its own, which waits for a real second and a break of a circuit")
def test_one_command_shows_problems_retry_after_and_health() -> None:
    """Each mood of the service has its answer; no secret is in any."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.web"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    statuses = re.findall(r"^GET \S+\n(\d+) ", ran.stdout, flags=re.MULTILINE)
    assert statuses == ["200", "200", "422", "422", "500", "502", "502", "503", "503", "200", "200"]
    assert re.search(r"^Retry-After: [12]$", ran.stdout, flags=re.MULTILINE)
    assert '"pointer": "#/lives"' in ran.stdout
    assert "Bitte ändern" in ran.stdout
    assert "tuna" not in ran.stdout
