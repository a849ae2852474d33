"""The web service: takes Twilio's inbound-message webhooks and answers TwiML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]
from twilio.twiml.messaging_response import MessagingResponse  # type: ignore[import-untyped]

from examples.dadacat.messages import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

LONGEST_TEXT = 1600
"""Characters; Twilio refuses a longer text (error 21617)."""

# What XML 1.0 cannot carry, not even escaped: most control characters and the noncharacters.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def service(reply: Callable[[Message], Awaitable[str]], auth_token: str) -> Starlette:
    """The application: ``POST /sms`` answers what ``reply`` says.

    Args:
        reply: Gives the answer to a message; it always has one.
        auth_token: What Twilio signs its webhooks with.
    """
    validator = RequestValidator(auth_token)

    async def sms(request: Request) -> Response:
        form = await request.form()
        # Behind a proxy the URL must be the public one, for that is what Twilio signed.
        if not validator.validate(str(request.url), form, request.headers.get("X-Twilio-Signature", "")):
            return PlainTextResponse("The signature does not match.\n", 403)
        sid, sender, body = (form.get(name) for name in ("MessageSid", "From", "Body"))
        if not (isinstance(sid, str) and isinstance(sender, str) and isinstance(body, str)):
            return PlainTextResponse("MessageSid, From and Body are needed.\n", 400)
        return Response(twiml(await reply(Message(sid, sender, body))), media_type="application/xml")

    return Starlette(routes=[Route("/sms", sms, methods=["POST"])])


def twiml(text: str) -> str:
    """The document that tells Twilio to answer with ``text``."""
    document = MessagingResponse()
    document.message(speakable(text))
    return str(document)


def speakable(text: str) -> str:
    """``text`` without what XML cannot carry, and no longer than a text message may be."""
    return _UNSPEAKABLE.sub("", text)[:LONGEST_TEXT]
