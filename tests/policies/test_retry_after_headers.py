"""A server says when to come again, and is believed up to a bound."""

from __future__ import annotations

import email.message
import urllib.error
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import multidict
import pytest
import requests
import yarl
from hypothesis import given
from hypothesis import strategies as st
from ways import Flaky, Way, every_result, every_way

from resilio import RateLimitExceededError, RetryExhaustedError
from resilio._core import clock
from resilio.policies.retry_after import retry_after

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock


class ThrottledError(ConnectionError):
    """An error that carries what a client library's would."""

    def __init__(self, **attributes: object) -> None:
        super().__init__("slow down")
        self.__dict__.update(attributes)


def httpx_error(value: str) -> Exception:
    """As httpx raises it."""
    request = httpx.Request("GET", "http://cats.test")
    return httpx.HTTPStatusError(
        "429", request=request, response=httpx.Response(429, headers={"Retry-After": value}, request=request)
    )


def requests_error(value: str) -> Exception:
    """As requests raises it."""
    response = requests.Response()
    response.status_code = 429
    response.headers["retry-after"] = value
    return requests.HTTPError(response=response)


def aiohttp_error(value: str) -> Exception:
    """As aiohttp raises it."""
    url = yarl.URL("http://cats.test")
    info = aiohttp.RequestInfo(url, "GET", multidict.CIMultiDictProxy(multidict.CIMultiDict()), url)
    return aiohttp.ClientResponseError(info, (), status=429, headers=multidict.CIMultiDict({"RETRY-AFTER": value}))


def botocore_error(value: str) -> Exception:
    """As botocore raises it: a dict, with the names of headers in lower case."""
    return ThrottledError(response={"ResponseMetadata": {"HTTPHeaders": {"retry-after": value}}})


def urllib_error(value: str) -> Exception:
    """As the standard library raises it: the headers are a message."""
    headers = email.message.Message()
    headers["Retry-After"] = value
    return urllib.error.HTTPError("http://cats.test", 429, "slow down", headers, None)


CLIENTS = [httpx_error, requests_error, aiohttp_error, botocore_error, urllib_error]


def in_seconds(seconds: float) -> str:
    """An HTTP date as far away, rounded down to its whole second as dates are."""
    return format_datetime(clock.utcnow() + timedelta(seconds=seconds), usegmt=True)


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
def test_seconds_are_found_in_every_clients_error(client: Any) -> None:
    """httpx, requests, aiohttp, botocore, urllib."""
    assert retry_after(client("7")) == 7


@pytest.mark.parametrize("client", CLIENTS)
def test_a_date_is_found_in_every_clients_error(client: Any, virtual_clock: VirtualClock) -> None:
    """Seconds from now, by our clock."""
    assert retry_after(client(in_seconds(90))) == pytest.approx(90, abs=1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3, 3),
        (0.25, 0.25),
        (0, 0),
        (-3, 0),
        ("3", 3),
        (" 3 ", 3),
        ("0.5", 0.5),
        ("-1", 0),
        (timedelta(minutes=2), 120),
        (timedelta(seconds=-2), 0),
    ],
)
def test_an_attribute_of_the_error_may_be_a_number_a_text_or_a_timedelta(value: object, seconds: float) -> None:
    """Below zero means now."""
    assert retry_after(ThrottledError(retry_after=value)) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "soon",
        "nan",
        "inf",
        float("nan"),
        float("inf"),
        "Mon, 99 Xyz 2024 99:99:99 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 99999 00:00:00 GMT",
        "9" * 400,
        10**400,
        b"3",
        [3],
        {},
        Ellipsis,
    ],
    ids=repr,
)
def test_what_cannot_be_read_counts_as_not_asked(value: object) -> None:
    """A server's nonsense never becomes an error of ours."""
    assert retry_after(ThrottledError(retry_after=value)) is None


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.timedeltas(), st.booleans()))
def test_nothing_that_a_server_sends_can_break_it(value: object) -> None:
    """Seconds from 0, or None."""
    found = retry_after(ThrottledError(retry_after=value))
    assert found is None or 0 <= found < float("inf")


@given(
    st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        st.sampled_from(["Mon", "Tue", "X", ""]),
        st.integers(-1, 40),
        st.sampled_from(["Jan", "Feb", "Foo", "13"]),
        st.integers(-5, 10**6),
        st.integers(-1, 30),
        st.integers(-1, 70),
        st.integers(-1, 70),
        st.one_of(st.sampled_from(["GMT", "-0000", "EST", ""]), st.integers().map(lambda n: f"{n:+05d}")),
    )
)
def test_no_date_that_a_server_sends_can_break_it(value: str) -> None:
    """Nor one that is nearly right."""
    found = retry_after(ThrottledError(retry_after=value))
    assert found is None or 0 <= found < float("inf")


def test_a_date_in_the_past_means_now() -> None:
    """The wait has been served."""
    assert retry_after(ThrottledError(retry_after=in_seconds(-3600))) == 0


def test_a_date_without_a_zone_is_utc() -> None:
    """As RFC 5322 has "-0000"."""
    later = datetime.now(UTC) + timedelta(seconds=60)
    found = retry_after(ThrottledError(retry_after=later.strftime("%a, %d %b %Y %H:%M:%S -0000")))
    assert found == pytest.approx(60, abs=2)


