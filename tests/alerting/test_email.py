"""E-mail, to a real SMTP server with TLS and a password."""

from __future__ import annotations

import email
import email.policy
from typing import TYPE_CHECKING, Any

import pytest
import trio
from alert_kit import MailServer, notification

from resilio import AdminNotifier, DeliveryError, EmailChannel, ErrorSeverity, Route

if TYPE_CHECKING:
    from email.message import EmailMessage


def channel(server: MailServer, **other: Any) -> EmailChannel:
    """A channel to ``server`` with the right password."""
    given: dict[str, Any] = {
        "host": "localhost",
        "port": server.port,
        "sender": "resilio <alerts@example.com>",
        "recipients": ["ops@example.com", "cat@example.com"],
        "tls_context": server.trust,
        "username": "alerts",
        "password": "right",
        **other,
    }
    return EmailChannel(**given)


def read(content: bytes) -> EmailMessage:
    """A mail as a mail program sees it."""
    return email.message_from_bytes(content, policy=email.policy.default)


@pytest.mark.asyncio
async def test_a_mail_arrives_over_tls_with_subject_text_and_user(mail_server: MailServer) -> None:
    """What a reader sees, whom it went to, and how it came."""
    told = notification("Größe überschritten", details={"free": 0, "trace": "line 1\nline 2"}, error_type="disk")
    await channel(mail_server).deliver(told)
    (mail,) = mail_server.mails
    assert (mail.was_tls, mail.user) == (True, "alerts")
    assert mail.sender == "alerts@example.com"
    assert mail.recipients == ["ops@example.com", "cat@example.com"]
    letter = read(mail.content)
    assert letter["Subject"] == "[ERROR] Größe überschritten"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Message-ID"] == "<0123456789abcdef.resilio@example.com>"
    text = letter.get_content()
    assert text.startswith("Größe überschritten")
    assert "free: 0" in text
    assert "  | line 1\n  | line 2\n" in text.replace("\r\n", "\n")


@pytest.mark.asyncio
async def test_a_newline_in_a_message_forges_no_header(mail_server: MailServer) -> None:
    """The subject is one line, and the mail has the headers that we gave it."""
    await channel(mail_server).deliver(notification("down\r\nBcc: everybody@example.com\x00\u2028"))
    letter = read(mail_server.mails[0].content)
    assert letter["Subject"] == "[ERROR] down Bcc: everybody@example.com"
    assert letter["Bcc"] is None


@pytest.mark.asyncio
async def test_a_wrong_password_fails_at_once_and_is_not_shown(mail_server: MailServer) -> None:
    """Another try would be refused as well."""
    with pytest.raises(DeliveryError, match="SMTPAuthenticationError") as caught:
        await channel(mail_server, password="wr0ng-s3cret").deliver(notification())
    assert not caught.value.retryable
    assert "wr0ng-s3cret" not in str(caught.value) + repr(channel(mail_server, password="wr0ng-s3cret"))
    assert mail_server.mails == []


