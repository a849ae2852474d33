"""An outage in milliseconds, the same way every time: virtual time, fault injection, a chaos proxy, pytest fixtures."""
