"""The configurations of nginx and HAProxy in docs/howto before two replicas: a replica that stands still, or stops, loses no
webhook and doubles none.
"""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.processes import until
from tests.acceptance.recorded_providers import recorded_providers
from tests.acceptance.replicas import LONG_LEASE_SECONDS, Replica, cluster
from tests.acceptance.reverse_proxies import (
    HAPROXY,
    Proxy,
    haproxy,
    haproxy_config,
    needs_haproxy,
    needs_nginx,
    nginx,
)
from tests.certificates import Authority
from tests.database import rows
from tests.postgresql import Server
from tests.world.bodies import alert, webhook

Start = Callable[[Path, Sequence[int]], AbstractAsyncContextManager[Proxy]]
_AGAIN = {502, 503, 504}
"""What Alertmanager gets while no replica can accept, and repeats."""
_TOKEN = "token-of-prod"
_SOURCES = f"sources: [{{name: prod, bearer_token: {_TOKEN}}}]\n"
"""Because of the header X-Forwarded-For, a request through the proxy is not one of this machine."""
_FIRED = """
SELECT a.labels, count(*) FROM changes c JOIN alerts a ON a.id = c.alert_id
WHERE c.kind = 'fired' AND a.labels LIKE '%Balanced%' GROUP BY a.labels
"""


class Poster:
    """Posts webhooks to the proxy, and repeats them as Alertmanager does."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.answers: Counter[int] = Counter()
        self.names: list[str] = []

    async def post(self, count: int) -> None:
        """Post webhooks one after the other, each with another alert."""
        for _ in range(count):
            name = f"Balanced{len(self.names)}"
            self.names.append(name)
            body = webhook(alert(name), groupKey=f'{{}}:{{alertname="{name}"}}')
            await until(partial(self._is_accepted, body), f"{name} is accepted")

    async def _is_accepted(self, body: object) -> bool:
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            posted = session.post(f"{self._proxy.url}/webhook", json=body, ssl=self._proxy.context)
            async with posted as answer:
                assert answer.status in {200, *_AGAIN}, await answer.text()
                self.answers[answer.status] += 1
                return answer.status == 200


async def _accepts(replica: Replica) -> bool:
    body = json.dumps(webhook(alert("Direct"))).encode()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {_TOKEN}"}) as session,
        session.post(f"{replica.url}/webhook", data=body) as answer,
    ):
        return answer.status == 200


@pytest.mark.parametrize(
    "start", [pytest.param(nginx, marks=needs_nginx), pytest.param(haproxy, marks=needs_haproxy)]
)
async def test_no_replica_that_fails_loses_or_doubles_a_webhook(
    tmp_path: Path, own_postgresql: Server, start: Start
) -> None:
    async with (
        recorded_providers() as (providers, recorder),
        cluster(
            tmp_path, own_postgresql, providers, recorder, count=2, lease_seconds=LONG_LEASE_SECONDS
        ) as replicas,
    ):
        for each in replicas.replicas:
            each.config.write_text(each.config.read_text() + _SOURCES)
        await replicas.start()
        stalled, other = replicas.replicas
        async with start(tmp_path, [each.port for each in replicas.replicas]) as proxy:
            poster = Poster(proxy)
            await poster.post(2)
            stalled.stall()
            # It may stand still in a batch, and then the other one has to wait until PostgreSQL ends its session.
            await until(partial(_accepts, other), "the other replica accepts")
            before, poster.answers = len(other.log), Counter()
            await poster.post(4)  # in turn, so that one of them is for the replica that stands still
            # The proxy has tried the next one. Both fail only if the machine is so busy that the other one refuses, too.
            assert not poster.answers[504] or "can't be written" in other.log[before:]
            stalled.wake_up()
            await until(stalled.is_ready, "it goes on")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(poster.post(6))
                tasks.create_task(other.stop())
            await poster.post(2)
        fired = rows(replicas.url, _FIRED)
        assert len(fired) == len(poster.names)
        assert {count for _, count in fired} == {1}


@needs_haproxy
def test_haproxy_finds_nothing_wrong_in_the_configuration(tmp_path: Path) -> None:
    config = haproxy_config(tmp_path, [1001, 1002], 1003, Authority(tmp_path, "authority"))
    ran = subprocess.run([str(HAPROXY), "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert (ran.returncode, "WARNING" in ran.stderr + ran.stdout) == (0, False), ran.stdout + ran.stderr
