"""The real browser of the tests: where it is, how it is started, and where a run keeps what it saw."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from playwright.async_api import Browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = Path(os.environ.get("RESILIO_SCREENSHOTS") or Path(__file__).parents[2] / ".screenshots")
"""Not in version control."""

PATIENCE = 30_000
"""Milliseconds; a machine may be busy."""

_SWITCHES = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """A browser of its own while the block runs; a machine without one fails the test."""
    assert CHROMIUM is not None, "there is no Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_SWITCHES, timeout=4 * PATIENCE)
        try:
            yield browser
        finally:
            await browser.close()
