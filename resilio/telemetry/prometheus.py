"""The text that Prometheus scrapes, as an ASGI application and as a WSGI one, through the SDK's own exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread

from resilio.alerting.optional import require
from resilio.telemetry.instrumentation import Instrumentation, instrument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from resilio.reporting.tracker import ErrorTracker
    from resilio.telemetry.instrumentation import Queues

    Message = MutableMapping[str, Any]

__all__ = ("PrometheusApp", "prometheus_app")


class PrometheusApp:
    """What `prometheus_app` makes: callable as an ASGI application; ``wsgi`` is the same for WSGI.

    It answers GET and HEAD at whatever path it is mounted. A scrape is written in a worker thread, so that it does not
    hold up the event loop. Safe from any thread and on any event loop, asyncio's or trio's.
    """

    def __init__(self, queues: Queues, tracker: ErrorTracker | None, max_names: int) -> None:
        require("prometheus_client", extra="prometheus", what="prometheus_app()")
        require("opentelemetry.exporter.prometheus", extra="prometheus", what="prometheus_app()")
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415 -- optional
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 -- optional
        from prometheus_client import CollectorRegistry, exposition  # noqa: PLC0415 -- optional

        self._registry = CollectorRegistry(auto_describe=False)
        self._choose = exposition.choose_encoder
        self._reader = PrometheusMetricReader(registry=self._registry, scope_info_enabled=False)
        self._provider = MeterProvider(metric_readers=[self._reader], shutdown_on_exit=False)
        self.instrumentation: Instrumentation = instrument(
            meter_provider=self._provider, queues=queues, tracker=tracker, max_names=max_names
        )

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The text of one scrape, and its content type.

        Args:
            accept: The scraper's ``Accept`` header: OpenMetrics, or Prometheus' own format by default.
        """
        encode, content_type = self._choose(accept)
        return encode(self._registry), content_type

    def close(self) -> None:
        """Stop measuring, and let go of the exporter. Twice does no harm."""
        if self.instrumentation.is_active:
            self.instrumentation.uninstrument()
            self._provider.shutdown()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one ASGI request, or the life cycle of a server that serves nothing else."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            msg = f"prometheus_app() answers HTTP, not {scope['type']!r}"
            raise RuntimeError(msg)
        if scope["method"] not in _METHODS:
            await _answer(send, 405, b"", [(b"allow", b"GET, HEAD")])
            return
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        body, content_type = await anyio.to_thread.run_sync(self.render, accept)
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await _answer(send, 200, b"" if scope["method"] == "HEAD" else body, headers)

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer one WSGI request."""
        if environ["REQUEST_METHOD"] not in _METHODS:
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD")])
            return [b""]
        body, content_type = self.render(environ.get("HTTP_ACCEPT", ""))
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


_METHODS = ("GET", "HEAD")


def prometheus_app(*, queues: Queues = (), tracker: ErrorTracker | None = None, max_names: int = 200) -> PrometheusApp:
    """Measure, and make the application that Prometheus scrapes.

        app.mount("/metrics", prometheus_app(queues=[letters]))       # FastAPI, Starlette
        uvicorn.run(prometheus_app(), port=9464)                      # on its own

    It has a meter provider and a registry of its own. An application that has an exporter already calls
    `resilio.telemetry.instrument` instead, and finds the metrics there.

    Args:
        queues: As for `instrument`.
        tracker: As for `instrument`.
        max_names: As for `instrument`.

    Returns:
        An ASGI application; its ``wsgi`` is a WSGI one, ``render()`` gives the text itself, and ``close()`` ends it.

    Raises:
        MissingExtraError: The extra ``prometheus`` is not installed.
        TypeError, ValueError: An argument is not what it should be, or something else is instrumented already.
    """
    return PrometheusApp(queues, tracker, max_names)


async def _live(receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _answer(
    send: Callable[[Message], Awaitable[None]], status: int, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
