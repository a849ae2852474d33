"""Litestar: errors become problem details around the application, and 422 points to what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from litestar import Litestar, get, post
from litestar.exceptions import NotAuthorizedException, NotFoundException
from reports_kit import heard
from served import served

from resilio import CircuitBreakerOpenError
from resilio.web.litestar import exception_handlers, with_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore:.*(inferred style|body marker)")  # the new one needs the newest

SECRET = "hunter22-not-to-be-echoed"  # noqa: S105 -- a canary


@dataclass
class Cat:
    """A cat."""

    name: str
    age: int


@get("/cats/{kind:str}")
async def find(kind: str, limit: int = 3) -> str:
    """Fail as the path says."""
    errors: dict[str, Exception] = {
        "shut": CircuitBreakerOpenError("shut", breaker="cats", retry_after=2.5),
        "bug": RuntimeError(SECRET),
        "none": NotFoundException("no such cat"),
        "login": NotAuthorizedException("who are you?", headers={"WWW-Authenticate": "Meow"}),
    }
    if kind in errors:
        raise errors[kind]
    return kind


@post("/cats")
async def add(data: Cat) -> Cat:
    """Add a cat."""
    return data


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where it is served."""
    handlers: Any = exception_handlers()
    with served(with_problems(Litestar([find, add], exception_handlers=handlers))) as base:
        yield base


def test_errors_are_problems_reported_once(url: str) -> None:
    """With Retry-After, and nothing of a bug."""
    with heard() as reports:
        shut = httpx.get(f"{url}/cats/shut")
        assert (shut.status_code, shut.headers["Retry-After"]) == (503, "3")
        assert shut.json()["error_id"] == reports.one().error_id
        bug = httpx.get(f"{url}/cats/bug")
        assert (bug.status_code, bug.json()["error_id"]) == (500, reports.one().error_id)
        assert SECRET not in bug.text
        reports.assert_none()


def test_what_the_application_answers_by_itself_keeps_its_status(url: str) -> None:
    """Its words and headers, too; it is no error."""
    with heard() as reports:
        none = httpx.get(f"{url}/cats/none")
        assert (none.status_code, none.json()["detail"]) == (404, "no such cat")
        login = httpx.get(f"{url}/cats/login")
        assert (login.status_code, login.headers["WWW-Authenticate"]) == (401, "Meow")
        assert httpx.get(f"{url}/nowhere").json()["title"] == "Not Found"
        assert httpx.get(f"{url}/cats/Tzara").text == "Tzara"
        reports.assert_none()


def test_a_request_that_does_not_validate_is_pointed_to(url: str) -> None:
    """In its query and in its body; what was sent is not repeated."""
    query = httpx.get(f"{url}/cats/Tzara?limit={SECRET}")
    assert query.status_code == 422
    assert query.headers["Content-Type"] == "application/problem+json"
    assert [(each["in"], each["pointer"]) for each in query.json()["errors"]] == [("query", "#/limit")]
    body = httpx.post(f"{url}/cats", json={"name": "Tzara", "age": SECRET})
    assert [(each["in"], each["pointer"]) for each in body.json()["errors"]] == [("body", "#/age")]
    assert SECRET not in query.text + body.text
