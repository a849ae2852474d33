"""Who gets in, who may do what, and that nothing shown can hurt."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from dashboard_kit import HOSTILE, OURS, PAGES, asking, nonce_on
from starlette.responses import RedirectResponse

from resilio import AlertRule, Alerts, CircuitBreaker, DeadLettersAbove, ErrorTracker, HealthCheck, LetterFilter
from resilio.dashboard import Identity, Role, basic_auth, create_app
from resilio.dashboard.guard import CONTENT_SECURITY_POLICY

if TYPE_CHECKING:
    from dashboard_kit import Service
    from starlette.requests import Request

pytestmark = pytest.mark.anyio

ACTIONS = ("/do/letters", "/do/letter", "/do/stop", "/do/circuit", "/do/alerts")


def basic(name: str, password: str) -> str:
    """The header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def test_nobody_sees_anything_without_a_role(service: Service) -> None:
    """No page, stream or endpoint answers somebody whom the hook does not know, or whose role is none."""
    users = {"ada": ("right", Role.ALL), "mallory": ("also", Role.NONE)}
    app = service.dashboard(auth=basic_auth(users))
    await service.lose({"n": "a secret message"})
    wrong = ("", "Basic !", basic("ada", "wrong"), basic("nobody", "\0"), basic("ada", ""), "Bearer x")
    async with asking(app) as browser:
        for path in (*PAGES, "live?view=letters", "api/letters", "api/openapi.json", "nothing"):
            for header in wrong:
                answer = await browser.get(f"/{path}", headers={"Authorization": header} if header else {})
                assert answer.status_code == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic ")
                assert "secret message" not in answer.text
        refused = await browser.get("/letters", headers={"Authorization": basic("mallory", "also")})
        welcome = await browser.get("/letters", headers={"Authorization": basic("ada", "right")})
        styles = await browser.get("/static/dashboard.css")
    assert refused.status_code == 403
    assert "secret message" in welcome.text
    assert styles.status_code == 200


async def test_a_hook_may_be_async_and_send_elsewhere(service: Service) -> None:
    """What a hook returns decides: an identity, a response of its own, or nobody."""

    async def session(request: Request) -> Identity | RedirectResponse:
        name = request.cookies.get("name")
        return Identity(name, Role.READ_ONLY) if name else RedirectResponse("/log-in", 303)

    async with asking(service.dashboard(auth=session)) as browser:
        unknown = await browser.get("/letters")
        known = await browser.get("/letters", headers={"Cookie": "name=Tristan"})
    assert (unknown.status_code, unknown.headers["Location"]) == (303, "/log-in")
    assert ">Tristan</span>" in known.text


async def test_a_role_allows_its_actions_and_no_other(service: Service) -> None:
    """Each action is refused to a role that has it not, and its form is not shown; what is refused is not done."""
    [letter] = await service.lose({"n": 1})
    forms: dict[str, tuple[str, dict[str, str]]] = {
        "edit": ("/do/letter", {"do": "edit", "id": letter, "message": "{}"}),
        "discard": ("/do/letter", {"do": "discard", "id": letter, "reason": "no"}),
        "circuit": ("/do/circuit", {"do": "force-open", "name": "openai-api", "confirm": "yes"}),
        "silence": ("/do/alerts", {"do": "silence", "rule": "letters wait", "seconds": "60"}),
        "notify": ("/do/alerts", {"do": "test", "channel": service.notifier.channels[0]}),
        "replay": ("/do/letter", {"do": "replay", "id": letter, "nonce": "1"}),
    }
    allowed = {Role.READ_ONLY: set(), Role.allowing("edit", "notify"): {"edit", "notify"}, Role.ALL: set(forms)}
    for role, actions in allowed.items():
        async with asking(service.dashboard(auth=lambda _, role=role: Identity("eve", role))) as browser:
            page = await browser.get("/letter", params={"id": letter})
            assert ('value="discard"' in page.text) == ("discard" in actions)
            for action, (path, form) in forms.items():
                if role is Role.ALL and action == "discard":
                    continue  # the others need the letter
                answer = await browser.post(path, data=form)
                assert answer.status_code == (303 if action in actions else 403), (role, action, answer.text)
        if role is not Role.ALL:
            assert await service.queue.get(letter)
            assert str(service.breaker.state) == "CLOSED"
            assert service.handled == []
    assert service.handled == [{}]
    with pytest.raises(ValueError, match="actions must be of replay"):
        Role.allowing("fly")


async def test_an_action_must_come_from_the_page_itself(service: Service) -> None:
    """A form of another site, of a sister domain, or of who knows where is refused, and so is an action by GET."""
    [letter] = await service.lose({"n": 1})
    form = {"do": "discard", "id": letter, "reason": "no"}
    async with asking(service.dashboard()) as browser:
        del browser.headers["Sec-Fetch-Site"]
        for site in (None, "cross-site", "same-site", "none", ""):
            headers = {} if site is None else {"Sec-Fetch-Site": site}
            assert (await browser.post("/do/letter", data=form, headers=headers)).status_code == 403
            assert (await browser.post(f"/api/letters/{letter}/discard", headers=headers)).status_code == 403
        for path in ACTIONS:
            assert (await browser.get(path, params=form)).status_code == 405
        other = await browser.post("/do/letter", content=b"{}", headers={**OURS, "Content-Type": "text/plain"})
        large = await browser.post("/do/letter", data={"x": "x" * 2_000_000}, headers=OURS)
    assert await service.queue.get(letter)
    assert (other.status_code, large.status_code) == (415, 413)


