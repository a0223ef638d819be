"""The log of the real process: its lines, and its size under a flood of bad requests."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running

_SOURCES = "sources:\n  - {name: prod, bearer_token: right}\n"
_TOKEN = {"Authorization": "Bearer right"}
_BODY = b'{"alerts": [{"labels": {"alertname": "Down", "severity": "critical"}}], "groupLabels": {"alertname": "Down"}}'
_FLOOD = 6_000
_MAX_LOG_BYTES = 2**20


def written(router: Router) -> list[dict[str, Any]]:
    """Return the lines of the log. Each of them is a JSON object."""
    return [json.loads(line) for line in router.log.splitlines()]


def counted(lines: list[dict[str, Any]], action: str) -> int:
    """Return how many lines with an action were logged, those that were left out included."""
    own = [each for each in lines if each["action"] == action]
    left_out = [each for each in lines if each["action"] == "log lines left out" and each["of"] == action]
    counts: list[int] = [each.get("leftOut", 0) for each in own + left_out]
    return len(own) + sum(counts)


async def test_the_log_follows_an_alert_from_webhook_to_delivery(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes + _SOURCES)
    async with running(router), aiohttp.ClientSession(router.url, headers=_TOKEN) as session:
        assert (await session.post("/webhook", data=_BODY)).status == 200
        await providers.pagerduty.until(lambda: bool(providers.pagerduty.accepted))
    lines = written(router)
    (accepted,) = [each for each in lines if each["action"] == "webhook accepted"]
    assert (accepted["status"], accepted["tenant"], accepted["firing"]) == ("accepted", "prod", 1)
    sent = [each for each in lines if each["action"] == "delivery" and each["channel"] == "pagerduty"]
    assert [(each["status"], each["tenant"], each["alertname"]) for each in sent] == [
        ("delivered", "prod", "Down")
    ]
    assert sent[0]["group"] == accepted["group"]
    assert [each["action"] for each in lines][-1] == "stopped"
    assert "right" not in router.log


async def test_a_flood_of_bad_requests_leaves_a_small_log_that_counts(
    providers: Providers, folder: Path
) -> None:
    router = Router(folder, providers.routes + _SOURCES)
    async with running(router), aiohttp.ClientSession(router.url) as session:
        asked: Counter[int] = Counter()

        async def ask(number: int) -> None:
            if number % 2:
                request = session.post("/webhook", data=_BODY, headers={"X-Padding": "x" * 2_000})
            else:
                request = session.get(f"/{number}{'y' * 2_000}")
            async with request as answer:
                asked[answer.status] += 1

        for first in range(0, _FLOOD, 100):
            await asyncio.gather(*map(ask, range(first, first + 100)))
        assert asked == {401: _FLOOD // 2, 404: _FLOOD // 2}
        reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
        writer.write(b"GET / HTTP/1.1\r\nthis is no header\r\n\r\n")
        assert b" 400 " in await reader.read()
        writer.close()
    lines = written(router)
    assert len(router.log) < _MAX_LOG_BYTES
    assert counted(lines, "webhook refused") == _FLOOD // 2
    others = [each for each in lines if each["action"] == "request" and each["code"] != 404]
    assert counted(lines, "request") >= _FLOOD // 2 + len(others)
    assert len(lines) < _FLOOD // 2
    assert counted(lines, "invalid HTTP request") == 1