@pytest.mark.asyncio
async def test_a_server_that_nobody_vouches_for_is_told_nothing(mail_server: MailServer) -> None:
    """A certificate of an unknown authority ends the conversation before the password."""
    with pytest.raises(DeliveryError, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
        await channel(mail_server, tls_context=None).deliver(notification())
    assert mail_server.logins == []


@pytest.mark.asyncio
async def test_a_server_without_starttls_is_told_nothing() -> None:
    """There is no falling back to the clear."""
    server = MailServer(tls=False)
    try:
        with pytest.raises(DeliveryError, match="STARTTLS"):
            await channel(server).deliver(notification())
    finally:
        server.close()
    assert server.mails == []


@pytest.mark.asyncio
@pytest.mark.slow("waits half a second before the second try")
async def test_a_busy_server_is_tried_again(mail_server: MailServer) -> None:
    """451 the first time, and the mail is there all the same, once."""
    mail_server.refuses.append("451 try again later")
    result = await AdminNotifier(channel=channel(mail_server)).send_notification("told")
    assert result.delivered
    assert len(mail_server.mails) == 1


@pytest.mark.asyncio
async def test_a_mail_that_is_refused_for_good_is_not_tried_again(mail_server: MailServer) -> None:
    """554 is an answer, and is in the result."""
    mail_server.refuses.extend(["554 spam", "554 spam"])
    result = await AdminNotifier(channel=channel(mail_server)).send_notification("told")
    assert "554" in result.outcomes[0].error
    assert len(mail_server.refuses) == 1


@pytest.mark.asyncio
async def test_recipients_that_are_refused_are_said(mail_server: MailServer) -> None:
    """One of two got it: a failure, but no reason to send it again; none of them got it: the server's answer."""
    mail_server.refused_recipients = {"cat@example.com"}
    with pytest.raises(DeliveryError, match="not for 1 of 2 recipients") as caught:
        await channel(mail_server).deliver(notification())
    assert not caught.value.retryable
    assert len(mail_server.mails) == 1
    mail_server.refused_recipients = {"cat@example.com", "ops@example.com"}
    with pytest.raises(DeliveryError, match="550") as caught:
        await channel(mail_server).deliver(notification())
    assert not caught.value.retryable


@pytest.mark.asyncio
async def test_no_server_is_worth_another_try(unused_tcp_port: int) -> None:
    """It may be restarting."""
    lonely = EmailChannel(host="127.0.0.1", port=unused_tcp_port, sender="a@example.com", recipients="b@example.com")
    with pytest.raises(DeliveryError, match="SMTPConnectError") as caught:
        await lonely.deliver(notification())
    assert caught.value.retryable


@pytest.mark.asyncio
async def test_in_the_clear_only_when_it_is_asked_for() -> None:
    """For a server on this machine; a password is refused there."""
    server = MailServer(tls=False)
    try:
        plain = channel(server, security="NONE", username=None, password=None, recipients="ops@example.com")
        result = await AdminNotifier(channel=Route(plain, policy=None)).send_notification(
            "told", severity=ErrorSeverity.CRITICAL
        )
    finally:
        server.close()
    assert result.delivered
    (mail,) = server.mails
    assert not mail.was_tls
    assert read(mail.content)["Importance"] == "high"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"host": ""}, "host must be the name of a mail server"),
        ({"sender": "nobody"}, "sender must be an e-mail address"),
        ({"sender": "a@example.com\nBcc: b@example.com"}, "sender must be an e-mail address"),
        ({"recipients": []}, "recipients must be at least one address"),
        ({"recipients": ["a@example.com, b@example.com"]}, "recipients must be an e-mail address"),
        ({"port": 0}, "port must be a whole number, at least 1"),
        ({"security": "SSL"}, "security must be one of STARTTLS, TLS, NONE, not 'SSL'"),
        ({"password": "x"}, "username and password must be given together"),
        ({"username": "x", "password": "y", "security": "NONE"}, "security must be STARTTLS or TLS"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(wrong: dict[str, Any], message: str) -> None:
    """The message names the argument."""
    with pytest.raises(ValueError, match=f"^{message}"):
        EmailChannel(**{"host": "localhost", "sender": "a@example.com", "recipients": "b@example.com", **wrong})


def test_under_trio_it_is_refused_when_built_and_when_used() -> None:
    """The message says why, and what to take."""
    built_before = EmailChannel(host="localhost", sender="a@example.com", recipients="b@example.com")

    async def build() -> None:
        with pytest.raises(RuntimeError, match=r"^EmailChannel needs asyncio, because aiosmtplib does"):
            EmailChannel(host="localhost", sender="a@example.com", recipients="b@example.com")
        with pytest.raises(RuntimeError, match=r"^EmailChannel needs asyncio"):
            await built_before.deliver(notification())

    trio.run(build)


@pytest.mark.asyncio
async def test_a_long_subject_arrives_as_it_is(mail_server: MailServer) -> None:
    """No blank before it, in whatever script, and no word of it lost."""
    for word in ("critical ", "größer "):
        await channel(mail_server).deliver(notification((word * 40).strip()))
    for mail, word in zip(mail_server.mails, ("critical ", "größer "), strict=True):
        subject = str(read(mail.content)["Subject"])
        assert subject.startswith(f"[ERROR] {word}{word}")
        assert len(subject) == 200
        assert max(map(len, mail.content.splitlines())) <= 998
