"""Large bodies: others do not wait for them, and together they have a bound of bytes."""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.clock import SystemClock
from router.model import Millis
from router.store import Receipt, StoreUnavailable
from router.web import AppContext
from tests.unit.web.harness import Client, Serve, WebHarness
from tests.world.bodies import alert, webhook

LARGE = 200_000
"""The limit of a body (bytes). The limit of all bodies together holds three of them, and a fourth in small ones."""
SMALL = json.dumps(webhook(alert("Small"))).encode()


class Kept:
    """A store that keeps what it is given once it may."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.waiting = 0
        self.may = asyncio.Event()
        self.may.set()
        self.came = asyncio.Condition()

    async def accept(self, webhook: Any, *_: Any) -> Receipt:
        async with self.came:
            self.waiting += 1
            self.came.notify_all()
        await self.may.wait()
        self.waiting -= 1
        self.names.append(webhook.alerts[0].labels["alertname"])
        return Receipt()

    async def keep(self, webhook: Any, *_: Any) -> int:
        return (await self.accept(webhook)).webhook

    def refused(self, _: StoreUnavailable) -> None:
        """The log is not looked at here."""

    async def until(self, waiting: int) -> None:
        async with self.came:
            await self.came.wait_for(lambda: self.waiting == waiting)


class Asked(SystemClock):
    """Says when it is asked: a body has come, and is about to be parsed."""

    def __init__(self) -> None:
        super().__init__()
        self.once = asyncio.Event()

    def now(self) -> Millis:
        self.once.set()
        return super().now()


@dataclass
class LargeWeb(WebHarness):
    kept: Kept = field(default_factory=Kept)
    clock: Asked = field(default_factory=Asked)

    def parts(self) -> AppContext:
        store: Any = self.kept
        return replace(
            super().parts(), store=store, store_large_webhook=self.kept.keep, clock=self.clock, in_flight=0
        )


@pytest.fixture
def large(harness: WebHarness) -> LargeWeb:
    return LargeWeb(harness.store, max_body=LARGE)


def group(name: str, count: int, size: int = 0) -> bytes:
    """Of alerts; at least ``size`` bytes."""
    alerts = [alert(name, labels={"alertname": name, "n": str(number)}) for number in range(count)]
    body = json.dumps(webhook(*alerts))
    return (body + " " * (size - len(body))).encode()


@asynccontextmanager
async def upload(client: Client, *lines: str, begin: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
    """A webhook that begins to come and does not end."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write("\r\n".join(["POST /webhook HTTP/1.1", "Host: x", *lines, "", ""]).encode() + begin)
    try:
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


