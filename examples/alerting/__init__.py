"""From the first exception to an e-mail in a mailbox: errors, their tracker, a rule, the notifier, a mail server."""
