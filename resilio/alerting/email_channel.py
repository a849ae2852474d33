"""Notifications by e-mail, over SMTP."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from resilio._core import durations
from resilio.alerting.channels import NotificationChannel
from resilio.alerting.errors import DeliveryError
from resilio.alerting.media import one_line
from resilio.alerting.optional import refuse_trio, require
from resilio.alerting.rendering import as_text, title_of
from resilio.errors import ErrorSeverity, is_transient

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from resilio._core.durations import Duration
    from resilio.alerting.notification import Notification

__all__ = ("EmailChannel", "MailSecurity")


class MailSecurity(StrEnum):
    """How a connection to a mail server is protected."""

    STARTTLS = "STARTTLS"
    """Begins in the clear and changes to TLS before anything is said; port 587."""
    TLS = "TLS"
    """TLS from the first byte; port 465."""
    NONE = "NONE"
    """In the clear; for a server on this machine. Port 25."""


_PORTS: Final = {MailSecurity.STARTTLS: 587, MailSecurity.TLS: 465, MailSecurity.NONE: 25}


class EmailChannel:
    """Sends notifications as plain-text e-mail.

    Args:
        host: The mail server.
        sender: The address it comes from.
        recipients: The address, or addresses, it goes to.
        port: Default: 587 for STARTTLS, 465 for TLS, 25 for NONE.
        security: `MailSecurity`; STARTTLS by default, which never falls back to the clear.
        username: With ``password``, to log in; only over TLS.
        password: See there.
        tls_context: Whom to trust; by default whom the system trusts.
        timeout: Seconds for each step of the conversation.
        name: What results, events and stats call it.

    Raises:
        MissingExtraError: aiosmtplib is not installed.
        RuntimeError: This thread runs trio; aiosmtplib needs asyncio.
        TypeError, ValueError: An argument is not what it should be; the message names it.

    A mail that some recipients were refused counts as failed, and is not tried again, so that nobody gets it twice.
    Safe to share between event loops; each mail has a connection of its own.
    """

    __slots__ = (
        *("_password", "_timeout", "_tls_context", "_username"),
        *("host", "name", "port", "recipients", "security", "sender"),
    )

    def __init__(
        self,
        *,
        host: str,
        sender: str,
        recipients: str | Iterable[str],
        port: int | None = None,
        security: MailSecurity | str = MailSecurity.STARTTLS,
        username: str | None = None,
        password: str | None = None,
        tls_context: ssl.SSLContext | None = None,
        timeout: Duration = 10.0,
        name: str = str(NotificationChannel.EMAIL),
    ) -> None:
        require("aiosmtplib", extra="email", what="EmailChannel")
        refuse_trio("EmailChannel", "aiosmtplib")
        if not isinstance(host, str) or not host or any(each <= " " for each in host):
            msg = f"host must be the name of a mail server, not {host!r}"
            raise ValueError(msg)
        self.host: str = host
        self.sender: str = _address("sender", sender)
        listed = [recipients] if isinstance(recipients, str) else list(recipients)
        if not listed:
            msg = "recipients must be at least one address"
            raise ValueError(msg)
        self.recipients: tuple[str, ...] = tuple(_address("recipients", each) for each in listed)
        try:
            self.security: MailSecurity = MailSecurity(security)
        except ValueError:
            msg = f"security must be one of {', '.join(MailSecurity)}, not {security!r}"
            raise ValueError(msg) from None
        found = durations.optional(durations.whole, "port", port, at_least=1, at_most=65_535)
        self.port: int = _PORTS[self.security] if found is None else found
        if (username is None) != (password is None):
            msg = "username and password must be given together"
            raise ValueError(msg)
        if username is not None and self.security is MailSecurity.NONE:
            msg = "security must be STARTTLS or TLS where there is a password: it would be sent in the clear"
            raise ValueError(msg)
        self._username = username
        self._password = password
        self._tls_context = tls_context
        self._timeout = durations.seconds("timeout", timeout, above=0)
        self.name: str = name

    def __repr__(self) -> str:
        return f"<EmailChannel {self.name} {self.host}:{self.port} {self.security}>"

    async def deliver(self, notification: Notification) -> None:
        """Send one mail.

        Raises:
            DeliveryError: The server did not take it, or not for everybody.
            RuntimeError: This thread runs trio.
        """
        refuse_trio("EmailChannel", "aiosmtplib")
        import aiosmtplib  # noqa: PLC0415 -- optional

        try:
            refused, _ = await aiosmtplib.send(
                self._letter(notification).as_bytes(),  # aiosmtplib would fold a message anew
                sender=self.sender,
                recipients=list(self.recipients),
                hostname=self.host,
                port=self.port,
                username=self._username,
                password=self._password,
                use_tls=self.security is MailSecurity.TLS,
                start_tls=self.security is MailSecurity.STARTTLS,
                tls_context=self._tls_context,
                timeout=self._timeout,
            )
        except Exception as error:
            raise self._failed(error) from None
        if refused:
            msg = f"{self.host} took the mail, but not for {len(refused)} of {len(self.recipients)} recipients"
            raise DeliveryError(msg, channel=self.name)

    def _letter(self, notification: Notification) -> EmailMessage:
        # 998 is the length that RFC 5322 allows: a subject that is folded begins with a blank in many a mailbox.
        letter = EmailMessage(SMTP.clone(max_line_length=998, cte_type="7bit"))
        letter["From"] = self.sender
        letter["To"] = ", ".join(self.recipients)
        letter["Subject"] = title_of(notification)
        letter["Date"] = format_datetime(notification.at)
        # The same for every try: a server, or a reader, that got it twice can tell.
        domain = parseaddr(self.sender)[1].rpartition("@")[2]
        letter["Message-ID"] = f"<{notification.id}.resilio@{domain}>" if domain else make_msgid()
        letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
        if notification.severity >= ErrorSeverity.CRITICAL and not notification.resolved:
            letter["Importance"] = "high"
        letter.set_content(as_text(notification))
        return letter

    def _failed(self, error: Exception) -> DeliveryError:
        code = _smtp_code(error)
        worth = 400 <= code < 500 if code is not None else is_transient(error) or isinstance(error, OSError)  # noqa: PLR2004
        said = f"{type(error).__name__}: {one_line(str(getattr(error, 'message', error)))}"
        about = {} if code is None else {"status": code}
        msg = f"{self.host}:{self.port}: {'' if code is None else f'{code} '}{said}"
        return DeliveryError(msg, channel=self.name, retryable=worth, **about)


def _smtp_code(error: Any) -> int | None:
    """The server's answer, if that is what went wrong; for several recipients refused, the first one's."""
    found = getattr(error, "code", None)
    if found is None:
        refused = getattr(error, "recipients", None) or [None]
        found = getattr(refused[0], "code", None)
    return found if isinstance(found, int) and found > 0 else None


def _address(name: str, value: object) -> str:
    text = value if isinstance(value, str) else ""
    found = parseaddr(text)[1]
    local, _, domain = found.rpartition("@")
    if not local or not domain or not text.isprintable() or "," in text or any(each <= " " for each in found):
        msg = f"{name} must be an e-mail address such as 'ops@example.com', not {value!r}"
        raise ValueError(msg)
    return text
