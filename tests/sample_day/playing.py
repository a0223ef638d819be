"""Plays the day: the policy of this repository, fake providers, a clock that jumps from event to event."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp

from router import sample
from router.app import ServeOptions, Service
from router.model import MINUTE, SECOND, Millis
from tests.clock import ManualClock
from tests.world.fake_pagerduty import KEY, FakePagerDuty
from tests.world.fake_slack import TOKEN, FakeSlack, rate_limited
from tests.world.fake_smtp import FakeSmtp
from tests.world.resting import at_rest

ROUTES = Path(__file__).parents[2] / "routes.yaml"
ZONE = ZoneInfo("Europe/Berlin")
NAME = "Checkout and payments down"
BEGIN = "2026-11-20T22:30"
END = "2026-11-21T00:30"
# The receivers are tested on Friday morning.
_DRILL = """
drill:
  at: "09:00"
  weekdays: [friday]
  receivers: [oncall, team]
"""
_STEP: Millis = 15 * MINUTE
Posted = tuple[str, dict[str, Any]]
"""The title of a webhook, and its body."""


def moment(text: str) -> Millis:
    """Return a moment in the time zone of the day (epoch ms)."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * SECOND


@dataclass
class Day:
    """A router during the day."""

    service: Service
    clock: ManualClock
    slack: FakeSlack
    pagerduty: FakePagerDuty
    smtp: FakeSmtp

    async def until(self, text: str) -> None:
        """Let the time pass until a moment of the day."""
        end = moment(text)
        await at_rest(self.service, self.clock)
        while self.clock.now() < end:
            self.clock.advance(min(_STEP, end - self.clock.now()))
            await at_rest(self.service, self.clock)

    async def seconds(self, count: int) -> None:
        """Let some seconds pass, one by one."""
        for _ in range(count):
            self.clock.advance(SECOND)
            await at_rest(self.service, self.clock)

    async def post(self, bodies: list[Posted]) -> None:
        """Post webhooks one after the other, some seconds apart."""
        async with aiohttp.ClientSession() as session:
            for title, body in bodies:
                async with session.post(f"{self.service.url}/webhook", json=body) as answer:
                    assert answer.status == 200, title
                await at_rest(self.service, self.clock)
                await self.seconds(10)


@asynccontextmanager
async def started(folder: Path, at: str) -> AsyncIterator[Day]:
    """Start a router with the policy of this repository at a moment of the day."""
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(FakeSlack())
        pagerduty = await stack.enter_async_context(FakePagerDuty())
        smtp = await stack.enter_async_context(FakeSmtp())
        text = ROUTES.read_text()
        for old, new in (
            ('{token: "${SLACK_BOT_TOKEN}"}', f'{{token: {TOKEN}, api_url: "{slack.url}"}}'),
            ("pagerduty: {}", f'pagerduty: {{events_url: "{pagerduty.url}"}}'),
            ("${PAGERDUTY_ROUTING_KEY}", KEY),
            ("${SMTP_SMARTHOST:-localhost:25}", smtp.smarthost),
        ):
            assert old in text
            text = text.replace(old, new)
        (folder / "routes.yaml").write_text(text + _DRILL)
        clock = ManualClock(moment(at))
        options = ServeOptions(
            folder / "routes.yaml", ("127.0.0.1", 0), database=f"sqlite:///{folder}/router.db"
        )
        service = await Service.open(options, {}, clock)
        stack.push_async_callback(service.stop)
        stack.push_async_callback(service.lanes.stop, 0)
        await service.start()
        yield Day(service, clock, slack, pagerduty, smtp)


def _ends(bodies: list[Posted], now: Millis) -> list[Posted]:
    """Return the webhooks by which all that still fires of the errors of checkout ends."""
    at = datetime.fromtimestamp(now / SECOND, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    last = {str(body["groupKey"]): body for _, body in bodies if "HighErrorRate" in str(body["groupKey"])}
    ended = []
    for body in last.values():
        alerts = [{**each, "status": "resolved", "endsAt": at} for each in body["alerts"]]
        ended.append((f"resolved: {body['groupKey']}", {**body, "status": "resolved", "alerts": alerts}))
    return ended


@asynccontextmanager
async def played(folder: Path) -> AsyncIterator[Day]:
    """Play the day from Friday morning to Saturday after the digest.

    On Friday morning the receivers are tested. On Friday night checkout fails, then payments. Slack refuses the first messages. By midnight all critical alerts have ended.
    """
    async with started(folder, "2026-11-20T07:30") as day:
        await day.until("2026-11-20T09:00")
        await day.seconds(10)
        await day.until("2026-11-20T22:41")
        day.slack.fail(rate_limited(40))
        bodies = list(sample.incident(day.clock.now()))
        await day.post(bodies)
        await day.until("2026-11-20T23:52")
        await day.post(_ends(bodies, day.clock.now()))
        await day.until("2026-11-21T08:05")
        yield day
