"""FastAPI: requests that do not validate, dependencies that fail, and an OpenAPI document that tells of problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field, field_validator, model_validator
from reports_kit import heard
from served import served

from resilio import CircuitBreakerOpenError, ValidationError
from resilio.web.fastapi import install
from resilio.web.problem import ProblemDetails

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

SECRET = "hunter22-not-to-be-echoed"  # noqa: S105 -- a canary


class Owner(BaseModel):
    """Whose cat it is."""

    email: str = Field(pattern=r"^[^@]+@[^@]+$")


class Fish(BaseModel):
    """What a cat eats."""

    kind: Literal["fish"]


class Mouse(BaseModel):
    """What else it eats."""

    kind: Literal["mouse"]


class Meal(BaseModel):
    """Found by its tag, and checked as a whole."""

    food: Annotated[Fish | Mouse, Field(discriminator="kind")]
    bowl: str = "blue"

    @model_validator(mode="before")
    @classmethod
    def _no_red_bowls(cls, meal: Any) -> Any:
        if isinstance(meal, dict) and str(meal.get("bowl", "")).startswith("red"):
            msg = f"a {meal['bowl']} bowl frightens cats"
            raise ValueError(msg)
        return meal


class Cat(BaseModel):
    """A cat."""

    name: str = Field(min_length=3)
    age: int = Field(ge=0)
    owners: list[Owner] = []
    tags: dict[str, int] = {}

    @field_validator("name")
    @classmethod
    def _no_dogs(cls, name: str) -> str:
        if "dog" in name:
            msg = f"{name} is no cat"
            raise ValueError(msg)
        if "wolf" in name:
            msg = "wolves are no cats"
            raise ValueError(msg)
        return name


async def session() -> AsyncGenerator[str]:
    """A dependency that cannot be had."""
    raise CircuitBreakerOpenError("shut", breaker="database", retry_after=3)
    yield "session"


router = APIRouter(prefix="/v1")


@router.post("/cats")
async def add(cat: Cat, limit: int = 3, x_colour: Annotated[int, Header()] = 0) -> Cat:
    """Add a cat."""
    return cat


@router.post("/meals")
async def feed(meal: Meal) -> Meal:
    """Feed a cat."""
    return meal


@router.get("/cats/{number}")
async def find(number: int) -> dict[str, int]:
    """Find a cat."""
    if number == 404:
        raise HTTPException(404, detail={"number": number})
    if number == 422:
        raise ValidationError("cats have no such number", field="number", value=number)
    return {"number": number}


@router.get("/session")
async def with_session(found: Annotated[str, Depends(session)]) -> str:
    """Need a session."""
    return found


@router.get("/wrong", response_model=Cat)
async def wrong() -> dict[str, str]:
    """Answer what was not promised."""
    return {"name": SECRET}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The application."""
    app = FastAPI()
    app.include_router(router)
    install(app)
    return app


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    """Where it is served."""
    with served(app) as base:
        yield f"{base}/v1"


def test_each_wrong_part_of_a_body_is_pointed_to(url: str) -> None:
    """By a JSON pointer; nothing of what was sent is repeated."""
    body: Any = {
        "name": "x",
        "age": SECRET,
        "owners": [{"email": "a@b"}, {"email": SECRET}],
        "tags": {"a/b~c d": SECRET},
    }
    with heard() as reports:
        response = httpx.post(f"{url}/cats", json=body)
        reports.assert_none()
    problem = response.json()
    assert response.status_code == problem["status"] == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert {each["pointer"] for each in problem["errors"]} == {
        "#/name",
        "#/age",
        "#/owners/1/email",
        "#/tags/a~1b~0c%20d",
    }
    assert {each["in"] for each in problem["errors"]} == {"body"}
    assert all(each["detail"] for each in problem["errors"])
    assert SECRET not in response.text


def test_other_parts_of_a_request_are_told_apart(url: str) -> None:
    """Query, path and headers have pointers of their own."""
    cat = {"name": "Tzara", "age": 9}
    wrong = httpx.post(f"{url}/cats?limit={SECRET}", json=cat, headers={"X-Colour": SECRET})
    assert {(each["in"], each["pointer"]) for each in wrong.json()["errors"]} == {
        ("query", "#/limit"),
        ("header", "#/x-colour"),
    }
    path = httpx.get(f"{url}/cats/{SECRET}")
    assert [(each["in"], each["pointer"]) for each in path.json()["errors"]] == [("path", "#/number")]
    assert SECRET not in wrong.text
    assert SECRET not in path.text.replace(f"/v1/cats/{SECRET}", "")  # the client's own path, as `instance`


