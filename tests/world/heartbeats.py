"""Rules with a heartbeat, and what tests ask about silence."""

from collections.abc import Callable
from typing import Any

import aiohttp

from router.model import Millis
from tests.world.conftest import World

HEARTBEAT = """
heartbeats:
  - {name: watchdog, matchers: ['alertname="Watchdog"'], within: 10m, receiver: watchers}
"""
WATCHERS = "C0WATCHERS"
TOKENS = {"am1": "token-of-am1-aaaa", "am2": "token-of-am2-bbbb"}


def with_heartbeat(more: str = HEARTBEAT) -> Callable[[str], str]:
    """Return a change of the rules: a receiver for silence, and more sections."""
    receiver = f"  watchers:\n    - slack: {{channel: {WATCHERS}}}\ntime_intervals:"
    return lambda rules: rules.replace("time_intervals:", receiver, 1) + more


def sources(**more: str) -> str:
    """Return the section ``sources:``. :param more: more keys of a source, like ``am1="silent_after: 30m"``"""
    lines = "".join(
        f"  - {{name: {name}, bearer_token: {token}, {more.get(name, '')}}}\n"
        for name, token in TOKENS.items()
    )
    return f"sources:\n{lines}"


async def post(
    world: World,
    name: str = "Watchdog",
    status: str = "firing",
    source: str | None = None,
    severity: str = "none",
) -> None:
    """Post one alert in a group of its own."""
    assert world.service is not None
    labels = {"alertname": name, "severity": severity, "cluster": "eu-1"}
    alerts = [{"status": status, "labels": labels, "startsAt": "2026-11-23T11:00:00Z"}]
    body = {
        "version": "4", "groupKey": f"{name}-{severity}", "receiver": "r", "status": status,
        "groupLabels": {"alertname": name}, "externalURL": "http://alertmanager.example", "alerts": alerts,
    }  # fmt: skip
    headers = {} if source is None else {"Authorization": f"Bearer {TOKENS[source]}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/webhook", json=body, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def pass_time(world: World, by: Millis) -> None:
    """Let time pass, and the service do all that is to be done then."""
    world.clock.advance(by)
    await world.at_rest()


def said(world: World) -> list[str]:
    """Return what the watchers see now: the text of each message, the newest last."""
    return [each.shown for each in world.slack.in_channel(WATCHERS)]


async def watched(world: World, heartbeat: str = "watchdog") -> dict[str, dict[str, Any]]:
    """Return what the API says about a heartbeat, by source."""
    found = await world.get("/api/v1/heartbeats")
    return {each["source"]: each for each in found["items"] if each["heartbeat"] == heartbeat}
