"""The rules of the house that no other tool holds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "resilio").rglob("*.py"))


@pytest.mark.slow("builds the import graph of the package in a process of its own")
def test_imports_only_go_down_the_floors() -> None:
    """The contract in pyproject.toml holds: nothing imports from a room above or beside it."""
    ran = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_holds_two_concepts(path: Path) -> None:
    """Past 500 lines a file is two files."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_error_is_passed_over_in_silence(path: Path) -> None:
    """No handler consists of `pass` alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert not all(isinstance(each, ast.Pass) for each in node.body), f"{path}:{node.lineno}"


@pytest.mark.slow("starts an interpreter")
def test_importing_the_package_imports_no_optional_library() -> None:
    """`import resilio` and a first breaker load nothing that an extra brings, and nothing heavy."""
    heavy = (
        *("aiobotocore", "aiofiles", "aiosmtplib", "botocore", "fastapi", "httpx", "jinja2", "opentelemetry", "psutil"),
        *("pytest", "reflex", "starlette", "structlog", "tenacity", "trio", "uvicorn"),
    )
    code = (
        "import sys, resilio; resilio.CircuitBreaker(); resilio.BackoffStrategy(); "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.strip() == "[]"
