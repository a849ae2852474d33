"""``python -m benchmarks.http_transport``: what a resilient transport costs where nothing fails.

A client asks a local server for two bytes, through the library's own transport and through ours before it, by turns on
one event loop; what counts is the ratio of their times, round by round: the processor's, the server's share included,
so that neighbours on the machine do not count. Beside it, the same without a network: the transports before one that
answers from memory, so that the cost itself can be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from time import process_time
from typing import TYPE_CHECKING, Final

import httpx

from resilio.web.httpx import ResilientTransport

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Callable

GOAL: Final = 1.1  # of the time that the library's own transport takes
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def main() -> int:
    """Measure, print, and tell by the exit code whether the goal is reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_transport", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how often both take their turn")
    parser.add_argument("--each", type=int, default=100, help="requests in a turn")
    asked = parser.parse_args()
    ratio = asyncio.run(over_a_socket(asked.rounds, asked.each))
    asyncio.run(from_memory(asked.rounds, asked.each))
    return 0 if ratio <= GOAL else 1


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer each request on the connection at once."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)
    except asyncio.IncompleteReadError:  # the client hangs up
        writer.close()


async def over_a_socket(rounds: int, each: int) -> float:
    """The ratio with a real connection, which is kept open."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    ratio = await compare("over a socket", url, lambda: httpx.AsyncHTTPTransport(verify=False), rounds, each)
    server.close()
    await asyncio.sleep(0.1)  # for the last connections to end
    return ratio


async def from_memory(rounds: int, each: int) -> None:
    """The ratio where nothing is sent at all."""
    await compare("from memory", "http://cats.example/", lambda: _Memory(), rounds, each)  # noqa: PLW0108 -- one kind


class _Memory(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))


async def compare(name: str, url: str, make: Callable[[], httpx.AsyncBaseTransport], rounds: int, each: int) -> float:
    """Let both take turns, print what they took, and return the median of the ratios."""
    async with (
        httpx.AsyncClient(transport=make()) as plain,
        httpx.AsyncClient(transport=ResilientTransport(make())) as resilient,
    ):
        times: list[tuple[float, float]] = []
        for number in range(rounds + 1):
            pair = [(plain, 0), (resilient, 1)][:: 1 if number % 2 else -1]  # neither is always the first
            took = {place: await turn(client, url, each) for client, place in pair}
            if number:  # the first round opens connections
                times.append((took[0], took[1]))
    ratio = statistics.median(ours / theirs for theirs, ours in times)
    theirs, more = (
        statistics.median(values) * 1e6 / each for values in ((a for a, _ in times), (b - a for a, b in times))
    )
    print(f"{name:14} {theirs:6.0f} us a request, {more:+5.1f} us under resilience: x {ratio:.3f}")  # noqa: T201
    return ratio


async def turn(client: httpx.AsyncClient, url: str, each: int) -> float:
    """Seconds of the processor for so many requests, one after another."""
    start = process_time()
    for _ in range(each):
        await client.get(url)
    return process_time() - start


if __name__ == "__main__":
    sys.exit(main())
