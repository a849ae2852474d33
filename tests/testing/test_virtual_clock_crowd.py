from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from resilio.testing import _threads_at_work
from resilio.testing._thread_state import Doing, Glance, Step
from resilio.testing._threads_at_work import ThreadsAtWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GRACE = 0.25


def here() -> None:
    """A place where a thread may stand."""


def there() -> None:
    """Another one."""


class Stage:
    """What can be seen of threads, and real time, as the test has it; threads not mentioned wait for another thread."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._seen: dict[threading.Thread, Glance] = {}

    def shows(self, thread: threading.Thread, doing: Doing, place: Callable[[], None] = here) -> None:
        """From now on, ``thread`` is seen doing this, there."""
        self._seen[thread] = Glance(doing, (Step(place.__code__, 0),), ())

    def glance(self, thread: threading.Thread, _frames: object) -> Glance:
        """Stands in for the real one."""
        return self._seen.get(thread) or Glance(Doing.WAITING_FOR_THREAD, (Step(here.__code__, 0),), ())


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Nothing but what the test shows."""
    stage = Stage()
    monkeypatch.setattr(_threads_at_work, "glance", stage.glance)
    monkeypatch.setattr(_threads_at_work, "real_time", lambda: stage.now)
    return stage


@pytest.fixture
def start() -> Iterator[Callable[..., threading.Thread]]:
    """Starts threads that stay until the test is over; one may be given something to do first."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def start(first: Callable[[], object] = int, name: str | None = None) -> threading.Thread:
        done = threading.Event()

        def run() -> None:
            first()
            done.set()
            over.wait()

        threads.append(threading.Thread(target=run, name=name))
        threads[-1].start()
        done.wait()
        return threads[-1]

    yield start
    over.set()
    for thread in threads:
        thread.join()


def test_a_member_is_at_work_until_it_waits_for_another_thread(
    stage: Stage, start: Callable[..., threading.Thread]
) -> None:
    """A thread that has slept on the clock holds time back while it runs or sleeps for real, however long."""
    crowd = ThreadsAtWork(GRACE)
    member = start(crowd.add_member)
    for doing, rests in (
        (Doing.RUNNING, False),
        (Doing.WAITING_FOR_TIME, False),
        (Doing.WAITING_FOR_THREAD, True),
    ):
        stage.shows(member, doing)
        assert crowd.at_rest(set()) is rests
        stage.now += 100
        assert crowd.at_rest(set()) is rests
    assert crowd.at_rest({member.ident or 0}) is True


@pytest.mark.parametrize("doing", [Doing.WAITING_FOR_IO, Doing.UNKNOWN])
def test_a_member_may_take_its_grace_each_time(
    stage: Stage, start: Callable[..., threading.Thread], doing: Doing
) -> None:
    """In real input or output it holds time back for the grace, every time anew."""
    crowd = ThreadsAtWork(GRACE)
    member = start(crowd.add_member)
    for place in (here, there, here):
        stage.shows(member, doing, place)
        assert not crowd.at_rest(set())
        stage.now += GRACE
        assert crowd.at_rest(set())


def test_a_thread_of_the_test_is_at_home_where_it_has_settled(
    stage: Stage, start: Callable[..., threading.Thread]
) -> None:
    """A server's thread is given the grace once; whenever it comes back to the same place, it is at rest."""
    crowd = ThreadsAtWork(GRACE)
    server = start()
    stage.shows(server, Doing.WAITING_FOR_IO, here)
    assert not crowd.at_rest(set())
    stage.now += GRACE
    assert crowd.at_rest(set())
    for busy in (Doing.RUNNING, Doing.WAITING_FOR_TIME):
        stage.shows(server, busy, there)
        assert not crowd.at_rest(set())
        stage.shows(server, Doing.WAITING_FOR_IO, here)
        assert crowd.at_rest(set())


def test_threads_from_before_do_not_count(stage: Stage, start: Callable[..., threading.Thread]) -> None:
    """What ran before the clock came into force, such as pytest-xdist's own threads, may do what it likes."""
    thread = start()
    crowd = ThreadsAtWork(GRACE)
    stage.shows(thread, Doing.RUNNING)
    assert crowd.at_rest(set())


