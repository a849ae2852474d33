"""The components document's snippets run as they stand, with only the import line changed."""

from __future__ import annotations

import json
import os
import traceback
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
import structlog
from moto.server import ThreadedMotoServer
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from snippets import Backend, QuickClock, code_of, run
from sqs_kit import RemoteQueue, remote_queue, settings
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from resilio.sync import CircuitBreakerOpenError, DeadLetterQueue, RetryExhaustedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENT = "components.md"


def openai_at(backend: Backend) -> SimpleNamespace:
    """A client with the old interface of `openai`, over HTTP."""

    def create(model: str, messages: list[dict[str, str]]) -> Any:
        answer = requests.post(f"{backend.url}/v1/chat", json={"model": model, "messages": messages}, timeout=10)
        answer.raise_for_status()
        return answer.json()

    return SimpleNamespace(ChatCompletion=SimpleNamespace(create=create))


class LocalTwilio(TwilioHttpClient):  # type: ignore[misc]
    """Twilio's own HTTP client, with the test's server in place of Twilio."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.base = backend.url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        return super().request(method, url.replace("https://api.twilio.com", self.base), *args, **kwargs)


class LocalAdapter(HTTPAdapter):
    """Takes what is meant for another host to the test's server."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.base = backend.url

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = (request.url or "").replace("https://api.example.com", self.base)
        return super().send(request, *args, **kwargs)


class ClientError(Exception):
    """What a failed call of the table raises."""


class Table:
    """A key-value table over HTTP with the calling convention of DynamoDB's client."""

    def __init__(self, backend: Backend) -> None:
        self.base = backend.url

    def get_item(self, *, TableName: str, Key: dict[str, Any]) -> Any:  # noqa: N803 -- DynamoDB's names
        answer = requests.post(f"{self.base}/tables/{TableName}", json=Key, timeout=10)
        if answer.status_code >= 400:
            raise ClientError(answer.status_code)
        return answer.json()


@pytest.fixture
def twilio_client(backend: Backend) -> Iterator[Client]:
    """Twilio's client, talking to the test's server."""
    http = LocalTwilio(backend)
    yield Client("AC" + "0" * 32, "token", http_client=http)
    if http.session is not None:
        http.session.close()


@pytest.fixture
def session(backend: Backend) -> Iterator[requests.Session]:
    """`requests` as the snippet calls it, with the test's server in place of api.example.com."""
    with requests.Session() as session:
        session.mount("https://api.example.com", LocalAdapter(backend))
        yield session


# -- Usage Examples: Circuit Breaker -----------------------------------------------------------------------------------


def circuit_snippet(backend: Backend, twilio_client: Client) -> dict[str, Any]:
    """Run the breaker snippet against the test's server."""
    return run(
        code_of(DOCUMENT, "Circuit Breaker"),
        openai=openai_at(backend),
        twilio_client=twilio_client,
        number="+15550001111",
        from_number="+15550002222",
        message="Meow",
        fallback_response=lambda: "catnap",
        CircuitBreakerOpenError=CircuitBreakerOpenError,
    )


def test_the_breaker_snippet_calls_through(backend: Backend, twilio_client: Client) -> None:
    """Closed circuits change nothing: the message is sent, and the decorated function answers."""
    backend.answer = {"sid": "SM1", "choices": ["Meow"]}
    left = circuit_snippet(backend, twilio_client)
    assert left["result"].sid == "SM1"
    assert b"Body=Meow" in backend.bodies[0]
    assert left["call_openai_api"]("Are you there?")["choices"] == ["Meow"]
    assert b"Are you there?" in backend.bodies[1]


def test_the_breaker_snippets_decorator_opens_after_three_failures(
    backend: Backend, twilio_client: Client, quick_clock: QuickClock
) -> None:
    """Three failures stop the calls for thirty seconds; then one goes through and closes the circuit."""
    left = circuit_snippet(backend, twilio_client)
    backend.script.extend([500, "reset", 503])
    for _ in range(3):
        with pytest.raises(RequestException):
            left["call_openai_api"]("Are you there?")
    asked = len(backend.requests)
    with pytest.raises(CircuitBreakerOpenError) as caught:
        left["call_openai_api"]("Are you there?")
    assert caught.value.retry_after == 30
    assert len(backend.requests) == asked
    quick_clock.elapsed += 30
    assert left["call_openai_api"]("Are you there?") == {}


