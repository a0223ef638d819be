"""Kills and provider faults at random moments: in the end every provider shows what Alertmanager has."""

import asyncio
import logging
import os
import re
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from router.model import Millis
from tests.acceptance.attempts import attempts_of, causes_of_duplicates
from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Alertmanager, Router, needs_alertmanager, running, until
from tests.postgresql import Server
from tests.world import fake_pagerduty, fake_slack, fake_smtp
from tests.world.fake_pagerduty import KEY

log = logging.getLogger(__name__)
pytestmark = [needs_alertmanager, pytest.mark.hunt]

SEED = int(os.environ.get("CHAOS_SEED") or 20)
KILLS = 20 if os.environ.get("CHAOS_SEED") else 8
"""`make hunt` has time for more."""
CRITICAL = ("ApiDown", "BusDown", "CacheDown")
WARNING = ("DiskFull", "EntropyLow")
INSTANCES = ("1", "2", "3")
FAULTS = {
    "slack": (
        fake_slack.http(500), fake_slack.rate_limited(1), fake_slack.HANG, fake_slack.CLOSE, fake_slack.LOST_ANSWER,
    ),
    "pagerduty": (
        fake_pagerduty.http(500), fake_pagerduty.http(429, Retry_After="1"), fake_pagerduty.HANG,
        fake_pagerduty.CLOSE, fake_pagerduty.LOST_ANSWER,
    ),
    "mail": (
        fake_smtp.answer("451 4.3.0 try again"), fake_smtp.HANG, fake_smtp.CLOSE, fake_smtp.LOST_ANSWER,
    ),
}  # fmt: skip


