"""The error that a state shows, as a toast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import reflex as rx

if TYPE_CHECKING:
    from reflex.event import EventSpec

    from resilio.web.reflex.state import ErrorStateMixin

__all__ = ("error_toast",)

_TOAST_ID = "resilio-error"
_LONGEST_LIFE = 10.0


def error_toast(state: ErrorStateMixin) -> EventSpec:
    """The error that ``state`` shows now, as a toast, with "Try Again" if that is possible.

    For handlers that take care of their errors themselves: ``yield error_toast(self)``. With ``error_toasts = True`` in
    the state's class, each error pops up by itself. A newer toast takes the place of an older one.

    Args:
        state: The state itself, ``self``; in a background handler, too.

    Returns:
        An event for the browser.
    """
    retry = {"label": "Try Again", "on_click": state.__class__.retry_operation}
    seconds = state._seconds_shown() or _LONGEST_LIFE  # noqa: SLF001 -- its own toast
    toast: EventSpec = rx.toast.error(
        _plain(state.error_message),
        description=f"Reference {state.error_id}",
        duration=int(seconds * 1000),
        id=_TOAST_ID,
        **({"action": retry} if state.retry_possible else {}),
    )
    return toast


def _plain(text: str) -> str:
    # Reflex looks for its own tags in texts that become JavaScript. A cut could make another one, a blank cannot.
    return text.replace("<reflex.", "< reflex.")