def test_the_breaker_snippet_falls_back_when_its_circuit_is_open(backend: Backend, twilio_client: Client) -> None:
    """The snippet run again and again is one circuit, by its name: after three failures its `except` answers."""
    backend.forever = 500
    for _ in range(3):
        with pytest.raises(TwilioRestException):
            circuit_snippet(backend, twilio_client)
    asked = len(backend.requests)
    assert circuit_snippet(backend, twilio_client)["result"] == "catnap"
    assert len(backend.requests) == asked


# -- Usage Examples: Exponential Backoff -------------------------------------------------------------------------------


def backoff_snippet(backend: Backend, session: requests.Session) -> dict[str, Any]:
    """Run the backoff snippet against the test's server."""
    return run(
        code_of(DOCUMENT, "Exponential Backoff"),
        requests=session,
        RequestException=RequestException,
        RetryExhaustedError=RetryExhaustedError,
        dynamodb=Table(backend),
        ClientError=ClientError,
        user_id="u-17",
    )


def test_the_backoff_snippet_retries_until_it_works(
    backend: Backend, session: requests.Session, quick_clock: QuickClock
) -> None:
    """Both methods get through two failures each, with waits in between."""
    backend.script.extend([500, 500])
    backend.answer = {"Item": {"name": "Tzara"}}
    left = backoff_snippet(backend, session)
    assert left["result"] == {"Item": {"name": "Tzara"}}
    assert backend.requests == ["POST /tables/Conversations"] * 3
    assert json.loads(backend.bodies[0]) == {"user_id": {"S": "u-17"}}
    assert len(quick_clock.slept) == 2
    backend.script.extend(["reset", "reset"])
    assert left["fetch_message_history"]("u-17").json() == {"Item": {"name": "Tzara"}}
    assert backend.requests[3:] == ["GET /messages/u-17"] * 3
    assert len(quick_clock.slept) == 4
    assert all(0 <= wait <= 30 for wait in quick_clock.slept)


def test_the_backoff_snippet_gives_up_after_five_retries(
    backend: Backend, session: requests.Session, quick_clock: QuickClock
) -> None:
    """The first attempt and five retries; then its `except` answers, and the decorated function raises."""
    backend.forever = 500
    left = backoff_snippet(backend, session)
    assert left["result"] == {}
    assert len(backend.requests) == 6
    backend.forever = "reset"
    with pytest.raises(RetryExhaustedError) as caught:
        left["fetch_message_history"]("u-17")
    assert caught.value.attempts == 6
    assert isinstance(caught.value.last_exception, requests.ConnectionError)
    assert len(backend.requests) == 12
    assert len(quick_clock.slept) == 10


# -- Usage Examples: Dead Letter Queue ---------------------------------------------------------------------------------


def test_the_dead_letter_snippet_keeps_replays_and_shows(folder: Path) -> None:
    """Without DLQ_QUEUE_URL both queues are the local file: one message goes in, another is replayed."""
    handled: list[object] = []
    message_id = DeadLetterQueue(local_file_path="./local_dlq.json").send_to_dlq({"body": "earlier"}, {"error": "x"})
    left = run(
        code_of(DOCUMENT, "Dead Letter Queue"),
        os=os,
        datetime=datetime,
        process_message=handled.append,
        original_message={"body": "Are you a cat?", "user_id": "u-17"},
        message_id=message_id,
        e=ConnectionError("no route"),
    )
    assert handled == [{"body": "earlier"}]
    (letter,) = left["messages"]
    assert letter["message"] == {"body": "Are you a cat?", "user_id": "u-17"}
    assert letter["error_info"]["error_type"] == "api_error"
    assert letter["error_info"]["error_message"] == "no route"
    assert (folder / "local_dlq.json").is_file()


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteQueue]:
    """A queue on a server that speaks SQS, named by DLQ_QUEUE_URL."""
    for name, value in settings().items():
        monkeypatch.setenv(name, value)
    with remote_queue("moto") as queue:
        monkeypatch.setenv("DLQ_QUEUE_URL", queue.url)
        yield queue


@pytest.mark.slow("starts a server that speaks SQS")
def test_the_dead_letter_snippet_does_the_same_in_sqs(remote: RemoteQueue, folder: Path) -> None:
    """With DLQ_QUEUE_URL both queues are that one, and the file is not needed."""
    handled: list[object] = []
    with DeadLetterQueue(region="us-east-1") as queue:
        message_id = queue.send_to_dlq({"body": "earlier"}, {"error": "x"})
        left = run(
            code_of(DOCUMENT, "Dead Letter Queue"),
            os=os,
            datetime=datetime,
            process_message=handled.append,
            original_message={"body": "Are you a cat?", "user_id": "u-17"},
            message_id=message_id,
            e=ConnectionError("no route"),
        )
        assert handled == [{"body": "earlier"}]
        (letter,) = left["messages"]
        assert letter["message"] == {"body": "Are you a cat?", "user_id": "u-17"}
        assert letter["error_info"]["error_type"] == "api_error"
        assert left["dlq"].queue_url == remote.url
        left["dlq"].close()
    assert remote.wire.calls["SendMessageBatch"] + remote.wire.calls["SendMessage"] == 2


