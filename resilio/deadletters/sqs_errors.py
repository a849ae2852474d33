"""What can go wrong with SQS, in our own words: every error of the client becomes one of these."""

from __future__ import annotations

from typing import Any, Final

from resilio.deadletters.errors import DeadLetterQueueError
from resilio.errors import ErrorSeverity, is_transient

__all__ = (
    "LetterRefusedError",
    "LetterTooLargeError",
    "RemoteQueueDeniedError",
    "RemoteQueueError",
    "RemoteQueueMissingError",
    "RemoteQueueThrottledError",
    "RemoteQueueUnreachableError",
    "aws_code",
    "is_stale_receipt",
    "translated",
)


class RemoteQueueError(DeadLetterQueueError):
    """SQS did not do what was asked of it; ``__cause__`` is the client's own error. The base of the ones below.

    Attributes:
        aws_code: What SQS calls it, such as ``"InvalidParameterValue"``; empty if it did not answer.
    """

    code = "dead_letter_remote_queue_error"

    def __init__(self, message: str, *, location: str, aws_code: str = "", **context: Any) -> None:
        super().__init__(message, location=location, **context)
        self.aws_code = aws_code


class RemoteQueueDeniedError(RemoteQueueError):
    """SQS does not let us: credentials that are missing, wrong or expired, or a permission that is not there."""

    code = "dead_letter_remote_queue_denied"


class RemoteQueueMissingError(RemoteQueueError):
    """There is no such queue, or it was deleted."""

    code = "dead_letter_remote_queue_missing"


class RemoteQueueThrottledError(RemoteQueueError):
    """SQS wants fewer calls, and still did after several tries."""

    code = "dead_letter_remote_queue_throttled"
    severity = ErrorSeverity.WARNING
    retryable = True


class RemoteQueueUnreachableError(RemoteQueueError):
    """SQS did not answer, or answered that it is out of order, and still did after several tries."""

    code = "dead_letter_remote_queue_unreachable"
    retryable = True


class LetterRefusedError(RemoteQueueError):
    """SQS does not take this letter, now or later; others it does."""

    code = "dead_letter_refused"


class LetterTooLargeError(LetterRefusedError):
    """The letter does not go into one message of the queue, even compressed, and there is no local file to take it.

    Attributes:
        size: What it takes compressed, with its attributes, in bytes.
        limit: The most that the queue takes.
    """

    code = "dead_letter_too_large"

    def __init__(self, message: str, *, size: int, limit: int, location: str, **context: Any) -> None:
        super().__init__(message, location=location, **context)
        self.size = size
        self.limit = limit


_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "KMS.AccessDeniedException",
        "KmsAccessDenied",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_MISSING: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "InvalidAddress", "QueueDoesNotExist"})
_THROTTLED: Final = frozenset({"KMS.ThrottlingException", "KmsThrottled", "OverLimit", "RequestThrottled"})
# Of botocore's own errors, by name: what it raises before it asks anybody.
_NO_CREDENTIALS: Final = frozenset(
    {
        "CredentialRetrievalError",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
_SERVER_ERRORS: Final = range(500, 600)


def translated(error: Exception, *, location: str, doing: str) -> RemoteQueueError:
    """One of our errors for one of the client's.

    Args:
        error: What the client raised.
        location: The queue.
        doing: What was tried, as in "send to".
    """
    code, status = aws_code(error), _status(error)
    kind, advice = _judged(error, code, status)
    told = f"{code}: {_text(error)}" if code else f"{type(error).__name__}: {error}"
    msg = f"cannot {doing} {location}: {advice} ({told})"
    return kind(msg, location=location, aws_code=code)


def entry_error(code: str, text: str, *, is_ours: bool, location: str) -> RemoteQueueError:
    """The error of one entry of a batch: ``is_ours`` if SQS says that the sender is at fault."""
    kind: type[RemoteQueueError]
    if code in _DENIED:
        kind = RemoteQueueDeniedError
    elif code in _THROTTLED or "hrottl" in code:
        kind = RemoteQueueThrottledError
    else:
        kind = LetterRefusedError if is_ours else RemoteQueueUnreachableError
    return kind(f"{location} refused the letter ({code}: {text})", location=location, aws_code=code)


def _judged(  # noqa: PLR0911 -- one answer for each kind of trouble
    error: Exception, code: str, status: int
) -> tuple[type[RemoteQueueError], str]:
    name = type(error).__name__
    if code in _THROTTLED or "hrottl" in code:  # some of these come with the status of a denial
        return RemoteQueueThrottledError, "SQS wants fewer calls; try again later"
    if code in _EXPIRED:
        return RemoteQueueDeniedError, "the credentials have expired; renew them"
    if code in _DENIED or status == 403:  # noqa: PLR2004 -- forbidden
        return RemoteQueueDeniedError, "permission denied; check the credentials and the policy of the queue"
    if name in _NO_CREDENTIALS:
        return RemoteQueueDeniedError, "there are no credentials that can be used; configure some"
    if code in _MISSING:
        return RemoteQueueMissingError, "there is no such queue; check queue_url and region"
    if status in _SERVER_ERRORS:
        return RemoteQueueUnreachableError, "SQS is out of order; try again later"
    if is_transient(error) or (not code and isinstance(error, OSError)):
        return RemoteQueueUnreachableError, "no answer; check the network, queue_url and region"
    return RemoteQueueError, "SQS refused" if code else "the client failed"


def is_stale_receipt(error: RemoteQueueError) -> bool:
    """Tell whether SQS knows the receipt no more: it ran out, somebody else has the letter, or the letter is gone."""
    code = error.aws_code
    return (
        code in {"ReceiptHandleIsInvalid", "InvalidReceiptHandle"}
        or code.endswith("MessageNotInflight")
        or (code == "InvalidParameterValue" and "eceipt handle" in str(error))
    )


def aws_code(error: BaseException) -> str:
    """What AWS calls an error of its client; empty if it is none of AWS's answers."""
    code = _detail(error).get("Code")
    return code if isinstance(code, str) else ""


def _text(error: BaseException) -> str:
    return str(_detail(error).get("Message", error))


def _detail(error: BaseException) -> dict[str, Any]:
    response = getattr(error, "response", None)
    found = response.get("Error") if isinstance(response, dict) else None
    return found if isinstance(found, dict) else {}


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata") if isinstance(response, dict) else None
    found = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
    return found if isinstance(found, int) else 0
