from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from letter_kit import heard, jq

import resilio
from resilio.deadletters.encoder import Encoder, KeptObject
from resilio.deadletters.errors import UnencodableMessageError
from resilio.deadletters.events import LetterDeduplicated, LetterKept
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

ERROR = {"error_type": "api_error", "error_message": "boom"}


def raised_here() -> Exception:
    """An error with a traceback of two frames."""

    def inner() -> None:
        raise ConnectionError("refused")

    try:
        inner()
    except ConnectionError as error:
        found = error
    return found


async def test_a_letter_says_where_it_comes_from(path: Path) -> None:
    """Operation, host, process and version; the operation may come from the error report."""
    dlq = DeadLetterQueue(local_file_path=path)
    named = await dlq.get(await dlq.send_to_dlq("x", ERROR, operation="ship"))
    assert named.source == {
        "operation": "ship",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": resilio.__version__,
    }
    told = await dlq.get(await dlq.send_to_dlq("x", {"operation": "charge"}))
    assert told.source["operation"] == "charge"
    assert (await dlq.get(await dlq.send_to_dlq("x", ERROR))).source["operation"] is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_forked_child_writes_its_own_process_id(path: Path) -> None:
    """What was found out once belongs to the process that found it out."""
    script = """
        import asyncio, os, sys
        from resilio.deadletters.source import source_of
        parent = source_of(None)
        if os.fork() == 0:
            os._exit(0 if f'"pid":{os.getpid()},'.encode() in source_of(None) != parent else 1)
        raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    code = "\n".join(line[8:] for line in script.splitlines())
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0  # noqa: S603


@pytest.mark.parametrize(
    ("error_info", "group"),
    [
        ({"error_type": "api_error"}, "api_error"),
        ({"error_type": "E", "fingerprint": "f-17"}, "f-17"),
        ({"error_message": "nobody knows"}, ""),
        ({"error_type": 7}, ""),
        (ValueError("never raised"), "ValueError"),
        ({"error_type": "\ud800"}, "\\ud800"),
        ({"error_type": "E" * 1000}, "E" * 200),
    ],
)
async def test_letters_are_grouped_by_why_they_failed(path: Path, error_info: object, group: str) -> None:
    """The fingerprint of a report, else the class of the error."""
    dlq = DeadLetterQueue(local_file_path=path)
    assert (await dlq.get(await dlq.send_to_dlq("x", error_info))).group == group


async def test_the_group_of_an_exception_names_the_function_that_raised_it(path: Path) -> None:
    """The same error from another place is another group; one that is given comes first."""
    dlq = DeadLetterQueue(local_file_path=path)
    letter = await dlq.get(await dlq.send_to_dlq("x", raised_here()))
    assert letter.group == f"ConnectionError in {__name__}.raised_here.<locals>.inner"
    assert (await dlq.get(await dlq.send_to_dlq("x", raised_here(), group="mine"))).group == "mine"
    assert (await dlq.stats()).groups == {letter.group: 1, "mine": 1}


async def test_headers_lie_in_the_file_as_they_were_given(path: Path) -> None:
    """Readable with jq."""
    dlq = DeadLetterQueue(local_file_path=path)
    headers = {"content-type": "text/plain", "trace": "00-ünï"}
    message_id = await dlq.send_to_dlq("x", ERROR, headers=headers)
    assert (await dlq.get(message_id)).headers == headers
    assert jq('select(.op == "put") | .letter.headers.trace', path).strip() == "00-ünï"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"headers": ["a"]}, r"headers must be a mapping of text to text, not \['a'\] .list."),
        ({"headers": {"trace": 7}}, r"headers\['trace'\] must be text, not 7 .int."),
        ({"headers": {7: "trace"}}, "headers must have text as names, not 7"),
        ({"headers": {"trace": "\ud800"}}, r"headers\['trace'\] must have a UTF-8"),
        ({"group": 7}, "group must be text, not 7"),
        ({"group": ""}, "group must be text that is not empty"),
        ({"operation": b"ship"}, "operation must be text, not b'ship'"),
        ({"operation": "\ud800"}, "operation must be text that is not empty and has a UTF-8"),
        ({"deduplication_key": 1.5}, "deduplication_key must be text, not 1.5"),
    ],
)
async def test_wrong_labels_are_refused_by_name(path: Path, wrong: dict[str, Any], text: str) -> None:
    """And nothing is kept; a guard says so before anything has failed."""
    dlq = DeadLetterQueue(local_file_path=path)
    with pytest.raises((TypeError, ValueError), match=text):
        await dlq.send_to_dlq("x", ERROR, **wrong)
    with pytest.raises((TypeError, ValueError), match=text):
        dlq.guard("x", **wrong)
    assert (await dlq.stats()).total == 0


async def test_a_letter_whose_key_is_there_already_is_not_kept_twice(path: Path) -> None:
    """The id of the one that is there comes back, and another event; once that one is gone, the key is free."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=str)
    first = await dlq.send_to_dlq("one", ERROR, deduplication_key="order-17")
    with heard(LetterDeduplicated, LetterKept) as events:
        assert await dlq.send_to_dlq("two", ERROR, deduplication_key="order-17") == first
        other = await dlq.send_to_dlq("three", ERROR, deduplication_key="order-18")
    assert [(type(each).__name__, each.message_id) for each in events] == [
        ("LetterDeduplicated", first),
        ("LetterKept", other),
    ]
    assert [(each.message, each.deduplication_key) for each in await dlq.peek()] == [
        ("one", "order-17"),
        ("three", "order-18"),
    ]
    await dlq.reprocess_message(first)
    assert await dlq.send_to_dlq("four", ERROR, deduplication_key="order-17") != first


async def test_an_encoder_carries_what_json_lacks(path: Path) -> None:
    """Sent, edited and handed to the reprocessor as what it was; without one it is refused by name."""

    @dataclass
    class Order:
        price: Decimal
        at: datetime

    seen: list[Any] = []
    at = datetime(2026, 1, 1, tzinfo=UTC)
    dlq = DeadLetterQueue(local_file_path=path, encoder=Encoder(), reprocessor=seen.append)
    message_id = await dlq.send_to_dlq({"order": Order(Decimal("9.90"), at), "raw": b"\x00"}, ERROR)
    await dlq.reprocess_message(message_id)
    assert seen == [{"order": {"price": Decimal("9.90"), "at": at}, "raw": b"\x00"}]
    assert isinstance(seen[0]["order"], KeptObject)
    edited = await dlq.send_to_dlq("x", ERROR)
    await dlq.edit(edited, {1, 2})
    assert (await dlq.get(edited)).message == {1, 2}
    plain = DeadLetterQueue(local_file_path=path)
    for call in (plain.send_to_dlq(b"\x00", ERROR), plain.edit(edited, b"\x00")):
        with pytest.raises(UnencodableMessageError, match="message: bytes"):
            await call
