"""Conversions between alerts and rows."""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache

from router.core.reduce import Doubt, Known
from router.core.rows import FIRING, AlertRow
from router.core.state import State
from router.model import Alert, Labels, Status
from router.packed import pack, unpack

_DOUBT_FIELDS = ("fingerprint", "annotations", "starts_at", "fires_until", "generator_url")
# Among the links of a row.
_VALUES = "values"
# With label sets of one kilobyte: about 30 MiB at most.
_CACHED_LABEL_SETS = 10_000
# The destinations of an alert are notified of it at about the same time.
_CACHED_ANNOTATIONS = 1_000


@lru_cache(_CACHED_LABEL_SETS)
def _parsed_labels(text: str) -> Mapping[str, str]:
    labels: Mapping[str, str] = json.loads(text)
    return labels


@lru_cache(_CACHED_ANNOTATIONS)
def _unpacked_annotations(packed: bytes) -> Mapping[str, str]:
    annotations: Mapping[str, str] = json.loads(unpack(packed))
    return annotations


def labels_of(row: AlertRow) -> Labels:
    """Return the labels of an alert. The mapping is shared: callers must not change it."""
    return _parsed_labels(row.labels)


def alert_of(row: AlertRow) -> Alert:
    """Return the alert of a row."""
    links = json.loads(row.links)
    return Alert(
        fingerprint=row.fingerprint,
        labels=labels_of(row),
        annotations=_unpacked_annotations(row.annotations),
        status=Status(row.status),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        generator_url=row.generator_url,
        links=links,
        values=links.pop(_VALUES, ""),
        note=row.note,
        about=about_of(row),
        fires_until=row.fires_until,
    )


def firing_rows(state: State, ids: Iterable[int]) -> list[AlertRow]:
    """Return the rows of these alerts that fire. :raises MissingRows: some are not loaded yet"""
    return [row for id_ in ids if (row := state.alerts.get(id_)) is not None and row.status == FIRING]


def peers_of(row: AlertRow) -> frozenset[str]:
    """Return the peers of Alertmanager that have listed the alert."""
    return frozenset(row.listed_by.split())


def written_annotations(annotations: Labels) -> bytes:
    """Return annotations as a row keeps them."""
    return pack(json.dumps(dict(annotations)).encode())


def written_links(alert: Alert) -> str:
    """Return the links of an alert, and the values that its sender measured, as a row keeps them."""
    return json.dumps(_links_and_values(alert))


def _links_and_values(alert: Alert) -> dict[str, str]:
    return {**alert.links, _VALUES: alert.values} if alert.values else dict(alert.links)


def about_of(row: AlertRow) -> frozenset[str] | None:
    """Return the keys of the destinations that a self-alert is about; None: it is a sender's alert."""
    return None if row.about is None else frozenset(json.loads(row.about))


def written_about(alert: Alert) -> str | None:
    """Return :attr:`Alert.about` as a row keeps it."""
    return None if alert.about is None else json.dumps(sorted(alert.about))


def known_of(row: AlertRow) -> Known:
    """Return what a row knows about an alert, for the reducer."""
    doubt = doubt_of(row)
    doubted = None if doubt is None else doubt[0]
    return Known(alert_of(row), row.peer, row.changed_at, doubted, row.latest_start)


def doubt_of(row: AlertRow) -> tuple[Doubt, list[int]] | None:
    """Return the doubt about an alert that ended, and the ids of the groups that reported it; None: there is none."""
    if row.doubt_until is None or row.doubt is None:
        return None
    written = json.loads(row.doubt)
    links = written["links"]
    firing = Alert(
        labels=labels_of(row),
        status=Status.FIRING,
        about=about_of(row),
        links=links,
        values=links.pop(_VALUES, ""),
        **{name: written[name] for name in _DOUBT_FIELDS},
    )
    return Doubt(firing, row.doubt_until), written["groups"]


def written_doubt(doubt: Doubt, groups: list[int]) -> str:
    """Return a doubt as a row keeps it."""
    alert = doubt.alert
    return json.dumps(
        {
            "fingerprint": alert.fingerprint, "annotations": dict(alert.annotations), "starts_at": alert.starts_at,
            "fires_until": alert.fires_until, "generator_url": alert.generator_url, "links": _links_and_values(alert),
            "groups": groups,
        }
    )  # fmt: skip
