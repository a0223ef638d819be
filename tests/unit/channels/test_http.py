"""The HTTP transport over real sockets: deadlines, bounds, redirects, and what statuses and faults mean."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from router.channels.http import (
    MAX_ANSWER_BYTES,
    REDIRECT_REASONS,
    HttpAnswer,
    HttpTransport,
    StatusTable,
    requested_wait,
)
from router.channels.http_faults import RedirectError, fault_outcome
from router.model import MINUTE, SECOND, Broken, Delivered, Outcome, Rejected, Retry
from router.network import DIRECT
from tests.unit.channels.talk import NOW
from tests.world.fake_anything import Anything, after_request, close, drip, http

TABLE = StatusTable(
    broken=frozenset({302, 404, 50001}), rejected=frozenset({400}), waits=frozenset({429, 503}),
    reasons={404: "nothing there", **REDIRECT_REASONS},
)  # fmt: skip


@pytest.fixture
async def provider() -> AsyncIterator[Anything]:
    async with Anything() as provider:
        yield provider


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(DIRECT, timeout=10)  # real time: no test waits for it
    yield transport
    await transport.close()


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ([1], None),
        ("7", 7 * SECOND),
        (" 7 ", 7 * SECOND),
        (0.4213, 422),
        ("0.5", 500),
        (-1, 0),
        (1e99, 10**9 * SECOND),
        ("9" * 5_000, None),
        ("Sat, 21 Nov 2026 08:01:00 GMT", MINUTE),
        ("Sat, 21 Nov 2026 07:00:00 GMT", 0),
        ("Sat, 99 Nov 2026 07:00:00 GMT", None),
    ],
)
def test_a_requested_wait_is_seconds_or_a_date(value: Any, wait: int | None) -> None:
    assert requested_wait(value, NOW) == wait


@pytest.mark.parametrize(
    ("status", "header", "outcome"),
    [
        (204, "", Delivered()),
        (302, "", Broken("http 302: redirect, not followed")),
        (404, "7", Broken("http 404: nothing there")),
        (400, "", Rejected("http 400")),
        (418, "7", Retry("http 418")),
        (429, "7", Retry("http 429", after=7 * SECOND, pause=True)),
        (500, "7", Retry("http 500", ambiguous=True)),
        (503, "7", Retry("http 503", after=7 * SECOND, ambiguous=True)),
    ],
)
def test_a_status_means_what_the_table_says(status: int, header: str, outcome: Outcome) -> None:
    assert TABLE.outcome(HttpAnswer(status, {"Retry-After": header}, b""), NOW) == outcome


def test_a_providers_own_code_can_count_instead_of_the_status() -> None:
    answer = HttpAnswer(400, {}, b'{"code": 50001}')
    reason = TABLE.reason(50001, "vendor")
    assert TABLE.failure(answer, NOW, number=50001, reason=reason) == Broken("vendor 50001")


def test_the_body_may_say_how_long_to_wait() -> None:
    answer = HttpAnswer(429, {"Retry-After": "60"}, b'{"parameters": {"retry_after": 7}}')
    wait = answer.data["parameters"]["retry_after"]
    assert TABLE.failure(answer, NOW, retry_after=wait) == Retry("http 429", after=7 * SECOND, pause=True)


@pytest.mark.parametrize("body", [b"", b"[1]", b"7", b"[" * 100_000, b"\xff", b'{"a": 1'])
def test_a_body_that_is_no_json_object_has_no_data(body: bytes) -> None:
    assert HttpAnswer(200, {}, body).data == {}
    assert HttpAnswer(200, {}, b'{"a": 1}').data == {"a": 1}


async def test_an_answer_is_read_up_to_its_bound(provider: Anything, transport: HttpTransport) -> None:
    provider.speak = http(200, b"x" * (2 * MAX_ANSWER_BYTES))
    answer = await transport.request("POST", f"http://{provider.address}/", json={})
    assert len(answer.body) == MAX_ANSWER_BYTES


async def test_the_status_alone_counts_where_the_body_does_not_matter(
    provider: Anything, transport: HttpTransport
) -> None:
    for status in (200, 404):
        provider.speak = http(status, b"half", Content_Length="1000")
        answer = await transport.request("POST", f"http://{provider.address}/", data=b"x", body_matters=False)
        assert (answer.status, answer.body) == (status, b"")

        async def strict() -> Outcome:
            return TABLE.outcome(await transport.request("GET", f"http://{provider.address}/"), NOW)

        assert await transport.attempt(strict(), "all") == Retry("connection failed", ambiguous=True)


async def test_a_redirect_is_an_answer_and_is_not_followed(
    provider: Anything, transport: HttpTransport
) -> None:
    provider.speak = http(302, Location="/elsewhere")
    answer = await transport.request("POST", f"http://{provider.address}/", json={})
    assert (answer.status, provider.connections) == (302, 1)


async def test_a_library_that_follows_redirects_gets_an_error(
    provider: Anything, transport: HttpTransport
) -> None:
    provider.speak = http(307, Location="/elsewhere")
    with pytest.raises(RedirectError) as caught:
        await transport.session.post(f"http://{provider.address}/")
    assert provider.connections == 1
    assert fault_outcome(caught.value) == Broken("http 307: redirect, not followed")


async def test_the_attempts_deadline_spans_its_requests(provider: Anything) -> None:
    """Each request ends within its own timeout; the attempt ends all the same."""
    transport = HttpTransport(DIRECT, timeout=10, attempt_timeout=0.2)  # real time: a drip outlasts any
    gone = asyncio.Event()

    async def work() -> Outcome:
        provider.speak = http(200)
        await transport.request("GET", f"http://{provider.address}/")
        provider.speak = after_request(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", gone))
        await transport.request("GET", f"http://{provider.address}/")
        raise AssertionError

    assert await transport.attempt(work(), "all") == Retry("timeout", ambiguous=True)
    await gone.wait()
    await transport.close()


async def test_a_fault_is_an_outcome_with_its_cause(provider: Anything, transport: HttpTransport) -> None:
    provider.speak = close

    async def work() -> Outcome:
        await transport.request("GET", f"http://{provider.address}/")
        raise AssertionError

    outcome = await transport.attempt(work(), "all")
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.ambiguous, outcome.cause) == ("connection failed", True, "all")
    assert outcome.words


async def test_what_is_no_address_is_never_asked(transport: HttpTransport) -> None:
    async def work() -> Outcome:
        await transport.request("GET", "no address")
        raise AssertionError

    assert await transport.attempt(work()) == Retry("no web address")
