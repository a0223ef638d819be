"""Fake providers that record each message that they accept, in their order, for the checks of conversations."""

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web

from router.model import Millis
from tests.acceptance.conftest import Providers
from tests.acceptance.conversation_checks import Message
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp

PAGERDUTY = "pagerduty"
_GROUP = re.compile(r"\bG-\w+")
_VERSION = re.compile(r"state v(\d+)\.")  # perhaps after an escaped line break
_COUNT = re.compile(r"\b(\d+) firing")
_SUBJECT_COUNT = re.compile(r"\[FIRING:(\d+)\]")


class Taken(NamedTuple):
    """A call that a provider accepted. Slack gets two for one attempt: the edit of a message, and a reply to it."""

    destination: str
    at: Millis


class _Slack(FakeSlack):
    """:ivar recorder: set before the first call"""

    recorder: "Recorder"

    def _take(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        answer = super()._take(request, body)
        if '"ok": true' in str(answer.text) and "text" in body:
            self.recorder.slack_took(body, str(answer.text))
        return answer


class Recorder:
    """What each provider accepted, the earliest first."""

    def __init__(self, providers: Providers) -> None:
        self.messages: list[Message] = []
        self.taken: list[Taken] = []
        self.ids_of_mails: list[str] = []
        self._mail = providers.mail
        self._pagerduty = providers.pagerduty
        self._groups_of_keys: dict[str, str] = {}
        self._incidents: Counter[str] = Counter()
        """How many incidents PagerDuty has opened, by dedup key. A trigger after a resolve opens another one."""
        self._open: set[str] = set()
        providers.pagerduty.on_step = self._on_pagerduty
        providers.mail.on_step = self._on_mail

    def count(self, destination: str) -> int:
        return sum(each.destination.startswith(destination) for each in self.messages)

    def slack_took(self, body: Mapping[str, Any], answer: str) -> None:
        destination = f"slack:{body['channel']}"
        self._took(destination)
        if "thread_ts" in body:
            return
        text, shown = str(body["text"]), str(body)
        ts = re.search(r'"ts": "([^"]+)"', answer)
        assert ts is not None
        self._add(destination, text, ts[1], shown, is_over="Resolved" in text, count=_COUNT)

    def _on_pagerduty(self, step: str) -> None:
        if step != "taken":
            return
        body = self._pagerduty.events[-1].body
        self._took(PAGERDUTY)
        key = str(body["dedup_key"])
        if body["event_action"] == "trigger":
            group = self._groups_of_keys.setdefault(key, str(body["payload"]["class"]))
            number = self._incidents[key] + (key not in self._open)
            self._incidents[key] = number
            self._open.add(key)
            self._add(PAGERDUTY, group, f"{key}/{number}", str(body), is_over=False, count=_COUNT)
        elif key in self._groups_of_keys:
            self._open.discard(key)
            incident = f"{key}/{self._incidents[key]}"
            self.messages.append(Message(PAGERDUTY, self._groups_of_keys[key], incident, None, 0, _now()))

    def _on_mail(self, step: str) -> None:
        if step != "taken":
            return
        mail = self._mail.mails[-1]
        destination = f"email:{mail.recipients[0]}"
        self._took(destination)
        self.ids_of_mails.append(mail.id)
        is_over = "RESOLVED" in mail.subject
        self._add(
            destination,
            mail.subject,
            mail.id,
            mail.subject + mail.text,
            is_over=is_over,
            count=_SUBJECT_COUNT,
        )

    def _took(self, destination: str) -> None:
        self.taken.append(Taken(destination, _now()))

    def _add(
        self,
        destination: str,
        title: str,
        conversation: str,
        shown: str,
        *,
        is_over: bool,
        count: re.Pattern[str],
    ) -> None:
        group, firing = _GROUP.search(title), count.search(shown)
        if group is None:  # one of the router's own alerts
            return
        version = max(map(int, _VERSION.findall(shown)), default=None)
        number = int(firing[1]) if firing and not is_over else 0
        self.messages.append(Message(destination, group[0], conversation, version, number, _now()))


@asynccontextmanager
async def recorded_providers() -> AsyncIterator[tuple[Providers, Recorder]]:
    async with _Slack() as slack, FakePagerDuty() as pagerduty, FakeSmtp() as mail:
        providers = Providers(slack, pagerduty, mail)
        slack.recorder = Recorder(providers)
        yield providers, slack.recorder


def _now() -> Millis:
    return time.time_ns() // 1_000_000  # real time: the router uses it
