"""The policies of one host, and the register of hosts: a client may meet any number of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from resilio.policies.bulkhead import Bulkhead
from resilio.policies.circuit_machine import CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.policies.circuit_breaker import CircuitBreaker
    from resilio.web.transport_settings import TransportSettings

__all__ = ("Host", "Hosts", "label_of")

Send = TypeVar("Send")
Key = tuple[bytes, bytes, "int | None"]


@dataclass(frozen=True, slots=True)
class Host(Generic[Send]):
    """What guards the requests to one origin.

    Attributes:
        label: The origin, ``https://api.example.com``; named in events and errors.
        limiter: Counts the requests under way, their bodies included.
        breaker: Sees every attempt.
        send_once: Makes one attempt.
        send: Makes as many as it takes.
    """

    label: str
    limiter: Bulkhead
    breaker: CircuitBreaker
    send_once: Send
    send: Send

    @property
    def is_idle(self) -> bool:
        """Whether forgetting it forgets nothing of importance."""
        return not self.limiter.running and self.breaker.state is CircuitState.CLOSED


class Hosts(Generic[Send]):
    """Hosts by origin. Past ``max_hosts`` the idle one that was used longest ago is forgotten first.

    Safe from any thread.
    """

    __slots__ = ("_build", "_hosts", "_lock", "_settings")

    def __init__(
        self,
        settings: TransportSettings,
        build: Callable[[str, CircuitBreaker], tuple[Send, Send]],
    ) -> None:
        self._settings = settings
        self._build = build
        self._hosts: OrderedDict[Key, Host[Send]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._hosts)

    def of(self, url: Any) -> Host[Send]:
        """The host of a URL, made now if there is none."""
        key = (url.raw_scheme, url.raw_host, url.port)
        with self._lock:
            host = self._hosts.get(key)
            if host is not None:
                self._hosts.move_to_end(key)
                return host
        made = self._make(label_of(*key))
        with self._lock:
            host = self._hosts.setdefault(key, made)
            self._hosts.move_to_end(key)
            if len(self._hosts) > self._settings.max_hosts:
                self._forget_one()
            return host

    def _make(self, label: str) -> Host[Send]:
        settings = self._settings
        breaker = settings.breaker(label)
        send_once, send = self._build(label, breaker)
        return Host(label, Bulkhead(settings.max_concurrent), breaker, send_once, send)

    def _forget_one(self) -> None:
        oldest = list(self._hosts)[:-1]  # never the one that is about to be used
        del self._hosts[next((key for key in oldest if self._hosts[key].is_idle), oldest[0])]


def label_of(scheme: bytes, host: bytes, port: int | None) -> str:
    """An origin as people write it."""
    name = host.decode("ascii", "replace")
    name = f"[{name}]" if ":" in name else name
    return f"{scheme.decode('ascii', 'replace')}://{name}" + ("" if port is None else f":{port}")
