"""Live updates: how they reach everybody, what a slow client costs, and how they end."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import pytest
from dashboard_kit import asking, served

from resilio.dashboard import live

if TYPE_CHECKING:
    from dashboard_kit import Service

CLIENTS = 200


async def _pictures(reader: asyncio.StreamReader, wanted: bytes) -> int:
    """Read a stream until ``wanted`` comes; return how many bytes that took."""
    read = 0
    while True:
        line = await reader.readline()
        assert line, "the stream ended"
        read += len(line)
        if wanted in line:
            return read


async def _open(url: str, view: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1 << 20)
    writer.write(f"GET /live?view={view} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


@pytest.mark.slow("two hundred clients look for some seconds")
def test_two_hundred_clients_share_one_producer(service: Service) -> None:
    """Everybody is shown a change, and the picture is made once a second, not once for each."""
    app = service.dashboard()
    pictures = app.state.pictures

    async def look(url: str) -> None:
        clients = [await _open(url, "circuits") for _ in range(CLIENTS)]
        try:
            async with asyncio.timeout(60):
                await asyncio.gather(*(_pictures(reader, b"openai-api") for reader, _ in clients))
                began, made = time.monotonic(), pictures.count
                service.open_circuit()
                await asyncio.gather(*(_pictures(reader, b"ConnectionError") for reader, _ in clients))
                passed = time.monotonic() - began
            assert pictures.count - made <= passed / live.EVERY * 1.5 + 3
        finally:
            for _, writer in clients:
                writer.close()

    with served(app) as url:
        asyncio.run(look(url))
        deadline = time.monotonic() + 30
        while app.state.live.streams and time.monotonic() < deadline:
            time.sleep(0.05)
        assert app.state.live.streams == 0
        made = pictures.count
        time.sleep(2.5 * live.EVERY)
        assert pictures.count == made  # while nobody looks, nothing is made


@pytest.mark.slow("a client must take nothing for a while")
def test_a_client_that_takes_nothing_is_hung_up_on(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow client does not make the server keep what it missed: the line is cut."""
    monkeypatch.setattr(live, "HANG_UP_AFTER", 0.5)
    monkeypatch.setattr(live, "EVERY", 0.01)
    app = service.dashboard()
    count = 0

    async def large(*_: object) -> str:
        nonlocal count
        count += 1
        return f"{count} {'x' * 200_000}"

    monkeypatch.setattr(app.state.pictures, "get", large)
    with served(app) as url, socket.socket() as slow:
        place = urlsplit(url)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((place.hostname, place.port))
        slow.sendall(b"GET /live?view=overview HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 200"
        deadline = time.monotonic() + 60
        while app.state.live.streams == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        while app.state.live.streams and time.monotonic() < deadline:
            time.sleep(0.05)
        assert app.state.live.streams == 0


@pytest.mark.slow("a server ends")
def test_streams_end_with_the_server(service: Service) -> None:
    """A tab that looks does not hold up the end of the server."""
    app = service.dashboard()
    ended = threading.Event()

    async def look(url: str, begun: threading.Event) -> None:
        reader, writer = await _open(url, "overview")
        await _pictures(reader, b"data:")
        begun.set()
        while await reader.read(1 << 16):
            pass
        ended.set()
        writer.close()

    begun = threading.Event()
    with served(app) as url:
        thread = threading.Thread(target=lambda: asyncio.run(look(url, begun)), daemon=True)
        thread.start()
        assert begun.wait(60)
    assert ended.wait(60)
    thread.join(10)


@pytest.mark.anyio
async def test_streams_of_what_is_not_there_are_refused(service: Service) -> None:
    """An unknown view, circuit or replay is a 404 before anything is streamed."""
    async with asking(service.dashboard()) as browser:
        for query in ("view=nothing", "view=circuit&name=nobody", "view=replay&name=nobody", ""):
            assert (await browser.get(f"/live?{query}")).status_code == 404


@pytest.mark.anyio
async def test_a_picture_is_made_once_for_all_who_ask_in_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many who ask while a picture is new only the first waits for work to be done."""
    monkeypatch.setattr(live, "EVERY", 3600.0)
    pictures = service.dashboard().state.pictures
    found: list[str] = []

    async def ask() -> None:
        found.append(await pictures.get("letters"))

    await ask()
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
    assert pictures.count == 1
    assert set(found) == {found[0]}
