"""Switching telemetry on and off: one listener for everything, however often it is asked for."""

from __future__ import annotations

import importlib.util
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self
from weakref import WeakKeyDictionary

from opentelemetry import metrics, trace

from resilio import __version__
from resilio._core import durations, events
from resilio.reporting.tracker import ErrorTracker
from resilio.telemetry.bounded_names import BoundedNames
from resilio.telemetry.instruments import Instruments
from resilio.telemetry.observation import Observed
from resilio.telemetry.queue_probe import QueueProbe
from resilio.telemetry.recording import Recording, place_name
from resilio.telemetry.span_events import add_to_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import MeterProvider

    from resilio._core.events import Event, Subscription
    from resilio.telemetry.queue_probe import CountsLetters

    Queues = Iterable[CountsLetters] | Mapping[str, CountsLetters]

__all__ = ("Instrumentation", "instrument", "uninstrument")


class Instrumentation:
    """What `instrument` has switched on. As a context manager, it is switched off when the block ends.

    Safe from any thread. Calls of `instrument` count: a block ends its own, and the last one to end switches off. So a
    library's block does not end what its application has switched on.
    """

    __slots__ = (
        "__weakref__",
        "_holders",
        "_instruments",
        "_listener",
        "_observed",
        "_recording",
        "_subscription",
        "meter_provider",
    )

    def __init__(self, provider: MeterProvider | None, *, span_events: bool, max_names: int) -> None:
        circuits = BoundedNames(max_names)
        self.meter_provider: MeterProvider | None = provider
        self._holders = 0
        self._instruments = _instruments_of(provider)
        self._observed = Observed(circuits)
        self._recording = Recording(self._instruments, self._observed.calls, circuits, max_names)
        self._subscription: Subscription[Event] | None = None
        record = self._recording.record

        def record_and_tell(event: Event) -> None:
            record(event)
            add_to_span(event)

        self._listener: Callable[[Event], None] = record_and_tell if span_events else record

    def begin(self) -> None:
        """Begin to measure, if there is anything to measure with, on behalf of one more; `instrument` does this."""
        with _lock:
            self._holders += 1
            if self._subscription is None and _anyone_measures(self.meter_provider):
                self._instruments.observed = self._observed
                self._subscription = events.subscribe(self._listener)

    @property
    def is_active(self) -> bool:
        """Whether anything is measured: False without an SDK that could take it, and once it is over."""
        return self._subscription is not None

    def uninstrument(self) -> None:
        """Stop measuring, whoever else wants it. Twice does no harm."""
        global _current  # noqa: PLW0603 -- one listener for the process
        with _lock:
            self._holders = 0
            subscription, self._subscription = self._subscription, None
            if subscription is not None:
                subscription.cancel()
            if self._instruments.observed is self._observed:
                self._instruments.observed = None
            if _current is self:
                _current = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            self._holders -= 1
            if self._holders <= 0:
                self.uninstrument()

    def __repr__(self) -> str:
        return f"<Instrumentation {'active' if self.is_active else 'inactive'}>"

    def watch(self, *, queues: Queues = (), tracker: ErrorTracker | None = None) -> None:
        """Look at these queues too, and at this tracker; arguments as for `instrument`.

        Raises:
            TypeError: ``queues`` holds something else, or ``tracker`` is none.
        """
        queues = _checked(queues)
        if tracker is not None and not isinstance(tracker, ErrorTracker):
            msg = f"tracker must be an ErrorTracker or None, not {tracker!r} ({type(tracker).__name__})"
            raise TypeError(msg)
        named = queues.items() if isinstance(queues, Mapping) else ((None, queue) for queue in queues)
        probes = {probe.location: probe for probe in self._observed.queues if probe.is_alive}
        for name, queue in named:
            taken = {probe.name for location, probe in probes.items() if location != queue.location}
            short = name or place_name(queue.location)
            probes[queue.location] = QueueProbe(queue.location if short in taken else short, queue)
        self._observed.queues = tuple(probes.values())
        self._recording.queue_names = {probe.location: probe.name for probe in probes.values()}
        if tracker is not None:
            self._observed.tracker = tracker


