"""Webhooks, to a real HTTP server."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from alert_kit import Receiver, free_port, notification

from resilio import AdminNotifier, DeliveryError, ErrorSeverity, Route, WebhookChannel
from resilio.alerting import webhook
from resilio.alerting.addresses import is_public, public_addresses

if TYPE_CHECKING:
    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


def hook(receiver: Receiver, **other: Any) -> WebhookChannel:
    """A channel to a server on this machine."""
    return WebhookChannel(receiver.url, allow_private=True, **other)


async def test_a_notification_arrives_as_a_json_document(receiver: Receiver) -> None:
    """All its fields, and the headers that were asked for."""
    told = notification("Größe", error_type="disk", details={"free": 0, "nested": {"at": [1, float("nan"), b"x"]}})
    await hook(receiver, headers={"Authorization": "Bearer t0ken"}).deliver(told)
    (request,) = receiver.requests
    assert request.path == "/services/s3cret"
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert request.document == {
        "id": "0123456789abcdef",
        "message": "Größe",
        "severity": "ERROR",
        "error_type": "disk",
        "at": "2030-01-02T03:04:05.000+00:00",
        "details": {"free": 0, "nested": {"at": [1, "nan", "b'x'"]}},
        "resolved": False,
        "count": 1,
    }


async def test_slack_is_told_in_its_own_form_and_calls_nobody(receiver: Receiver) -> None:
    """What would ring everybody's telephone is shown as text."""
    await hook(receiver, format="SLACK").deliver(notification("<!channel> & co", details={"<@U1>": "<!here>"}))
    document = receiver.requests[0].document
    assert document["text"] == "[ERROR] &lt;!channel&gt; &amp; co"
    assert "<" not in str(document["attachments"])


async def test_teams_is_given_an_adaptive_card(receiver: Receiver) -> None:
    """Title and facts."""
    await hook(receiver, format="TEAMS").deliver(notification(details={"free": 0}))
    card = receiver.requests[0].document["attachments"][0]["content"]
    assert card["type"] == "AdaptiveCard"
    assert card["body"][0]["text"] == "[ERROR] The disk is full"
    assert card["body"][1]["facts"] == [{"title": "free", "value": "0"}]


async def test_discord_is_given_an_embed_within_its_limits(receiver: Receiver) -> None:
    """However long the error: 256 in the title, 6 000 in all, and nobody is mentioned."""
    details = {f"{number} {'n' * 500}": "v" * 5000 for number in range(50)}
    await hook(receiver, format="DISCORD").deliver(notification("@everyone " + "x" * 5000, details=details))
    document = receiver.requests[0].document
    (embed,) = document["embeds"]
    assert document["allowed_mentions"] == {"parse": []}
    assert len(embed["title"]) <= 256
    texts = [embed["title"], embed["footer"]["text"]]
    texts += [each[part] for each in embed["fields"] for part in ("name", "value")]
    assert sum(map(len, texts)) <= 6000


async def test_pagerduty_is_triggered_and_resolved_under_one_key(receiver: Receiver) -> None:
    """The Events API's two actions."""
    pager = hook(receiver, format="PAGERDUTY", routing_key="r0uting")
    await pager.deliver(notification(severity=ErrorSeverity.CRITICAL, dedup_key="disk", details={"free": 0}))
    await pager.deliver(notification(dedup_key="disk", resolves=ErrorSeverity.CRITICAL))
    first, second = (each.document for each in receiver.requests)
    assert (first["routing_key"], first["event_action"], first["dedup_key"]) == ("r0uting", "trigger", "disk")
    assert first["payload"]["severity"] == "critical"
    assert first["payload"]["custom_details"] == {"free": 0}
    assert second == {"routing_key": "r0uting", "event_action": "resolve", "dedup_key": "disk"}


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "worth"), [(400, False), (404, False), (408, True), (429, True), (503, True)])
async def test_an_answer_says_whether_another_try_may_do(receiver: Receiver, status: int, *, worth: bool) -> None:
    """The error names status and host, and nothing that is secret."""
    receiver.script.append(status)
    with pytest.raises(DeliveryError, match=rf"answered {status}: no such hook") as caught:
        await hook(receiver).deliver(notification())
    assert caught.value.retryable is worth
    assert "s3cret" not in str(caught.value)


@pytest.mark.slow("waits for a second, as the server asks")
async def test_a_server_that_asks_for_time_is_given_it(receiver: Receiver) -> None:
    """429 with Retry-After, then 503, then it is told."""
    receiver.script.extend([(429, {"Retry-After": "1"}), 503])
    began = anyio.current_time()
    result = await AdminNotifier(channel=hook(receiver)).send_notification("told")
    assert result.delivered
    assert anyio.current_time() - began >= 1
    assert len(receiver.requests) == 3


async def test_a_server_that_hangs_is_given_up(receiver: Receiver) -> None:
    """The channel's own timeout ends it, and another try may do."""
    receiver.script.append("hang")
    with pytest.raises(DeliveryError, match=r"(Read|Connect)Timeout") as caught:  # a busy machine is slow to connect
        await hook(receiver, timeout=0.1).deliver(notification())
    assert caught.value.retryable


async def test_a_connection_that_is_refused_is_worth_another_try() -> None:
    """The error shows the host alone."""
    url = f"http://127.0.0.1:{free_port()}/services/s3cret"
    with pytest.raises(DeliveryError, match="ConnectError") as caught:
        await WebhookChannel(url, allow_private=True).deliver(notification())
    assert caught.value.retryable
    assert "s3cret" not in str(caught.value) + repr(WebhookChannel(url))


