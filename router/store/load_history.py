"""The history of routes.yaml: each load that put other files in force, and each that failed for another reason than the one
before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.model import Millis
from router.packed import unpack
from router.store.database import Database
from router.store.packing import Packer
from router.store.schema import loads
from router.store.totals import Total, count_rows

MAX_ERROR_CHARS = 64 * 1024
"""How much of the reasons of a failed load is kept."""
_LINE = (loads.c.id, loads.c.at, loads.c.actor, loads.c.sha256, loads.c.error)


@dataclass(frozen=True, slots=True)
class LoadLine:
    """A load of routes.yaml."""

    id: int
    at: Millis
    actor: str
    """Who asked for it: a user, ``signal``, ``file changed``, ``secret changed`` or ``start``."""
    sha256: str
    """Of the files; empty: it failed."""
    error: str
    """Why it failed; empty: the files came into force."""


@dataclass(frozen=True, slots=True)
class StoredLoad:
    """A load of routes.yaml, with its files."""

    line: LoadLine
    files: tuple[Mapping[str, Any], ...]
    """Each with ``name``, ``text`` (secrets masked) and ``size`` (characters of the whole file)."""


class LoadHistory:
    """Writes the history. :raises StoreUnavailable: the database can't be written"""

    def __init__(self, database: Database, packer: Packer) -> None:
        self._database = database
        self._packer = packer

    async def record(
        self, actor: str, sha256: str, files: Sequence[Mapping[str, Any]], now: Millis, error: str = ""
    ) -> None:
        """Store a load, unless it ended as the last one did.

        :param sha256: of the files that came into force; empty: it failed
        :param files: see :class:`StoredLoad`; empty: it failed
        :param error: why it failed; empty: it did not
        """
        packed = (
            await self._packer.pack_unlearned(json.dumps(list(files), ensure_ascii=False).encode())
            if files
            else b""
        )
        error = error[:MAX_ERROR_CHARS]

        def insert(connection: sa.Connection) -> None:
            last = connection.execute(sa.select(*_LINE).order_by(loads.c.id.desc()).limit(1)).one_or_none()
            if last is not None and (last.sha256, last.error) == (sha256, error):
                return
            number = 1 if last is None else last.id + 1
            connection.execute(
                sa.insert(loads),
                {"id": number, "at": now, "actor": actor, "sha256": sha256, "error": error, "files": packed},
            )

        await self._database.write(insert)


def load_lines(connection: sa.Connection, before: int | None, limit: int) -> tuple[list[LoadLine], Total]:
    """Return the newest loads, and how many there are. :param before: only those with a smaller id; None: all"""
    rows = sa.select(*_LINE).order_by(loads.c.id.desc()).limit(limit)
    if before is not None:
        rows = rows.where(loads.c.id < before)
    return (
        [LoadLine(**row) for row in connection.execute(rows).mappings()],
        count_rows(connection, sa.select(loads.c.id)),
    )


def find_load(connection: sa.Connection, number: int) -> tuple[StoredLoad, StoredLoad | None] | None:
    """Return a load, and the last one before it that did not fail (None: there is none); None: there is no such load."""
    found = _first(connection, sa.select(loads).where(loads.c.id == number))
    if found is None:
        return None
    before = sa.select(loads).where(loads.c.id < number, loads.c.error == "").order_by(loads.c.id.desc())
    return found, _first(connection, before)


def load_of(connection: sa.Connection, sha256: str) -> StoredLoad | None:
    """Return the last load that put these files in force; None: it is not kept."""
    rows = sa.select(loads).where(loads.c.sha256 == sha256, loads.c.error == "")
    return _first(connection, rows.order_by(loads.c.id.desc()))


def _first(connection: sa.Connection, rows: sa.Select[Any]) -> StoredLoad | None:
    row = connection.execute(rows.limit(1)).mappings().one_or_none()
    if row is None:
        return None
    line = LoadLine(**{name: row[name] for name in ("id", "at", "actor", "sha256", "error")})
    return StoredLoad(line, tuple(json.loads(unpack(row["files"]))) if row["files"] else ())
