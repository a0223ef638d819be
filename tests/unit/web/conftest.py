"""A store of its own for each test, and ``router.web`` served on a socket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from router.store import Store
from router.web import make_app, make_runner
from router.web.app_context import APP_CONTEXT
from tests.unit.web.harness import Client, Serve, WebHarness


class Server(TestServer):
    """Serves with the same runner as the service."""

    async def _make_runner(self, **_options: Any) -> web.AppRunner:
        return make_runner(self.app, self.app[APP_CONTEXT].metrics)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "router.db"


@pytest.fixture
async def store(database: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{database}")
    yield store
    await store.close()


@pytest.fixture
def harness(store: Store) -> WebHarness:
    return WebHarness(store)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    clients: list[Client] = []
    tasks: list[asyncio.Task[None]] = []

    async def start(harness: WebHarness) -> Client:
        client = TestClient(Server(make_app(harness.parts())))
        await client.start_server()
        tasks.append(asyncio.create_task(harness.undecided.serve()))
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
