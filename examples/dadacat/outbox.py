"""How late answers leave: through Twilio's Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from examples.dadacat.service import speakable

if TYPE_CHECKING:
    import httpx

    from examples.dadacat.messages import Message

DADACAT_NUMBER = "+447700900999"


class Outbox:
    """Sends answers to messages whose webhook has long been answered.

    Args:
        http: A client whose base URL is the API's and which knows the account and its token.
        account: The account's SID.
    """

    def __init__(self, http: httpx.AsyncClient, account: str) -> None:
        self._http = http
        self._path = f"/2010-04-01/Accounts/{account}/Messages.json"

    async def send(self, message: Message, text: str) -> None:
        """Send ``text`` to whoever sent ``message``.

        Raises:
            httpx.HTTPError: Twilio did not take it.
        """
        # The API has no "in reply to"; what one needs to know later goes into the URL of the status callback.
        callback = "https://dadacat.example/status?" + urlencode({"in-reply-to": message.sid})
        form = {"To": message.sender, "From": DADACAT_NUMBER, "Body": speakable(text), "StatusCallback": callback}
        response = await self._http.post(self._path, data=form)
        response.raise_for_status()