@pytest.mark.slow("waits for a server that does not answer")
def test_the_dead_letter_snippet_falls_back_to_the_file_when_sqs_is_down(remote: RemoteQueue, folder: Path) -> None:
    """The letter is safe in the local file, and goes to SQS once that is back."""
    queue = DeadLetterQueue(queue_url=remote.url, region="us-east-1", local_file_path="./local_dlq.json")
    remote.wire.is_down = True
    queue.send_to_dlq({"body": "Are you a cat?"}, {"error_type": "api_error"})
    assert "Are you a cat?" in (folder / "local_dlq.json").read_text(encoding="utf-8")
    remote.wire.is_down = False
    queue.close()


# -- Usage Examples: Admin Notification --------------------------------------------------------------------------------


def notifier_snippet(*, with_sns: bool) -> list[Any]:
    """Run the notifier snippet, and return what it logged."""
    code = code_of(DOCUMENT, "Admin Notification")
    if not with_sns:
        start = code.index("# For production with AWS SNS")
        code = code[:start] + code[code.index("# Send a notification") :]
    with structlog.testing.capture_logs() as lines:
        run(code, os=os, e=TimeoutError("too slow"))
    return list(lines)


def test_the_notifier_snippet_logs_both_notifications() -> None:
    """Without AWS, the message and the failed health check are two structured lines."""
    message, health = notifier_snippet(with_sns=False)
    assert (message["log_level"], message["event"]) == ("error", "Failed to process message from user")
    assert message["error_type"] == "message_processing_error"
    assert (message["user_id"], message["message_id"], message["error"]) == ("+1XXXXXXXXXX", "msg_123", "too slow")
    assert (health["log_level"], health["component"], health["error"]) == ("error", "openai_api", "Timeout")


