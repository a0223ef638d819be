"""Connections are bounded in number and time, and no sender keeps others out."""

import asyncio
import resource

import pytest
from aiohttp import web

from router.web import ConnectionBounds, descriptor_limit, raise_descriptor_limit
from router.web.connections import RESERVED_DESCRIPTORS
from tests.unit.web.harness import WebHarness
from tests.unit.web.serving import GET, SLOW_BODY, Serving, serving
from tests.waiting import seconds_pass, until

TWO = ConnectionBounds(total=100, per_address=2)
HEADER = GET[:-4]
"""The header of a request without its end."""


async def test_at_the_limit_the_longest_idle_connection_gives_way(harness: WebHarness) -> None:
    async with serving(harness, TWO) as server:
        first, second = await server.talk(), await server.talk()
        assert [await each.status() for each in (first, second, first)] == [200, 200, 200]
        assert await (await server.talk()).status() == 200
        assert await second.closed()
        assert await first.status() == 200
        assert server.closed_by("gave_way") == 1
        assert server.open_connections() == 2


async def test_many_idle_connections_never_stop_a_webhook(harness: WebHarness) -> None:
    async with serving(harness, ConnectionBounds(total=8, per_address=4)) as server:
        idle = [await server.talk(f"127.0.0.{number % 5 + 1}") for number in range(40)]
        for each in (await server.talk("127.0.0.9"), await server.talk("127.0.0.1")):
            await each.begin_post()
            assert await each.status(SLOW_BODY) == 200
        assert server.closed_by("gave_way") >= len(idle) - 8
        assert server.closed_by("all_busy") == 0


async def test_all_connections_together_are_bounded(harness: WebHarness) -> None:
    async with serving(harness, ConnectionBounds(total=2, per_address=2)) as server:
        first, second = await server.talk("127.0.0.1"), await server.talk("127.0.0.2")
        assert [await each.status() for each in (first, second)] == [200, 200]
        assert await (await server.talk("127.0.0.3")).status() == 200
        assert await first.closed()
        assert await second.status() == 200


async def test_an_address_at_its_limit_takes_nothing_from_others(harness: WebHarness) -> None:
    async with serving(harness, TWO) as server:
        other = await server.talk("127.0.0.2")
        assert await other.status() == 200
        for _ in range(5):
            assert await (await server.talk()).status() == 200
        assert await other.status() == 200


async def test_only_if_all_are_busy_a_new_connection_is_closed(harness: WebHarness) -> None:
    async with serving(harness, TWO) as server:
        busy = await server.talk(), await server.talk()
        for each in busy:
            await each.begin_post()
        assert await (await server.talk()).closed()
        assert server.closed_by("all_busy") == 1
        assert [await each.status(SLOW_BODY) for each in busy] == [200, 200]
        assert await (await server.talk()).status() == 200
        assert server.closed_by("gave_way") == 1


@pytest.mark.parametrize("sent", [b"", b"G", HEADER])
async def test_a_first_header_has_ten_seconds(harness: WebHarness, sent: bytes) -> None:
    async with serving(harness, ConnectionBounds()) as server:
        slow = await server.talk()
        slow.writer.write(sent)
        await _received(server, len(sent))
        seconds_pass(11)
        assert await slow.closed()
        assert server.closed_by("slow_header") == 1


async def test_more_bytes_of_a_header_give_it_no_more_time(harness: WebHarness) -> None:
    async with serving(harness, ConnectionBounds()) as server:
        slow = await server.talk()
        for number, each in enumerate(GET[:4], 1):
            slow.writer.write(bytes([each]))
            await _received(server, number)
            seconds_pass(3)
        assert await slow.closed()
        assert server.closed_by("slow_header") == 1


async def test_a_later_header_has_ten_seconds_from_its_first_byte(harness: WebHarness) -> None:
    async with serving(harness, ConnectionBounds()) as server:
        slow = await server.talk()
        assert await slow.status() == 200
        seconds_pass(100)
        assert await slow.status() == 200
        slow.writer.write(HEADER)
        await _waits_for_header(server)
        seconds_pass(11)
        assert await slow.closed()
        assert server.closed_by("slow_header") == 1


async def test_a_header_has_a_limit_of_bytes(harness: WebHarness) -> None:
    async with serving(harness, ConnectionBounds()) as server:
        sender = await server.talk()
        sender.writer.write(HEADER + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8_000) for n in range(20)))
        assert await sender.closed()
        assert server.closed_by("large_header") == 1


async def test_a_header_behind_a_request_in_flight_has_ten_seconds(harness: WebHarness) -> None:
    began, end = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        began.set()
        await end.wait()
        return web.Response()

    async with serving(harness, ConnectionBounds(), None, web.get("/slow", slow)) as server:
        sender = await server.talk()
        sender.writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await began.wait()
        sender.writer.write(HEADER)
        await _waits_for_header(server)
        seconds_pass(11)
        assert await sender.closed()
        assert server.closed_by("slow_header") == 1
        end.set()


async def test_a_refused_request_keeps_no_place(harness: WebHarness) -> None:
    """Its answer is sent, and aiohttp only waits for the rest of its body."""
    async with serving(harness, TWO) as server:
        post = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"
        for _ in range(2):
            assert await (await server.talk()).status(post) >= 400
        for _ in range(3):
            assert await (await server.talk()).status() == 200
        assert server.closed_by("all_busy") == 0


async def test_the_time_of_a_header_does_not_bound_the_body(harness: WebHarness) -> None:
    async with serving(harness, ConnectionBounds()) as server:
        slow = await server.talk()
        await slow.begin_post()
        seconds_pass(11)
        assert await slow.status(SLOW_BODY) == 200


async def test_an_answer_that_the_client_does_not_read_ends(harness: WebHarness) -> None:
    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(2**25))

    async with serving(harness, ConnectionBounds(), None, web.get("/large", large)) as server:
        slow = await server.talk()
        slow.writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")

        async def is_full() -> bool:
            assert server.runner.server is not None
            return any(each.writing_paused for each in server.runner.server.connections)

        await until(is_full, "the buffers are full")
        seconds_pass(61)
        await until(lambda: _is(server.closed_by("unread_answer") == 1), "the connection is closed")
        assert await slow.closed()


async def _is(ready: bool) -> bool:
    return ready


async def _received(server: Serving, count: int) -> None:
    """Return when the router has the connection, and ``count`` bytes of its header."""
    assert server.runner.server is not None
    if count:
        await _waits_for_header(server)
    else:
        await until(lambda: _is(server.open_connections() == 1), "the connection is accepted")
    for _ in range(20):  # the bytes are on their way through the loop
        await asyncio.sleep(0)


async def _waits_for_header(server: Serving) -> None:
    runner = server.runner.server
    assert runner is not None

    async def has_timer() -> bool:
        return any(each._header_timer is not None for each in runner.connections)  # type: ignore[attr-defined]

    await until(has_timer, "the router waits for the rest of a header")


def test_connections_leave_file_descriptors_for_the_rest() -> None:
    few = ConnectionBounds.within_descriptors(4_096, 1_024, RESERVED_DESCRIPTORS + 100)
    assert (few.total, few.per_address) == (100, 100)
    many = ConnectionBounds.within_descriptors(4_096, 1_024, 2**20)
    assert (many.total, many.per_address) == (4_096, 1_024)
    assert ConnectionBounds.within_descriptors(4_096, 1_024, 64).total > 0


def test_the_limit_of_descriptors_is_raised_to_the_hard_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1) if hard > 0 else soft, hard))
        assert raise_descriptor_limit() == descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
