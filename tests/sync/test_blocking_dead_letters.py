"""The dead letter queue for code without an event loop."""

from __future__ import annotations

import contextvars
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import resilio
from resilio import sync
from resilio.sync import (
    AdminNotifier,
    DeadLetter,
    DeadLetterQueue,
    FernetCodec,
    LetterFilter,
    LetterStatus,
    MessageNotFoundError,
    NotOurFileError,
    ReplayEnd,
    ReplayProgress,
    SealedLetterError,
    UnencodableMessageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

whose = contextvars.ContextVar("whose", default="nobody's")


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is not there yet, and no queue from the environment."""
    for variable in ("DLQ_QUEUE_URL", "DLQ_LOCAL_FILE_PATH", "SNS_TOPIC_ARN"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "dead.jsonl"


def test_a_letter_goes_in_and_comes_out(path: Path) -> None:
    """Sent, it is on the disk; it can be looked at, claimed, counted and deleted."""
    queue = DeadLetterQueue(local_file_path=path)
    message_id = queue.send_to_dlq(message={"body": "Meow"}, error_info={"error_type": "outage"})
    assert "Meow" in path.read_text(encoding="utf-8")
    assert queue.get(message_id).message == {"body": "Meow"}
    assert [letter.id for letter in queue.peek(5, status="waiting")] == [message_id]
    (letter,) = queue.receive_from_dlq(max_messages=10)
    assert isinstance(letter, DeadLetter)
    assert letter.id == message_id
    assert queue.get(message_id).status is LetterStatus.CLAIMED
    stats = queue.stats()
    assert (stats.total, stats.claimed) == (1, 1)
    queue.delete(message_id)
    with pytest.raises(MessageNotFoundError):
        queue.get(message_id)


def test_an_exception_is_kept_as_the_reason(path: Path) -> None:
    """The error that spoiled the message can be handed over as it is."""
    queue = DeadLetterQueue(local_file_path=path)
    try:
        msg = "no route"
        raise ConnectionError(msg)
    except ConnectionError as error:
        message_id = queue.send_to_dlq({"body": "Meow"}, error)
    assert queue.get(message_id).error_info["error_message"] == "no route"


def test_a_run_over_all_letters_is_summed_up(path: Path) -> None:
    """What works is gone, what fails stays with its attempt counted; purging takes the rest."""

    def handle(message: Any) -> None:
        if message % 2:
            raise ValueError(message)

    queue = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    for number in range(4):
        queue.send_to_dlq(number, {"error_type": "outage"})
    summary = queue.reprocess_all()
    assert (summary.replayed, summary.failed) == (2, 2)
    assert [(letter.message, letter.attempts) for letter in queue.peek()] == [(1, 1), (3, 1)]
    assert queue.reprocess_all(limit=1).failed == 0  # they rest for a while
    assert queue.purge(confirm=True) == 2


def test_the_reprocessors_error_is_raised(path: Path) -> None:
    """The very exception comes out, and the letter stays."""
    error = ValueError("still no cat")

    def handle(_: object) -> None:
        raise error

    queue = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = queue.send_to_dlq("Meow", {"error_type": "outage"})
    with pytest.raises(ValueError, match="still no cat") as caught:
        queue.reprocess_message(message_id)
    assert caught.value is error
    assert queue.get(message_id).attempts == 1


def test_a_plain_reprocessor_may_use_the_blocking_names_and_sees_the_callers_context(path: Path) -> None:
    """It runs where no event loop runs: nested calls work, also those to the same queue."""

    def handle(message: str) -> tuple[str, str]:
        other = queue.send_to_dlq(f"{message} again", {"error_type": "nested"})
        assert AdminNotifier().send_notification("replayed").delivered
        return other, whose.get()

    queue = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = queue.send_to_dlq("Meow", {"error_type": "outage"})
    token = whose.set("the caller's")
    try:
        other, seen = queue.reprocess_message(message_id)
    finally:
        whose.reset(token)
    assert seen == "the caller's"
    assert [(letter.id, letter.message) for letter in queue.peek()] == [(other, "Meow again")]


def test_a_slow_plain_reprocessor_holds_nobody_up(path: Path) -> None:
    """While it blocks, other threads send; it ends when one of them says so."""
    begun, finish = threading.Event(), threading.Event()

    def handle(_: object) -> bool:
        begun.set()
        return finish.wait(10)

    queue = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = queue.send_to_dlq("slow", {"error_type": "outage"})
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(queue.reprocess_message(message_id)))
    thread.start()
    assert begun.wait(10)
    other = queue.send_to_dlq("quick", {"error_type": "outage"})
    finish.set()
    thread.join(10)
    assert answers == [True]
    assert [letter.id for letter in queue.peek()] == [other]


async def _async_handler(message: str) -> str:
    await anyio.lowlevel.checkpoint()
    return message.upper()


@pytest.mark.parametrize("handler", [_async_handler, lambda message: _async_handler(message)])  # noqa: PLW0108 -- the shape that hides its colour
def test_an_async_reprocessor_works_too(path: Path, handler: Callable[[str], object]) -> None:
    """An async function, and a plain one that returns its coroutine, run on the background loop."""
    queue = DeadLetterQueue(local_file_path=path, reprocessor=handler)
    assert queue.reprocess_message(queue.send_to_dlq("meow", {"error_type": "outage"})) == "MEOW"
    assert queue.stats().total == 0


def test_many_threads_share_one_queue(path: Path) -> None:
    """Twenty threads of ten letters each: two hundred letters, each with its own id."""
    queue = DeadLetterQueue(local_file_path=path)
    ids: list[str] = []

    def work(number: int) -> None:
        ids.extend(queue.send_to_dlq([number, turn], {"error_type": "outage"}) for turn in range(10))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    letters = queue.peek(1000)
    assert sorted(letter.id for letter in letters) == sorted(ids)
    assert sorted(letter.message for letter in letters) == [
        [number, turn] for number in range(20) for turn in range(10)
    ]


def test_as_a_context_manager_it_opens_at_once_and_may_be_used_again(path: Path) -> None:
    """What is wrong with the file is said at the start of the block; after it the queue opens anew."""
    with DeadLetterQueue(local_file_path=path) as queue:
        message_id = queue.send_to_dlq("Meow", {"error_type": "outage"})
    assert queue.get(message_id).message == "Meow"
    queue.close()
    queue.close()
    path.write_text("a poem, no letters\n", encoding="utf-8")
    with pytest.raises(NotOurFileError), DeadLetterQueue(local_file_path=path):
        pytest.fail("opened a file that is not ours")
    assert path.read_text(encoding="utf-8") == "a poem, no letters\n"


def test_a_message_that_json_cannot_carry_is_refused(path: Path) -> None:
    """The refusal names the type; with a fallback the letter is kept, and says so."""
    with pytest.raises(UnencodableMessageError, match="object"):
        DeadLetterQueue(local_file_path=path).send_to_dlq({"body": object()}, {"error_type": "outage"})
    queue = DeadLetterQueue(local_file_path=path, fallback=lambda value: type(value).__name__)
    message_id = queue.send_to_dlq({"body": object()}, {"error_type": "outage"})
    assert "object" in str(queue.get(message_id).message)


def test_ctrl_c_during_a_replay_gives_the_letter_back(path: Path) -> None:
    """The interrupted letter is free for the next, and no attempt is counted."""

    async def handle(_: object) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        await anyio.sleep_forever()

    queue = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = queue.send_to_dlq("Meow", {"error_type": "outage"})
    with pytest.raises(KeyboardInterrupt):
        queue.reprocess_message(message_id)
    letter = queue.get(message_id)
    assert (letter.status, letter.attempts) == (LetterStatus.WAITING, 0)


def test_letters_can_be_tidied_from_plain_code(path: Path) -> None:
    """Labels, filters, edits, parking, discarding, moving, out to a file and in again."""
    handled: list[object] = []
    queue = DeadLetterQueue(local_file_path=path, reprocessor=handled.append, max_letters=100)
    first = queue.send_to_dlq(
        1, {"error_type": "E"}, operation="op", headers={"a": "b"}, group="g", deduplication_key="k"
    )
    assert queue.send_to_dlq(2, {}, deduplication_key="k") == first
    queue.edit(first, 10)
    queue.park(first)
    assert queue.receive_from_dlq() == []
    queue.requeue(first)
    assert [each.message for each in queue.peek(error="E", text="10")] == [10]
    assert queue.stats().groups == {"g": 1}
    queue.discard(queue.send_to_dlq(3, {}), "a test")
    assert queue.tidy() == []
    other = DeadLetterQueue(local_file_path=path.with_name("other.jsonl"))
    assert queue.move(LetterFilter(group="g"), to=other) == 1
    assert other.export_to(path.with_name("out.jsonl")) == 1
    assert queue.import_from(path.with_name("out.jsonl")) == 1
    told: list[ReplayProgress] = []
    summary = queue.reprocess_all(LetterFilter(group="g"), max_concurrency=2, rate=1000, on_progress=told.append)
    assert (summary.replayed, summary.ended, handled) == (1, ReplayEnd.DONE, [10])
    assert [each.message_id for each in told] == [first]
    with pytest.raises(ValueError, match=r"call purge\(confirm=True\)"):
        other.purge()
    with pytest.raises(TypeError, match="to must be a DeadLetterQueue, not 'x'"):
        queue.move(to="x")  # type: ignore[arg-type]


def test_sealed_letters_work_in_plain_code(path: Path) -> None:
    """The same codec, the same refusal without it."""
    codec = FernetCodec(FernetCodec.new_key())
    message_id = DeadLetterQueue(local_file_path=path, codec=codec).send_to_dlq("Geheim", {})
    assert b"Geheim" not in path.read_bytes()
    assert DeadLetterQueue(local_file_path=path, codec=codec).get(message_id).message == "Geheim"
    with pytest.raises(SealedLetterError):
        DeadLetterQueue(local_file_path=path).receive_from_dlq()


METHODS: dict[str, tuple[object, ...]] = {
    "send_to_dlq": ("Meow", {}),
    "receive_from_dlq": (),
    "reprocess_message": ("id",),
    "reprocess_all": (),
    "peek": (),
    "get": ("id",),
    "delete": ("id",),
    "discard": ("id", "why"),
    "edit": ("id", "message"),
    "park": ("id",),
    "requeue": ("id",),
    "tidy": (),
    "purge": (),
    "export_to": ("letters.out",),
    "import_from": ("letters.out",),
    "stats": (),
    "close": (),
    "__enter__": (),
}


@pytest.mark.anyio
@pytest.mark.parametrize("method", METHODS)
async def test_on_an_event_loop_it_is_refused(path: Path, method: str) -> None:
    """Every method names itself, and nothing happens."""
    queue = DeadLetterQueue(local_file_path=path)
    with pytest.raises(RuntimeError, match=r"^DeadLetterQueue\.\w+\(\) would block the event loop"):
        getattr(queue, method)(*METHODS[method])
    assert not path.exists()  # noqa: ASYNC240 -- a test may wait for a disk


def test_every_method_is_there_with_the_same_arguments() -> None:
    """Name for name, parameter for parameter, default for default; `aclose` is called `close`."""
    for name, method in inspect.getmembers(resilio.DeadLetterQueue, inspect.isfunction):
        if name.startswith("_") and name != "__init__":
            continue
        twin = getattr(DeadLetterQueue, "close" if name == "aclose" else name)
        assert inspect.getdoc(twin)
        found = [(each.name, each.kind, each.default) for each in inspect.signature(twin).parameters.values()]
        expected = [(each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()]
        assert found == expected, name


def test_wrong_arguments_are_refused_as_in_the_async_queue(path: Path) -> None:
    """The same checks, under the same names."""
    with pytest.raises(ValueError, match=r"^visibility_timeout must be"):
        DeadLetterQueue(local_file_path=path, visibility_timeout=-1)
    with pytest.raises(TypeError, match=r"expected a callable, not 3"):
        DeadLetterQueue(local_file_path=path, reprocessor=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^max_messages must be"):
        DeadLetterQueue(local_file_path=path).receive_from_dlq(0)
    queue = DeadLetterQueue(local_file_path=path)
    assert queue.location == str(path)
    assert repr(queue) == f"<DeadLetterQueue {path}>"


@pytest.mark.slow("starts an interpreter")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_forked_child_uses_the_queue_of_its_parent(path: Path) -> None:
    """Parent and child send through the same object, to the same file, and nothing is lost."""
    script = """
        import os, sys
        from resilio.sync import DeadLetterQueue

        queue = DeadLetterQueue(local_file_path=sys.argv[1])
        queue.send_to_dlq("before", {"error_type": "outage"})
        child = os.fork()
        queue.send_to_dlq("parent" if child else "child", {"error_type": "outage"})
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print(sorted(letter.message for letter in queue.peek()))
    """
    # Python 3.12 and later warn of any fork beside threads, which is what is tested here.
    warnings = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
    finished = subprocess.run(  # noqa: S603 -- our own interpreter and script
        [sys.executable, *warnings, "-c", textwrap.dedent(script), str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (finished.stdout, finished.stderr) == ("['before', 'child', 'parent']\n", "")


def test_the_values_are_those_of_the_async_names() -> None:
    """Letters, statistics and errors are the same classes on both sides."""
    for name in ("DeadLetter", "DeadLetterStats", "LetterStatus", "ReplaySummary", "DeadLetterQueueError"):
        assert getattr(sync, name) is getattr(resilio, name)
