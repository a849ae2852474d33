from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from examples.dadacat import dada
from examples.dadacat.__main__ import SHIPPED, main
from examples.dadacat.cat import CATNAP, CONFUSED
from examples.dadacat.check import Ledger, promises
from examples.dadacat.messages import LONGEST_BODY, Message, read
from examples.dadacat.script import DAY, Fault, Script
from examples.dadacat.service import LONGEST_TEXT, service, speakable, twiml

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
FALLBACKS = (CATNAP, CONFUSED)

# -- reading messages --------------------------------------------------------------------------------------------------


def test_malformed_lines_are_reported_by_number_and_no_other_line_is_lost() -> None:
    """Each line of JSON that is no message is reported with its number; every good one is read."""
    messages, skipped = read(Path(__file__).with_name("malformed.jsonl"))
    assert [each.body for each in messages] == ["The first good one", "", "The last good one"]
    assert [each.line for each in skipped] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert all(each.reason for each in skipped)


def test_bytes_that_are_no_utf8_spoil_their_own_line_only(tmp_path: Path) -> None:
    """A line with invalid UTF-8 is reported, its neighbours are read, and a byte order mark is no part of them."""
    file = tmp_path / "messages.jsonl"
    line = b'{"from": "+1", "body": "%s"}\n'
    file.write_bytes(b"\xef\xbb\xbf" + line % b"one" + line % b"\xff\xfe" + line % "zwölf".encode())
    messages, skipped = read(file)
    assert [each.body for each in messages] == ["one", "zwölf"]
    assert [each.line for each in skipped] == [2]


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"from": "+1", "body": "x", "n": ' + "9" * 10_000 + "}",
        json.dumps({"from": "+1", "body": "x" * (LONGEST_BODY + 1)}),
    ],
    ids=["nested", "digits", "longest"],
)
def test_a_monstrous_line_is_only_skipped(tmp_path: Path, line: str) -> None:
    """JSON that Python itself refuses to read, and a body that is no text message, are reported like any other."""
    file = tmp_path / "messages.jsonl"
    file.write_text(line + '\n{"from": "+1", "body": "after"}\n')
    messages, skipped = read(file)
    assert [each.body for each in messages] == ["after"]
    assert [each.line for each in skipped] == [1]


def test_separators_inside_a_json_string_do_not_end_the_line(tmp_path: Path) -> None:
    """U+2028, U+0085 and vertical tabs may stand in a body; only a newline ends a line."""
    body = "a\u2028b\u0085c\u000bd"
    file = tmp_path / "messages.jsonl"
    file.write_text(json.dumps({"from": "+1", "body": body}, ensure_ascii=False).replace("\\u000b", "\u000b"), "utf-8")
    messages, skipped = read(file)
    # JSON allows the first two as they are; the tab must be escaped, and Python insists on it.
    assert (messages, [each.line for each in skipped]) == ([], [1])
    file.write_text(json.dumps({"from": "+1", "body": body}, ensure_ascii=False), "utf-8")
    assert [each.body for each in read(file)[0]] == [body]


def test_csv_is_read_with_quotes_newlines_and_further_columns(tmp_path: Path) -> None:
    """CSV bodies may hold commas, quotes and newlines; the columns are found by name."""
    file = tmp_path / "messages.CSV"
    file.write_text('lang,Body ,FROM\nen,"Hello, ""cat""\nsecond line",+1\nde,,+2\n')
    messages, skipped = read(file)
    assert [(each.sender, each.body) for each in messages] == [("+1", 'Hello, "cat"\nsecond line'), ("+2", "")]
    assert skipped == []


def test_malformed_csv_records_are_reported_by_number_and_no_other_is_lost(tmp_path: Path) -> None:
    """A quote that is never closed costs its own line, not the rest of the file."""
    file = tmp_path / "messages.csv"
    file.write_bytes(b'from,body\n+1,one\n+2\n+3,"a"b\n+4,a,b\n,nobody\n+5,\xff\n+6,six\n+7,"never closed\n+8,eight\n')
    messages, skipped = read(file)
    assert [each.body for each in messages] == ["one", "six", "eight"]
    assert [each.line for each in skipped] == [3, 4, 5, 6, 7, 9]


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "from\n+1\n", '"from,body'], ids=["empty", "others", "one", "quote"]
)
def test_csv_without_its_columns_is_refused(tmp_path: Path, text: str) -> None:
    """A CSV file whose first line does not name the columns is an error that says so."""
    file = tmp_path / "messages.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match="must name the columns 'from' and 'body'"):
        read(file)