@pytest.mark.slow("starts an AWS server, and loads botocore's service descriptions")
def test_the_notifier_snippets_production_part_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a topic, a subscriber of the topic gets both notifications, and the log nothing."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        sns, sqs = boto3.client("sns"), boto3.client("sqs")
        topic = sns.create_topic(Name="admins")["TopicArn"]
        queue = sqs.create_queue(QueueName="admins")["QueueUrl"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:admins")
        monkeypatch.setenv("SNS_TOPIC_ARN", topic)
        assert notifier_snippet(with_sns=True) == []
        bodies = [
            json.loads(each["Body"])
            for each in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        ]
    finally:
        server.stop()
    assert {each["Subject"] for each in bodies} == {
        "[ERROR] Failed to process message from user",
        "[ERROR] openai_api is unhealthy",
    }
    assert any("user_id: +1XXXXXXXXXX" in each["Message"] for each in bodies)


def test_the_notifier_snippets_production_part_without_a_topic_says_what_is_missing() -> None:
    """When the notifier is built, not when the alert is due."""
    with pytest.raises(ValueError, match="channel=SNS needs a topic"):
        notifier_snippet(with_sns=True)


# -- Local Development Without AWS -------------------------------------------------------------------------------------


def test_the_local_development_snippet_gives_working_components(names: dict[str, Any], folder: Path) -> None:
    """All four components work without AWS: the file is written, the notification is logged."""
    left = run(code_of(DOCUMENT, "Local Development Without AWS"), **names)
    answer = left["circuit_breaker"].execute(left["backoff_strategy"].execute, lambda: "Meow")
    assert answer == "Meow"
    left["dlq"].send_to_dlq({"body": "lost"}, {"error_type": "outage"})
    assert "lost" in (folder / "local_dlq.json").read_text(encoding="utf-8")
    with structlog.testing.capture_logs() as lines:
        left["notifier"].send_notification("The endpoint is down")
    assert [line["event"] for line in lines] == ["The endpoint is down"]


# -- Combining Components ----------------------------------------------------------------------------------------------


@pytest.fixture
def process_message(backend: Backend, names: dict[str, Any]) -> Any:
    """The combining example's function, asking the test's server."""

    def generate_dadacat_response(content: str) -> Any:
        answer = requests.post(f"{backend.url}/v1/chat", json={"content": content}, timeout=10)
        answer.raise_for_status()
        return answer.json()["text"]

    backend.answer = {"text": "Meow!"}
    names |= {
        "os": os,
        "traceback": traceback,
        "RequestException": RequestException,
        "generate_dadacat_response": generate_dadacat_response,
    }
    return run(code_of(DOCUMENT, "Combining Components"), **names)["process_message"]


def letters_in(folder: Path) -> list[Any]:
    """What lies in the local file."""
    return DeadLetterQueue(local_file_path=folder / "local_dlq.json").peek(100)


CONFUSED = "Meow? (DadaCat seems confused. Please try again later.)"
CATNAP = "Meow? (DadaCat is taking a catnap. Please try again later.)"


def test_combined_a_healthy_endpoint_answers(process_message: Any, backend: Backend) -> None:
    """One call, its answer, and nothing else."""
    with structlog.testing.capture_logs() as lines:
        assert process_message({"content": "Are you a cat?"}) == "Meow!"
    assert len(backend.requests) == 1
    assert lines == []


def test_combined_a_hiccup_is_not_noticed(process_message: Any, backend: Backend, quick_clock: QuickClock) -> None:
    """A reset connection, a 500 and a 429 cost three retries, and no letter."""
    backend.script.extend(["reset", 500, 429])
    assert process_message({"content": "Are you a cat?"}) == "Meow!"
    assert len(backend.requests) == 4
    assert len(quick_clock.slept) == 3


def test_combined_a_failure_becomes_a_letter_and_a_notification(
    process_message: Any, backend: Backend, quick_clock: QuickClock, folder: Path
) -> None:
    """After four attempts: the confused reply, a letter that holds the message, an alert with the traceback."""
    backend.forever = 500
    message = {"content": "Are you a cat?", "user_id": "u-17"}
    with structlog.testing.capture_logs() as lines:
        assert process_message(message) == CONFUSED
    assert len(backend.requests) == 4
    assert len(quick_clock.slept) == 3
    (letter,) = letters_in(folder)
    assert letter["message"] == message
    assert letter["error_info"]["error_type"] == "processing_error"
    (line,) = lines
    assert (line["log_level"], line["error_type"], line["user_id"]) == ("error", "message_processing_error", "u-17")
    assert "RetryExhaustedError" in line["traceback"]


def test_combined_an_outage_opens_the_circuit_that_every_message_builds_anew(
    process_message: Any, backend: Backend, quick_clock: QuickClock, folder: Path
) -> None:
    """The breaker inside the function trips after five messages: catnap replies and a warning, then all is well."""
    backend.forever = 500
    assert [process_message({"content": str(number)}) for number in range(5)] == [CONFUSED] * 5
    asked = len(backend.requests)
    with structlog.testing.capture_logs() as lines:
        assert process_message({"content": "Are you still a cat?"}) == CATNAP
    assert len(backend.requests) == asked
    (line,) = lines
    assert (line["log_level"], line["event"]) == ("warning", "OpenAI API circuit is open")
    assert (line["error_type"], line["message_content"]) == ("circuit_breaker_open", "Are you still a cat?")
    assert len(letters_in(folder)) == 5
    backend.forever = 200
    quick_clock.elapsed += 60.001  # after random delays, a sum of 60 may come out a hair below
    assert process_message({"content": "And now?"}) == "Meow!"


def test_combined_letters_are_replayed_when_the_endpoint_is_back(
    process_message: Any, backend: Backend, quick_clock: QuickClock, folder: Path
) -> None:
    """What the outage spoiled is handled once more, and nothing is left."""
    backend.forever = 500
    for number in range(3):
        process_message({"content": f"question {number}"})
    backend.forever = 200
    queue = DeadLetterQueue(local_file_path=folder / "local_dlq.json", reprocessor=process_message)
    assert [queue.reprocess_message(letter.id) for letter in letters_in(folder)] == ["Meow!"] * 3
    assert letters_in(folder) == []


@pytest.mark.slow("starts a server that speaks SQS")
def test_combined_a_letter_lies_in_sqs_where_there_is_a_queue(
    process_message: Any, backend: Backend, quick_clock: QuickClock, remote: RemoteQueue, folder: Path
) -> None:
    """The local file is only for when SQS cannot take it."""
    backend.forever = 500
    message = {"content": "Are you a cat?", "user_id": "u-17"}
    with structlog.testing.capture_logs():
        assert process_message(message) == CONFUSED
    with DeadLetterQueue(queue_url=remote.url, region="us-east-1") as queue:
        (letter,) = queue.peek()
    assert letter["message"] == message
