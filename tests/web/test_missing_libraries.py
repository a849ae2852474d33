"""A library that is not there is one clear error, which names the extra; nothing else needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
sys.modules[{library!r}] = None
try:
    import resilio.web.{module}
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow("starts an interpreter for each")
@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("starlette", "starlette", "web"),
        ("fastapi", "fastapi", "fastapi"),
        ("litestar", "litestar", "litestar"),
        ("httpx", "httpx", "http"),
        ("httpx2", "httpx2", "httpx2"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(module: str, library: str, extra: str) -> None:
    """When the module that needs it is imported."""
    code = CODE.format(module=module, library=library)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.strip() == (
        f"MissingExtraError resilio.web.{module} needs {library}, which is not installed: "
        f"pip install 'resilio-toolkit[{extra}]'"
    )


@pytest.mark.slow("starts an interpreter")
def test_problem_details_and_the_middleware_need_no_library() -> None:
    """They are for any ASGI application."""
    code = (
        "import sys, resilio.web, resilio.web.error_context; resilio.web.ProblemDetails; "
        "print([name for name in ('starlette', 'fastapi', 'httpx', 'httpx2') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.strip() == "[]"
