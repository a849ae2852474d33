"""The two libraries that transports exist for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from http_libraries import LIBRARIES

if TYPE_CHECKING:
    from http_libraries import HttpLibrary


@pytest.fixture(params=LIBRARIES, ids=[each.name for each in LIBRARIES])
def lib(request: pytest.FixtureRequest) -> HttpLibrary:
    """httpx, then httpx2."""
    library: HttpLibrary = request.param
    return library
