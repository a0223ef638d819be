"""A new version starts on the database of an old one while a sender keeps posting: nothing is lost."""

import asyncio
import json
from contextlib import closing
from pathlib import Path

import aiohttp

from tests.acceptance.processes import Router
from tests.world.fake_webhook import FakeWebhook
from tests.world.old_versions import Old, labels_of, of_that_version

_RULES = """
channels: {{webhook: {{}}}}
receivers: {{all: [{{webhook: {{url: "{url}"}}}}]}}
route: {{receiver: all}}
"""
_OLD = 50
_NEW = 100


class Sender:
    """Posts one body after the other like Alertmanager, each until it gets a 200."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.refused = 0
        """How many attempts found no listener."""
        self.accepted = asyncio.Semaphore(0)
        self.names: list[str] = []
        """The alerts that were answered with 200."""

    async def run(self) -> None:
        for number in range(_NEW):
            await self._send(f"New-{number}")
            self.accepted.release()

    async def _send(self, name: str) -> None:
        alert = {"status": "firing", "labels": {"alertname": name}, "startsAt": "2026-11-23T11:00:00Z"}
        body = {"version": "4", "groupKey": name, "receiver": "r", "status": "firing", "groupLabels": {}, "alerts": [alert]}  # fmt: skip
        data, status = json.dumps(body).encode(), 0
        while status != 200:
            try:
                status = await self._router.post(data)
            except aiohttp.ClientError:
                self.refused += 1
        self.names.append(name)


def named(hook: FakeWebhook) -> set[str]:
    """Return the alerts that the receiver got."""
    alerts = [alert["labels"] for group in hook.groups.values() for alert in group["alerts"]]
    return {labels.get("instance", labels["alertname"]) for labels in alerts}


async def test_an_upgrade_while_a_sender_keeps_posting_loses_nothing(tmp_path: Path) -> None:
    async with FakeWebhook() as hook:
        router = Router(tmp_path, _RULES.format(url=hook.url))
        with closing(of_that_version(router.database)) as connection:
            old = Old(connection)
            for number in range(_OLD):
                old.alert(f"f{number}", labels_of(f"old-{number}"))
        sender = Sender(router)
        sending = asyncio.create_task(sender.run())
        await router.spawn()
        await sender.accepted.acquire()
        await router.kill()  # in the middle of what follows the upgrade
        await router.start()
        try:
            await sending
            wanted = {*sender.names, *(f"old-{number}" for number in range(_OLD))}
            assert len(wanted) == _OLD + _NEW
            await hook.until(lambda: named(hook) >= wanted)
            ledger = (await router.status())["ledger"]
        finally:
            await router.stop()
        assert sender.refused
        assert ledger["imbalance"] == 0
        assert ledger["firing"] == _OLD + _NEW
        assert ledger["changes"]["fired"] == _OLD + _NEW
        assert not hook.refusals
