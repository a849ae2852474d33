"""How the cat answers: every message gets a reply, and no message is lost.

Read this file to learn resilio. The rest of the example only makes the cat's life hard.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from examples.dadacat.messages import Message
from resilio import (
    AdminNotifier,
    BackoffStrategy,
    CircuitBreaker,
    CircuitBreakerOpenError,
    DeadLetterQueue,
    ErrorSeverity,
    ErrorTracker,
    Fallback,
    Pipeline,
    Timeout,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import httpx

    Send = Callable[[Message, str], Awaitable[None]]

CATNAP = "Meow? (DadaCat is taking a catnap. Please try again later.)"
CONFUSED = "Meow? (DadaCat seems confused. Please try again later.)"

BREAKER = CircuitBreaker(name="openai-api", failure_threshold=5, recovery_timeout=1.5)
CAREFULLY = Pipeline(  # outermost first
    BackoffStrategy(max_retries=3, base_delay=0.1, max_delay=1.0, max_duration=8.0),  # Twilio waits for 15 s
    BREAKER,
    Timeout(1.0),  # for each attempt
)


class Cat:
    """Answers messages with the help of a model that is not always there.

    Args:
        openai: A client whose base URL is the endpoint's.
        letters: The file where messages are kept that could not be answered.
        send: Sends an answer later, when nobody waits for it any more.
    """

    def __init__(self, openai: httpx.AsyncClient, letters: Path, send: Send) -> None:
        self._openai = openai
        self._send = send
        self.notifier = AdminNotifier()
        self.tracker = ErrorTracker()
        self.letters = DeadLetterQueue(local_file_path=letters, reprocessor=self._answer_late)

    async def reply(self, message: Message) -> str:
        """The answer to ``message``: the model's, or one of the two lines above."""
        otherwise = Fallback(partial(self._give_up, message))
        return await Pipeline(otherwise, CAREFULLY).execute(self._ask, message)

    async def _ask(self, message: Message) -> str:
        prompt = [{"role": "system", "content": "You are DadaCat."}, {"role": "user", "content": message.body}]
        response = await self._openai.post("/v1/chat/completions", json={"model": "gpt-dada", "messages": prompt})
        response.raise_for_status()
        answer: str = response.json()["choices"][0]["message"]["content"]
        return answer

    async def _give_up(self, message: Message, error: Exception) -> str:
        """Keep the message, tell the administrator, and say something friendly."""
        is_open = isinstance(error, CircuitBreakerOpenError)
        report = self.tracker.track_error(error, {"operation": "answer"})
        letter = await self.letters.send_to_dlq(asdict(message), report)
        await self.notifier.send_notification(
            "OpenAI API circuit is open" if is_open else "Failed to process message",
            details={"letter": letter, "user_id": f"{message.sender[:3]}XXX", "error": str(error)},
            severity=ErrorSeverity.WARNING if is_open else ErrorSeverity.ERROR,
            error_type="circuit_breaker_open" if is_open else "message_processing_error",
        )
        return CATNAP if is_open else CONFUSED

    async def _answer_late(self, letter: dict[str, str]) -> None:
        """Answer a message that was kept. If this raises, the letter stays for the next replay.

        Should we die between sending and the letter's removal, it is answered again: replay is at least once.
        """
        message = Message(**letter)
        await self._send(message, await CAREFULLY.execute(self._ask, message))
