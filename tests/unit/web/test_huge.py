"""Huge bodies are parsed and stored one after the other, and none keeps the turn."""

import asyncio
import io
import json

from router.undecided import MAX_PIECE_ALERTS
from tests.unit.web.harness import Serve, WebHarness
from tests.world.bodies import alert, webhook

_FILL = "x" * 3 * 2**20


async def test_huge_bodies_take_turns_whatever_becomes_of_them(harness: WebHarness, serve: Serve) -> None:
    harness.max_body = 8 * 2**20
    client = await serve(harness)
    alerts = [alert(labels={"alertname": "A", "n": str(number)}) for number in range(MAX_PIECE_ALERTS + 1)]
    bodies = {
        json.dumps(webhook(*alerts, commonAnnotations={"x": _FILL})).encode(): 200,
        json.dumps(webhook(alert(labels={"alertname": "B"}), commonAnnotations={"x": _FILL})).encode(): 200,
        json.dumps([_FILL]).encode(): 202,
        b"{" + _FILL.encode(): 202,
    }

    async def status(body: bytes) -> int:
        async with client.post("/webhook", data=io.BytesIO(body)) as answer:
            return answer.status

    for _ in range(2):
        assert await asyncio.gather(*map(status, bodies)) == list(bodies.values())
    await harness.decided()