@pytest.mark.parametrize("name", ["resilio-call", "resilio group commit"])
def test_workers_of_the_package_always_count(stage: Stage, start: Callable[..., threading.Thread], name: str) -> None:
    """A thread in which the package runs what somebody waits for holds time back, whenever it was started."""
    thread = start(name=name)
    crowd = ThreadsAtWork(GRACE)
    stage.shows(thread, Doing.WAITING_FOR_TIME)
    stage.now += 100
    assert not crowd.at_rest(set())


def test_a_thread_may_take_part_for_a_while(stage: Stage, start: Callable[..., threading.Thread]) -> None:
    """Membership ends with its block, unless the thread was a member before."""
    crowd = ThreadsAtWork(GRACE)
    for _ in range(2):
        with crowd.membership():
            assert threading.current_thread() in crowd._members
        assert threading.current_thread() in crowd._members  # it opened the clock

    def visit() -> None:
        with crowd.membership():
            assert threading.current_thread() in crowd._members

    visitor = start(visit)
    assert visitor not in crowd._members


# -- jobs --------------------------------------------------------------------------------------------------------------


def test_a_job_is_at_work_from_being_sent_until_it_is_done(stage: Stage) -> None:
    """No instant is left in which time could move between a job's being sent, being run, and its result's arrival."""
    crowd = ThreadsAtWork(GRACE)
    job = crowd.send()
    assert not crowd.at_rest(set())
    with crowd.working(job):
        stage.shows(threading.current_thread(), Doing.RUNNING)
        assert not crowd.at_rest(set())
        stage.now += 100
        assert not crowd.at_rest(set())
    stage.shows(threading.current_thread(), Doing.WAITING_FOR_THREAD)
    assert not crowd.at_rest(set())
    crowd.done(job)
    assert crowd.at_rest(set())


def test_a_job_that_no_thread_takes_is_given_up_on(stage: Stage) -> None:
    """A job that stays in a queue behind others does not hold time back for ever; one of another process does."""
    crowd = ThreadsAtWork(GRACE)
    job = crowd.send()
    stage.now += GRACE
    assert crowd.at_rest(set())
    crowd.done(job)
    crowd.done(job)
    crowd.send(in_process=False)
    stage.now += 100
    assert not crowd.at_rest(set())


def test_an_unwanted_job_does_not_count(stage: Stage) -> None:
    """Once the wait for it was abandoned, a job may go on as long as it likes."""
    crowd = ThreadsAtWork(GRACE)
    crowd.send(is_wanted=lambda: False)
    assert crowd.at_rest(set())


def test_idle_threads_of_a_pool_do_not_count(stage: Stage, start: Callable[..., threading.Thread]) -> None:
    """A thread that has had a job, or stands where threads wait for one, is at rest, unless it runs."""
    crowd = ThreadsAtWork(GRACE)

    def work() -> None:
        job = crowd.send()
        with crowd.working(job):
            crowd.add_member()  # as a sleep on the clock would
        crowd.done(job)

    pooled = start(work)
    stage.shows(pooled, Doing.WAITING_FOR_TIME)
    assert crowd.at_rest(set())

    fresh = start()
    stage.shows(fresh, Doing.WAITING_FOR_TIME, there)
    assert not crowd.at_rest(set())
    crowd.idle_in(there.__code__)
    assert crowd.at_rest(set())
    stage.shows(fresh, Doing.RUNNING, there)
    assert not crowd.at_rest(set())


def test_nobody_may_move_between_two_looks(
    stage: Stage, start: Callable[..., threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waits in both looks, but not in the same place, has run in between."""
    crowd = ThreadsAtWork(GRACE)
    member = start(crowd.add_member)
    places = iter([here, there, here, here])

    def restless(thread: threading.Thread, frames: object) -> Glance:
        if thread is member:
            stage.shows(member, Doing.WAITING_FOR_THREAD, next(places))
        return stage.glance(thread, frames)

    monkeypatch.setattr(_threads_at_work, "glance", restless)
    assert not crowd.at_rest(set())
    assert crowd.at_rest(set())
