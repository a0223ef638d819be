"""The whole service in this process, over real sockets, on a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from router.app import ServeOptions, Service
from router.model import MINUTE, Millis
from tests.clock import ManualClock
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.resting import at_rest
from tests.world.rules import rules

MONDAY_NOON: Millis = 1_795_435_200_000  # 23 Nov 2026 12:00 UTC
# Leases expire in real time. No test waits for that, and no machine is so slow that one expires during a test.
_LEASE_TERM: Millis = 60 * MINUTE


@dataclass
class World:
    """One service at a time, with providers that refuse what the vendors refuse."""

    folder: Path
    clock: ManualClock
    slack: FakeSlack
    pagerduty: FakePagerDuty
    smtp: FakeSmtp
    service: Service | None = None
    database: str | None = None
    """A URL; None: a file in the folder."""
    replica: str | None = None
    """The name of the replica; None: as the service names itself."""

    @property
    def rules(self) -> str:
        return rules(self.slack, self.pagerduty, self.smtp)

    def write(self, change: Callable[[str], str] = lambda rules: rules) -> Path:
        path = self.folder / "routes.yaml"
        path.write_text(change(self.rules))
        return path

    async def start(
        self,
        change: Callable[[str], str] = lambda rules: rules,
        *,
        watch: bool = False,
        drain: Millis = 10 * MINUTE,
    ) -> None:
        service = await self._open(change, drain=drain)
        await service.start(watch=watch)
        self.service = service

    def begin(self, change: Callable[[str], str] = lambda rules: rules) -> asyncio.Task[None]:
        """Begin to start. :attr:`service` is set when it accepts webhooks."""
        return asyncio.create_task(self._begin(change))

    async def _begin(self, change: Callable[[str], str]) -> None:
        self.service = await self._open(change)
        await self.service.start()

    async def _open(self, change: Callable[[str], str], *, drain: Millis = 10 * MINUTE) -> Service:
        database = self.database or f"sqlite:///{self.folder}/router.db"
        options = ServeOptions(
            self.write(change),
            ("127.0.0.1", 0),
            database=database,
            drain=drain,
            replica=self.replica,
            lease_term=_LEASE_TERM,
        )
        return await Service.open(options, {}, self.clock)

    def twin(self, replica: str) -> "World":
        """Return a world for another replica: it has the same clock, providers and database, and its own routes.yaml."""
        folder = self.folder / replica
        folder.mkdir()
        return replace(self, folder=folder, service=None, replica=replica)

    async def stop(self) -> None:
        if self.service is not None:
            service, self.service = self.service, None
            await service.stop()

    async def end(self) -> None:
        """As :meth:`stop`, but what is due is not sent."""
        if self.service is not None:
            await self.service.lanes.stop(0)
            await self.stop()

    async def post(self, name: str, severity: str, status: str = "firing", **labels: str) -> int:
        """Post one alert in a group of its own, and return the status of the answer."""
        assert self.service is not None
        everything = {"alertname": name, "cluster": "eu-1", "severity": severity, **labels}
        body = {
            "version": "4", "groupKey": f"{name}-{severity}", "receiver": "r", "status": status,
            "groupLabels": {"alertname": name}, "externalURL": "http://alertmanager.example",
            "alerts": [{"status": status, "labels": everything, "startsAt": "2026-11-23T11:00:00Z"}],
        }  # fmt: skip
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.service.url}/webhook", json=body) as answer,
        ):
            return answer.status

    async def reload(self, change: Callable[[str], str]) -> tuple[int, dict[str, Any]]:
        """Change the rules and reload them, and return the status and the body of the answer."""
        assert self.service is not None
        self.write(change)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.service.url}/-/reload") as answer,
        ):
            return answer.status, await answer.json()

    async def get(self, path: str) -> Any:
        """Return what the service answers: JSON, or lines of text."""
        assert self.service is not None
        async with aiohttp.ClientSession() as session, session.get(f"{self.service.url}{path}") as answer:
            assert answer.status == 200
            json = answer.content_type == "application/json"
            return await answer.json() if json else (await answer.text()).splitlines()

    async def at_rest(self) -> None:
        """Wait until the service has done all that can be done before the clock moves."""
        assert self.service is not None
        await at_rest(self.service, self.clock)

    async def fates(self) -> dict[str, int]:
        ledger = await self.ledger()
        return {fate: count for fate, count in ledger["fates"].items() if count}

    async def ledger(self) -> dict[str, Any]:
        assert self.service is not None
        ledger = await self.service.store.pages.status()
        assert ledger["imbalance"] == 0
        return ledger


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(FakeSlack())
        pagerduty = await stack.enter_async_context(FakePagerDuty())
        smtp = await stack.enter_async_context(FakeSmtp())
        world = World(tmp_path, ManualClock(MONDAY_NOON), slack, pagerduty, smtp)
        stack.push_async_callback(world.end)
        yield world
