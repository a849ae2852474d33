"""``@handles_errors`` on plain objects: every colour of handler, another try, cancellation."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest

from resilio import ErrorHandler, IntegrationError, ValidationError, circuit_breaker, with_backoff
from resilio._core import clock
from resilio._core.colour import UnguardableError
from resilio.web.state import ErrorStateMixin, handles_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from resilio import ErrorSeverity
    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio

QUIET = ErrorHandler(log=False)


class Page(ErrorStateMixin):
    """A handler of each colour, each failing as often as it is told."""

    error_handler: ClassVar = QUIET

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls: list[tuple[str, int]] = []
        self.seen: list[str] = []

    def work(self, source: str, times: int) -> str:
        """What every handler does."""
        self.calls.append((source, times))
        if self.failures:
            self.failures -= 1
            msg = "no route"
            raise ConnectionError(msg)
        return source * times

    @handles_errors("work")
    async def by_coroutine(self, source: str, *, times: int = 1) -> str:
        await anyio.lowlevel.checkpoint()
        return self.work(source, times)

    @handles_errors("work")
    def by_function(self, source: str, *, times: int = 1) -> str:
        return self.work(source, times)

    @handles_errors("work")
    async def by_async_generator(self, source: str, *, times: int = 1) -> AsyncGenerator[str]:
        yield "working"
        yield self.work(source, times)

    @handles_errors("work")
    def by_generator(self, source: str, *, times: int = 1) -> Generator[str]:
        yield "working"
        yield self.work(source, times)


COLOURS = ("by_coroutine", "by_function", "by_async_generator", "by_generator")


async def run(page: Page, name: str) -> object:
    """Call the handler as a framework does: await it, or take its updates."""
    result = getattr(page, name)("ab", times=2)
    if inspect.isasyncgen(result):
        return [each async for each in result]
    if inspect.isgenerator(result):
        return list(result)
    return await result if inspect.isawaitable(result) else result


@pytest.mark.parametrize("name", COLOURS)
async def test_a_handler_that_succeeds_gives_what_it_gave_before(name: str) -> None:
    """Its result or its updates; nothing is shown."""
    page = Page()
    assert await run(page, name) == (["working", "abab"] if "generator" in name else "abab")
    assert page.error_message == ""


@pytest.mark.parametrize("name", COLOURS)
async def test_a_handler_that_fails_ends_in_its_state(name: str) -> None:
    """No exception; the updates before the failure came; the message is shown and another try offered."""
    page = Page(failures=1)
    assert await run(page, name) == (["working"] if "generator" in name else None)
    assert page.error_message == "Unable to connect to data source. Please check your connection"
    assert page.error_context["operation"] == "work"
    assert page.retry_possible is True


@pytest.mark.parametrize("name", COLOURS)
async def test_another_try_calls_the_same_handler_with_the_same_arguments(name: str) -> None:
    """Once: what failed is forgotten as soon as it is tried again."""
    page = Page(failures=1)
    await run(page, name)
    await page.retry_operation()
    await page.retry_operation()
    assert page.calls == [("ab", 2), ("ab", 2)]
    assert page.error_message == ""


@pytest.mark.parametrize("name", COLOURS)
async def test_another_try_that_fails_can_be_tried_again(name: str) -> None:
    """Each failure is shown anew."""
    page = Page(failures=2)
    await run(page, name)
    first = page.error_id
    await page.retry_operation()
    assert page.error_id not in ("", first)
    await page.retry_operation()
    assert (len(page.calls), page.error_message) == (3, "")


@pytest.mark.parametrize("name", COLOURS)
def test_the_handler_keeps_its_colour_its_name_and_its_signature(name: str) -> None:
    """Frameworks look inside."""
    handler = getattr(Page, name)
    source = handler.__wrapped__
    for tells in (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction):
        assert tells(handler) == tells(source)
    assert inspect.isfunction(handler)
    assert inspect.signature(handler) == inspect.signature(source)
    assert (handler.__name__, handler.__qualname__) == (name, f"Page.{name}")
    assert handler.__annotations__ == source.__annotations__


async def test_what_failed_can_be_tried_again_after_its_message_has_cleared(virtual_clock: VirtualClock) -> None:
    """The click may be on its way when the message goes."""
    page = Page(failures=1)
    await page.by_coroutine("ab")
    await clock.sleep(6)
    assert page.retry_possible is False
    assert await page.retry_operation() == "ab"


async def test_clearing_by_hand_takes_the_other_try_back() -> None:
    """Whoever dismisses the message has decided."""
    page = Page(failures=1)
    await page.by_coroutine("ab")
    page.clear_error()
    assert await page.retry_operation() is None
    assert len(page.calls) == 1


@pytest.mark.parametrize("name", COLOURS)
async def test_a_new_call_takes_away_what_its_last_failure_left(name: str) -> None:
    """Neither the message nor the other try outlives a success."""
    page = Page(failures=1)
    await run(page, name)
    await run(page, name)
    assert page.error_message == ""
    await page.retry_operation()
    assert len(page.calls) == 2


@pytest.mark.parametrize(
    ("retryable", "error", "offered"),
    [
        (None, ConnectionError(), True),
        (None, KeyError("x"), False),
        (True, KeyError("x"), True),
        (True, ValidationError("bad", field="name", value=1), False),
        (False, ConnectionError(), False),
    ],
    ids=["transient", "unknown", "said-so", "bad-input", "harmful"],
)
async def test_whether_another_try_is_offered(retryable: bool | None, error: Exception, offered: bool) -> None:  # noqa: FBT001
    """As the report says, unless the handler says so; never for bad input, which would be refused again."""

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET

        @handles_errors("order", retryable=retryable)
        async def order(self) -> None:
            raise error

    shop = Shop()
    await shop.order()
    assert shop.retry_possible is offered
    assert (shop._failed_call is not None) is offered


async def test_arguments_that_cannot_be_kept_are_no_other_try() -> None:
    """A lock, an open file: a state that holds one could not be pickled."""

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET

        @handles_errors("order", retryable=True)
        async def order(self, _upload: object) -> None:
            raise ConnectionError

    shop = Shop()
    await shop.order(threading.Lock())
    assert shop.error_message
    assert shop.retry_possible is False


async def test_what_becomes_of_an_argument_after_the_failure_is_no_matter_of_the_other_try() -> None:
    """The arguments are copied with the failure."""

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET
        orders: ClassVar[list[list[str]]] = []

        @handles_errors("order", retryable=True)
        async def order(self, items: list[str]) -> None:
            self.orders.append(list(items))
            raise ConnectionError

    shop, items = Shop(), ["mouse"]
    await shop.order(items)
    items.clear()
    await shop.retry_operation()
    assert shop.orders == [["mouse"], ["mouse"]]


async def test_an_error_handled_by_hand_in_a_handler_can_be_tried_again() -> None:
    """As the reference writes its handlers: `except` blocks of their own, and a status."""

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET
        status = "idle"

        @handles_errors("order", retryable=True)
        async def order(self, item: str) -> None:
            try:
                raise IntegrationError("refused", system="till", operation="pay")
            except IntegrationError as error:
                await self.handle_error(error, "payment", item=item)
                self.status = "error"

    shop = Shop()
    await shop.order("mouse")
    assert (shop.status, shop.error_context["operation"], shop.error_context["item"]) == ("error", "payment", "mouse")
    assert shop.retry_possible is True
    shop.status = "idle"
    await shop.retry_operation()
    assert shop.status == "error"


async def test_cancellation_is_no_error() -> None:
    """It passes through, and nothing is shown."""

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET

        @handles_errors("order")
        async def order(self) -> None:
            await anyio.sleep_forever()

        @handles_errors("orders")
        async def orders(self) -> AsyncGenerator[int]:
            yield 1
            await anyio.sleep_forever()

    shop = Shop()
    with anyio.move_on_after(0.01) as scope:
        await shop.order()
    assert scope.cancelled_caught
    with anyio.move_on_after(0.01) as scope:
        async for _ in shop.orders():
            continue
    assert scope.cancelled_caught
    assert shop.error_message == ""


async def test_a_stream_that_is_left_early_is_closed() -> None:
    """What the handler has to tidy up is tidied up at once."""
    tidied = []

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET

        @handles_errors("orders")
        async def orders(self) -> AsyncGenerator[int]:
            try:
                yield 1
                yield 2
            finally:
                tidied.append(True)

    shop = Shop()
    stream = shop.orders()
    assert await stream.__anext__() == 1
    await stream.aclose()
    assert tidied == [True]
    assert shop.error_message == ""


async def test_what_is_thrown_into_a_stream_reaches_the_handler() -> None:
    """It may catch it and go on; what it does not catch ends in its state. Plain generators do the same."""

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET

        @handles_errors("orders")
        async def orders(self) -> AsyncGenerator[str]:
            try:
                yield "first"
            except KeyError:
                yield "caught"

        @handles_errors("orders")
        def plain_orders(self) -> Generator[str]:
            try:
                yield "first"
            except KeyError:
                yield "caught"

    shop = Shop()
    stream, plain = shop.orders(), shop.plain_orders()
    assert (await stream.__anext__(), next(plain)) == ("first", "first")
    assert (await stream.athrow(KeyError("x")), plain.throw(KeyError("x"))) == ("caught", "caught")
    assert shop.error_message == ""
    with pytest.raises(StopAsyncIteration):
        await stream.athrow(ConnectionError())
    assert shop.error_type == "ConnectionError"
    shop.clear_error()
    with pytest.raises(StopIteration):
        plain.throw(TimeoutError())
    assert shop.error_type == "TimeoutError"


async def test_a_plain_stream_that_is_left_early_is_closed() -> None:
    """And nothing is shown."""
    page = Page()
    updates = page.by_generator("ab")
    assert next(updates) == "working"
    updates.close()
    assert (page.calls, page.error_message) == ([], "")


async def test_policies_inside_a_handler_do_their_work() -> None:
    """A retry that helps shows nothing; one that does not is shown as what it is."""

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET
        attempts = 0
        failures = 1

        @handles_errors("order")
        @circuit_breaker(failure_threshold=10)
        @with_backoff(max_retries=1, base_delay=0)
        async def order(self, item: str) -> str:
            self.attempts += 1
            if self.attempts <= self.failures:
                raise ConnectionError
            return item

    shop = Shop()
    assert await shop.order("mouse") == "mouse"
    assert (shop.attempts, shop.error_message) == (2, "")
    shop.failures = 10
    await shop.order("mouse")
    assert (shop.error_type, shop.error_context["code"]) == ("RetryExhaustedError", "retries_exhausted")
    assert shop.retry_possible is True


# -- plain handlers and the notifier -----------------------------------------------------------------------------------


class Notifier:
    """Notes whom it tells, and in which thread."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.thread: threading.Thread | None = None

    async def send_notification(
        self, _message: str, _details: Any, _severity: ErrorSeverity, _type: str | None
    ) -> None:
        self.thread = threading.current_thread()
        self.told.set()


