"""Single events of an invented history: what a sender sends, how deliveries end, what happens to a router.

A sender behaves like Alertmanager: it sends a complete group, with the alerts that fire and those that have just ended. It
also sends reports late, twice, through its peer, or truncated.
"""

from random import Random
from typing import Any

from tests.histories.data import History, Step
from tests.histories.policies import NAMES, adoption

_HOUR, _DAY = 3_600, 86_400
_STARTS = (12 * _HOUR, 22 * _HOUR, 7 * _HOUR + 3_000, 4 * _DAY + 17 * _HOUR, 5 * _DAY + 12 * _HOUR)
_WAITS = (1, 3, 5, 10, 30, 60, 300, 600, _HOUR, 4 * _HOUR, 8 * _HOUR, _DAY)
OUTCOMES = (
    "retry", "lost", "further", "late", "late and refused", "refused", "broken", "rejected", "rejected in doubt",
)  # fmt: skip
"""The outcomes of a delivery besides ``delivered``."""


class Inventor:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = Random(seed)
        self.policy = self.began_under = self.dice.choices(NAMES[:-1], (2, 2, 2, 3, 2))[0]
        self.now = self.start = self.dice.choice(_STARTS)
        levels = self.dice.choices(
            ("critical", "warning", "info", ""), (4, 4, 3, 1), k=self.dice.randint(1, 6)
        )
        self.alerts = {name: self._labels(name, level) for name, level in zip("abcdef", levels, strict=False)}
        self.groups: dict[str, dict[str, Any]] = {
            name: {
                "source": self.dice.choices(("prod", "lab"), (4, 1))[0],
                "labels": {"job": name, "cluster": self.dice.choice(("c1", "c2"))},
            }
            for name in "ghij"[: self.dice.randint(1, 4)]
        }
        self.homes = {name: self._homes() for name in self.alerts}
        self.firing: dict[str, int] = {}
        """The start of each firing alert, as its sender knows it; ``ended`` has the start and the end of others."""
        self.ended: dict[str, tuple[int, int]] = {}
        self.truncated = dict.fromkeys(self.groups, 0)
        self.last_post: Step | None = None
        self.steps: list[Step] = []

    @property
    def history(self) -> History:
        return {
            "seed": self.seed, "policy": self.began_under, "start": self.start, "alerts": self.alerts,
            "groups": self.groups, "steps": self.steps,
        }  # fmt: skip

    def _labels(self, name: str, level: str) -> dict[str, str]:
        labels = {
            "alertname": self.dice.choice(("Down", "Disk", "Slow")),
            "cluster": self.dice.choice(("c1", "c2")),
            "instance": name,
        }
        return labels | ({"severity": level} if level else {})

    def _homes(self) -> list[str]:
        several = 2 if len(self.groups) > 1 and self.dice.random() < 0.15 else 1
        return self.dice.sample(tuple(self.groups), several)

    def do(self, do: str, **more: Any) -> None:
        self.steps.append({"do": do, **more})

    def let_pass(self, span: int) -> None:
        self.now += span
        self.do("wait", by=span)

    # Events of a sender.

    def of(self, group: str) -> list[str]:
        return [name for name, homes in self.homes.items() if group in homes]

    def group(self) -> str:
        return self.dice.choice([each for each in self.groups if self.of(each)])

    def post(self, group: str, ended: list[str]) -> None:
        sent = [[name, "firing", self.firing[name], None] for name in self.of(group) if name in self.firing]
        sent += [[name, "resolved", *self.ended[name]] for name in ended]
        if not sent:
            return
        if self.truncated[group]:
            sent = sent[: self.dice.randint(1, len(sent))]  # the others are left out
        if sent[0][1] == "firing" and self.dice.random() < 0.05:  # its sender gives an end in the future
            sent[0][3] = self.now + self.dice.choice((60, 600, _HOUR))
        extra = {"truncated": self.truncated[group]} if self.truncated[group] else {}
        self.do("post", group=group, alerts=sent, **extra)
        self.last_post = self.steps[-1]

    def fire(self) -> None:
        group = self.group()
        idle = [name for name in self.of(group) if name not in self.firing]
        for name in self.dice.sample(idle, self.dice.randint(min(1, len(idle)), len(idle))):
            self.firing[name] = self.now - self.dice.choice((0, 0, 30, 60))
        if self.dice.random() < 0.06:
            self.truncated[group] = self.dice.randint(1, 3)
        elif self.dice.random() < 0.4:
            self.truncated[group] = 0
        self.post(group, [])

    def repeat(self) -> None:
        self.post(self.group(), [])

    def end(self) -> None:
        group = self.group()
        firing = [name for name in self.of(group) if name in self.firing]
        whole = self.dice.random() < 0.5
        ending = firing if whole else self.dice.sample(firing, min(1, len(firing)))
        for name in ending:
            self.ended[name] = (self.firing.pop(name), self.now)
        self.post(group, ending)

    def late(self) -> None:
        """A peer that lags reports a firing of an alert that has ended, or the end of an earlier firing."""
        name = self.dice.choice(tuple(self.ended or self.alerts))
        group = self.homes[name][0]
        if name in self.ended and name not in self.firing:
            self.do("post", group=group, peer=2, alerts=[[name, "firing", self.ended[name][0], None]])
            if self.dice.random() < 0.3:  # the doubted report was right
                self.firing[name] = self.ended[name][0]
        elif name in self.ended:
            self.do("post", group=group, peer=2, alerts=[[name, "resolved", *self.ended[name]]])

    def peer(self) -> None:
        """The other peer of an HA pair posts the same, with its own start."""
        if self.last_post is None:
            return
        shift = self.dice.choice((0, 0, -15, 15))
        alerts = [[name, status, start + shift, end] for name, status, start, end in self.last_post["alerts"]]
        if self.dice.random() < 0.7:
            self.let_pass(self.dice.choice((3, 15)))
        self.steps.append({**self.last_post, "peer": 2, "alerts": alerts})

    # Events of the router.

    def wait(self) -> None:
        self.let_pass(self.dice.choice(_WAITS))
        if self.dice.random() < 0.3:
            self.do("settle")

    def destination(self) -> str:
        return self.dice.choice(tuple(adoption(self.policy).policy.destinations))

    def deliver(self) -> None:
        if self.dice.random() < 0.45:
            self.do("deliver")
            return
        outcomes = self.dice.choices(
            ("delivered", *OUTCOMES), (7, 3, 2, 1, 3, 1, 3, 2, 5, 1), k=self.dice.randint(1, 5)
        )
        self.do("deliver", outcomes=outcomes)

    def claim(self) -> None:
        self.do("claim", **({"at": self.destination()} if self.dice.random() < 0.3 else {}))

    def finish(self) -> None:
        self.do("finish", outcome=self.dice.choice(("delivered", "delivered", "delivered", *OUTCOMES)))

    def restart(self) -> None:
        down = self.dice.choice((0, 5, 60, 600, _HOUR))
        self.now += down
        self.do("restart", down=down)

    def reload(self) -> None:
        self.policy = self.dice.choice([each for each in NAMES if each != self.policy])
        self.do("reload", policy=self.policy)

    def answered(self) -> None:
        """Alertmanager mostly has what fires. It lacks some alerts, mutes some, or still has some that ended."""
        source = self.dice.choice(tuple(self.groups.values()))["source"]
        mine = [name for name in self.alerts if self.groups[self.homes[name][0]]["source"] == source]
        has = {name: self.firing[name] for name in mine if name in self.firing and self.dice.random() < 0.8}
        has |= {
            name: self.ended[name][0] for name in mine if name in self.ended and self.dice.random() < 0.15
        }
        muted = [name for name in has if self.dice.random() < 0.15]
        self.do("answered", source=source, has=has, **({"muted": muted} if muted else {}))

    def answer(self, *, lacking: bool = False, muted: bool = False) -> None:
        """The Alertmanager of every source has all firing alerts, or none."""
        for source in sorted({group["source"] for group in self.groups.values()}):
            mine = [name for name in self.firing if self.groups[self.homes[name][0]]["source"] == source]
            has = {} if lacking else {name: self.firing[name] for name in mine}
            self.do("answered", source=source, has=has, **({"muted": mine} if muted else {}))

    def unanswered(self) -> None:
        self.do("unanswered")

    def expire(self) -> None:
        if self.dice.random() < 0.6:
            self.let_pass(self.dice.choice((_HOUR, 6 * _HOUR)))
        self.do("expire")

    def settle(self) -> None:
        self.do("settle")

    def step(self) -> None:
        by = self.dice.choice((-_DAY, -_HOUR, -90, 120, _HOUR, _DAY))
        self.now += by
        self.do("step", by=by)

    def retry(self) -> None:
        self.do("retry", letter=self.dice.randint(0, 2))

    def discard(self) -> None:
        self.do("discard", letter=self.dice.randint(0, 2))

    def resume(self) -> None:
        self.do("resume", at=self.destination())

    def end_all_of(self, group: str) -> None:
        for name in self.of(group):
            if name in self.firing:
                self.ended[name] = (self.firing.pop(name), self.now)
        self.post(group, [name for name in self.of(group) if name in self.ended])
