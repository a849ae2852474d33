"""What the pages' forms ask for. Each answers with a page to go to, so that a reload asks for nothing again."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.responses import Response

from resilio.dashboard.operations import DEFAULT_RATE
from resilio.dashboard.requests import LetterQuery, asked, read_form

if TYPE_CHECKING:
    from starlette.background import BackgroundTask
    from starlette.requests import Request

    from resilio.dashboard.operations import Operations
    from resilio.dashboard.pages import Notes
    from resilio.dashboard.replays import Replay

__all__ = ("Forms",)

Fields = dict[str, list[str]]


class Forms:
    """The endpoints that answer POST from a page.

    Args:
        operations: What is done.
        notes: Where it is told.
    """

    def __init__(self, operations: Operations, notes: Notes) -> None:
        self._do = operations
        self._notes = notes

    def _to(self, page: str, note: str = "", background: BackgroundTask | None = None, /, **query: str) -> Response:
        """Send the browser to another page; the address is relative to where actions are, one floor below pages."""
        if note:
            query["note"] = self._notes.leave(note)
        location = f"../{page}?{urlencode(query, errors='replace')}" if query else f"../{page}"
        return Response(status_code=303, headers={"Location": location}, background=background)

    def _to_replay(self, begun: tuple[Replay, BackgroundTask | None]) -> Response:
        replay, run = begun
        return self._to("replay", "", run, id=replay.id)

    # -- letters -------------------------------------------------------------------------------------------------------

    async def letters(self, request: Request) -> Response:
        """Something for several letters: the selected ones, or all that match."""
        who, form = asked(request).identity, await read_form(request)
        what, ids, nonce = _one(form, "do"), form.get("id", []), _one(form, "nonce")
        if what == "replay-selected":
            return self._to_replay(self._do.replay(who, ids, nonce=_needed(nonce), rate=_rate(form)))
        if what == "replay-matching":
            query = LetterQuery.of({name: _one(form, name) for name in form})
            return self._to_replay(self._do.replay_all(who, query, nonce=_needed(nonce), rate=_rate(form)))
        if what == "discard-selected":
            gone = await self._do.discard(who, ids, _one(form, "reason"))
            query = LetterQuery.of({name: _one(form, name) for name in form})
            return self._to("letters", f"{gone} letters were discarded.", **query.to_dict())
        raise HTTPException(422, f"do must be replay-selected, replay-matching or discard-selected, not {what!r}.")

    async def letter(self, request: Request) -> Response:
        """Something for one letter."""
        who, form = asked(request).identity, await read_form(request)
        what, letter_id, nonce = _one(form, "do"), _one(form, "id"), _one(form, "nonce")
        if what == "replay":
            return self._to_replay(self._do.replay(who, [letter_id], nonce=_needed(nonce), rate=DEFAULT_RATE))
        if what in {"edit", "edit-replay"}:
            await self._do.edit(who, letter_id, _one(form, "message"))
            if what == "edit-replay":
                return self._to_replay(self._do.replay(who, [letter_id], nonce=_needed(nonce), rate=DEFAULT_RATE))
            return self._to("letter", "The message was changed.", id=letter_id)
        if what == "park":
            await self._do.park(who, letter_id)
            return self._to("letter", "The letter is parked: only its id replays it now.", id=letter_id)
        if what == "requeue":
            await self._do.requeue(who, letter_id)
            return self._to("letter", "The letter waits again.", id=letter_id)
        if what == "discard":
            await self._do.discard(who, [letter_id], _one(form, "reason"))
            return self._to("letters", f"The letter {letter_id} was discarded.")
        raise HTTPException(422, f"do must be replay, edit, edit-replay, park, requeue or discard, not {what!r}.")

    async def stop(self, request: Request) -> Response:
        """Stop a replay."""
        who, form = asked(request).identity, await read_form(request)
        replay = self._do.stop(who, _one(form, "id"))
        return self._to("replay", "It ends after the letters at hand.", id=replay.id)

    # -- circuits ------------------------------------------------------------------------------------------------------

    async def circuit(self, request: Request) -> Response:
        """Something for one circuit."""
        who, form = asked(request).identity, await read_form(request)
        name, action = _one(form, "name"), _one(form, "do")
        if action in {"force-open", "isolate"} and _one(form, "confirm") != "yes":
            raise HTTPException(422, "Confirm that every call is to be rejected: tick the box beside the button.")
        told = self._do.circuit(who, name, action, process=_one(form, "process"))
        return self._to("circuit", f"{told}.", name=name)

    # -- alerts --------------------------------------------------------------------------------------------------------

    async def alerts(self, request: Request) -> Response:
        """A silence begins or ends, or a channel is tested."""
        who, form = asked(request).identity, await read_form(request)
        what = _one(form, "do")
        if what == "silence":
            silence = await self._do.silence(
                who, _one(form, "rule"), _number(form, "seconds", 0), _one(form, "comment")
            )
            return self._to("alerts", f"{silence.rule or 'Everything'} is silenced.")
        if what == "end-silence":
            await self._do.end_silence(who, _one(form, "id"))
            return self._to("alerts", "The silence is over.")
        if what == "test":
            outcome = await self._do.test_channel(who, _one(form, "channel"))
            return self._to(
                "alerts", f"{outcome.channel}: {outcome.status}{f', {outcome.error}' if outcome.error else ''}."
            )
        raise HTTPException(422, f"do must be silence, end-silence or test, not {what!r}.")


def _one(form: Fields, name: str) -> str:
    return form.get(name, [""])[0]


def _needed(nonce: str) -> str:
    if not nonce:
        raise HTTPException(422, "The form lacks its nonce: reload the page and try again.")
    return nonce[:100]


def _rate(form: Fields) -> float:
    return _number(form, "rate", DEFAULT_RATE)


def _number(form: Fields, name: str, default: float) -> float:
    text = _one(form, name)
    try:
        return float(text) if text else default
    except ValueError as error:
        raise HTTPException(422, f"{name} must be a number, not {text!r}.") from error