class Chaos:
    """Causes faults at random moments, and records every message that a provider accepted."""

    def __init__(
        self, providers: Providers, router: Router, alertmanager: Alertmanager, database: Path | str
    ) -> None:
        self._providers = providers
        self._router = router
        self._alertmanager = alertmanager
        self._database = database
        self._step = asyncio.Event()
        self.taken: list[tuple[str, Millis]] = []
        """The destination and the time of each accepted message."""
        providers.pagerduty.on_step = self._pagerduty
        providers.slack.on_step = self._slack
        providers.mail.on_step = self._mail

    def _pagerduty(self, step: str) -> None:
        self._note(step, "pagerduty")

    def _slack(self, step: str) -> None:
        self._note(step, f"slack:{step.split()[2]}" if "taken" in step else "")

    def _mail(self, step: str) -> None:
        self._note(step, f"email:{self._providers.mail.mails[-1].recipients[0]}" if step == "taken" else "")

    def _note(self, step: str, destination: str) -> None:
        if step.endswith("taken"):
            self.taken.append((destination, time.time_ns() // 1_000_000))  # real time: the router uses it
        self._step.set()

    async def change_alerts(self) -> None:
        dice = Random(f"{SEED} alerts")
        firing: set[tuple[str, str]] = set()
        while True:
            alert = dice.choice([*CRITICAL, *WARNING]), dice.choice(INSTANCES)
            (firing.discard if alert in firing else firing.add)(alert)
            labels = {
                "alertname": alert[0], "instance": alert[1], "cluster": "eu-1",
                "severity": "critical" if alert[0] in CRITICAL else "warning",
            }  # fmt: skip
            await (self._alertmanager.fire if alert in firing else self._alertmanager.end)(**labels)
            await asyncio.sleep(dice.uniform(0.05, 0.4))  # real time: at a random moment

    async def break_providers(self) -> None:
        """Let each provider fail from time to time; one that hangs does so for a while."""
        dice = Random(f"{SEED} faults")
        while True:
            for name, faults in FAULTS.items():
                provider = getattr(self._providers, name)
                provider.recover()
                if dice.random() < 0.5:
                    provider.fail(dice.choice(faults))
            await asyncio.sleep(dice.uniform(0.3, 1.2))  # real time: at a random moment

    async def kill(self) -> None:
        """Kill the router at random moments: while it sends or accepts, and while it starts."""
        dice = Random(f"{SEED} kills")
        for number in range(KILLS):
            if number % 4 == 3:
                await self._router.spawn()
                await asyncio.sleep(dice.uniform(0, 1))  # real time: at a random moment
            else:
                await self._router.start()
                for _ in range(dice.randrange(12)):
                    await self._next_step()
                await asyncio.sleep(dice.uniform(0, 0.05))  # real time: at a random moment
            await self._router.kill()

    async def _next_step(self) -> None:
        """Wait for a step of a provider, for half a second at most."""
        self._step.clear()
        try:
            async with asyncio.timeout(0.5):  # real time: at a random moment
                await self._step.wait()
        except TimeoutError:
            return

    async def differences(self) -> list[str]:
        """Return where a destination differs from Alertmanager."""
        expected = Counter(labels["alertname"] for labels in await self._alertmanager.firing())
        shown = {
            "PagerDuty": (CRITICAL, self._incidents()),
            "Slack": (CRITICAL + WARNING, self._messages()),
            "mail": (CRITICAL + WARNING, self._subjects()),
        }
        return [
            f"{where} shows {name} x {found[name]}, not {expected[name]}"
            for where, (names, found) in shown.items()
            for name in names
            if found[name] != expected[name]
        ]

    def _incidents(self) -> Counter[str]:
        """Return the number of firing alerts by name, from open incidents."""
        found: Counter[str] = Counter()
        for incident in self._providers.pagerduty.incidents[KEY]:
            if incident.open:
                payload = incident.triggers[-1]["payload"]
                found[payload["class"]] += payload["custom_details"]["counts"]["firing"]
        return found

    def _messages(self) -> Counter[str]:
        """Return the number of firing alerts by name, from the newest message about each."""
        found: Counter[str] = Counter()
        for posted in self._providers.slack.messages.values():
            name = next(name for name in CRITICAL + WARNING if name in posted.shown)
            firing = re.search(r"(\d+) firing", posted.shown)
            found[name] = int(firing[1]) if firing and "Resolved" not in posted.shown else 0
        return found

    def _subjects(self) -> Counter[str]:
        """Return the number of firing alerts by name, from the newest mail about each."""
        found: Counter[str] = Counter()
        for mail in self._providers.mail.mails:
            name = next(name for name in CRITICAL + WARNING if name in mail.subject)
            firing = re.match(r"\[FIRING:(\d+)\]", mail.subject)
            found[name] = int(firing[1]) if firing else 0
        return found

    def duplicates(self) -> Counter[str]:
        return causes_of_duplicates(self.taken, attempts_of(self._database))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """None: SQLite."""
    if request.param == "sqlite":
        return None
    server: Server = request.getfixturevalue("postgresql")
    return server.url(server.create())


async def test_after_kills_and_faults_every_provider_is_up_to_date(
    providers: Providers, folder: Path, url: str | None
) -> None:
    routes = providers.routes.replace(", active_time_intervals: [office], outside: hold", "")
    router = Router(folder, routes, database=url)
    async with Alertmanager(folder, f"{router.url}/webhook") as alertmanager:
        chaos = Chaos(providers, router, alertmanager, url or router.database)
        try:
            async with asyncio.TaskGroup() as group:
                troubles = [
                    group.create_task(chaos.change_alerts()), group.create_task(chaos.break_providers())
                ]  # fmt: skip
                await chaos.kill()
                for trouble in troubles:
                    trouble.cancel()
            for provider in (providers.slack, providers.pagerduty, providers.mail):
                provider.recover()
            async with running(router):

                async def settled() -> bool:
                    fates = await router.fates()
                    return fates.keys() <= {"delivered", "obsolete"} and not await chaos.differences()

                await until(settled, "every provider shows what Alertmanager has")
            log.info("duplicates: %s", dict(chaos.duplicates()))  # pytest --log-cli-level=info shows it
        except BaseException as error:
            error.add_note(
                f"CHAOS_SEED={SEED} repeats this run; {await chaos.differences()}; {router.log[-2000:]}"
            )
            raise
