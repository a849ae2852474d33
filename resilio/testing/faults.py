"""Fault injection: make a function fail, hang, slow down or lie, on schedule, the same way every time.

>>> from resilio.testing.faults import FaultInjector
>>> def fetch():
...     return "page"
>>> with FaultInjector(seed=7) as faults:
...     flaky = faults.wrap(fetch)
...     rule = faults.on(fetch).first(1).raises(ConnectionError)
...     try:
...         flaky()
...     except ConnectionError as error:
...         print(type(error).__name__)
...     flaky()
ConnectionError
'page'
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from resilio._core.colour import name_of, refuse_to_decorate
from resilio.testing.fault_log import FaultInjected, FaultLog
from resilio.testing.fault_places import Place, place_of_method, place_of_path
from resilio.testing.fault_rules import FaultRule
from resilio.testing.fault_targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ("FaultInjected", "FaultInjector", "FaultRule")

F = TypeVar("F", bound="Callable[..., Any]")


class FaultInjector:
    """Injects faults into functions and methods until it is closed, then leaves everything as it found it.

    Name the target, then say when and what::

        with FaultInjector(seed=1) as faults:
            faults.on(client.get).first(2).raises(ConnectionError)    # a method, on this object alone
            faults.on("shop.payments.charge").rate(0.1).delays(3.0)   # wherever `shop.payments` is asked for it
            flaky = faults.wrap(fetch)                                # a function: call `flaky` in its place
            faults.on(fetch).pattern("FF.S.H")                        # fails twice, passes, is slow, passes, hangs

    One injector serves async and plain functions, generators and async generators, methods, partials and callable
    objects; what stands in is a function of the same colour. Delays in async code let other tasks run, in plain code
    they block the thread; both go by the project's clock, so virtual time makes them instant.

    What is drawn is keyed by the seed, the target, the rule and the call's number: the order in which tasks and
    threads run changes nothing. Of two targets with one name, such as a method on two objects, the one named later is
    called ``name#2``.

    Args:
        seed: Whatever identifies the run; the same seed gives the same faults.

    Safe to use from any thread and any event loop, asyncio and trio. Each fault is also emitted as a `FaultInjected`
    event.
    """

    def __init__(self, seed: int | str = 0) -> None:
        self.seed = seed
        self._lock = threading.RLock()
        self._log = FaultLog()
        self._targets: list[Target] = []
        self._closed = False

    # -- targets -------------------------------------------------------------------------------------------------------

    def on(self, target: Callable[..., Any] | str) -> FaultRule:
        """Begin a rule for ``target``.

        Args:
            target: What to strike. A bound method is replaced on its object; an import path, such as
                ``"package.module.name"`` or ``"package.module.Class.method"``, is replaced there; any other callable
                must be called through what `wrap` returned for it.

        Raises:
            ValueError: The import path leads nowhere.
            TypeError: The target cannot be replaced, or is no function or method.
            RuntimeError: The injector is closed.
        """
        with self._lock:
            self._refuse_when_closed()
            found = self._target_of(target)
            rule = FaultRule(target=found.name, number=len(found.rules) + 1, colour=found.colour)
            found.rules = (*found.rules, rule)
            return rule

    def wrap(self, fn: F) -> F:
        """Return a function to call in the place of ``fn``; also a decorator. ``faults.on(fn)`` gives it its faults.

        Args:
            fn: A function of any colour, a bound method, a partial, or an object with ``__call__``.

        Raises:
            TypeError: ``fn`` is no callable, or is a class, or returns a context manager.
            RuntimeError: The injector is closed.
        """
        with self._lock:
            self._refuse_when_closed()
            target = self._known(fn)
            if target is None:
                target = self._enrolled(fn, fn, None)
            return target.wrapped()  # type: ignore[return-value]

    def calls(self, target: Callable[..., Any] | str) -> int:
        """How often ``target``, or what has that name in `describe`, was called since it was first named.

        Raises:
            ValueError: The injector has no such target.
        """
        with self._lock:
            for each in self._targets:
                if each.name == target or each.stands_for(target):
                    return each.calls
        msg = f"{target if isinstance(target, str) else name_of(target)} is no target of this fault injector"
        raise ValueError(msg)

    # -- what happened -------------------------------------------------------------------------------------------------

    @property
    def log(self) -> tuple[FaultInjected, ...]:
        """The faults that happened, oldest first; at most the last 100 000."""
        return self._log.entries()

    def describe(self) -> str:
        """The seed, and for each target its rules, how often it was called and how often each rule struck."""
        with self._lock:
            lines = [f"faults, seed {self.seed!r}"]
            for each in self._targets:
                lines.append(f"  {each.name}: {_times(each.calls, 'call')}")
                lines += [f"    {rule.number}. {rule}: {_times(rule.hits, 'hit')}" for rule in each.rules]
            return "\n".join(lines)

    def timeline(self) -> str:
        """One line for each fault, oldest first: when, which call of what, and what was done."""
        return "\n".join(map(str, self.log)) or "no fault was injected"

    def __repr__(self) -> str:
        return f"<FaultInjector seed={self.seed!r} targets={len(self._targets)} injected={len(self.log)}>"

    # -- its life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make this moment time zero for ``between`` and the log. By default that is the first `on` or `wrap`."""
        self._log.start()

    def reset(self) -> None:
        """Undo everything and forget all targets, rules, counts and the log; the injector can be used again."""
        with self._lock:
            targets, self._targets = self._targets, []
            self._log.clear()
            _undo(targets)

    def close(self) -> None:
        """Undo everything. What `wrap` returned goes on to call its function, without faults. Twice does no harm."""
        with self._lock:
            self._closed = True
            _undo(self._targets)

    def check(self) -> None:
        """Raise for a rule that could not strike. Leaving the injector as a context manager does this too.

        Raises:
            RuntimeError: A rule has no action, or nothing stands in for its target.
            TypeError: A letter of a pattern means something that cannot be done to the target.
        """
        with self._lock:
            for each in self._targets:
                for rule in each.rules:
                    rule.check_complete()
                if each.wrapper is None and not all(rule.stopped for rule in each.rules):
                    msg = (
                        f"faults.on({each.name}) had no effect: a bare function cannot be replaced where it is used; "
                        "call what faults.wrap(...) returns for it, or name it by import path"
                    )
                    raise RuntimeError(msg)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None:  # a test that failed has enough to say
            self.check()

    # -- finding targets -----------------------------------------------------------------------------------------------

    def _target_of(self, named: Callable[..., Any] | str) -> Target:
        if isinstance(named, str):
            place = place_of_path(named)
            known = next((each for each in self._targets if each.stands_at(place)), None)
            return known or self._enrolled(named, place.original, place)
        known = self._known(named)
        if known is not None:
            return known
        method = place_of_method(named)
        return self._enrolled(named, named if method is None else method.original, method)

    def _known(self, fn: object) -> Target | None:
        return next((each for each in self._targets if each.stands_for(fn)), None)

    def _enrolled(self, named: object, fn: Callable[..., Any], place: Place | None) -> Target:
        refuse_to_decorate(fn)
        title = name_of(fn) if place is None else place.title
        same = sum(each.title == title for each in self._targets)
        name = f"{title}#{same + 1}" if same else title
        target = Target(named, fn, title=title, name=name, seed=self.seed, log=self._log)
        if place is not None:
            target.put_in(place)
        self._log.start(again=False)
        self._targets.append(target)
        return target

    def _refuse_when_closed(self) -> None:
        if self._closed:
            msg = "this fault injector is closed; make another"
            raise RuntimeError(msg)


def _undo(targets: Iterable[Target]) -> None:
    for each in reversed(list(targets)):
        each.undo()


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
