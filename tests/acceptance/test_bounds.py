"""The real process under a flood of connections, very large bodies and gzip bombs."""

import sys
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from bench.bounds import flooding, peak_memory
from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running
from tests.world.bodies import alert, webhook

_MIN_ROUNDS = 30
_MAX_MEMORY_MIB = 512
_MAX_LOG_BYTES = 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak memory of a process")
async def test_a_flood_stops_no_small_webhook_and_no_probe(folder: Path, providers: Providers) -> None:
    router = Router(folder, providers.routes, environ={"ALERT_ROUTER_LOG_LEVEL": "info"})
    async with running(router):
        answers: Counter[tuple[str, int]] = Counter()
        async with flooding(router.port) as statuses, aiohttp.ClientSession() as session:
            rounds = is_under_load = 0
            while rounds < _MIN_ROUNDS or not is_under_load:
                small = webhook(alert(labels={"alertname": f"Small{rounds}", "severity": "info"}))
                async with session.post(f"{router.url}/webhook", json=small) as answer:
                    answers["webhook", answer.status] += 1
                async with session.get(f"{router.url}/healthz") as answer:
                    answers["probe", answer.status] += 1
                rounds += 1
                # A large body was accepted as well.
                is_under_load = (await router.status())["ledger"]["webhooks"]["accepted"] > rounds
        memory = peak_memory(router.pid)
    assert answers == {("webhook", 200): rounds, ("probe", 200): rounds}
    # 0: the connection ended without an answer.
    assert statuses["bombs"].keys() == {"413"}
    assert {"200", "503"} >= statuses["large"].keys() >= {"503"}
    assert memory < _MAX_MEMORY_MIB
    assert len(router.log) < _MAX_LOG_BYTES
