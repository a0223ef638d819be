"""Converts what a store shows into plain data, without random values and internal numbers.

Alerts and groups have the names of the history. Times are seconds since Monday. Version and attempt are left out, because no
user sees them. Keys of providers are random; they are numbered in the order of their first use.
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
"""The beginning of the external URLs of an HA pair; that of the first peer is left out."""
_SHOWN_FATES = 200
"""The number of fates that the store shows."""


def ledger_change(before: dict[str, int], status: Row) -> tuple[dict[str, int], dict[str, int]]:
    """Return the present counts, and the difference of each from before."""
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
        self.begun = 0
        """The number of deliveries that began."""

    def name(self, labels: Labels) -> str:
        text = _text(labels)
        return self._alerts.get(text, text)

    def claim(self, conversation: Conversation) -> dict[str, Any]:
        self.begun += 1
        shown: dict[str, Any] = {
            "to": conversation.destination,
            "key": self._keys.setdefault(conversation.token, len(self._keys) + 1),
            "episode": conversation.episode,
            "alerts": [self._member(each) for each in conversation.alerts],
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
        """Return whether a provider with deduplication would drop a new state, because its key was used for another one."""
        alerts = sorted((each.alert.identity, each.alert.status) for each in conversation.alerts)
        name = conversation.token, conversation.episode, conversation.revision
        state = json.dumps([alerts, conversation.over])
        return self._revisions.setdefault(name, state) != state

    def _member(self, shown: ShownAlert) -> str:
        notes = ("news" * shown.news, "again" * shown.again, "held" * (shown.held_since is not None))
        return " ".join(filter(None, (self._alert(shown.alert, shown.level), *notes)))

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
        """Return what waits, and the number of each displayed reason."""
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
        """Return the dead letters, the newest first, as the store does."""
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
        """Return the number of each fate, and of each displayed reason."""
        if len(rows) >= _SHOWN_FATES:
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
