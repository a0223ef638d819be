"""A backup under load, a kill, and a restore: the ledgers balance, and nobody is notified twice of what the backup has."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import aiohttp
from click.testing import CliRunner, Result

from router.cli import main
from router.store import read_ledger
from tests.acceptance.processes import Router, until
from tests.world.fake_pagerduty import KEY, FakePagerDuty
from tests.world.fake_webhook import FakeWebhook

_RULES = """
channels: {{webhook: {{}}, pagerduty: {{events_url: "{pagerduty}"}}}}
receivers:
  all:
    - webhook: {{url: "{hook}"}}
    - pagerduty: {{routing_key: {key}, per: alert}}
route: {{receiver: all}}
"""
_BEFORE, _MEANWHILE = 20, 60


def body(name: str, status: str = "firing") -> bytes:
    alert = {"status": status, "labels": {"alertname": name}, "startsAt": "2026-11-23T11:00:00Z"}
    if status == "resolved":
        alert["endsAt"] = "2026-11-23T11:30:00Z"
    group = {
        "version": "4",
        "groupKey": name,
        "receiver": "r",
        "status": status,
        "groupLabels": {},
        "alerts": [alert],
    }
    return json.dumps(group).encode()


async def run(*arguments: str) -> Result:
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output
    return result


def told(hook: FakeWebhook) -> Counter[tuple[str, str]]:
    """Count the messages by alert and status."""
    return Counter(
        (alert["labels"]["alertname"], alert["status"])
        for call in hook.calls
        for alert in call.body["alerts"]
    )


async def post_until_gone(router: Router) -> list[str]:
    """Post alerts one after the other until the router is killed. Return those that were answered with 200."""
    accepted: list[str] = []
    try:
        for number in range(_MEANWHILE * 100):
            name = f"Meanwhile-{number}"
            if await router.post(body(name)) == 200:
                accepted.append(name)
    except aiohttp.ClientError:
        return accepted
    return accepted


async def test_a_restored_backup_ends_what_it_knows_and_repeats_nothing(tmp_path: Path) -> None:
    before = [f"Before-{number}" for number in range(_BEFORE)]
    async with FakeWebhook() as hook, FakePagerDuty() as pagerduty:
        router = Router(tmp_path, _RULES.format(hook=hook.url, pagerduty=pagerduty.url, key=KEY))
        database, file = f"sqlite:///{router.database}", tmp_path / "backup.db"
        await router.start()
        for name in before:
            assert await router.post(body(name)) == 200
        await hook.until(lambda: all(told(hook)[name, "firing"] for name in before))
        await pagerduty.until(lambda: len(pagerduty.incidents[KEY]) == _BEFORE)

        async def are_recorded() -> bool:
            return (await router.fates()) == {"delivered": 2 * _BEFORE}

        await until(are_recorded, "all deliveries are recorded")
        opened = {each.summary: each.dedup_key for each in pagerduty.incidents[KEY]}
        posting = asyncio.create_task(post_until_gone(router))
        await hook.until(lambda: any(name.startswith("Meanwhile") for name, _ in told(hook)))
        await run("backup", str(file), "--database", database)
        await hook.until(lambda: len(told(hook)) >= _BEFORE + 3)
        await router.kill()
        accepted = await posting
        await run("restore", str(file), "--database", database)
        for kept in (file, router.database):
            ledger = read_ledger(f"sqlite:///{kept}", None, None)
            assert ledger["imbalance"] == 0
            assert _BEFORE < ledger["changes"]["fired"] < _BEFORE + len(accepted) + 2

        await router.start()
        try:
            for name in accepted:  # Alertmanager repeats what fires
                assert await router.post(body(name)) == 200
            for name in (*before, *accepted):
                assert await router.post(body(name, "resolved")) == 200
            everything = {(name, "resolved") for name in (*before, *accepted)}
            await hook.until(lambda: everything <= {*told(hook)})
            of_before = [each for each in pagerduty.incidents[KEY] if "Before-" in each.summary]
            await pagerduty.until(lambda: not any(each.open for each in of_before))
            counts = told(hook)
            assert {counts[name, status] for name in before for status in ("firing", "resolved")} == {1}
            assert {each.summary: each.dedup_key for each in of_before} == opened
            assert all(len(each.triggers) == 1 for each in of_before)
            status = await router.status()
        finally:
            await router.stop()
        assert status["ledger"]["imbalance"] == 0
        assert not hook.refusals
