"""Everything goes wrong at once: kills, and providers that fail in every way; in the end all of them show the truth."""

import asyncio
import logging
import math
import os
import re
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from router.model import Millis
from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Alertmanager, Router, needs_alertmanager, running, until
from tests.database import rows
from tests.world import fake_pagerduty, fake_slack, fake_smtp
from tests.world.fake_pagerduty import KEY

log = logging.getLogger(__name__)
pytestmark = [needs_alertmanager, pytest.mark.hunt]

SEED = int(os.environ.get("CHAOS_SEED") or 20)
KILLS = 20 if os.environ.get("CHAOS_SEED") else 8
"""`make hunt` has the time for more."""
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
    """Dice for all that goes wrong, and a record of all that providers took."""

    def __init__(self, providers: Providers, router: Router, alertmanager: Alertmanager) -> None:
        self._providers = providers
        self._router = router
        self._alertmanager = alertmanager
        self._step = asyncio.Event()
        self.taken: list[tuple[str, Millis]] = []
        """The destination and the moment."""
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
            self.taken.append((destination, time.time_ns() // 1_000_000))  # real time: the router's own
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
        """Now and then, each of them; one that hangs does so for a while."""
        dice = Random(f"{SEED} faults")
        while True:
            for name, faults in FAULTS.items():
                provider = getattr(self._providers, name)
                provider.recover()
                if dice.random() < 0.5:
                    provider.fail(dice.choice(faults))
            await asyncio.sleep(dice.uniform(0.3, 1.2))  # real time: at a random moment

    async def kill(self) -> None:
        """At random moments: while something is told or taken in, and while it starts."""
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
        """Of a provider; if none comes, so be it."""
        self._step.clear()
        try:
            async with asyncio.timeout(0.5):  # real time: at a random moment
                await self._step.wait()
        except TimeoutError:
            return

    async def differences(self) -> list[str]:
        """Where a destination shows something else than Alertmanager."""
        truth = Counter(labels["alertname"] for labels in await self._alertmanager.firing())
        shown = {
            "PagerDuty": (CRITICAL, self._incidents()),
            "Slack": (CRITICAL + WARNING, self._messages()),
            "mail": (CRITICAL + WARNING, self._subjects()),
        }
        return [
            f"{where} shows {name} x {found[name]}, not {truth[name]}"
            for where, (names, found) in shown.items()
            for name in names
            if found[name] != truth[name]
        ]

    def _incidents(self) -> Counter[str]:
        """How many alerts fire, by the alert's name."""
        found: Counter[str] = Counter()
        for incident in self._providers.pagerduty.incidents[KEY]:
            if incident.open:
                payload = incident.triggers[-1]["payload"]
                found[payload["class"]] += len(payload["custom_details"]["firing"])
        return found

    def _messages(self) -> Counter[str]:
        """As the newest message about each says."""
        found: Counter[str] = Counter()
        for posted in self._providers.slack.messages.values():
            name = next(name for name in CRITICAL + WARNING if name in posted.shown)
            firing = re.search(r"(\d+) firing", posted.shown)
            found[name] = int(firing[1]) if firing and "Resolved" not in posted.shown else 0
        return found

    def _subjects(self) -> Counter[str]:
        """As the newest mail about each says."""
        found: Counter[str] = Counter()
        for mail in self._providers.mail.mails:
            name = next(name for name in CRITICAL + WARNING if name in mail.subject)
            firing = re.match(r"\[FIRING:(\d+)\]", mail.subject)
            found[name] = int(firing[1]) if firing else 0
        return found

    def duplicates(self) -> Counter[str]:
        """What was taken in an attempt that isn't recorded as delivered, and so was told again, by its cause.

        :raises AssertionError: something was taken twice without such a cause
        """
        causes: Counter[str] = Counter()
        taken: dict[str, list[Millis]] = {}
        for destination, at in self.taken:
            taken.setdefault(destination, []).append(at)
        attempts = _attempts(self._router.database)
        for destination, moments in taken.items():
            # An edit of Slack's message is followed by a reply in its thread.
            once = 2 if destination.startswith("slack:") else 1
            paired = _paired(moments, attempts.get(destination, []) * once)
            for at, attempt in zip(moments, paired, strict=True):
                assert attempt, f"{destination} was told twice, or before an attempt began, at {at}"
                if attempt.outcome != "delivered":
                    causes[_cause(destination, attempt.outcome, attempt.reason)] += 1
        return causes


def _cause(destination: str, outcome: str, reason: str) -> str:
    if outcome == "interrupted":
        return "killed before it was recorded"
    if reason in {"connection failed", "disconnected", "timeout"}:
        return "its answer was lost"
    assert destination.startswith("slack:"), (
        f"{destination}: {outcome} {reason}, and it was told all the same"
    )
    return "edited, and its reply failed"


class Attempt(NamedTuple):
    started: Millis
    finished: float
    outcome: str
    reason: str


def _paired(moments: list[Millis], attempts: list[Attempt]) -> list[Attempt | None]:
    """For each moment an attempt of its own that was under way then; several may be, and each takes one moment at most.

    As many moments as possible have an attempt, and as many of these as possible were delivered: a matching is extended
    along augmenting paths, and no path takes an attempt out of it.
    """
    chosen: dict[int, int] = {}
    """By the number of a moment: that of its attempt."""

    def extend(attempt: int, tried: set[int]) -> bool:
        started, finished, _, _ = attempts[attempt]
        for number, at in enumerate(moments):
            if started <= at <= finished and number not in tried:
                tried.add(number)
                if number not in chosen or extend(chosen[number], tried):
                    chosen[number] = attempt
                    return True
        return False

    for attempt in sorted(range(len(attempts)), key=lambda each: attempts[each].outcome != "delivered"):
        extend(attempt, set())
    return [attempts[chosen[number]] if number in chosen else None for number in range(len(moments))]


@pytest.mark.parametrize(
    ("moments", "spans", "paired"),
    [
        ([3], [(1, 5, "delivered")], ["delivered"]),
        ([3, 8], [(1, 9, "retry"), (2, 5, "delivered")], ["delivered", "retry"]),
        ([3, 8], [(1, 5, "delivered"), (2, 9, "delivered")], ["delivered", "delivered"]),
        ([3, 4], [(1, 5, "retry"), (2, 9, "retry"), (2, 9, "delivered")], ["retry", "delivered"]),
        ([3, 4], [(1, 5, "delivered")], ["delivered", None]),
        ([6], [(1, 5, "delivered")], [None]),
    ],
)
def test_what_was_taken_is_paired_with_attempts_that_overlap(
    moments: list[Millis], spans: list[tuple[Millis, Millis, str]], paired: list[str | None]
) -> None:
    found = _paired(moments, [Attempt(*span, "") for span in spans])
    assert Counter(each and each.outcome for each in found) == Counter(paired)


def _attempts(database: Path) -> dict[str, list[Attempt]]:
    """By destination and in order: when each was under way, and what came of it."""
    found: dict[str, list[Attempt]] = {}
    attempts = "SELECT destination, started_at, finished_at, outcome, reason FROM deliveries ORDER BY id"
    for destination, started, finished, outcome, reason in rows(database, attempts):
        key = "pagerduty" if destination.startswith("pagerduty:") else destination
        until = math.inf if finished is None else finished
        found.setdefault(key, []).append(Attempt(started, until, outcome, reason))
    return found


async def test_after_kills_at_random_moments_and_all_kinds_of_faults_everybody_shows_the_truth(
    providers: Providers, folder: Path
) -> None:
    routes = providers.routes.replace(", active_time_intervals: [office], outside: hold", "")
    router = Router(folder, routes)
    async with Alertmanager(folder, f"{router.url}/webhook") as alertmanager:
        chaos = Chaos(providers, router, alertmanager)
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

                await until(settled, "everybody shows the truth")
            log.info("told once more: %s", dict(chaos.duplicates()))  # pytest --log-cli-level=info shows it
        except BaseException as error:
            error.add_note(
                f"CHAOS_SEED={SEED} throws the same dice; {await chaos.differences()}; {router.log[-2000:]}"
            )
            raise
