"""Errors in the state behind a page: shown to the user, cleared after a while, and tried again on request.

`ErrorStateMixin` is for state objects of any framework, or of none; `resilio.web.reflex` has its twin for Reflex.
"""

from __future__ import annotations

from resilio.web.state.handlers import handles_errors
from resilio.web.state.mixin import ErrorStateMixin

__all__ = ("ErrorStateMixin", "handles_errors")
