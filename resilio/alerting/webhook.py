"""Notifications to a web address: one's own service, Slack, Teams, Discord, PagerDuty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from resilio._core import durations
from resilio.alerting.addresses import PrivateAddressError, public_addresses
from resilio.alerting.channels import NotificationChannel
from resilio.alerting.errors import DeliveryError
from resilio.alerting.media import cut, mask_url, one_line
from resilio.alerting.optional import require
from resilio.alerting.webhook_formats import PAGERDUTY_URL, WebhookFormat, payload_for
from resilio.errors import is_transient
from resilio.policies.retry_after import retry_after

if TYPE_CHECKING:
    import ssl

    import httpx

    from resilio._core.durations import Duration
    from resilio.alerting.notification import Notification

__all__ = ("WebhookChannel",)

_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_WORTH_ANOTHER_TRY: Final = frozenset({408, 425, 429})
_LONGEST_ANSWER: Final = 2048


class WebhookChannel:
    """Posts notifications as JSON to a URL.

    The URL is a password: errors, logs and ``repr`` show its scheme and host alone.

    Args:
        url: Where to; ``https``, or ``http`` where ``allow_private`` is given or the network is trusted. May be left
            out for PagerDuty.
        format: Who is behind it: ``WebhookFormat.JSON`` (the notification's fields), ``SLACK``, ``TEAMS``, ``DISCORD``
            or ``PAGERDUTY``.
        routing_key: PagerDuty's integration key.
        headers: Sent along, such as ``{"Authorization": "Bearer ..."}``.
        allow_private: Whether the URL may lead to this machine or a private network.
        allow_redirects: Whether to follow up to three redirects, each under the same rules; never from https to http,
            and ``headers`` go to no other host. Otherwise a redirect is a failed delivery.
        tls_context: Whom to trust; by default whom httpx trusts.
        timeout: Seconds for each step: to connect, to send, to be answered.
        name: What results, events and stats call it.

    Raises:
        MissingExtraError: httpx is not installed.
        TypeError, ValueError: An argument is not what it should be; the message names it.

    An answer 408, 425, 429 or 5xx, and a connection that fails, are worth another try; ``Retry-After`` is passed on to
    whoever tries. The environment's proxies are not used. Runs on asyncio and trio; safe to share between event loops.

        >>> WebhookChannel("https://hooks.slack.com/services/T0/B0/secret", format="SLACK")
        <WebhookChannel WEBHOOK https://hooks.slack.com/…>
    """

    __slots__ = (
        *("_context", "_headers", "_routing_key", "_timeout", "_url"),
        *("allow_private", "allow_redirects", "format", "name"),
    )

    def __init__(
        self,
        url: str | None = None,
        *,
        format: WebhookFormat | str = WebhookFormat.JSON,  # noqa: A002 -- the field's word
        routing_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        allow_private: bool = False,
        allow_redirects: bool = False,
        tls_context: ssl.SSLContext | None = None,
        timeout: Duration = 5.0,
        name: str = str(NotificationChannel.WEBHOOK),
    ) -> None:
        require("httpx", extra="http", what="WebhookChannel")
        self.format: WebhookFormat = _format(format)
        if (self.format is WebhookFormat.PAGERDUTY) != bool(routing_key):
            msg = "routing_key must be given for WebhookFormat.PAGERDUTY, and for no other format"
            raise ValueError(msg)
        self._url = _checked_url(url or (PAGERDUTY_URL if self.format is WebhookFormat.PAGERDUTY else None))
        self._routing_key = routing_key
        self._headers = _checked_headers(headers)
        self.allow_private: bool = durations.flag("allow_private", allow_private)
        self.allow_redirects: bool = durations.flag("allow_redirects", allow_redirects)
        self._context = tls_context
        self._timeout = durations.seconds("timeout", timeout, above=0)
        self.name: str = name

    def __repr__(self) -> str:
        return f"<WebhookChannel {self.name} {mask_url(self._url)}>"

    async def deliver(self, notification: Notification) -> None:
        """Post ``notification``.

        Raises:
            DeliveryError: It was not taken; ``retryable`` says whether another try may do.
        """
        document = payload_for(self.format, notification, routing_key=self._routing_key)
        body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        url, headers = self._url, self._headers
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                further = await self._post(url, body, headers)
            except DeliveryError:
                raise
            except Exception as error:
                raise self._failed(url, error) from None  # a library's error may show the whole URL
            if further is None:
                return
            if urlsplit(further).netloc != urlsplit(url).netloc:
                headers = {}
            url = further
        msg = f"{mask_url(self._url)} redirects more than {_MOST_REDIRECTS} times"
        raise self._error(msg)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> str | None:
        """Post to ``url``; return where it sends us instead, if it does."""
        import httpx  # noqa: PLC0415 -- optional, and 100 ms to import

        if self._context is None and url.startswith("https:"):
            self._context = httpx.create_ssl_context(trust_env=False)  # 20 ms, so only once
        targets = [url] if self.allow_private else await _numeric(url)
        sent = {"Content-Type": "application/json", "User-Agent": "resilio", **headers}
        extensions: dict[str, Any] = {}
        if not self.allow_private:
            parts = urlsplit(url)
            sent["Host"] = parts.netloc
            extensions["sni_hostname"] = parts.hostname
        verify = self._context if self._context is not None and url.startswith("https:") else False
        async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=self._timeout) as client:
            for number, target in enumerate(targets, 1):
                request = client.build_request("POST", target, content=body, headers=sent, extensions=extensions)
                try:
                    response = await client.send(request, stream=True)
                except httpx.ConnectError:
                    if number == len(targets):
                        raise
                    continue
                return await self._judged(url, response)
        return None  # pragma: no cover -- there is at least one target

    async def _judged(self, url: str, response: httpx.Response) -> str | None:
        try:
            status = response.status_code
            if response.is_success:
                return None
            where = mask_url(url)
            if response.has_redirect_location:
                further = urljoin(url, response.headers["Location"])
                return self._redirect(where, status, url, further)
            said = await _beginning(response)
            msg = f"{where} answered {status}{': ' + self._harmless(said, url) if said else ''}"
            raise self._error(
                msg,
                retryable=status in _WORTH_ANOTHER_TRY or status >= 500,  # noqa: PLR2004
                retry_after=retry_after(response),
                status=status,
            )
        finally:
            await response.aclose()

    def _redirect(self, where: str, status: int, url: str, further: str) -> str:
        if not self.allow_redirects:
            msg = f"{where} answered {status}, a redirect to {mask_url(further)}; allow_redirects=True follows it"
            raise self._error(msg, status=status)
        parts = urlsplit(further)
        is_downgrade = parts.scheme != "https" and url.startswith("https:")
        if status not in _REDIRECTS or parts.scheme not in ("http", "https") or not parts.hostname or is_downgrade:
            msg = f"{where} answered {status}, a redirect to {mask_url(further)}, which a notification cannot follow"
            raise self._error(msg, status=status)
        return further

    def _failed(self, url: str, error: Exception) -> DeliveryError:
        is_refused = isinstance(error, PrivateAddressError)
        # Resolvers and sockets fail for a while; anything that is_transient does not know stays as it is.
        worth = not is_refused and (is_transient(error) or isinstance(error, OSError))
        what = str(error) if is_refused else f"{type(error).__name__}: {self._harmless(_why(error), url)}"
        return self._error(f"{mask_url(url)}: {one_line(what)}", retryable=worth)

    def _harmless(self, text: str, url: str) -> str:
        parts = urlsplit(url)
        for secret in (url, parts.path, parts.query, self._routing_key or "", *self._headers.values()):
            if len(secret) > 1:
                text = text.replace(secret, "…")
        return cut(text, 200)

    def _error(self, message: str, **about: Any) -> DeliveryError:
        return DeliveryError(message, channel=self.name, **about)


def _why(error: BaseException) -> str:
    """What an error says, or the one that it came from: httpx's are often mute under trio."""
    for _ in range(5):
        further = error.__cause__ or error.__context__
        if str(error) or further is None:
            break
        error = further
    return str(error)


async def _numeric(url: str) -> list[str]:
    """``url`` with each of its host's addresses in place of the host, all of them public."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    targets = []
    for address in await public_addresses(host, port):
        netloc = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        targets.append(urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")))
    return targets


async def _beginning(response: httpx.Response) -> str:
    """The first words of an answer: what is wrong, as a rule."""
    taken = b""
    async for piece in response.aiter_bytes():
        taken += piece[:_LONGEST_ANSWER]
        if len(taken) >= _LONGEST_ANSWER:
            break
    text = taken.decode("utf-8", "replace")
    return one_line(text) if text.strip() else ""


def _format(value: object) -> WebhookFormat:
    try:
        return WebhookFormat(value)  # type: ignore[arg-type]
    except ValueError:
        msg = f"format must be one of {', '.join(WebhookFormat)}, not {value!r}"
        raise ValueError(msg) from None


def _checked_url(url: object) -> str:
    if not isinstance(url, str):
        msg = f"url must be the URL of a webhook, not {type(url).__name__}"
        raise TypeError(msg)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    # A part before an @ would go out as credentials, and be seen; headers are the place for those.
    if not usable or parts.username is not None or not url.isascii() or any(each <= " " for each in url):
        msg = f"url must be an http(s) URL in ASCII, without user and password, not {mask_url(url)!r}"
        raise ValueError(msg)
    return url


def _checked_headers(headers: object) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        msg = f"headers must be a mapping of text to text, not {type(headers).__name__}"
        raise TypeError(msg)
    for name, value in headers.items():
        if not all(isinstance(each, str) and each.isascii() and each.isprintable() for each in (name, value)):
            msg = f"headers[{name!r}] must be printable ASCII"  # its value is a password, as a rule
            raise ValueError(msg)
    return dict(headers)
