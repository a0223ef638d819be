"""A kill at any step of a start with other rules: the next start continues, and what waits is sent, rarely twice."""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

import aiohttp
import pytest

from router.model import HOUR, MINUTE
from tests.acceptance.lives import Died, Router, stable
from tests.world.conftest import MONDAY_NOON
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.rules import rules

_NIGHT = MONDAY_NOON + 10 * HOUR
# The suite kills at every second step; `make hunt` kills at all.
_EVERY = 1 if "CHAOS_SEED" in os.environ else 2
_WRITES = re.compile(r"start: (INSERT|UPDATE|DELETE|COMMIT)")


def _body(name: str, severity: str) -> bytes:
    labels = {"alertname": name, "cluster": "eu-1", "severity": severity}
    return json.dumps({
        "version": "4", "groupKey": name, "receiver": "r", "status": "firing", "groupLabels": {"alertname": name},
        "alerts": [{"status": "firing", "labels": labels, "startsAt": "2026-11-23T21:00:00Z"}],
    }).encode()  # fmt: skip


async def _post(router: Router, body: bytes) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{router.url}/webhook", data=body) as answer,
    ):
        assert answer.status == 200


async def _interrupted(router: Router) -> int:
    """Return how many attempts a kill interrupted."""
    async with aiohttp.ClientSession() as session, session.get(f"{router.url}/status") as answer:
        ledger = (await answer.json())["ledger"]
    assert ledger["imbalance"] == 0
    assert {fate for fate, count in ledger["fates"].items() if count} == {"delivered"}
    return sum(outcomes.get("interrupted", 0) for outcomes in ledger["deliveries"].values())


@pytest.mark.hunt
async def test_a_kill_during_a_start_with_other_rules_loses_nothing(tmp_path: Path) -> None:
    async with stable() as there, FakeSlack() as slack, FakePagerDuty() as pagerduty, FakeSmtp() as mail:
        first, written = tmp_path / "first", rules(slack, pagerduty, mail)

        async def another(name: str) -> Path:
            """Copy the folder of the first router, in which a warning is held. The new rules send it."""
            folder = tmp_path / name
            await asyncio.to_thread(shutil.copytree, first, folder)
            (folder / "routes.yaml").write_text(written.replace("outside: hold", "outside: send"))
            return folder

        first.mkdir()
        (first / "routes.yaml").write_text(written)
        router = await there.start(first, _NIGHT)
        await _post(router, _body("Disk", "warning"))
        await _post(router, _body("Down", "critical"))
        await router.settle(_NIGHT)
        await router.passed()
        router = await there.start(await another("whole"), _NIGHT)
        await router.settle(_NIGHT + MINUTE)
        points = [point for point in await router.passed() if _WRITES.match(point)]
        sent, killed = len(slack.in_channel("C0WARNINGS")), 0
        assert sent == 1
        for number, point in enumerate(points[::_EVERY]):
            folder = await another(str(number))
            try:
                router = await there.start(folder, _NIGHT, point)
                await router.settle(_NIGHT + MINUTE)
            except Died:
                killed += 1
                await router.gone()
                router = await there.start(folder, _NIGHT)
                await router.settle(_NIGHT + MINUTE)
            twice = len(slack.in_channel("C0WARNINGS")) - sent - 1
            assert 0 <= twice <= await _interrupted(router), point
            sent += 1 + twice
            router.kill()
            await router.gone()
        assert killed > 5
        assert len(slack.in_channel("C0CRITICAL")) == 1
