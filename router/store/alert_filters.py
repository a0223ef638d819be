"""Which alerts a list has: conditions that the database checks on its indexes, and conditions on the text of the labels."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.decide.matchers import Matcher
from router.model import Labels, Millis
from router.store.labels import label_hash
from router.store.schema import alert_labels, alerts, changes, conversations, members

MAX_LABEL_CHARS = 64 * 1024
"""Labels with more characters (as JSON) are read one alert at a time, so that a query never fills the memory."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """The alerts of a list: those that meet all conditions that are given."""

    status: str | None = "firing"
    """``firing`` or ``resolved``; None: both."""
    matchers: tuple[Matcher, ...] = ()
    levels: tuple[str, ...] = ()
    """Empty: every level."""
    destination: str | None = None
    """The key of a destination that was notified of the alert, or waits for it."""
    source: str | None = None
    fingerprint: str | None = None
    """The sender's fingerprint."""
    search: str = ""
    """A text that the value of some label contains, in any case."""

    since: Millis | None = None
    """Only alerts that fired or ended since then (epoch ms)."""
    until: Millis | None = None
    """With ``since``: only those that fired or ended from then until this moment, whatever happened to them later."""

    @property
    def is_about_labels(self) -> bool:
        """Whether the labels of each alert have to be read."""
        return bool(self.search) or any(not _is_indexed(each) for each in self.matchers)

    @property
    def label_hashes(self) -> list[int]:
        """The entries of the label index that the alert must have."""
        return [label_hash(each.name, each.value) for each in self.matchers if _is_indexed(each)]

    def fits_labels(self, labels: Labels) -> bool:
        """Return whether an alert with these labels meets the conditions on labels."""
        if not all(matcher.matches(labels) for matcher in self.matchers):
            return False
        wanted = self.search.casefold()
        return not wanted or any(wanted in value.casefold() for value in labels.values())

    def conditions(self, alert: sa.ColumnElement[int]) -> list[sa.ColumnElement[bool]]:
        """Return the conditions that need no text of labels, except for status and level. Each reads an index.

        :param alert: the column with the id of the alert
        """
        found: list[sa.ColumnElement[bool]] = [
            sa.exists().where(alert_labels.c.label == each, alert_labels.c.alert_id == alert)
            for each in self.label_hashes
        ]
        if self.destination is not None:
            found.append(reaches(alert, self.destination))
        row = alerts.alias("filtered")
        for value, column in ((self.source, row.c.source), (self.fingerprint, row.c.fingerprint)):
            if value is not None:
                found.append(sa.exists().where(row.c.id == alert, column == value))
        if self.since is not None and self.until is not None:
            inside = changes.c.at.between(self.since, self.until)
            found.append(
                sa.exists().where(
                    changes.c.alert_id == alert, inside, changes.c.kind.in_(("fired", "resolved"))
                )
            )
        if self.since is not None:
            found.append(sa.exists().where(row.c.id == alert, row.c.changed_at >= self.since))
        return found


def reaches(alert: sa.ColumnElement[int], destination: str) -> sa.ColumnElement[bool]:
    """Return the condition that a destination was notified of an alert, or waits for it."""
    return sa.exists().where(
        members.c.alert_id == alert,
        sa.or_(members.c.decision != "drop", members.c.notified != "nothing"),
        conversations.c.id == members.c.conversation_id,
        conversations.c.destination == destination,
    )


def read_labels(connection: sa.Connection, ids: Sequence[int]) -> dict[int, str | None]:
    """Return the labels of alerts as JSON; None: they are large, see :func:`read_large_labels`."""
    short = sa.case((sa.func.length(alerts.c.labels) <= MAX_LABEL_CHARS, alerts.c.labels))
    rows = connection.execute(sa.select(alerts.c.id, short).where(alerts.c.id.in_(ids)))
    return dict(map(tuple, rows))


def read_large_labels(connection: sa.Connection, id_: int) -> str:
    """Return the labels of one alert as JSON."""
    text: str = connection.execute(sa.select(alerts.c.labels).where(alerts.c.id == id_)).scalar_one()
    return text


class LabelCheck:
    """Checks the labels of alerts, up to a bound."""

    def __init__(self, connection: sa.Connection, which: AlertFilter, most: int) -> None:
        """:param most: how many alerts are checked; one with large labels counts as :data:`LARGE_COST`"""
        self._connection, self._filter = connection, which
        self.left = most
        """How many alerts can still be checked."""

    def fitting(self, ids: Sequence[int]) -> Iterable[tuple[int, bool]]:
        """Yield the ids of the alerts that are checked, in this order, and whether each fits. It ends at the bound."""
        if not self._filter.is_about_labels:
            yield from ((id_, True) for id_ in ids)
            return
        texts = read_labels(self._connection, ids[: max(0, self.left)])
        for id_ in ids:
            if self.left <= 0:
                return
            text = texts.get(id_, "{}")
            self.left -= 1 if text is not None else LARGE_COST
            labels: dict[str, Any] = json.loads(
                read_large_labels(self._connection, id_) if text is None else text
            )
            yield id_, self._filter.fits_labels(labels)


LARGE_COST = 50
"""Checking one alert with large labels takes as long as checking so many others."""


def _is_indexed(matcher: Matcher) -> bool:
    return matcher.op == "=" and bool(matcher.value)
