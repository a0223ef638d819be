"""Slack's incoming webhooks: they answer ``ok``, refuse what Slack refuses, and keep the messages that people would see.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. What it wants is stated here a second time on
purpose: the channel must not be judged by its own words.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.world.fake_server import FakeServer, Fault, differences
from tests.world.fake_server import http as answer
from tests.world.fake_slack import FakeSlack, Posted, Want

SECRET = "webhook-of-nobody"
_PATH = f"/services/T0/B0/{SECRET}"
_KEYS = {"text", "blocks", "attachments", "channel", "mrkdwn", "unfurl_links", "unfurl_media"}


def refusal(code: str, status: int = 400) -> Fault:
    return answer(status, code, "text/plain")


class FakeSlackWebhook(FakeServer):
    """``async with FakeSlackWebhook() as slack: … webhook_url=slack.url``

    :param seconds: a clock; given one, what comes faster than Slack allows is refused
    """

    routes = (("POST", "/services/{team}/{hook}/{secret}"),)
    path = _PATH

    def __init__(self, *, seconds: Callable[[], float] | None = None) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.messages: list[Posted] = []
        self._limits = FakeSlack()
        self._seconds = seconds
        self._last = float("-inf")

    def expect(self, *wanted: Want) -> None:
        """These messages are there and no others, and no one is mentioned."""
        problems = differences(wanted, self.messages)
        problems += [f"mentions {each.mentions}: {each}" for each in self.messages if each.mentions]
        assert not problems, "\n".join(problems)

    def _shown(self) -> str:
        return "\n".join(each.shown for each in self.messages)

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        return request.method, await request.json()

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        self.calls.append(body)

    def _take(self, request: web.Request, body: Any) -> web.Response:
        if request.match_info["secret"] != SECRET:
            return web.Response(status=404, text="no_service")
        if body.keys() - _KEYS:  # a webhook knows no thread_ts, ts or metadata
            return web.Response(status=400, text="invalid_payload")
        if code := self._limits.refuses(body, posting=True):
            return web.Response(status=400, text=code)
        if self._seconds is not None:
            now = self._seconds()
            if now - self._last < 1:
                return web.Response(status=429, text="rate_limited", headers={"Retry-After": "1"})
            self._last = now
        self.messages.append(
            Posted(
                body.get("channel", "C0WEBHOOK"),
                str(len(self.messages)),
                body["text"],
                body["blocks"],
                body["attachments"],
                mrkdwn=body.get("mrkdwn", True),
            )
        )
        return web.Response(text="ok")


__all__ = ["SECRET", "FakeSlackWebhook", "Want", "refusal"]
