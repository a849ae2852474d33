"""The alerting example does what it shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow("a process of its own, which waits for a real second")
def test_one_command_takes_an_exception_to_a_mailbox() -> None:
    """Two troubles and their ends are four mails, whatever the number of errors; no secret is in them."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.alerting"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [line for line in ran.stdout.splitlines() if line.startswith("Subject: ")] == [
        "Subject: [CRITICAL] critical errors: more than 3 CRITICAL errors in 1 second",
        "Subject: [ERROR] disk is unhealthy",
        "Subject: [RESOLVED] critical errors is over: more than 3 CRITICAL errors in 1 second",
        "Subject: [RESOLVED] disk is healthy again after 1." + ran.stdout.split("after 1.")[1][:3],
    ]
    assert "sk-not-to-be-mailed" not in ran.stdout + ran.stderr
