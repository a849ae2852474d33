"""The example's port registry: pairs that nobody else has, across threads and processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from examples.proto_ddf.ports import FIRST, LAST, PORT_REGISTRY, PortPair, PortRegistry
from resilio import errors

ROOT = Path(__file__).parents[2]


def free_stretch(length: int) -> int:
    """The first of so many free ports in a row, none of which a test in another process looks at."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
    begin = 20_000 + worker * 700
    for first in range(begin, begin + 700 - length, length):
        if all(_is_free(port) for port in range(first, first + length)):
            return first
    pytest.fail("this machine has no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def first() -> int:
    """Where ten free ports begin."""
    return free_stretch(10)


def test_the_range_is_the_references() -> None:
    """3000 to 5000."""
    assert (FIRST, LAST) == (3000, 5000)
    assert PORT_REGISTRY._range == range(3000, 5001)


def test_two_applications_get_four_ports(tmp_path: Path, first: int) -> None:
    """And the same application gets the same pair again."""
    registry = PortRegistry(first, first + 9, file=tmp_path / "ports.json")
    one, two = registry.reserve_pair("one"), registry.reserve_pair("two")
    assert len({one.frontend, one.backend, two.frontend, two.backend}) == 4
    assert registry.reserve_pair("one") == one


def test_a_port_that_somebody_listens_on_is_passed_over(tmp_path: Path, first: int) -> None:
    """It is checked by binding, whoever it is."""
    registry = PortRegistry(first, first + 9, file=tmp_path / "ports.json")
    with socket.create_server(("127.0.0.1", first)):
        assert first not in {registry.reserve_pair("one").frontend, registry.reserve_pair("one").backend}


def test_what_is_released_can_be_reserved_again(tmp_path: Path, first: int) -> None:
    """With two ports there is one pair at a time."""
    registry = PortRegistry(first, first + 1, file=tmp_path / "ports.json")
    pair = registry.reserve_pair("one")
    registry.release(pair)
    assert registry.reserve_pair("two") == pair


def test_when_none_is_left_the_error_says_so(tmp_path: Path, first: int) -> None:
    """A SystemError of the taxonomy, with the range and what there was; it may be tried again."""
    registry = PortRegistry(first, first + 2, file=tmp_path / "ports.json")
    registry.reserve_pair("one")
    with pytest.raises(errors.SystemError, match="No available ports in range") as caught:
        registry.reserve_pair("two")
    assert caught.value.component == "port_registry"
    assert caught.value.context == {"requested_range": f"{first}-{first + 2}", "available_ports": 1}
    assert (caught.value.code, caught.value.retryable) == ("port_unavailable", True)


@pytest.mark.parametrize(("low", "high"), [(0, 10), (10, 9), (1, 65_536)])
def test_a_range_that_is_none_is_refused(low: int, high: int, tmp_path: Path) -> None:
    """By name and value."""
    with pytest.raises(ValueError, match=f"first and last must be .* not {low} and {high}"):
        PortRegistry(low, high, file=tmp_path / "ports.json")


def test_threads_never_get_the_same_port(tmp_path: Path) -> None:
    """Eight at once, two pairs each."""
    first = free_stretch(40)
    registry = PortRegistry(first, first + 39, file=tmp_path / "ports.json")
    pairs: list[PortPair] = []

    def reserve(name: str) -> None:
        pairs.extend(registry.reserve_pair(f"{name}-{number}") for number in range(2))

    threads = [threading.Thread(target=reserve, args=(str(number),)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    ports = [port for pair in pairs for port in (pair.frontend, pair.backend)]
    assert len(ports) == len(set(ports)) == 32


RESERVE = """
import sys
from pathlib import Path
from examples.proto_ddf.ports import PortRegistry
name, first, last, file = sys.argv[1:]
registry = PortRegistry(int(first), int(last), file=Path(file))
for number in range(5):
    pair = registry.reserve_pair(f"{name}-{number}")
    print(pair.frontend, pair.backend, flush=True)
sys.stdin.readline()
"""


def start(name: str, first: int, last: int, file: Path) -> subprocess.Popen[str]:
    """Another process that reserves five pairs, and then lives on until it is told to end."""
    return subprocess.Popen(  # noqa: S603 -- our own script
        [sys.executable, "-c", RESERVE, name, str(first), str(last), str(file)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ports_of(process: subprocess.Popen[str]) -> list[int]:
    """The ports that it says it reserved."""
    assert process.stdout is not None
    return [int(port) for _ in range(5) for port in process.stdout.readline().split()]


@pytest.mark.slow("starts processes")
def test_processes_never_get_the_same_port_and_a_killed_one_gives_its_back(tmp_path: Path) -> None:
    """Four at once; the one that is killed cannot release, and its ports are free all the same."""
    first = free_stretch(40)
    file = tmp_path / "ports.json"
    processes = [start(str(number), first, first + 39, file) for number in range(4)]
    try:
        reserved = [ports_of(each) for each in processes]
        every = [port for each in reserved for port in each]
        assert len(every) == len(set(every)) == 40
        registry = PortRegistry(first, first + 39, file=file)
        with pytest.raises(errors.SystemError):
            registry.reserve_pair("late")
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait(30)
        pair = registry.reserve_pair("late")
        assert {pair.frontend, pair.backend} <= set(reserved[0])
        registry.release(PortPair(*reserved[1][:2]))  # another's: left alone
        with pytest.raises(errors.SystemError):
            PortRegistry(min(reserved[1]), min(reserved[1]) + 1, file=file).reserve_pair("thief")
    finally:
        for each in processes:
            each.kill()
            each.communicate()
