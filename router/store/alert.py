"""Alerts as they come out of the store."""

import json
from collections.abc import Mapping
from typing import Any

from router.model import Alert, Status


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
    )


def about_of(row: Any) -> frozenset[str] | None:
    """The destinations that an alert of the router's own is about; None: it is a sender's."""
    return None if row["about"] is None else frozenset(json.loads(row["about"]))


def written_about(alert: Alert) -> str | None:
    return None if alert.about is None else json.dumps(sorted(alert.about))