def page_with(notifier: Notifier) -> Page:
    """A page whose errors are told."""

    class Told(Page):
        error_handler: ClassVar = ErrorHandler(log=False, notifier=notifier)

    return Told(failures=1)


async def test_a_plain_handler_on_a_loop_tells_without_blocking_it() -> None:
    """The message is shown at once, and another thread tells the notifier."""
    notifier = Notifier()
    page = page_with(notifier)
    page.by_function("ab")
    assert page.error_message
    assert await anyio.to_thread.run_sync(notifier.told.wait, 30)
    assert notifier.thread is not threading.current_thread()


def test_without_a_loop_a_plain_handler_waits_for_the_notifier() -> None:
    """In a script nothing is lost when the program ends next; nothing clears by itself, but the next call does it."""
    notifier = Notifier()
    page = page_with(notifier)
    page.by_function("ab")
    assert notifier.told.is_set()
    assert page.error_message
    assert page.by_function("ab") == "ab"
    assert page.error_message == ""


# -- misuse ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "says"),
    [
        ((test_cancellation_is_no_error,), {}, TypeError, "operation must be a text"),
        (("",), {}, ValueError, "operation must be a text that is not empty"),
        (("x",), {"retryable": 1}, TypeError, "retryable must be True, False or None"),
    ],
    ids=["no-parentheses", "empty", "retryable"],
)
def test_bad_arguments_are_refused_by_name(
    arguments: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    """At decoration, not at the first error."""
    with pytest.raises(kind, match=says):
        handles_errors(*arguments, **options)


def test_a_class_cannot_be_decorated() -> None:
    """Its methods can."""
    with pytest.raises(TypeError, match="decorate its methods"):
        handles_errors("x")(Page)


def test_only_a_state_has_handlers() -> None:
    """A function that is no method of a state says so when it is called."""

    @handles_errors("x")
    def handler(_: object) -> None: ...

    with pytest.raises(TypeError, match="must be a method of an ErrorStateMixin"):
        handler(object())


def test_a_plain_handler_that_returns_what_has_not_run_yet_is_refused() -> None:
    """Its errors would come when nobody handles them."""

    class Shop(ErrorStateMixin):
        error_handler: ClassVar = QUIET

        @handles_errors("x")
        def order(self) -> object:
            return (each for each in (1, 2))

        @handles_errors("x")
        def order_later(self) -> object:
            return anyio.sleep(1)

    for order in (Shop().order, Shop().order_later):
        with pytest.raises(UnguardableError, match="whose errors nobody would handle"):
            order()
