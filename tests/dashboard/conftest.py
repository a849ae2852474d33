from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboard_kit import Service

from resilio.policies import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service of its own, with circuits of its own."""
    with registry.fresh():
        yield Service(tmp_path)
