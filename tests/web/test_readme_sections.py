"""What the README shows for each framework and client is copied, served and asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import httpx
import pytest
from scripted_server import RESET, Reply, Script, serving
from served import served

from resilio.policies import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def block(mark: str) -> str:
    """The one block that holds ``mark``."""
    (found,) = [each for each in BLOCKS if mark in each]
    return str(found)


def run(code: str, **replaced: str) -> dict[str, Any]:
    """Execute a block as a file of its own; its names."""
    for what, by in replaced.items():
        assert what in code
        code = code.replace(what, by)
    names: dict[str, Any] = {"__name__": "copied"}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 -- our own README
    return names


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with registry.fresh():
        yield


@pytest.mark.parametrize(
    "mark", ["resilio.web.fastapi", "resilio.web.starlette", "Idempotency-Key", "from openai", "InterruptedStream"]
)
def test_a_section_is_about_ten_lines(mark: str) -> None:
    """Without its imports and blank lines."""
    lines = [line for line in block(mark).splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert 4 <= len(lines) <= 12


@pytest.mark.slow("its client waits between attempts, and counts to twenty failures")
def test_the_fastapi_section() -> None:
    """Answers, problems, health and 422."""
    with anyio.from_thread.start_blocking_portal() as portal:
        script = Script(otherwise=Reply(200, pieces=(b'{"name": "Tzara"}',)))
        with portal.wrap_async_context_manager(serving(script)):
            code = block("resilio.web.fastapi").replace("https://cats.example", script.url)
            names = run(code, **{"ResilientTransport()": "ResilientTransport(base_delay=0)"})
            with served(names["app"], lifespan="on") as url:
                assert httpx.get(f"{url}/cats/1").json() == {"name": "Tzara"}
                assert httpx.get(f"{url}/cats/x").json()["errors"][0]["pointer"] == "#/number"
                assert httpx.get(f"{url}/health").json()["checks"] == {"dead letters": {"status": "ok"}}
                script.otherwise = Reply(500, pieces=())
                statuses = [httpx.get(f"{url}/cats/1").status_code for _ in range(8)]
                assert statuses[0] == 502
                assert statuses[-1] == 503
                assert int(httpx.get(f"{url}/cats/1").headers["Retry-After"]) >= 1


def test_the_starlette_section() -> None:
    """502 while it is tried, 503 once the circuit is open; the administrator is told once of what is the same error."""
    names = run(block("resilio.web.starlette"))
    with served(names["app"], lifespan="on") as url:
        answers = [httpx.get(f"{url}/print") for _ in range(4)]
    assert [each.status_code for each in answers] == [502, 502, 502, 503]
    assert answers[-1].headers["Retry-After"] == "30"
    assert answers[0].json()["error_id"]
    assert [each.delivered for each in names["admin"].stats().channels.values()] == [1]


@pytest.mark.anyio
async def test_the_httpx_section() -> None:
    """A POST with an idempotency key survives a busy server and a reset."""
    async with serving(Script(Reply(503), RESET, otherwise=Reply(pieces=(b"yours",)))) as script:
        code = block("Idempotency-Key").replace("https://cats.example", script.url)
        names = run(code, **{"max_retries=3": "max_retries=3, base_delay=0"})
        assert await names["order"]("Tzara", "key-1") == "yours"
        assert {each.headers["idempotency-key"] for each in script.asked} == {"key-1"}
        assert len(script.asked) == 3
        await names["client"].aclose()


@pytest.mark.anyio
async def test_the_stream_section() -> None:
    """It goes on where it broke off, with what was said so far."""
    code = block("InterruptedStream").replace("base_delay=0.5", "base_delay=0")
    names = run(code, **{"        yield word": BREAKS})
    asked: list[str] = []
    names["asked"] = asked
    assert "".join([word async for word in names["complete"]("Say it")]) == "Dada is dada"
    assert asked == ["", "Dada "]


BREAKS = """        asked.append(so_far) if not asked or asked[-1] != so_far else None
        yield word
        if not so_far:
            raise ConnectionError"""
