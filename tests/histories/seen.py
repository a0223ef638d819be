"""Writes down what a store shows, as plain data: whatever is random or of the store's own making is left out.

Alerts and groups are called by the names that the history gives them. Moments are seconds since Monday. Version and
attempt are left out: nobody sees them. The keys that providers know conversations by are random; they are numbered in
the order in which they come up.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from router.model import Alert, Conversation, Labels, ShownAlert, Status
from tests.histories.data import History
from tests.histories.policies import seconds

Row = Mapping[str, Any]
PEER = "http://am-"
"""How the external URLs of a pair begin; the first one's is left out."""
_NEWEST = 200
"""How many fates the store shows."""


def ledger_change(before: dict[str, int], status: Row) -> tuple[dict[str, int], dict[str, int]]:
    """The counts now, and by how much each differs from before."""
    now = {
        f"{key} {fate}": count
        for key, fates in status["by_destination"].items()
        for fate, count in fates.items()
    }
    now |= status["changes"] | {"still firing": status["firing"], "imbalance": status["imbalance"]}
    moved = {name: now.get(name, 0) - before.get(name, 0) for name in sorted({*before, *now})}
    return now, {name: by for name, by in moved.items() if by}


class Seen:
    def __init__(self, history: History) -> None:
        self._alerts: dict[str, str] = {_text(labels): name for name, labels in history["alerts"].items()}
        self._groups = {_text(group["labels"]): name for name, group in history["groups"].items()}
        self._keys: dict[str, int] = {}
        self._revisions: dict[tuple[str, int, str], str] = {}
        self.told = 0
        """How many deliveries were begun."""

    def name(self, labels: Labels) -> str:
        text = _text(labels)
        return self._alerts.get(text, text)

    def claim(self, conversation: Conversation) -> dict[str, Any]:
        self.told += 1
        shown: dict[str, Any] = {
            "to": conversation.destination,
            "key": self._keys.setdefault(conversation.token, len(self._keys) + 1),
            "episode": conversation.episode,
            "alerts": [self._told(each) for each in conversation.alerts],
            "group": self._groups.get(_text(conversation.group_labels), dict(conversation.group_labels)),
            "by": conversation.external_url.removeprefix(PEER + "1"),
            "truncated": conversation.truncated + conversation.left_out,
            "over": conversation.over and conversation.digest is None,
            "digest": self.digest(conversation),
        }
        shown = {name: value for name, value in shown.items() if value}
        if self._is_dropped(conversation):
            shown["under the revision of another state"] = True
        if conversation.remote:
            shown["remote"] = dict(conversation.remote)
        return shown

    def _is_dropped(self, conversation: Conversation) -> bool:
        """A provider that drops what it got before gets another state by a name that it knows."""
        alerts = sorted((each.alert.identity, each.alert.status) for each in conversation.alerts)
        name = conversation.token, conversation.episode, conversation.revision
        state = json.dumps([alerts, conversation.over])
        return self._revisions.setdefault(name, state) != state

    def _told(self, told: ShownAlert) -> str:
        notes = ("news" * told.news, "again" * told.again, "held" * (told.held_since is not None))
        return " ".join(filter(None, (self._alert(told.alert, told.level), *notes)))

    def _alert(self, alert: Alert, level: str) -> str:
        start, end = seconds(alert.starts_at), seconds(alert.ends_at)
        span = f"{start}-{end}" if alert.status is Status.RESOLVED else f"{start}"
        by = "" if alert.annotations == {"start": str(start)} else f"start={alert.annotations.get('start')}"
        note = f"({alert.note})" if alert.note else ""
        return " ".join(filter(None, (self.name(alert.labels), alert.status, level, span, by, note)))

    def digest(self, conversation: Conversation) -> dict[str, Any]:
        view = conversation.digest
        if view is None:
            return {}
        lists = {
            name: [
                f"{self._alert(line.alert, line.level)} x{line.fired} {line.note}".strip()
                for line in getattr(view, name)
            ]
            for name in ("firing", "ended", "flapping", "held", "obsolete")
        }
        period = {"since": seconds(view.since), "until": seconds(view.until)}
        return period | {name: lines for name, lines in lists.items() if lines}

    def backlog(self, lanes: Mapping[str, Row]) -> list[Any]:
        return sorted(
            [name, lane["backlog"], seconds(lane["oldest_at"])]
            for name, lane in lanes.items()
            if lane["backlog"]
        )

    def waiting(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What is not told yet, and beside it, counted, the reasons that people are shown."""
        waiting = sorted(
            f"{self.name(row['labels'])} {row['level']} {seconds(row['starts_at'])} {row['destination']} {row['fate']}"
            f" until {seconds(row['until'])}"
            for row in rows
        )
        return {
            "waiting": waiting,
            "waits because": _counted(f"{row['rule']}: {row['reason']}" for row in rows),
        }

    def letters(self, rows: Iterable[Row]) -> list[list[Any]]:
        """The newest first, as the store gives them."""
        return [
            [
                row["destination"], row["recipient"], seconds(row["at"]), row["reason"],
                sorted(
                    f"{self.name(each['labels'])} {each['level']} {each['unnotified']} {each['status']}" for each in row["alerts"]
                ),
            ]
            for row in rows
        ]  # fmt: skip

    def decided(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Every fate, and beside them, counted, the reasons that people are shown."""
        if len(rows) >= _NEWEST:
            return {"decided": "more than are shown"}
        fates = _counted(
            f"{seconds(row['at'])} {self.name(row['labels'])} {row['kind']} {row['destination']} {row['fate']}"
            for row in rows
        )
        reasons = _counted(f"{row['fate']}: {row['rule']}: {row['reason']}" for row in rows)
        return {"decided": fates, "reasons": reasons}


def _counted(texts: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(texts).items()))


def _text(labels: Labels) -> str:
    return json.dumps(dict(labels), sort_keys=True)
