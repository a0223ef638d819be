"""A sender in Alertmanager's place: it changes groups at random, and posts each state until one replica answers with a 2xx."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import aiohttp

from router.model import Millis
from tests import waiting
from tests.acceptance.conversation_checks import State

CRITICAL = ("G-Api", "G-Bus", "G-Cache")
WARNING = ("G-Disk", "G-Entropy")
_INSTANCES = ("1", "2", "3")
_SECONDS_TO_ANSWER = 5.0
"""Alertmanager gives up and tries again, too."""


def severity_of(group: str) -> str:
    return "critical" if group in CRITICAL else "warning"


class Group:
    """One group and all states that it has had. Like Alertmanager, it posts one state after the other."""

    def __init__(self, name: str, instances: Sequence[str] = _INSTANCES) -> None:
        self.name = name
        self._instances = instances
        self.states: list[State] = []
        self.fired = self.resolved = 0
        """How many of its alerts began to fire, and ended."""
        self._started: dict[str, str] = {}

    def change(self, dice: Random) -> bytes:
        """Change one alert or two. :returns: the body to post"""
        changed = dice.sample(self._instances, min(len(self._instances), dice.choice((1, 1, 2))))
        now, ended = _rfc3339(time.time_ns()), {}  # real time: the router uses it
        for instance in changed:
            if instance in self._started:
                ended[instance] = self._started.pop(instance)
            else:
                self._started[instance] = now
        self.resolved += len(ended)
        self.fired += len(changed) - len(ended)
        state = State(len(self.states) + 1, frozenset(self._started))
        self.states.append(state)
        return self._body(state.version, ended, now)

    def _body(self, version: int, ended: Mapping[str, str], now: str) -> bytes:
        alerts = [self._alert(version, each, at) for each, at in sorted(self._started.items())]
        alerts += [self._alert(version, each, at, now) for each, at in sorted(ended.items())]
        return json.dumps({
            "version": "4", "groupKey": f'{{}}:{{alertname="{self.name}"}}', "receiver": "router",
            "status": "firing" if self._started else "resolved", "groupLabels": {"alertname": self.name},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am.example:9093", "truncatedAlerts": 0,
            "alerts": alerts,
        }).encode()  # fmt: skip

    def _alert(self, version: int, instance: str, started: str, ended: str | None = None) -> dict[str, Any]:
        return {
            "status": "resolved" if ended else "firing",
            "labels": {
                "alertname": self.name, "instance": instance, "cluster": "eu-1", "severity": severity_of(self.name),
            },
            "annotations": {"summary": f"state v{version}."},
            "startsAt": started,
            "endsAt": ended or "0001-01-01T00:00:00Z",
        }  # fmt: skip


class Sender:
    """Posts the states of all groups at the same time. A body goes to one replica after the other, as a load balancer does it."""

    def __init__(
        self,
        seed: str,
        groups: Sequence[str],
        urls: Callable[[], Sequence[str]],
        *,
        patience: float = _SECONDS_TO_ANSWER,
    ) -> None:
        """:param urls: the addresses of the replicas that are believed to live
        :param patience: how long it waits for an answer (s)
        """
        self.groups = [Group(name) for name in groups]
        self.answers: Counter[str] = Counter()
        """The answers by status or kind of failure."""
        self._seed, self._urls, self._patience = seed, urls, patience
        self._stopping = asyncio.Event()

    @property
    def histories(self) -> dict[str, list[State]]:
        return {each.name: each.states for each in self.groups}

    def stop(self) -> None:
        """Let each group post its last state until it is accepted, and then change no more."""
        self._stopping.set()

    async def run(self, slowest: float = 0.8) -> None:
        """Change groups until :meth:`stop`. :param slowest: seconds between two changes of a group, at most"""
        timeout = aiohttp.ClientTimeout(total=self._patience)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            for group in self.groups:
                tasks.create_task(self._change(group, session, slowest))

    async def _change(self, group: Group, session: aiohttp.ClientSession, slowest: float) -> None:
        dice = Random(f"{self._seed} {group.name}")
        while not self._stopping.is_set():
            body = group.change(dice)
            await waiting.until(
                partial(self._is_accepted, session, body, dice), f"a replica accepts {body!r}", pause=0.1
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(
                    dice.uniform(slowest / 4, slowest)
                ):  # real time: at a random moment
                    await self._stopping.wait()

    async def _is_accepted(self, session: aiohttp.ClientSession, body: bytes, dice: Random) -> bool:
        urls = self._urls()
        if not urls:
            return False
        try:
            async with session.post(f"{dice.choice(urls)}/webhook", data=body) as answer:
                self.answers[str(answer.status)] += 1
                assert answer.status in {200, 503}, await answer.text()
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            return False


def _rfc3339(at: int) -> str:
    """Return a time as Alertmanager writes it, to the nanosecond."""
    return f"{datetime.fromtimestamp(at // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{at % 10**9:09}Z"


def now_ms() -> Millis:
    return time.time_ns() // 1_000_000  # real time: the router uses it