async def test_a_redirect_is_refused_unless_it_is_allowed(receiver: Receiver) -> None:
    """Whoever can answer for the host could send our alerts anywhere."""
    receiver.script.append((302, {"Location": "/elsewhere/t0ken"}))
    with pytest.raises(DeliveryError, match=r"a redirect to .*allow_redirects=True") as caught:
        await hook(receiver).deliver(notification())
    assert not caught.value.retryable
    assert "t0ken" not in str(caught.value)
    assert len(receiver.requests) == 1


async def test_an_allowed_redirect_is_followed_without_our_headers_to_another_host(receiver: Receiver) -> None:
    """The notification arrives; the password does not."""
    other = Receiver()
    try:
        receiver.script.append((307, {"Location": other.url}))
        await hook(receiver, allow_redirects=True, headers={"Authorization": "t0ken"}).deliver(notification())
    finally:
        other.close()
    assert [each.document["message"] for each in other.requests] == ["The disk is full"]
    assert receiver.requests[0].headers["Authorization"] == "t0ken"
    assert "Authorization" not in other.requests[0].headers


async def test_redirects_in_a_circle_end(receiver: Receiver) -> None:
    """After three of them."""
    receiver.script.extend([(307, {"Location": receiver.url})] * 9)
    with pytest.raises(DeliveryError, match="redirects more than 3 times"):
        await hook(receiver, allow_redirects=True).deliver(notification())
    assert len(receiver.requests) == 4


@pytest.mark.slow("makes two authorities' keys, and three TLS contexts")
async def test_a_redirect_out_of_tls_is_refused(receiver: Receiver) -> None:
    """Allowed or not."""
    authority = trustme.CA()
    served, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.configure_trust(trusted)
    secure = Receiver(served)
    try:
        secure.script.append((307, {"Location": receiver.url}))
        with pytest.raises(DeliveryError, match="which a notification cannot follow"):
            await hook(secure, allow_redirects=True, tls_context=trusted).deliver(notification())
        await hook(secure, tls_context=trusted).deliver(notification())
        with pytest.raises(DeliveryError, match=r"(?i)certificate"):
            await hook(secure).deliver(notification())
    finally:
        secure.close()
    assert len(secure.requests) == 2
    assert receiver.requests == []


# -- private addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]", "0.0.0.0", "2130706433"],  # noqa: S104 -- to be refused
)
async def test_a_private_address_is_refused_unless_it_is_allowed(receiver: Receiver, host: str) -> None:
    """By number, by name, and in the odd ways of writing a number."""
    with pytest.raises(
        DeliveryError, match="private address, which a webhook reaches only with allow_private"
    ) as caught:
        await WebhookChannel(f"http://{host}:{receiver.port}/").deliver(notification())
    assert not caught.value.retryable
    assert receiver.requests == []


async def test_a_redirect_to_a_private_address_is_refused(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hop is looked at; the connection goes to the address that was looked at, under the name that was given."""

    async def resolve(host: str, port: int) -> list[str]:
        if host == "hooks.example.com":
            return ["127.0.0.1"]  # as if it were public
        return await public_addresses(host, port)

    monkeypatch.setattr(webhook, "public_addresses", resolve)
    receiver.script.append((307, {"Location": f"http://127.0.0.1:{receiver.port}/metadata"}))
    channel = WebhookChannel(f"http://hooks.example.com:{receiver.port}/", allow_redirects=True)
    with pytest.raises(DeliveryError, match="private address"):
        await channel.deliver(notification())
    assert [each.path for each in receiver.requests] == ["/"]
    assert receiver.requests[0].headers["Host"] == f"hooks.example.com:{receiver.port}"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, *, public: bool) -> None:
    """Also where an IPv6 address is an IPv4 one in disguise."""
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"url": "ftp://example.com"}, "url must be an http"),
        ({"url": "https://user:s3cret@example.com/"}, "url must be an http"),
        ({"url": "https://exa mple.com/s3cret"}, "url must be an http"),
        ({"url": "https://example.com/s3cret\r\nX: y"}, "url must be an http"),
        ({"url": "https://example.com:99999/s3cret"}, "url must be an http"),
        ({"url": "https://example.com", "format": "SMOKE"}, "format must be one of JSON, SLACK"),
        ({"format": "PAGERDUTY"}, "routing_key must be given"),
        ({"url": "https://example.com", "headers": {"X": "s3cret\n"}}, r"headers\['X'\] must be printable ASCII"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(wrong: dict[str, Any], message: str) -> None:
    """The message names the argument, and shows no secret."""
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        WebhookChannel(**wrong)
    assert "s3cret" not in str(caught.value)


async def test_a_channel_that_hangs_delays_no_other(virtual_clock: VirtualClock) -> None:
    """Told side by side: the second one's is there while the first one hangs, which is given up after 30 seconds."""
    at: list[float] = []

    class Hanging:
        async def deliver(self, _: object) -> None:
            await anyio.sleep_forever()

    class Quick:
        async def deliver(self, _: object) -> None:
            at.append(anyio.current_time())

    began = anyio.current_time()
    result = await AdminNotifier(channel=[Route(Hanging()), Quick()]).send_notification("told")
    assert at == [began]
    assert anyio.current_time() - began == pytest.approx(30)
    assert [(each.channel, each.delivered) for each in result.outcomes] == [("Hanging", False), ("Quick", True)]
    assert result.outcomes[0].error.startswith("OperationTimeoutError")
