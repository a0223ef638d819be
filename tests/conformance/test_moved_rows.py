"""Rows with odd values move between SQLite and PostgreSQL, one by one the same."""

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from router.store.columns import kind_of
from router.store.schema import metadata
from router.store.state_export import exported_tables
from tests.conformance.filling import TEXTS, TIMES
from tests.moving import Mover, exported, imported, tables_of
from tests.postgresql import made

_ROWS = 30
_SMALL = ("count", "destinations", "good", "bad")
"""Columns that are added up: the sum of the largest numbers would be too large."""
_BLOBS = (b"", b"\0\xff\xfe", b"\n", b'"', bytes(range(256)) * 50)
_NUL = re.compile(rb"(?<!\\)\\u0000")
_WITH_NUL = (*TEXTS, "a\0b", "\0", "\\u0000", "\u2028\x85\r\n")


def odd_value(column: sa.Column[Any], number: int, dice: Random, ids: dict[str, list[int]]) -> Any:
    if column.foreign_keys:
        (key,) = column.foreign_keys
        parents = ids[key.column.table.name]
        return parents[number] if column.primary_key or not column.nullable else None
    if column.name == "fate":
        return dice.choice(("pending", "held", "delivered", "dead"))
    # Nothing is under way: an import would change that.
    if column.name == "delivery_id" or (column.nullable and column.name != "outcome" and dice.random() < 0.3):
        return None
    match kind_of(column):
        case "blob":
            return dice.choice(_BLOBS)
        case "number":
            is_small = column.name in _SMALL or column.primary_key
            return number if is_small else dice.choice(TIMES)
        case "text":
            text = dice.choice(_WITH_NUL)
            return (
                f"{number} {text}"
                if column.primary_key or column.name in {"identity", "token", "group_key"}
                else text
            )


def fill_oddly(url: str, seed: int) -> None:
    """Fill every table with odd values."""
    made(url).close()
    engine, dice, ids = sa.create_engine(url), Random(seed), dict[str, list[int]]()
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            some = [
                {each.name: odd_value(each, number, dice, ids) for each in table.columns}
                for number in range(_ROWS)
            ]
            if "id" in table.columns:
                ids[table.name] = [row["id"] for row in some]
            connection.execute(sa.insert(table), some)
    engine.dispose()


@pytest.mark.parametrize("seed", range(2))
def test_every_table_moves_there_and_back_row_by_row(mover: Mover, tmp_path: Path, seed: int) -> None:
    url = mover.new("sqlite")
    fill_oddly(url, seed)
    exported(url, tmp_path / "odd.gz")
    first = mover.new("postgresql")
    done = imported(first, tmp_path / "odd.gz")
    assert done.replaced > _ROWS
    assert {*done.rows} == {each.name for each in exported_tables()}
    assert {count for name, count in done.rows.items() if name != "meta"} == {_ROWS}
    exported(first, tmp_path / "first.gz")
    for name, lines in tables_of(tmp_path / "odd.gz").items():
        wanted = {_NUL.sub("\ufffd".encode(), line) for line in lines}
        assert wanted == {*tables_of(tmp_path / "first.gz")[name]}
    back = mover.move(first)
    again = mover.move(back)
    exported(again, tmp_path / "again.gz")
    assert tables_of(tmp_path / "again.gz") == tables_of(tmp_path / "first.gz")
    assert [each.replaced for each in mover.moves] == [0, 0]


def test_sqlite_keeps_nul_and_postgresql_the_same_rows(mover: Mover, tmp_path: Path) -> None:
    url, other = mover.new("sqlite"), mover.new("sqlite")
    fill_oddly(url, 7)
    exported(url, tmp_path / "one.gz")
    assert imported(other, tmp_path / "one.gz").replaced == 0
    exported(other, tmp_path / "other.gz")
    assert tables_of(tmp_path / "one.gz") == tables_of(tmp_path / "other.gz")
