"""What can go wrong with a dead letter queue. All of these pickle and carry their data as attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilio.errors import ErrorSeverity, SystemError, ValidationError  # noqa: A004 -- the project's own SystemError

if TYPE_CHECKING:
    from datetime import datetime

__all__ = (
    "DeadLetterQueueError",
    "LetterNotKeptError",
    "MessageClaimedError",
    "MessageNotFoundError",
    "NotOurFileError",
    "SealedLetterError",
    "UnencodableMessageError",
)


class DeadLetterQueueError(SystemError):
    """The queue cannot do what was asked of it; the base of the errors below, but for `UnencodableMessageError`.

    Attributes:
        location: The file or queue in question.
    """

    code = "dead_letter_queue_error"

    def __init__(self, message: str, *, location: str, **context: Any) -> None:
        super().__init__(message, component="dead letter queue", **context)
        self.location = location


class NotOurFileError(DeadLetterQueueError):
    """The path is not one of our journals: another program's file, a directory, a device. It was left untouched."""

    code = "dead_letter_file_not_ours"


class LetterNotKeptError(DeadLetterQueueError):
    """The disk refused: full, read-only, failing. Nothing was acknowledged; ``__cause__`` is the ``OSError``."""

    code = "dead_letter_not_kept"


class MessageNotFoundError(DeadLetterQueueError, LookupError):
    """There is no letter with that id, or there is none any more.

    Attributes:
        message_id: The id that was asked for.
    """

    code = "dead_letter_not_found"
    severity = ErrorSeverity.WARNING

    def __init__(self, message: str, *, message_id: str, location: str, **context: Any) -> None:
        super().__init__(message, location=location, **context)
        self.message_id = message_id


class MessageClaimedError(DeadLetterQueueError):
    """Somebody else holds the letter just now; it may be tried again when the claim has run out.

    Attributes:
        message_id: The letter's id.
        until: When the claim runs out, UTC.
        retry_after: Seconds until then, as seen when the error was raised.
    """

    code = "dead_letter_claimed"
    severity = ErrorSeverity.WARNING
    retryable = True

    def __init__(
        self, message: str, *, message_id: str, until: datetime, retry_after: float, location: str, **context: Any
    ) -> None:
        super().__init__(message, location=location, **context)
        self.message_id = message_id
        self.until = until
        self.retry_after = retry_after


class SealedLetterError(DeadLetterQueueError):
    """A letter is encrypted, and the queue's codec does not open it: the key is another, or there is no codec.

    Nothing was changed. A queue that is built with the right ``codec`` finds the letter as it was.

    Attributes:
        message_id: The letter's id.
    """

    code = "dead_letter_sealed"

    def __init__(self, message: str, *, message_id: str, location: str, **context: Any) -> None:
        super().__init__(message, location=location, **context)
        self.message_id = message_id


class UnencodableMessageError(ValidationError, TypeError):
    """The message holds something that JSON cannot carry, and the queue has no ``fallback``.

    Attributes:
        field: Where in the message, such as ``message["user"]["photo"]``.
        value: The name of the type found there.
    """

    code = "dead_letter_unencodable"