_lock = threading.RLock()
_current: Instrumentation | None = None
_default: Instruments | None = None
_made: WeakKeyDictionary[MeterProvider, weakref.ref[Instruments]] = WeakKeyDictionary()  # a provider holds its own


def instrument(
    *,
    meter_provider: MeterProvider | None = None,
    queues: Queues = (),
    tracker: ErrorTracker | None = None,
    span_events: bool = True,
    max_names: int = 200,
) -> Instrumentation:
    """Measure what the policies, queues, handlers and notifiers of this process do, with OpenTelemetry.

    Metrics go to the meter provider, events of one call onto its span; `resilio.telemetry.conventions` has the table of
    all names. Where no SDK is installed and no provider given, nothing is listened to and nothing costs anything. With
    one, each call through a circuit costs a few microseconds more: it is told, and counted in plain memory, which
    is handed over when the SDK collects.

    Args:
        meter_provider: Where metrics go; by default OpenTelemetry's global one, which may be set later.
        queues: The dead letter queues whose depth and oldest letter are measured, by name if you like:
            ``{"orders": queue}``. They are held weakly, so keep them. They are read in a thread of their own, every
            five seconds at most, and only while somebody collects.
        tracker: The `ErrorTracker` whose error groups are counted.
        span_events: Whether what happens to a call is also told on its span.
        max_names: How many names of circuits, operations, queues and classes of errors become attributes, of each
            kind; the rest are called ``_OTHER``. At least 1.

    Returns:
        The instrumentation, with ``uninstrument()``; also a context manager. Calling this while one is active returns
        that one and adds the queues and the tracker to it.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: ``max_names`` is out of range, or another meter provider is instrumented already.

    Safe from any thread, before or after event loops start.

        >>> with instrument() as instrumentation:
        ...     pass
        >>> instrumentation.is_active
        False
    """
    global _current  # noqa: PLW0603 -- one listener for the process
    limit = durations.whole("max_names", max_names, at_least=1)
    durations.flag("span_events", span_events)
    provider = None if meter_provider is metrics.get_meter_provider() else meter_provider
    with _lock:
        if _current is None:
            found = Instrumentation(provider, span_events=span_events, max_names=limit)
        elif provider is _current.meter_provider:
            found = _current
        else:
            msg = "meter_provider is another one than what is instrumented already; call uninstrument() first"
            raise ValueError(msg)
        found.watch(queues=queues, tracker=tracker)
        found.begin()
        if found.is_active:
            _current = found
    return found


def uninstrument() -> None:
    """Stop what `instrument` began, if anything. Safe from any thread."""
    with _lock:
        current = _current
    if current is not None:
        current.uninstrument()


def _checked(queues: Queues) -> Queues:
    several = queues if isinstance(queues, Mapping) else list(queues)
    for queue in several.values() if isinstance(several, Mapping) else several:
        if not callable(getattr(queue, "stats", None)) or not isinstance(getattr(queue, "location", None), str):
            msg = f"queues must be dead letter queues, not {queue!r} ({type(queue).__name__})"
            raise TypeError(msg)
    return several


def _instruments_of(provider: MeterProvider | None) -> Instruments:
    global _default  # noqa: PLW0603 -- the global provider can be set only once, and the instruments follow it
    if provider is None:
        _default = _default or Instruments(metrics.get_meter("resilio", __version__))
        return _default
    kept = _made.get(provider)
    found = None if kept is None else kept()
    if found is None:
        found = Instruments(provider.get_meter("resilio", __version__))
        _made[provider] = weakref.ref(found)
    return found


def _anyone_measures(provider: MeterProvider | None) -> bool:
    """Whether an SDK is there, or may come."""
    if provider is not None:
        return not isinstance(provider, metrics.NoOpMeterProvider)
    present = (metrics.get_meter_provider(), trace.get_tracer_provider())
    if any(not type(each).__module__.startswith("opentelemetry.") for each in present):
        return True  # somebody else's implementation
    try:
        return importlib.util.find_spec("opentelemetry.sdk") is not None
    except (ImportError, ValueError):  # a namespace package that is there in part
        return False
