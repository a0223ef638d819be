"""The primary is killed under load, and its synchronous standby is promoted: the router goes on by itself, and has lost nothing."""

import asyncio
import json
import os
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
_SENDERS, _AFTERWARDS = 4, 8
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
    """Posts webhooks without a pause, each until it gets a 200."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._numbers = count()
        self.accepted: list[str] = []
        self.refused = 0

    async def send(self) -> None:
        async with aiohttp.ClientSession() as session:
            for number in self._numbers:
                await self._send_one(session, f"Down{number}")

    async def _send_one(self, session: aiohttp.ClientSession, name: str) -> None:
        while True:
            async with session.post(f"{self._router.url}/webhook", data=body(name)) as answer:
                assert answer.status in {200, 503}, await answer.text()
                if answer.status == 200:
                    self.accepted.append(name)
                    return
                self.refused += 1

    async def until(self, accepted: int) -> None:
        async def enough() -> bool:
            return len(self.accepted) >= accepted

        await until(enough, f"{accepted} webhooks are accepted")


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
        async with running(Router(folder, routes, database=url)) as router:
            load = Load(router)
            senders = [asyncio.create_task(load.send()) for _ in range(_SENDERS)]
            await load.until(Random(_SEED).randrange(5, 40))
            kill(own_postgresql)
            await asyncio.to_thread(other.promote)
            await load.until(len(load.accepted) + _AFTERWARDS)
            for each in senders:
                each.cancel()
            await asyncio.wait(senders)

            async def all_are_sent() -> bool:
                return (await router.fates()).keys() == {"delivered"}

            await until(all_are_sent, "all is delivered")
            sent = {
                incident.triggers[-1]["payload"]["class"] for incident in providers.pagerduty.incidents[KEY]
            }
            assert sent >= set(load.accepted)
            assert load.refused > 0
            assert (await router.status())["store"]["trouble"] is None
