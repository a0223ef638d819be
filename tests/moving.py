"""Moves databases between SQLite and PostgreSQL, as `alert-router export` and `import-state` do."""

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Self

from router.store.schema import deliveries
from router.store.state_export import ExportedState, export_to_file
from router.store.state_file import Tick
from router.store.state_import import ImportedState, import_state
from tests.postgresql import Server

AT = 1_795_435_200_000
Lines = dict[str, list[bytes]]
_OF_DELIVERIES = ("deliveries", "conversations", "counters", "delivery_hours")
"""What changes when a delivery is interrupted."""


def no_tick(_table: str, _rows: int) -> None:
    """Show nothing."""


def exported(url: str, file: Path) -> ExportedState:
    return export_to_file(url, file, AT, no_tick)


def imported(url: str, file: Path, tick: Tick = no_tick) -> ImportedState:
    with file.open("rb") as stream:
        return import_state(url, stream, str(file), AT, tick)


def tables_of(file: Path) -> Lines:
    """Return the lines of each table of an export; without what each import replaces: the random id of the database, and the
    version that wrote it.
    """
    found: Lines = {}
    rows: list[bytes] = []
    for line in gzip.decompress(file.read_bytes()).splitlines():
        if line.startswith(b'{"table":'):
            rows = found[json.loads(line)["table"]] = []
        elif not line.startswith((b"{", b'["database_id",', b'["written_by",')):
            rows.append(line)
    return found


def end_of(file: Path) -> dict[str, Any]:
    last: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()).splitlines()[-1])
    return last


def is_under_way(tables: Lines) -> bool:
    outcome = list(deliveries.columns).index(deliveries.c.outcome)
    return any(json.loads(line)[outcome] is None for line in tables["deliveries"])


class Mover:
    """Moves a database to the other kind, again and again. Each move compares all rows of both."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder, self._server = folder, server
        self._numbers: Iterator[int] = count(1)
        self._databases = ExitStack()
        self.moves: list[ImportedState] = []
        self.interrupted = 0
        """How many moves found deliveries under way, which an import interrupts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._databases.close()

    def new(self, kind: str) -> str:
        """Return the URL of an empty database of this kind."""
        if kind == "sqlite":
            return f"sqlite:///{self._folder}/moved-{next(self._numbers)}.db"
        return self._databases.enter_context(self._server.database())

    def move(self, url: str) -> str:
        """Move a database that nobody uses to a new one of the other kind. Return the URL of that."""
        number = next(self._numbers)
        before, after = self._folder / f"before-{number}.gz", self._folder / f"after-{number}.gz"
        other = self.new("postgresql" if url.startswith("sqlite") else "sqlite")
        exported(url, before)
        self.moves.append(imported(other, before))
        exported(other, after)
        one, two = tables_of(before), tables_of(after)
        if is_under_way(one):
            self.interrupted += 1
            assert not is_under_way(two)
            one, two = (
                {name: each[name] for name in each if name not in _OF_DELIVERIES} for each in (one, two)
            )
        assert one == two
        assert end_of(after)["ledger"] == end_of(before)["ledger"]
        return other
