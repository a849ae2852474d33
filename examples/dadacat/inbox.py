"""The other half of the stand-in for Twilio: a Messages API that takes late answers and writes them down."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from examples.dadacat.check import Ledger


def inbox(ledger: Ledger, account: str, auth_token: str) -> Starlette:
    """The application: ``POST /2010-04-01/Accounts/{account}/Messages.json``."""
    expected = "Basic " + base64.b64encode(f"{account}:{auth_token}".encode()).decode()

    async def messages(request: Request) -> Response:
        if request.path_params["account"] != account or request.headers.get("Authorization") != expected:
            return JSONResponse({"code": 20003, "message": "Authenticate", "status": 401}, 401)
        form = await request.form()
        callback, body = form.get("StatusCallback"), form.get("Body")
        if not isinstance(callback, str) or not isinstance(body, str) or not body:
            return JSONResponse({"code": 21602, "message": "Message body is required", "status": 400}, 400)
        [in_reply_to] = parse_qs(urlsplit(callback).query)["in-reply-to"]
        ledger.late.setdefault(in_reply_to, []).append(body)
        return JSONResponse({"sid": f"SM{secrets.token_hex(16)}", "status": "queued"}, 201)

    return Starlette(routes=[Route("/2010-04-01/Accounts/{account}/Messages.json", messages, methods=["POST"])])