def test_words_of_a_validator_are_told_unless_they_quote(url: str) -> None:
    """An author's text is for the client; what the client sent is not sent back."""
    quoted = httpx.post(f"{url}/cats", json={"name": "dog-Secret-7", "age": 1})
    assert "dog-Secret-7" not in quoted.text
    whole = httpx.post(f"{url}/meals", json={"food": {"kind": "fish"}, "bowl": "red-Secret-7"})
    assert whole.status_code == 422
    assert "red-Secret-7" not in whole.text
    tag = httpx.post(f"{url}/meals", json={"food": {"kind": "Secret-7"}})
    assert "Secret-7" not in tag.text
    assert "'fish', 'mouse'" in tag.json()["errors"][0]["detail"]
    said = httpx.post(f"{url}/cats", json={"name": "wolf", "age": 1})
    assert "wolves are no cats" in said.json()["errors"][0]["detail"]


def test_a_body_that_is_no_json_points_to_the_whole(url: str) -> None:
    """There is nothing in it to point to."""
    response = httpx.post(f"{url}/cats", content=b'{"name": ', headers={"Content-Type": "application/json"})
    assert [each["pointer"] for each in response.json()["errors"]] == ["#"]


def test_many_errors_are_cut(url: str) -> None:
    """An answer is no larger than it helps."""
    response = httpx.post(f"{url}/cats", json={"name": "Tzara", "age": 1, "owners": [{"email": ""}] * 500})
    assert len(response.json()["errors"]) == 50


def test_a_page_tells_what_to_mend(url: str) -> None:
    """In the reader's language."""
    response = httpx.post(f"{url}/cats", json={}, headers={"Accept": "text/html", "Accept-Language": "de"})
    assert '<html lang="de">' in response.text
    assert "<code>#/name</code>" in response.text


def test_errors_of_dependencies_and_handlers_are_problems(url: str) -> None:
    """Whoever raises them."""
    shut = httpx.get(f"{url}/session")
    assert (shut.status_code, shut.headers["Retry-After"]) == (503, "3")
    ours = httpx.get(f"{url}/cats/422").json()
    assert (ours["status"], ours["errors"][0]["pointer"]) == (422, "#/number")
    assert httpx.get(f"{url}/cats/404").json()["status"] == 404
    assert httpx.get(f"{url}/cats/7").json() == {"number": 7}


def test_an_answer_that_breaks_its_promise_is_our_mistake(url: str) -> None:
    """The client learns no more than the id of the report."""
    with heard() as reports:
        response = httpx.get(f"{url}/wrong")
        assert response.json()["error_id"] == reports.one().error_id
    assert response.status_code == 500
    assert SECRET not in response.text


def test_operations_are_named_by_their_route(url: str) -> None:
    """One operation, whatever the number."""
    with heard() as reports:
        httpx.get(f"{url}/cats/422")
        assert reports.one().operation == "GET /v1/cats/{number}"


def test_the_openapi_document_tells_of_problems(url: str, app: FastAPI) -> None:
    """In place of FastAPI's own schema for 422."""
    document = httpx.get(f"{url.removesuffix('/v1')}/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert schemas["ProblemDetails"] == ProblemDetails.json_schema()
    assert "HTTPValidationError" not in schemas
    assert "ValidationError" not in schemas
    expected = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    responses = document["paths"]["/v1/cats"]["post"]["responses"]
    assert responses["422"]["content"] == responses["default"]["content"] == expected
    assert "200" in responses
    assert app.openapi() is app.openapi()


def test_a_problem_fits_its_schema(url: str) -> None:
    """Every member of a real answer is one that the schema knows, of the type that it says."""
    kinds = {"string": str, "integer": int, "array": list}
    schema = ProblemDetails.json_schema()
    for response in (httpx.post(f"{url}/cats", json={}), httpx.get(f"{url}/session")):
        problem = response.json()
        assert set(schema["required"]) <= set(problem)
        for name, value in problem.items():
            assert isinstance(value, kinds[schema["properties"][name]["type"]])
