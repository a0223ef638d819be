"""Reads the incidents of the gallery, and makes the webhooks that Alertmanager would post.

An incident has groups, each a webhook without what Alertmanager adds, and steps, which post groups at a time.
``"numbers": [1, 40]`` of an alert repeats it with each number in place of ``{n}``, and the tens of it in place of
``{tens}``; ``"groupNumbers"`` repeats a group. ``"ended"`` of a step is ``"all"``, ``"first N"`` or a list of alerts,
counted from 0. ``"startsAt"`` of a step is of all its alerts.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from router.model import SECOND, Millis

FOLDER = Path(__file__).parent / "incidents"
_ALERTMANAGER = "https://alertmanager.example"
_NO_END = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Step:
    at: Millis
    what: str
    webhooks: tuple[dict[str, Any], ...]
    """The bodies, one for each group."""


@dataclass(frozen=True, slots=True)
class Incident:
    name: str
    title: str
    steps: tuple[Step, ...]


def incident_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_incident(name: str) -> Incident:
    document = json.loads((FOLDER / f"{name}.json").read_text())
    groups = {key: list(_numbered(each, "groupNumbers")) for key, each in document["groups"].items()}
    steps = [
        Step(
            int(datetime.fromisoformat(step["at"]).timestamp()) * SECOND,
            step["what"],
            tuple(_webhook(group, step) for key in step["post"] for group in groups[key]),
        )
        for step in document["steps"]
    ]
    return Incident(name, document["title"], tuple(steps))


def _numbered(item: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """Yield the item once for each number of its range; once as it is, if it has none."""
    plain = {name: value for name, value in item.items() if name != key}
    first, last = item.get(key, (0, 0))
    for number in range(first, last + 1):
        text = json.dumps(plain)
        if key in item:
            text = text.replace("{n}", str(number)).replace("{tens}", str(number // 10))
        yield json.loads(text)


def _webhook(group: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a group at a step. https://prometheus.io/docs/alerting/latest/configuration/#webhook_config"""
    alerts = [alert for each in group["alerts"] for alert in _numbered(each, "numbers")]
    ended = _ended(step.get("ended", []), len(alerts))
    for number, alert in enumerate(alerts):
        is_over = number in ended
        alert["status"] = "resolved" if is_over else "firing"
        alert["startsAt"] = step.get("startsAt", alert["startsAt"])
        alert["endsAt"] = step["at"] if is_over else _NO_END
        alert.setdefault("generatorURL", "")
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(group["groupLabels"].items()))
    return {
        "version": "4",
        **group,
        "groupKey": f"{{}}:{{{labels}}}",
        "truncatedAlerts": 0,
        "status": "resolved" if len(ended) == len(alerts) else "firing",
        "receiver": "alert-router",
        "commonLabels": _common([each["labels"] for each in alerts]),
        "commonAnnotations": _common([each["annotations"] for each in alerts]),
        "externalURL": _ALERTMANAGER,
        "alerts": alerts,
    }


def _ended(given: Any, count: int) -> set[int]:
    if given == "all":
        return set(range(count))
    return set(range(int(given.removeprefix("first ")))) if isinstance(given, str) else set(given)


def _common(several: list[dict[str, str]]) -> dict[str, str]:
    first, *others = several
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}