def test_the_shipped_messages_are_many_and_varied() -> None:
    """The shipped file holds at least 500 messages: many scripts, emoji, empty, very long, control characters."""
    messages, skipped = read(SHIPPED)
    bodies = [each.body for each in messages]
    text = "".join(bodies)
    assert skipped == []
    assert len(messages) >= 500
    assert len(set(bodies)) >= 500
    assert "" in bodies
    assert max(map(len, bodies)) > 5000
    assert {"\x00", "\x07", "\x1b", "\x7f"} <= set(text)
    for name in (
        "LATIN",
        "CYRILLIC",
        "GREEK",
        "ARABIC",
        "HEBREW",
        "DEVANAGARI",
        "HIRAGANA",
        "CJK",
        "HANGUL",
        "CAT FACE",
    ):
        assert any(unicodedata.name(each, "").startswith(name) for each in set(text)), name


# -- the service -------------------------------------------------------------------------------------------------------

TOKEN = "the-account's-token"  # noqa: S105 -- nobody's
URL = "http://testserver/sms"
FORM = {"MessageSid": "SM1", "From": "+1", "Body": "Hello\x00 \U0001f431", "NumMedia": "0"}


def _client(replies: list[Message]) -> httpx.AsyncClient:
    async def reply(message: Message) -> str:
        replies.append(message)
        return f"<{message.body}>"

    return httpx.AsyncClient(transport=httpx.ASGITransport(service(reply, TOKEN)), base_url="http://testserver")


def _signed(form: dict[str, str], token: str = TOKEN) -> dict[str, str]:
    return {"X-Twilio-Signature": RequestValidator(token).compute_signature(URL, form)}


def _texts_in(document: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(document).iter("Message")]  # noqa: S314 -- our own


@pytest.mark.anyio
async def test_a_signed_webhook_is_answered_in_twiml() -> None:
    """A webhook with Twilio's signature reaches the cat as it was sent, and its reply comes back as TwiML."""
    replies: list[Message] = []
    async with _client(replies) as client:
        response = await client.post("/sms", data=FORM, headers=_signed(FORM))
    assert response.status_code == 200
    assert replies == [Message("SM1", "+1", FORM["Body"])]
    assert _texts_in(response.text) == ["<Hello \U0001f431>"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "nonsense"},
        _signed(FORM, "another token"),
        _signed({**FORM, "Body": "Goodbye"}),
    ],
    ids=["none", "empty", "nonsense", "another token", "another body"],
)
async def test_a_webhook_with_a_bad_signature_is_refused(headers: dict[str, str]) -> None:
    """Without the right signature the answer is 403, and the cat never hears of the message."""
    replies: list[Message] = []
    async with _client(replies) as client:
        response = await client.post("/sms", data=FORM, headers=headers)
    assert response.status_code == 403
    assert replies == []


@pytest.mark.anyio
async def test_a_signed_webhook_without_its_fields_is_a_bad_request() -> None:
    """A signature alone does not make a message."""
    form = {"MessageSid": "SM1"}
    async with _client([]) as client:
        response = await client.post("/sms", data=form, headers=_signed(form))
    assert response.status_code == 400


@given(st.text(max_size=200) | st.text("\x00\x07\x1b\ufffe\ud800\U0010ffff]>&<", max_size=20))
def test_every_text_makes_wellformed_twiml(text: str) -> None:
    """Whatever the model says, the document parses and holds it, but for what XML cannot carry."""
    assert _texts_in(twiml(text)) == [speakable(text).replace("\r\n", "\n").replace("\r", "\n")]


def test_a_text_message_is_cut_to_what_twilio_takes() -> None:
    """Twilio refuses texts above 1600 characters."""
    assert len(speakable("x" * 5000)) == LONGEST_TEXT


# -- the script --------------------------------------------------------------------------------------------------------


def test_a_seed_repeats_the_faults() -> None:
    """The n-th request of a phase meets the same treatment in every run of a seed, and others with another seed."""

    def day(seed: int) -> list[object]:
        script = Script(seed, 20)
        return [script.treatment(phase, number) for phase in DAY for number in range(100)]

    assert day(7) == day(7)
    assert day(7) != day(8)