async def post(client: Client, body: bytes, **headers: str) -> tuple[int, str | None]:
    async with client.post("/webhook", data=io.BytesIO(body), headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers.get("Retry-After")


async def until_refused(client: Client) -> None:
    """Return when the bodies under way have reserved their space, so that another large one is refused."""
    while (await post(client, group("Large", 1, LARGE)))[0] != 503:
        pass


async def until_taken(client: Client, body: bytes) -> None:
    """Return when a body is accepted: the space of those whose clients hung up is free again."""
    while (await post(client, body))[0] != 200:
        pass


async def test_a_small_webhook_is_answered_while_a_large_one_is_parsed(large: LargeWeb, serve: Serve) -> None:
    large.max_body = 16 * 2**20
    client = await serve(large)
    first = asyncio.create_task(post(client, group("Large", 20_000)))
    await large.clock.once.wait()
    for _ in range(3):
        assert (await post(client, SMALL))[0] == 200
    assert (await first)[0] == 200
    assert large.kept.names == ["Small", "Small", "Small", "Large"]


async def test_several_large_ones_at_once_take_turns(large: LargeWeb, serve: Serve) -> None:
    large.max_body = 16 * 2**20
    client = await serve(large)
    sent = [asyncio.create_task(post(client, group(f"Large{n}", 5_000))) for n in range(4)]
    await large.clock.once.wait()
    assert (await post(client, SMALL))[0] == 200
    assert [status for status, _ in await asyncio.gather(*sent)] == [200] * 4
    assert sorted(large.kept.names) == ["Large0", "Large1", "Large2", "Large3", "Small"]
    assert large.kept.names.index("Small") < 4


@pytest.mark.parametrize(
    ("lines", "begin"),
    [
        ([f"Content-Length: {LARGE}"], b"{"),
        (["Transfer-Encoding: chunked"], b"%x\r\n%b\r\n" % (LARGE, b" " * LARGE)),
    ],
    ids=["announced", "chunked"],
)
async def test_with_too_many_bytes_in_flight_only_small_bodies_pass(
    lines: list[str], begin: bytes, large: LargeWeb, serve: Serve
) -> None:
    client = await serve(large)
    with capture_logs() as logs:
        async with (
            upload(client, *lines, begin=begin),
            upload(client, *lines, begin=begin),
            upload(client, *lines, begin=begin),
        ):
            await until_refused(client)
            status, retry_after = await post(client, group("Large", 1, LARGE))
            assert (status, retry_after) == (503, "10")
            assert (await post(client, SMALL))[0] == 200
            counted = large.counted("default", "unavailable")
            assert counted is not None
            assert counted >= 2
        await until_taken(client, group("Large", 1, LARGE))
    said = [each["event"] for each in logs if "webhooks" in each["event"]]
    assert said == [
        "webhooks refused: too many bytes are being read",
        "webhooks are accepted again after too many bytes were being read",
    ]


async def test_what_is_refused_is_answered_before_it_comes(large: LargeWeb, serve: Serve) -> None:
    client = await serve(large)
    head = f"Content-Length: {LARGE}"
    async with upload(client, head), upload(client, head), upload(client, head):
        await until_refused(client)
        async with upload(client, head) as late:
            assert (await late.readline()).startswith(b"HTTP/1.1 503")


async def test_of_hundreds_of_slow_uploads_three_have_room(large: LargeWeb, serve: Serve) -> None:
    client = await serve(large)
    connections = [await asyncio.open_connection(client.host, client.port) for _ in range(200)]
    for _, writer in connections:
        writer.write(f"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n\r\n".encode())
    answers = [asyncio.create_task(reader.readline()) for reader, _ in connections]
    for _, answer in zip(range(197), asyncio.as_completed(answers), strict=False):
        assert (await answer).startswith(b"HTTP/1.1 503")
    assert (await post(client, SMALL))[0] == 200
    for task in answers:
        task.cancel()
    assert sum(task.done() for task in answers) == 197
    for _, writer in connections:
        writer.close()


async def test_what_bodies_inflate_to_counts_until_they_are_answered(large: LargeWeb, serve: Serve) -> None:
    client = await serve(large)
    body = gzip.compress(group("Large", 1, LARGE))
    large.kept.may.clear()
    sent = [asyncio.create_task(post(client, body, **{"Content-Encoding": "gzip"})) for _ in range(2)]
    await large.kept.until(waiting=2)
    # Their few bytes count as well: the third body finds less space than it needs.
    assert (await post(client, body, **{"Content-Encoding": "gzip"}))[0] == 503
    large.kept.may.set()
    assert [status for status, _ in await asyncio.gather(*sent)] == [200, 200]
    assert (await post(client, body, **{"Content-Encoding": "gzip"}))[0] == 200


async def test_a_body_that_a_hanging_store_still_holds_counts(large: LargeWeb, serve: Serve) -> None:
    large.keep_seconds = 0.01
    client = await serve(large)
    body = group("Large", 1, LARGE)
    large.kept.may.clear()
    for _ in range(3):
        assert (await post(client, body))[0] == 503
    assert large.kept.waiting == 3
    assert (await post(client, body))[0] == 503
    assert large.kept.waiting == 3
    large.kept.may.set()
    await until_taken(client, body)
