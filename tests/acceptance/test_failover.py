"""The primary is killed under load, and its synchronous standby is promoted: both replicas go on by themselves, and nothing is lost."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random

import aiohttp
import pytest

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running, until
from tests.postgresql import Server
from tests.standby import kill, make_synchronous, standby
from tests.tcp_proxy import proxied
from tests.world.fake_pagerduty import KEY

_SEED = int(os.environ.get("CHAOS_SEED") or 14)
_SENDERS, _AFTERWARDS = 2, 8
"""How many senders each replica has, and how many webhooks it accepts after the failover."""
_ROUTES = """
timezone: UTC
channels: {{pagerduty: {{events_url: "{url}"}}}}
receivers: {{oncall: [{{pagerduty: {{routing_key: {key}, rate: 6000/m burst 100}}}}]}}
route: {{receiver: oncall}}
"""


def body(name: str) -> bytes:
    labels = {"alertname": name, "severity": "critical"}
    return json.dumps({
        "version": "4", "groupKey": name, "receiver": "r", "status": "firing", "groupLabels": {"alertname": name},
        "alerts": [{"status": "firing", "labels": labels, "startsAt": "2026-11-23T11:00:00Z"}],
    }).encode()  # fmt: skip


class Load:
    """Posts webhooks to each replica without a pause, each until it gets a 200."""

    def __init__(self, replicas: Sequence[Router]) -> None:
        self._replicas = replicas
        self._numbers = count()
        self.accepted: list[str] = []
        self._refused: Counter[Router] = Counter()
        self._by_replica: Counter[Router] = Counter()

    async def send(self, replica: Router) -> None:
        async with aiohttp.ClientSession() as session:
            for number in self._numbers:
                await self._send_one(session, replica, f"Down{number}")

    async def _send_one(self, session: aiohttp.ClientSession, replica: Router, name: str) -> None:
        while True:
            async with session.post(f"{replica.url}/webhook", data=body(name)) as answer:
                assert answer.status in {200, 503}, await answer.text()
                if answer.status == 200:
                    self.accepted.append(name)
                    self._by_replica[replica] += 1
                    return
                self._refused[replica] += 1

    async def be_refused(self) -> None:
        """Return when each replica has refused a webhook."""

        async def all_have() -> bool:
            return all(self._refused[each] for each in self._replicas)

        await until(all_have, "each replica refuses a webhook")

    async def go_on(self, accepted: int) -> None:
        """Return when each replica has accepted so many more webhooks."""
        before = self._by_replica.copy()

        async def enough() -> bool:
            return all(self._by_replica[each] >= before[each] + accepted for each in self._replicas)

        await until(enough, f"{accepted} webhooks are accepted by each replica")


def replica(folder: Path, routes: str, url: str) -> Router:
    folder.mkdir()
    return Router(folder, routes, database=url, options=("--replica-name", folder.name))


@pytest.mark.hunt
async def test_a_failover_to_a_synchronous_standby_loses_nothing(
    providers: Providers, folder: Path, own_postgresql: Server
) -> None:
    name = own_postgresql.create()
    with (
        standby(own_postgresql) as other,
        proxied(own_postgresql.socket) as first,
        proxied(other.socket) as second,
    ):
        make_synchronous(own_postgresql)
        url = f"postgresql://postgres@127.0.0.1:{first.port},127.0.0.1:{second.port}/{name}"
        routes = _ROUTES.format(url=providers.pagerduty.url, key=KEY)
        replicas = [replica(folder / name, routes, url) for name in ("a", "b")]
        async with running(replicas[0]), running(replicas[1]):
            load = Load(replicas)
            senders = [asyncio.create_task(load.send(each)) for each in replicas * _SENDERS]
            await load.go_on(Random(_SEED).randrange(3, 20))
            kill(own_postgresql)
            await load.be_refused()
            await asyncio.to_thread(other.promote)
            await load.go_on(_AFTERWARDS)
            for task in senders:
                task.cancel()
            await asyncio.wait(senders)

            async def all_are_sent() -> bool:
                return all([(await each.fates()).keys() == {"delivered"} for each in replicas])

            await until(all_are_sent, "all is delivered")
            sent = {
                incident.triggers[-1]["payload"]["class"] for incident in providers.pagerduty.incidents[KEY]
            }
            assert sent >= set(load.accepted)
            for each in replicas:
                assert (await each.status())["store"]["trouble"] is None