def test_a_date_in_the_old_rfc_850_form_is_read() -> None:
    """Recipients must accept it (RFC 9110, section 5.6.7)."""
    later = datetime.now(UTC) + timedelta(seconds=60)
    found = retry_after(ThrottledError(retry_after=later.strftime("%A, %d-%b-%y %H:%M:%S GMT")))
    assert found == pytest.approx(60, abs=2)


def test_the_attribute_comes_before_the_header() -> None:
    """It is the client library's own reading."""
    error = ThrottledError(retry_after=1, response=SimpleNamespace(headers={"Retry-After": "9"}))
    assert retry_after(error) == 1


def test_headers_of_the_error_itself_are_looked_at() -> None:
    """Where there is no response."""
    assert retry_after(ThrottledError(headers={"retry-after": "4"})) == 4


@pytest.mark.parametrize(
    "response",
    [
        None,
        {},
        {"ResponseMetadata": None},
        {"ResponseMetadata": {"HTTPHeaders": None}},
        {"ResponseMetadata": []},
        SimpleNamespace(headers=None),
        SimpleNamespace(headers=["Retry-After"]),
        "a text",
    ],
)
def test_a_response_of_another_shape_does_no_harm(response: object) -> None:
    """It did not ask."""
    assert retry_after(ThrottledError(response=response)) is None


# -- waiting -----------------------------------------------------------------------------------------------------------


@every_way
def test_the_server_can_lengthen_the_wait(way: Way, virtual_clock: VirtualClock) -> None:
    """By seconds."""
    fn = Flaky(ThrottledError(retry_after=17), "meow")
    assert way.call(way.names.BackoffStrategy(base_delay=1), fn) == "meow"
    assert fn.waits == [17]


@every_way
def test_the_server_can_lengthen_the_wait_by_a_date(way: Way, virtual_clock: VirtualClock) -> None:
    """Dates are read on the same clock."""
    fn = Flaky(ThrottledError(retry_after=in_seconds(100)), "meow")
    assert way.call(way.names.BackoffStrategy(base_delay=1), fn) == "meow"
    assert fn.waits == [pytest.approx(100, abs=1)]


@every_way
@pytest.mark.parametrize("asked", [0, -5, 3, "Mon, 01 Jan 2001 00:00:00 GMT"])
def test_the_server_cannot_shorten_the_wait(way: Way, virtual_clock: VirtualClock, asked: object) -> None:
    """A longer computed wait stays."""
    fn = Flaky(ThrottledError(retry_after=asked), "meow")
    assert way.call(way.names.BackoffStrategy(base_delay=8, jitter=None), fn) == "meow"
    assert fn.waits == [8]


@every_way
def test_the_server_can_exceed_max_delay(way: Way, virtual_clock: VirtualClock) -> None:
    """`max_delay` bounds what we compute, `max_retry_after` what we are told."""
    fn = Flaky(ThrottledError(retry_after=200), "meow")
    assert way.call(way.names.BackoffStrategy(max_delay=2), fn) == "meow"
    assert fn.waits == [200]


@every_way
@pytest.mark.parametrize(("bound", "waited"), [(30, 30), (0, 1)])
def test_the_server_cannot_exceed_the_bound(way: Way, virtual_clock: VirtualClock, bound: float, waited: float) -> None:
    """With a bound of 0 it has no say at all."""
    fn = Flaky(ThrottledError(retry_after=86400), "meow")
    strategy = way.names.BackoffStrategy(base_delay=1, jitter=None, max_retry_after=bound)
    assert way.call(strategy, fn) == "meow"
    assert fn.waits == [waited]


@every_way
def test_the_default_bound_is_five_minutes(way: Way, virtual_clock: VirtualClock) -> None:
    """Nobody waits for a day because a server says so."""
    fn = Flaky(ThrottledError(retry_after=86400), "meow")
    assert way.call(way.names.BackoffStrategy(), fn) == "meow"
    assert fn.waits == [300]


@every_way
def test_our_own_rate_limit_is_honoured_alike(way: Way, virtual_clock: VirtualClock) -> None:
    """`RateLimitExceededError` says how long."""
    fn = Flaky(RateLimitExceededError("too fast", retry_after=12), "meow")
    assert way.call(way.names.BackoffStrategy(base_delay=0), fn) == "meow"
    assert fn.waits == [12]


@every_result
def test_a_refused_response_has_a_say_too(way: Way, virtual_clock: VirtualClock) -> None:
    """Clients that return a 429 instead of raising."""
    refused = httpx.Response(429, headers={"Retry-After": "21"})
    fn = Flaky(refused, httpx.Response(200))
    strategy = way.names.BackoffStrategy(base_delay=0, retry_result=lambda response: response.status_code == 429)
    assert way.call(strategy, fn).status_code == 200
    assert fn.waits == [21]


@every_way
def test_each_failure_is_asked_anew(way: Way, virtual_clock: VirtualClock) -> None:
    """What the first failure wished says nothing about the second one."""
    fn = Flaky(ThrottledError(retry_after=50), ConnectionError(), ThrottledError(retry_after=20))
    with pytest.raises(RetryExhaustedError):
        way.call(way.names.BackoffStrategy(base_delay=1, exponential_base=1, max_retries=3, jitter=None), fn)
    assert fn.waits == [50, 1, 20]
