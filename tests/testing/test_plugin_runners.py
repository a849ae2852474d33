from __future__ import annotations

import textwrap

import pytest

pytestmark = pytest.mark.slow("runs pytest in a process of its own")

RUNNERS = ("anyio", "asyncio", "trio", "randomly", "xdist")

BODY = """
import time
import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings, strategies
from resilio._core import clock

@MARK
async def test_an_hour(virtual_clock):
    await anyio.sleep(3600)
    await clock.sleep(3600)
    assert virtual_clock.elapsed == 7200

@MARK
async def test_a_deadline(virtual_clock):
    with pytest.raises(TimeoutError), anyio.fail_after(10):
        await anyio.sleep(11)
    assert virtual_clock.elapsed == 10

@MARK
async def test_a_job(virtual_clock):
    with anyio.fail_after(10):
        await anyio.to_thread.run_sync(time.sleep, 0.05)
    assert virtual_clock.elapsed == 0

class TestMethods:
    @MARK
    @pytest.mark.parametrize("seconds", [60, 120])
    async def test_a_method(self, virtual_clock, seconds):
        await anyio.sleep(seconds)
        assert virtual_clock.elapsed == seconds

@MARK
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=strategies.integers(1, 1000))
async def test_examples(virtual_clock, seconds):
    await anyio.sleep(seconds)
    assert virtual_clock.elapsed == seconds

@pytest.fixture(FIXTURE)
async def server():
    await anyio.sleep(0)
    yield "up"
    await anyio.sleep(0)

@MARK
async def test_an_async_fixture(virtual_clock, server):
    assert server == "up"
    await anyio.sleep(60)
    assert virtual_clock.elapsed == 60

def test_blocking(virtual_clock):
    clock.sleep_blocking(3600)
    assert virtual_clock.elapsed == 3600

@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=strategies.integers(1, 1000))
def test_blocking_examples(virtual_clock, seconds):
    clock.sleep_blocking(seconds)
    assert virtual_clock.elapsed == seconds
"""


def body(mark: str, *, head: str = "", fixture: str = "") -> str:
    """The test file above, for one runner."""
    return head + BODY.replace("@MARK", mark).replace("FIXTURE", fixture)


def run(
    pytester: pytest.Pytester, source: str, *options: str, ini: str = "", only: tuple[str, ...] = ()
) -> pytest.RunResult:
    """Run ``source`` with the given plugins and no other that could interfere."""
    pytester.makepyfile(source)
    loops = "asyncio_default_fixture_loop_scope = function\n" if "asyncio" in only else ""
    pytester.makeini("[pytest]\nfilterwarnings = error\n" + loops + ini)
    others = [option for name in RUNNERS if name not in only for option in ("-p", f"no:{name}")]
    return pytester.runpytest_subprocess(*others, *options)


def test_under_the_anyio_plugin(pytester: pytest.Pytester) -> None:
    """On both backends, each test lives on its virtual clock."""
    result = run(pytester, body("@pytest.mark.anyio"), only=("anyio",))
    result.assert_outcomes(passed=7 * 2 + 2)


def test_under_the_anyio_plugin_in_auto_mode(pytester: pytest.Pytester) -> None:
    """So it does where nothing is marked."""
    result = run(pytester, body(""), ini="anyio_mode = auto\n", only=("anyio",))
    result.assert_outcomes(passed=7 * 2 + 2)


def test_under_pytest_asyncio_in_strict_mode(pytester: pytest.Pytester) -> None:
    """Tests and fixtures that pytest-asyncio is told to run live on the clock."""
    source = body("@pytest.mark.asyncio", head="import pytest_asyncio\n").replace(
        "@pytest.fixture()", "@pytest_asyncio.fixture"
    )
    run(pytester, source, ini="asyncio_mode = strict\n", only=("asyncio",)).assert_outcomes(passed=7 + 2)


def test_under_pytest_asyncio_in_auto_mode(pytester: pytest.Pytester) -> None:
    """So do those that it takes by itself."""
    result = run(pytester, body(""), ini="asyncio_mode = auto\n", only=("asyncio",))
    result.assert_outcomes(passed=7 + 2)


def test_under_pytest_asyncio_with_one_loop_for_all(pytester: pytest.Pytester) -> None:
    """A loop that serves many tests comes to live on one clock after the other."""
    ini = "asyncio_mode = auto\nasyncio_default_test_loop_scope = session\n"
    result = run(pytester, body("", fixture='scope="function"'), ini=ini, only=("asyncio",))
    result.assert_outcomes(passed=7 + 2)


def test_under_pytest_trio(pytester: pytest.Pytester) -> None:
    """Tests of pytest-trio live on the clock, also beside its own clock that jumps."""
    source = body("@pytest.mark.trio") + textwrap.dedent(
        """
        @pytest.mark.trio
        async def test_beside_the_clock_of_trio(autojump_clock, virtual_clock):
            await anyio.sleep(60)
            assert virtual_clock.elapsed == 60
        """
    )
    run(pytester, source, ini="trio_mode = true\n", only=("trio",)).assert_outcomes(passed=7 + 1 + 2)


def test_under_xdist(pytester: pytest.Pytester) -> None:
    """In the workers of pytest-xdist nothing is different."""
    result = run(pytester, body("@pytest.mark.anyio"), "-n", "2", only=("anyio", "xdist"))
    result.assert_outcomes(passed=7 * 2 + 2)


def test_in_random_order(pytester: pytest.Pytester) -> None:
    """Nor is it in random order."""
    result = run(pytester, body("@pytest.mark.anyio"), "--randomly-seed=1", only=("anyio", "randomly"))
    result.assert_outcomes(passed=7 * 2 + 2)


def test_beside_all_of_them(pytester: pytest.Pytester) -> None:
    """With every runner installed, and each test marked for one, all go well."""
    source = body("@pytest.mark.anyio") + textwrap.dedent(
        """
        @pytest.mark.asyncio
        async def test_of_asyncio(virtual_clock):
            await anyio.sleep(60)
            assert virtual_clock.elapsed == 60

        @pytest.mark.trio
        async def test_of_trio(virtual_clock):
            await anyio.sleep(60)
            assert virtual_clock.elapsed == 60
        """
    )
    result = run(pytester, source, only=RUNNERS)
    result.assert_outcomes(passed=7 * 2 + 2 + 2)


def test_without_any_of_them(pytester: pytest.Pytester) -> None:
    """Blocking tests need no runner."""
    source = """
    from resilio._core import clock

    def test_blocking(virtual_clock):
        clock.sleep_blocking(3600)
        assert virtual_clock.elapsed == 3600
    """
    run(pytester, textwrap.dedent(source)).assert_outcomes(passed=1)


def test_on_uvloop(pytester: pytest.Pytester) -> None:
    """On uvloop the test fails, and the error says what is wrong and what to do."""
    pytest.importorskip("uvloop")
    source = """
    import pytest

    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
    async def test_it(virtual_clock):
        pass
    """
    result = run(pytester, textwrap.dedent(source), only=("anyio",))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*RuntimeError: virtual time needs asyncio's own selector loop, or trio;*uvloop.Loop*")