@pytest.mark.slow("thousands of throws of the dice")
def test_every_fault_comes_about_as_often_as_the_phase_says() -> None:
    """The shares of the day add up, and each fault's frequency is its phase's."""
    assert sum(phase.share for phase in DAY) == pytest.approx(1)
    assert {fault for phase in DAY for fault in phase.faults} == set(Fault)
    script = Script(1, 20)
    for phase in DAY:
        met = Counter(script.treatment(phase, number).fault for number in range(2000))
        for fault in Fault:
            assert met[fault] / 2000 == pytest.approx(phase.faults.get(fault, 0), abs=0.05)


# -- the promises ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger() -> Ledger:
    """A day that went well: one live reply, one dead letter that was replayed, and a letter of an earlier day."""
    live, dead, old = (Message(f"SM{name}", "+1", f"Hello {name}") for name in ("live", "dead", "old"))
    return Ledger(
        inbound={"SMlive": live, "SMdead": dead},
        replies={"SMlive": [dada.answer(live.body)], "SMdead": [CATNAP]},
        letters=[old, dead],
        older={"SMold"},
        late={"SMdead": [dada.answer(dead.body)], "SMold": [dada.answer(old.body)]},
        forged=403,
    )


def test_a_good_day_keeps_every_promise(ledger: Ledger) -> None:
    """A day on which nothing was lost, doubled or mixed up breaks no promise."""
    assert [each for each in promises(ledger, FALLBACKS) if not each.kept] == []


ONE_REPLY = "every message got exactly one reply"
SUM = "live replies + dead letters = messages"
ONE_LETTER = "every message without a live reply is one dead letter"
OWN = "every live reply answers its own message"
NONE_LEFT = "no letter is left after the replay"
ONE_ANSWER = "every dead letter was answered exactly once"
OWN_LATE = "every late answer answers its own message"


@pytest.mark.parametrize(
    ("spoil", "broken"),
    [
        pytest.param(lambda day: day.replies.pop("SMdead"), {ONE_REPLY}, id="no reply"),
        pytest.param(lambda day: day.replies["SMdead"].append(CONFUSED), {ONE_REPLY}, id="two replies"),
        pytest.param(lambda day: day.replies.update(SMx=[CATNAP]), {ONE_REPLY}, id="a reply to nobody"),
        pytest.param(lambda day: day.letters.pop(), {SUM, ONE_LETTER, ONE_ANSWER, OWN_LATE}, id="no letter"),
        pytest.param(lambda day: day.letters.append(day.letters[1]), {SUM, ONE_LETTER}, id="two letters"),
        pytest.param(lambda day: day.replies.update(SMlive=["Meow?"]), {OWN}, id="a mixed-up reply"),
        pytest.param(lambda day: day.late.pop("SMold"), {ONE_ANSWER}, id="no late answer"),
        pytest.param(lambda day: day.late["SMdead"].append("Mew?"), {ONE_ANSWER, OWN_LATE}, id="two late answers"),
    ],
)
def test_each_promise_notices_that_it_was_broken(
    ledger: Ledger, spoil: Callable[[Ledger], object], broken: set[str]
) -> None:
    """What is lost, doubled or mixed up breaks the promises that speak of it, and no others."""
    spoil(ledger)
    assert {each.text for each in promises(ledger, FALLBACKS) if not each.kept} == broken


def test_letters_left_forged_webhooks_and_trouble_break_their_promises(ledger: Ledger) -> None:
    """A letter that stays, a forged webhook that is answered, and any other trouble are told."""
    spoilt = replace(ledger, left=1, forged=200, trouble=["SM1: ReadTimeout"])
    assert [each.kept for each in promises(spoilt, FALLBACKS)].count(False) == 3


# -- the whole program -------------------------------------------------------------------------------------------------


@pytest.fixture
def inbound(tmp_path: Path) -> Path:
    """A hundred of the shipped messages, and two lines that are none."""
    file = tmp_path / "inbound.jsonl"
    lines = SHIPPED.read_text("utf-8").split("\n")[:100]
    file.write_text("\n".join([*lines[:50], "{", *lines[50:], "[]"]), "utf-8")
    return file


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.dadacat", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603


