"""The real Alertmanager sends no resolve after a silence, a mute or a restart; the router asks it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import (
    Alertmanager,
    Router,
    needs_alertmanager,
    needs_faketime,
    running,
    until,
)
from tests.database import rows
from tests.world.fake_pagerduty import Page
from tests.world.fake_slack import Want

AMTOOL = shutil.which("amtool")
pytestmark = [
    needs_alertmanager,
    needs_faketime,
    pytest.mark.skipif(AMTOOL is None, reason="needs amtool: apt-get install prometheus-alertmanager"),
]
GONE = "gone from Alertmanager"
MONDAY_NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MONDAY_NIGHT = datetime(2026, 11, 23, 22, 41, tzinfo=UTC)
TUESDAY_MORNING = datetime(2026, 11, 24, 9, 0, 1, tzinfo=UTC)
DOWN = {"alertname": "Down", "cluster": "eu-1", "severity": "critical"}
DISK = {"alertname": "Disk", "cluster": "eu-1", "severity": "warning"}


class Installation:
    """A router that asks its Alertmanager every second; the test sets its clock."""

    def __init__(self, folder: Path, providers: Providers) -> None:
        self.router = Router(folder, providers.routes, faketime=True)
        self.alertmanager = Alertmanager(folder, f"{self.router.url}/webhook")
        source = f'{{name: prod, alertmanager_url: "{self.alertmanager.url}", ask_every: 1s, gone_after: 1s}}'
        (folder / "routes.yaml").write_text(f"{providers.routes}\nsources: [{source}]\n")
        self._database = self.router.database
        self.at(MONDAY_NOON)

    def at(self, moment: datetime) -> None:
        self._now = moment
        self.router.set_time(moment)

    def minutes_pass(self) -> None:
        """Move the clock by more than an answer may be older than a webhook."""
        self.at(self._now + timedelta(minutes=2))

    async def fates(self, **wanted: int) -> None:
        async def ready() -> bool:
            return await self.router.fates() == wanted

        await until(ready, f"the fates are {wanted}")

    async def listed(self) -> None:
        """Wait until Alertmanager has listed every alert of the router: only a listed alert can be gone."""

        async def ready() -> bool:
            found = rows(self._database, "SELECT listed_by FROM alerts")
            return bool(found) and all(peers for (peers,) in found)

        await until(ready, "Alertmanager has listed the alert")

    async def end_unnoticed(self, providers: Providers) -> None:
        """End the alert, of which Alertmanager then sends nothing; wait until the router has resolved it everywhere."""
        self.minutes_pass()
        await self.alertmanager.end(**DOWN)
        self.minutes_pass()
        await providers.pagerduty.until(lambda: not providers.pagerduty.only.open)
        await self.fates(delivered=6)

    async def amtool(self, *command: str) -> str:
        assert AMTOOL is not None
        process = await asyncio.create_subprocess_exec(
            AMTOOL, f"--alertmanager.url={self.alertmanager.url}", *command, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode().strip()

    async def silence(self, name: str) -> str:
        """Silence an alert. :returns: the id of the silence"""
        about = ("--author=test", "--comment=test", "--duration=1h", f"alertname={name}")
        return await self.amtool("silence", "add", *about)

    async def mute_in(self, years: str) -> None:
        """Mute everything by a time interval of Alertmanager."""
        config = self.alertmanager.config
        rules = json.loads(config.read_text())
        rules["time_intervals"] = [{"name": "muted", "time_intervals": [{"years": [years]}]}]
        rules["route"]["routes"] = [{"matchers": ['alertname=~".+"'], "mute_time_intervals": ["muted"]}]
        config.write_text(json.dumps(rules))
        await self.alertmanager.reload()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Alertmanager]:
        async with self.alertmanager, running(self.router):
            yield self.alertmanager


async def test_an_alert_silenced_after_firing_is_resolved_when_it_ends(
    providers: Providers, folder: Path
) -> None:
    installation = Installation(folder, providers)
    async with installation.open() as alertmanager:
        await alertmanager.fire(**DOWN)
        await installation.fates(delivered=3)
        await installation.listed()
        await installation.silence("Down")
        await installation.end_unnoticed(providers)
        providers.slack.expect(Want("C0CRITICAL", ("Resolved", GONE), replies=(GONE,)))
        assert GONE in providers.mail.mails[-1].text


async def test_an_alert_silenced_while_held_is_sent_after_the_silence(
    providers: Providers, folder: Path
) -> None:
    installation = Installation(folder, providers)
    installation.at(MONDAY_NIGHT)
    async with installation.open() as alertmanager:
        await alertmanager.fire(**DISK)
        await installation.fates(held=2)
        silence = await installation.silence("Disk")
        await installation.fates(inhibited=2)
        installation.at(TUESDAY_MORNING)
        await alertmanager.fire(**DOWN)
        await installation.fates(inhibited=2, delivered=3)
        providers.slack.expect(Want("C0CRITICAL", ("Down",)))
        await installation.amtool("silence", "expire", silence)
        await installation.fates(delivered=5)
        providers.slack.expect(Want("C0CRITICAL", ("Down",)), Want("C0WARNINGS", ("Disk", "held since")))


async def test_an_alert_muted_after_firing_is_resolved_when_it_ends(
    providers: Providers, folder: Path
) -> None:
    installation = Installation(folder, providers)
    async with installation.open() as alertmanager:
        await installation.mute_in("1970:1971")
        await alertmanager.fire(**DOWN)
        await installation.fates(delivered=3)
        await installation.listed()
        await installation.mute_in("2000:2999")
        await installation.end_unnoticed(providers)


async def test_an_alert_forgotten_at_a_restart_is_resolved_and_fires_again(
    providers: Providers, folder: Path
) -> None:
    installation = Installation(folder, providers)
    async with installation.open() as alertmanager:
        await alertmanager.fire(**DOWN)
        await installation.fates(delivered=3)
        await installation.listed()
        await alertmanager.restart()
        installation.minutes_pass()
        await providers.pagerduty.until(lambda: not providers.pagerduty.only.open)
        await installation.fates(delivered=6)
        await alertmanager.fire(**DOWN)
        await installation.fates(delivered=9)
        providers.pagerduty.expect(Page("Down", open=False), Page("Down", open=True))
