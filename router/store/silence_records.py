"""Stores when each watched sender was last heard, so that a silence is counted over restarts."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from router.model import Alert, LastHeard, Millis, WatchKey
from router.store.database import Database
from router.store.schema import meta
from router.store.starts import set_meta
from router.store.troubles import read_self_alerts

_KEY = "last heard"


@dataclass(frozen=True, slots=True)
class SilenceRecord:
    """What was heard until a moment."""

    saved_at: Millis
    """The router ran until then at least."""
    heard: Mapping[WatchKey, LastHeard]


class SilenceRecords:
    """Reads and writes what was last heard: one row for everything.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> SilenceRecord | None:
        """Return the last record; None: there is none."""
        return await self._database.read(_load)

    async def save(self, record: SilenceRecord) -> None:
        """Store a record, in place of the stored one."""
        await self._database.write(partial(_save, record=record))

    async def merge(self, record: SilenceRecord, *, only: Collection[WatchKey] | None = None) -> None:
        """Add to the stored record what this replica has heard. Of each sender, the latest time counts.

        :param only: the senders that are watched; others are dropped. None: this replica does not watch, so it drops none, and
            leaves :attr:`SilenceRecord.saved_at` to the one that does
        """
        await self._database.write(partial(_merge, record=record, only=only))

    async def firing_self_alerts(self, names: frozenset[str]) -> list[Alert]:
        """Return the self-alerts with these names that fire, the oldest first. :param names: values of ``alertname``"""
        found = await self._database.read(read_self_alerts)
        return [each for each in found if each.labels.get("alertname") in names]


def _load(connection: sa.Connection) -> SilenceRecord | None:
    text = connection.execute(sa.select(meta.c.value).where(meta.c.key == _KEY)).scalar()
    if text is None:
        return None
    data = json.loads(text)
    heard = {(name, source): LastHeard(seen, counts) for name, source, seen, counts in data["heard"]}
    return SilenceRecord(data["saved_at"], heard)


def _merge(connection: sa.Connection, *, record: SilenceRecord, only: Collection[WatchKey] | None) -> None:
    stored = _load(connection)
    before = {} if stored is None else stored.heard
    heard = merged_heard(before, record.heard, record.saved_at)
    saved_at = record.saved_at
    if only is not None:
        heard = {key: each for key, each in heard.items() if key in only}
    elif stored is not None:
        saved_at = min(saved_at, stored.saved_at)
    _save(connection, record=SilenceRecord(saved_at, heard))


def merged_heard(
    some: Mapping[WatchKey, LastHeard], others: Mapping[WatchKey, LastHeard], now: Millis
) -> dict[WatchKey, LastHeard]:
    """Return when each sender was last heard by anybody. No time is later than now: the clock may have been stepped back."""
    found: dict[WatchKey, LastHeard] = {}
    for key in some.keys() | others.keys():
        known = [each for each in (some.get(key), others.get(key)) if each is not None]
        seen = [each.seen_at for each in known if each.seen_at is not None]
        counts_from = max(each.counts_from for each in known)
        found[key] = LastHeard(min(max(seen), now) if seen else None, min(counts_from, now))
    return found


def _save(connection: sa.Connection, *, record: SilenceRecord) -> None:
    rows = [[*key, each.seen_at, each.counts_from] for key, each in record.heard.items()]
    set_meta(connection, _KEY, json.dumps({"saved_at": record.saved_at, "heard": rows}))
