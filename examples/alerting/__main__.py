"""``python -m examples.alerting``: an outage from the first exception to the last e-mail, in about two seconds."""

from __future__ import annotations

import asyncio
import logging
import sys

from examples.alerting.mailbox import PASSWORD, USER, Mailbox
from resilio import (
    AdminNotifier,
    AlertRule,
    Alerts,
    CircuitBreaker,
    EmailChannel,
    ErrorHandler,
    ErrorsAbove,
    ErrorSeverity,
    ErrorTracker,
    HealthCheck,
    HealthChecks,
    LogChannel,
    Route,
    errors,
)

SERVED_WITHIN = 0.2


class Disk:
    """What breaks."""

    full = False

    async def write(self, message: str) -> None:
        """Keep a message, if there is room."""
        if self.full:
            reason = "Insufficient disk space to keep a message"
            raise errors.SystemError(reason, component="disk", lost=message, api_key="sk-not-to-be-mailed")


async def serve(disk: Disk, breaker: CircuitBreaker, handler: ErrorHandler, messages: int) -> None:
    """Handle messages; an error is handled, and the service goes on."""
    for number in range(messages):
        async with handler.guard("keep_message", suppress=True):
            await breaker.execute(disk.write, f"message {number}")


async def main() -> int:
    """Break the disk, mend it, and show what the administrator got."""
    with Mailbox() as mailbox:
        mail = EmailChannel(
            host="localhost",
            port=mailbox.port,
            sender="service@example.com",
            recipients="admin@example.com",
            username=USER,
            password=PASSWORD,
            tls_context=mailbox.trust,
        )
        tracker = ErrorTracker()
        handler = ErrorHandler(tracker=tracker)
        breaker = CircuitBreaker(name="disk", failure_threshold=5, recovery_timeout=SERVED_WITHIN)
        disk = Disk()
        async with AdminNotifier(channel=[LogChannel(), Route(mail, min_severity="ERROR")]) as notifier:
            rule = AlertRule("critical errors", ErrorsAbove(tracker, within=1), severity=ErrorSeverity.CRITICAL)
            alerts = Alerts(notifier, [rule])
            checks = HealthChecks(notifier, [HealthCheck.of_circuit(breaker)])

            async def look() -> None:
                await alerts.check()
                await checks.check()

            await serve(disk, breaker, handler, 10)
            await look()
            disk.full = True
            await serve(disk, breaker, handler, 3)
            await look()  # three are still well
            await serve(disk, breaker, handler, 7)
            await look()  # the fourth is not; and after the fifth the circuit is open
            disk.full = False
            await asyncio.sleep(1.1)
            await serve(disk, breaker, handler, 10)
            await look()
            stats = notifier.stats().channels[mail.name]

        print()
        for letter in mailbox.letters:
            print(f"To: {letter['To']}\nSubject: {letter['Subject']}\n\n{letter.get_content()}\n{'-' * 60}")
        print(f"{len(mailbox.letters)} e-mails for {tracker.get_error_summary()['total_errors']} errors; {stats}")
        return 0 if len(mailbox.letters) == stats.delivered == 4 else 1  # noqa: PLR2004 -- two troubles, two ends


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # the mail server's side of it
    sys.exit(asyncio.run(main()))
