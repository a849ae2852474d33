"""A stand-in for an OpenAI-compatible endpoint: a real HTTP server in its own process, with a day full of faults.

``python -m examples.dadacat.endpoint --seed 7 --seconds 20`` serves ``POST /v1/chat/completions`` on a free port of
127.0.0.1. The day begins with the first request. What happens is told in JSON lines on standard output; the process
ends when its standard input does, so it never outlives whoever started it.

It speaks HTTP over bare sockets (through h11), because no web framework lets one reset a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
import threading
from collections import Counter
from contextlib import suppress
from http import HTTPStatus

import h11

from examples.dadacat import dada
from examples.dadacat.script import DAY, RETRY_AFTER_SECONDS, Fault, Phase, Script

_CHUNK = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends RST instead of FIN

Reply = tuple[int, list[tuple[str, str]], dict[str, object]]


class Endpoint:
    """The server. One object serves one day, on one event loop.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        served: How many requests met what.
        abandoned: How many connections the callers left before they were done with.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._phase: Phase = script.day[0]
        self._asked: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.abandoned = 0
        self._begun = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        # Holds the port while nobody listens on it; otherwise an outage might lose it to another program.
        self._keeper = _bound_to(0)
        self.port: int = self._keeper.getsockname()[1]

    async def serve_day(self) -> None:
        """Serve through all phases, and in the last one until cancelled."""
        async with asyncio.TaskGroup() as conversations:
            await self._listen(conversations)
            tell(port=self.port)
            await self._begun.wait()
            for phase, seconds in self._script.timetable():
                self._phase = phase
                await (self._hang_up() if phase.down else self._listen(conversations))
                tell(phase=phase.name)
                await asyncio.sleep(seconds)
            await asyncio.Event().wait()

    async def _listen(self, conversations: asyncio.TaskGroup) -> None:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            conversations.create_task(self._converse(reader, writer))

        if self._server is None:
            self._server = await asyncio.start_server(begin, sock=_bound_to(self.port), limit=_CHUNK)

    async def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            reset(writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        connection = h11.Connection(h11.SERVER)
        try:
            while (received := await _receive(connection, reader)) is not None:
                reply = await self._meet(*received)
                if reply is None:
                    reset(writer)
                    return
                writer.write(_encoded(connection, reply))
                await writer.drain()
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError):
            # The caller gave up on a stalled answer, or did not speak HTTP: nothing more is owed to it.
            self.abandoned += 1
        finally:
            self._open.discard(writer)
            writer.close()

    async def _meet(self, request: h11.Request, body: bytes) -> Reply | None:
        """Do to a request what the script says; None stands for a reset connection."""
        if (request.method, request.target) != (b"POST", b"/v1/chat/completions"):
            return refusal(404, "invalid_request_error", "only POST /v1/chat/completions is served here")
        prompt = _prompt_of(body)
        if prompt is None:
            return refusal(400, "invalid_request_error", "expected a JSON object with messages, the last by the user")
        self._begun.set()
        self._asked[self._phase.name] += 1
        treatment = self._script.treatment(self._phase, self._asked[self._phase.name])
        self.served[treatment.fault or "answered"] += 1
        await asyncio.sleep(treatment.latency)
        match treatment.fault:
            case Fault.RESET:
                return None
            case Fault.ERROR:
                return refusal(500, "server_error", "The server had an error while processing your request.")
            case Fault.LIMIT:
                status, headers, content = refusal(429, "rate_limit_error", "Rate limit reached for requests.")
                return status, [*headers, ("Retry-After", str(RETRY_AFTER_SECONDS))], content
            case _:
                return completion(prompt)


def completion(prompt: str) -> Reply:
    """The answer to ``prompt`` as the API gives it."""
    message = {"role": "assistant", "content": dada.answer(prompt)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return 200, [], {"object": "chat.completion", "model": "gpt-dada", "choices": [choice]}


def refusal(status: int, kind: str, message: str) -> Reply:
    """An error as the API gives it."""
    return status, [], {"error": {"message": message, "type": kind, "param": None, "code": None}}


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as a crashed process or an impatient load balancer does."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


def tell(**event: object) -> None:
    """Say what happened, to whoever started this process."""
    print(json.dumps(event), flush=True)


def _bound_to(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes] | None:
    """The next request with its whole body, or None when the caller hung up between two of them."""
    request: h11.Request | None = None
    body = bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(_CHUNK))
            case h11.Request() as request:
                continue
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage() if request is not None:
                return request, bytes(body)
            case _:  # h11.ConnectionClosed, h11.PAUSED
                return None


def _encoded(connection: h11.Connection, reply: Reply) -> bytes:
    status, headers, content = reply
    body = json.dumps(content).encode()
    head = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
    start = h11.Response(status_code=status, reason=HTTPStatus(status).phrase.encode(), headers=head)
    parts = (start, h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(part) or b"" for part in parts)


def _prompt_of(body: bytes) -> str | None:
    try:
        last = json.loads(body)["messages"][-1]
        return last["content"] if last["role"] == "user" and isinstance(last["content"], str) else None
    except (ValueError, LookupError, TypeError):
        return None


async def main(seed: int, seconds: float) -> None:
    """Serve one day, until standard input ends."""
    endpoint = Endpoint(Script(seed, seconds))
    day = asyncio.create_task(endpoint.serve_day())
    ended = asyncio.create_task(_end_of_input())
    await asyncio.wait({day, ended}, return_when=asyncio.FIRST_COMPLETED)
    if day.done():
        day.result()
    day.cancel()
    await asyncio.wait({day})
    with suppress(BrokenPipeError):  # whoever started this may be gone
        tell(served=endpoint.served, abandoned=endpoint.abandoned)


async def _end_of_input() -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def read() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ended.set)

    # A thread of our own, since the loop's pool would be waited for at the end.
    threading.Thread(target=read, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=f"A stand-in endpoint: {', '.join(phase.name for phase in DAY)}.")
    parser.add_argument("--seed", type=int, default=7, help="repeats the faults of an earlier day")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the day lasts")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.seed, arguments.seconds))
