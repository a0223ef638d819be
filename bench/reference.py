"""Handlers to compare the router with: ``python -m bench.reference KIND PORT LOOP [DATABASE [SINK]]``.

``bare`` reads the body and answers. ``decode`` decodes it with pydantic, too. ``durable`` is the least durable handler:
it decodes, and answers once one webhook row and three delivery rows are on the disk. ``skeleton`` is the least durable
notifier: it keeps a webhook like that, posts it to the sink over 16 connections, and records that.
"""

import asyncio
import importlib
import queue
import sqlite3
import sys
import threading
from datetime import datetime
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import BaseModel, TypeAdapter

_LANES = 16
_DELIVERIES = 3
_TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE webhooks (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY, webhook_id INTEGER NOT NULL, destination TEXT NOT NULL, outcome TEXT
);
"""


class Alert(BaseModel):
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: datetime  # noqa: N815  (Alertmanager's name)
    endsAt: datetime  # noqa: N815
    generatorURL: str  # noqa: N815
    fingerprint: str


class Webhook(BaseModel):
    version: str
    groupKey: str  # noqa: N815
    status: str
    receiver: str
    groupLabels: dict[str, str]  # noqa: N815
    externalURL: str  # noqa: N815
    alerts: list[Alert]


_decode = TypeAdapter(Webhook).validate_json


class Writer:
    """A writer with one thread and one connection. All waiting work is one transaction; futures end with its commit."""

    def __init__(self, database: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[str, int, bytes, asyncio.Future[int]]] = queue.SimpleQueue()
        self._database = database
        threading.Thread(target=self._run, daemon=True).start()

    def keep(self, body: bytes, deliveries: int) -> asyncio.Future[int]:
        return self._put("keep", deliveries, body)

    def record(self, webhook: int) -> asyncio.Future[int]:
        return self._put("record", webhook, b"")

    def _put(self, what: str, number: int, body: bytes) -> asyncio.Future[int]:
        future: asyncio.Future[int] = self._loop.create_future()
        self._jobs.put((what, number, body, future))
        return future

    def _run(self) -> None:
        connection = sqlite3.connect(self._database, isolation_level=None)
        connection.executescript(_TABLES)
        last = 0
        while True:
            batch = [self._jobs.get()]
            while not self._jobs.empty():
                batch.append(self._jobs.get())
            webhooks: list[tuple[int, bytes]] = []
            deliveries: list[tuple[int, str]] = []
            recorded: list[tuple[int]] = []
            done = []
            for what, number, body, future in batch:
                if what == "keep":
                    last += 1
                    webhooks.append((last, body))
                    deliveries += [(last, f"destination-{n}") for n in range(number)]
                else:
                    recorded.append((number,))
                done.append((future, last))
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO webhooks VALUES (?, ?)", webhooks)
            connection.executemany(
                "INSERT INTO deliveries (webhook_id, destination) VALUES (?, ?)", deliveries
            )
            connection.executemany("UPDATE deliveries SET outcome = 'delivered' WHERE id = ?", recorded)
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_answer, done)


def _answer(done: list[tuple[asyncio.Future[int], int]]) -> None:
    for future, number in done:
        if not future.done():
            future.set_result(number)


class Handlers:
    def __init__(self, database: str, sink: str) -> None:
        self._writer = Writer(database) if database else None
        self._sink = sink
        self._due: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._lanes: list[asyncio.Task[None]] = []
        if sink:
            session = aiohttp.ClientSession()
            self._lanes = [asyncio.create_task(self._lane(session)) for _ in range(_LANES)]

    @staticmethod
    async def bare(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"status": "accepted"})

    async def decode(self, request: web.Request) -> web.Response:
        _decode(await request.read())
        return web.json_response({"status": "accepted"})

    async def durable(self, request: web.Request) -> web.Response:
        body = await request.read()
        _decode(body)
        assert self._writer is not None
        await self._writer.keep(body, _DELIVERIES)
        return web.json_response({"status": "accepted"})

    async def skeleton(self, request: web.Request) -> web.Response:
        body = await request.read()
        _decode(body)
        assert self._writer is not None
        self._due.put_nowait((await self._writer.keep(body, 1), body))
        return web.json_response({"status": "accepted"})

    async def _lane(self, session: aiohttp.ClientSession) -> None:
        assert self._writer is not None
        while True:
            number, body = await self._due.get()
            async with session.post(self._sink, data=body) as answer:
                await answer.read()
            self._writer.record(number)


async def serve(kind: str, port: int, database: str, sink: str) -> None:
    app = web.Application()
    app.router.add_post("/webhook", getattr(Handlers(database, sink), kind))
    app.router.add_get("/healthz", Handlers.bare)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def main(kind: str, port: str, loop: str, database: str = "", sink: str = "") -> None:
    factory: Any = None if loop == "asyncio" else importlib.import_module(loop).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(kind, int(port), database, sink))


if __name__ == "__main__":
    main(*sys.argv[1:])
