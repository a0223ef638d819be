"""Alerts as they come out of the store."""

import json
from collections.abc import Mapping
from typing import Any

from router.model import Alert, Status
from router.reduce import Doubt, Known


def labels_of(row: Any) -> Mapping[str, str]:
    labels: Mapping[str, str] = json.loads(row["labels"])
    return labels


def alert_of(row: Any) -> Alert:
    """An alert from a row that has the columns of ``alerts``, by name."""
    return Alert(
        fingerprint=row["fingerprint"],
        labels=labels_of(row),
        annotations=json.loads(row["annotations"]),
        status=Status(row["status"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        generator_url=row["generator_url"],
        links=json.loads(row["links"]),
        note=row["note"],
        about=about_of(row),
        fires_until=row["fires_until"],
    )


def about_of(row: Any) -> frozenset[str] | None:
    """The destinations that an alert of the router's own is about; None: it is a sender's."""
    return None if row["about"] is None else frozenset(json.loads(row["about"]))


def written_about(alert: Alert) -> str | None:
    return None if alert.about is None else json.dumps(sorted(alert.about))


def known_of(row: Any) -> Known:
    doubt = doubt_of(row)
    doubted = None if doubt is None else doubt[0]
    return Known(alert_of(row), row["peer"], row["changed_at"], doubted, row["latest_start"])


_DOUBT_FIELDS = ("fingerprint", "annotations", "starts_at", "fires_until", "generator_url", "links")


def doubt_of(row: Any) -> tuple[Doubt, list[int]] | None:
    """The doubt about an alert that ended, and the groups that reported it; None: there is none."""
    if row["doubt_until"] is None:
        return None
    written = json.loads(row["doubt"])
    firing = Alert(
        labels=labels_of(row),
        status=Status.FIRING,
        about=about_of(row),
        **{name: written[name] for name in _DOUBT_FIELDS},
    )
    return Doubt(firing, row["doubt_until"]), written["groups"]


def written_doubt(doubt: Doubt, groups: list[int]) -> str:
    alert = doubt.alert
    return json.dumps(
        {
            "fingerprint": alert.fingerprint, "annotations": dict(alert.annotations), "starts_at": alert.starts_at,
            "fires_until": alert.fires_until, "generator_url": alert.generator_url, "links": dict(alert.links),
            "groups": groups,
        }
    )  # fmt: skip