@pytest.mark.slow("a day of eight seconds over real sockets, in real time")
def test_a_day_with_an_outage_loses_no_message(inbound: Path, tmp_path: Path) -> None:
    """Every promise is kept, the circuit opened and closed, letters were kept and replayed, and none is left."""
    letters = tmp_path / "letters.jsonl"
    ended = _run("--seed", 7, "--seconds", 8, "--input", inbound, "--dlq", letters, "--log", tmp_path / "log")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.findall(r"line (\d+): skipped", ended.stderr) == ["51", "102"]
    for phase in DAY:
        assert f"endpoint: {phase.name}" in ended.stdout
    for told in (
        "first retry",
        "first dead letter",
        "circuit opened",
        "half-open",
        "circuit closed",
        "0 dead letters left",
    ):
        assert told in ended.stdout
    assert "seed 7" in ended.stdout
    [(live, dead)] = re.findall(
        r"kept  live replies \+ dead letters = messages  \((\d+) \+ (\d+) = 100\)", ended.stdout
    )
    assert int(live) + int(dead) == 100
    assert int(dead) > 0
    assert f"every dead letter was answered exactly once  ({dead} of them)" in ended.stdout
    assert "BROKEN" not in ended.stdout
    notifications = (tmp_path / "log").read_text("utf-8").splitlines()
    assert len(notifications) == int(dead)


@pytest.mark.slow("real time passes until the first dead letter, and then a day of four seconds")
def test_ctrl_c_ends_cleanly_and_the_next_day_replays_what_waits(inbound: Path, tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and no traceback; the letters kept so far are replayed by the next day."""
    letters = tmp_path / "letters.jsonl"
    command = [sys.executable, "-m", "examples.dadacat", "--seed", "7", "--seconds", "8"]
    with subprocess.Popen(  # noqa: S603
        [*command, "--input", inbound, "--dlq", letters], cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "first dead letter" in line:
                break
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    [waiting] = re.findall(r"Stopped after .* s, (\d+) dead letters are waiting", told)
    assert int(waiting) > 0

    inbound.write_text('{"from": "+1", "body": "the next day"}\n')
    ended = _run("--seed", 8, "--seconds", 4, "--input", inbound, "--dlq", letters)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"every dead letter was answered exactly once  ({waiting} of them)" in ended.stdout


@pytest.mark.slow("a day of four seconds over real sockets, in real time")
def test_a_broken_promise_is_told_and_gives_exit_code_1(inbound: Path, tmp_path: Path) -> None:
    """When a reply is lost on its way, the summary says which promise was broken."""
    ended = _run("--seed", 7, "--seconds", 4, "--input", inbound, "--dlq", tmp_path / "letters", "--lose-a-reply")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"BROKEN  {ONE_REPLY}" in ended.stdout
    assert f"kept  {NONE_LEFT}" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--input", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--input", "/dev/null"], "no message that can be used"),
        (["--seconds", "1"], "must be 4 to 600"),
        (["--seconds", "nan"], "must be 4 to 600"),
        (["--port", "65536"], "must be 0 to 65535"),
        (["--dlq", "/"], "cannot keep this example's dead letters"),
        (["--port", "x"], "--port"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_usage_gives_exit_code_2(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be used is named on standard error, and the exit code is 2."""
    try:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    finally:
        structlog.reset_defaults()
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow("lives through a short day, and waits for somebody to replay")
def test_with_a_dashboard_the_letters_are_replayed_by_hand(tmp_path: Path) -> None:
    """The day waits until the letters were replayed in the dashboard, and its promises are kept then as well."""
    command = [
        sys.executable,
        "-m",
        "examples.dadacat",
        "--dashboard",
        "--seconds",
        "4",
        "--input",
        str(_few(tmp_path)),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, text=True) as demo:  # noqa: S603 -- our own example
        assert demo.stdout
        told = ""
        while "by hand" not in told:
            line = demo.stdout.readline()
            assert line, told
            told += line
        [url] = re.findall(r"by hand: (http://\S+)/letters", told)
        site = {"Sec-Fetch-Site": "same-origin"}
        assert httpx.get(f"{url}/letters").status_code == 200
        deadline = time.monotonic() + 60
        while httpx.get(f"{url}/api/overview").json()["letters"]["total"] and time.monotonic() < deadline:
            httpx.post(f"{url}/api/letters/replay", json={"rate": 200}, headers=site)
            time.sleep(1)
        rest = demo.stdout.read()
        assert demo.wait(60) == 0
    assert "BROKEN" not in rest
    assert "every dead letter was answered exactly once" in rest


def _few(folder: Path) -> Path:
    few = folder / "few.jsonl"
    few.write_bytes(b"".join(SHIPPED.read_bytes().splitlines(keepends=True)[:120]))
    return few
