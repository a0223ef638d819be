"""Webhooks with alerts that differ only in their labels."""

from typing import Any

import aiohttp

from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY

PER_ALERT = "routing_key: " + KEY + ", per: alert"


def per_alert(rules: str) -> str:
    return rules.replace(f"routing_key: {KEY}", PER_ALERT)


async def send(world: World, *alerts: dict[str, Any], **fields: Any) -> None:
    assert world.service is not None
    body = {
        "version": "4", "groupKey": "g", "receiver": "r", "status": "firing", "groupLabels": {},
        "externalURL": "http://alertmanager.example", "alerts": alerts, **fields,
    }  # fmt: skip
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/webhook", json=body) as answer,
    ):
        assert answer.status == 200


def down(
    instance: str, fingerprint: str | None = "f00d", *, ended: bool = False, **more: Any
) -> dict[str, Any]:
    given = {} if fingerprint is None else {"fingerprint": fingerprint}
    labels = {"alertname": "Down", "severity": "critical", "instance": instance}
    status = {"status": "resolved", "endsAt": "2026-11-23T11:30:00Z"} if ended else {"status": "firing"}
    return {"labels": labels, "startsAt": "2026-11-23T11:00:00Z", **given, **status, **more}
