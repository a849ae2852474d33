"""``python -m resilio.cli``: the command where its script is not on the path."""

from __future__ import annotations

import sys

from resilio.cli import main

sys.exit(main())
