"""Typed events: what a policy tells, and how the rooms above hear it.

A policy never logs, counts or notifies: it emits an event. With no listener an emitter pays one attribute read::

    if events.listeners:
        events.emit(CircuitOpened(...))

Listeners run in the emitter's thread, in the order in which they subscribed, and never while a lock of ours is held.
One that raises is reported to the ``resilio`` logger and changes nothing for the call, nor for the other listeners.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from resilio._core import clock
from resilio._core.mishaps import log_exception

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event says: when it happened.

    Attributes:
        at: The time of day, UTC.
    """

    at: datetime = field(default_factory=clock.utcnow)


E = TypeVar("E", bound=Event)


class Subscription(Generic[E]):
    """A listener's place in the hub. Leaving it, as a context manager or by ``cancel()``, ends the listening."""

    __slots__ = ("_kinds", "_listener")

    def __init__(self, listener: Callable[[E], object], kinds: tuple[type[E], ...]) -> None:
        self._listener = listener
        self._kinds = kinds

    def deliver(self, event: Event) -> None:
        """Hand ``event`` to the listener if it is of a kind that it asked for."""
        if isinstance(event, self._kinds):
            self._listener(event)

    def cancel(self) -> None:
        """Stop listening. Doing it twice does no harm."""
        global listeners  # noqa: PLW0603
        with _lock:
            listeners = tuple(each for each in listeners if each is not self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def __repr__(self) -> str:
        return f"<Subscription of {self._listener!r}>"


listeners: tuple[Subscription[Any], ...] = ()
_lock = threading.Lock()


def subscribe(listener: Callable[[E], object], *kinds: type[E]) -> Subscription[E]:
    """Call ``listener`` with every event of the given ``kinds``, or with all events when none is given.

    Args:
        listener: A plain function; what it raises is logged and otherwise ignored. It must not block.
        kinds: Event classes; a base class stands for all below it.

    Returns:
        The subscription: a context manager with a ``cancel()`` method.

    Safe from any thread. A change takes effect with the next event.
    """
    global listeners  # noqa: PLW0603
    subscription: Subscription[E] = Subscription(listener, kinds or (Event,))  # type: ignore[arg-type]
    with _lock:
        listeners = (*listeners, subscription)
    return subscription


def emit(event: Event) -> None:
    """Deliver ``event`` to the present listeners. Never raises an ``Exception``. Hold no lock while calling it."""
    for each in listeners:
        try:
            each.deliver(event)
        except Exception:
            log_exception("listener %r failed on %r", each, event)