async def test_a_script_of_another_site_reads_nothing(service: Service) -> None:
    """A link from elsewhere leads here; what a page from elsewhere asks for behind the operator's back is refused."""
    async with asking(service.dashboard()) as browser:
        for site in ("cross-site", "same-site"):
            for path in ("/letters", "/api/letters", "/live?view=letters"):
                headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors"}
                assert (await browser.get(path, headers=headers)).status_code == 403
            link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
            assert (await browser.get("/letters", headers=link)).status_code == 200
        assert (await browser.get("/api/letters", headers={"Sec-Fetch-Site": "none"})).status_code == 200
        del browser.headers["Sec-Fetch-Site"]
        assert (await browser.get("/api/letters")).status_code == 200  # no browser: a script of the operator's


async def test_every_answer_carries_the_headers(service: Service) -> None:
    """Pages, errors, redirects and JSON are kept by nobody and run nothing that is not ours."""
    async with asking(service.dashboard()) as browser:
        for path in (*PAGES, "nothing", "letters/", "api/overview", "api/nothing", "do/letter"):
            answer = await browser.get(f"/{path}")
            assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["Cache-Control"] == "no-store"
        static = await browser.get("/static/dashboard.js")
        outside = await browser.get("/static/..%2f__init__.py")
    assert "immutable" in static.headers["Cache-Control"]
    assert outside.status_code == 404


async def test_a_failure_of_ours_says_nothing_and_carries_the_headers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong inside is a page without the error's text."""
    app = service.dashboard()
    monkeypatch.setattr(ErrorTracker, "timeline", lambda _: 1 / 0)
    async with asking(app) as browser:
        answer = await browser.get("/")
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY


async def test_every_action_is_logged_with_who_what_and_outcome(service: Service) -> None:
    """The log has a line for what was done, for what failed and for what was refused."""
    good, bad = await service.lose({"n": 1}, {"n": 2})
    app = service.dashboard(auth=lambda _: Identity("ada", Role.allowing("replay", "discard")))
    with structlog.testing.capture_logs() as lines:
        structlog.configure(processors=structlog.get_config()["processors"])
        async with asking(app) as browser:
            nonce = nonce_on(await browser.get("/letter", params={"id": good}))
            await browser.post("/do/letter", data={"do": "replay", "id": good, "nonce": nonce})
            await browser.post("/do/letter", data={"do": "discard", "id": bad, "reason": "a test"})
            await browser.post("/do/circuit", data={"do": "reset", "name": "openai-api"})
    told = [(each["who"], each["action"], each["what"], each["outcome"]) for each in lines]
    assert told == [
        ("ada", "replay", f"letter {good}", "begun"),
        ("ada", "replay", f"letter {good}", "done: 1 replayed, 0 failed"),
        ("ada", "discard", f"letter {bad}", "discarded: a test"),
        ("ada", "circuit", "reset openai-api", "refused: the role does not allow it"),
    ]


def _is_harmless(text: str) -> bool:
    return "<img src=x" not in text and "<script>alert" not in text and 'onerror="' not in text and "192719" not in text


async def test_a_hostile_payload_is_only_ever_text(service: Service) -> None:
    """Markup and template code in any field of anything shown comes out as text, on every page and in every stream."""
    try:
        error = ConnectionError(HOSTILE)
        error.add_note(HOSTILE)
        raise error from ValueError(HOSTILE)
    except ConnectionError as raised:
        context = {"operation": HOSTILE, "category": HOSTILE, HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}
        report = service.tracker.track_error(raised, context)
    breaker = CircuitBreaker(name=HOSTILE, failure_threshold=1)
    app = create_app(
        tracker=service.tracker,
        queue=service.queue,
        notifier=service.notifier,
        alerts=Alerts(service.notifier, [AlertRule(HOSTILE, DeadLettersAbove(service.queue, more_than=0))]),
        health_checks=[HealthCheck(HOSTILE, lambda: (False, {HOSTILE: HOSTILE}))],
        auth=lambda _: Identity(HOSTILE, Role.ALL),
        title=HOSTILE,
    )
    breaker.acquire().failure(ConnectionError(HOSTILE))
    info: dict[str, Any] = {"error_type": HOSTILE, "error_message": HOSTILE, "operation": HOSTILE, HOSTILE: HOSTILE}
    letter = await service.queue.send_to_dlq(
        {HOSTILE: HOSTILE}, info, group=HOSTILE, headers={HOSTILE: HOSTILE}, operation=HOSTILE
    )
    service.broken = True
    await service.queue.reprocess_all(LetterFilter())
    paths = [*PAGES, f"error?group={report.fingerprint}", f"letter?id={letter}", f"nothing/{HOSTILE}"]
    async with asking(app) as browser:
        assert _is_harmless((await browser.get("/circuit", params={"name": HOSTILE})).text)
        for name in ("text", "error", "group"):
            assert _is_harmless((await browser.get("/letters", params={name: HOSTILE})).text)
        begun = await browser.post(
            "/do/letters", data={"do": "replay-matching", "error": HOSTILE, "nonce": HOSTILE}, follow_redirects=True
        )
        assert "Replay of letters with" in begun.text
        assert _is_harmless(begun.text)
        silenced = {"do": "silence", "rule": HOSTILE, "seconds": "60", "comment": HOSTILE}
        assert _is_harmless((await browser.post("/do/alerts", data=silenced, follow_redirects=True)).text)
        for path in paths:
            answer = await browser.get(f"/{path}")
            assert _is_harmless(answer.text), path
            assert "&lt;img" in answer.text, path
