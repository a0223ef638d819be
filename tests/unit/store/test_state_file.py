"""The format of an export: what is read is what was written, and a file that is cut or changed is noticed."""

import gzip
import io
import json
import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from router.store import Store, StoreUnavailable
from router.store.state_file import (
    FileHeader,
    RowSum,
    StateReader,
    StateWriter,
)
from tests.database import change
from tests.moving import exported, imported, no_tick
from tests.unit.store.test_backup_file import left, mode_of

HEADER = FileHeader("0021", "1.2.3", "sqlite", 5)
TABLE = sa.Table(
    "some", sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("words", sa.Text), sa.Column("data", sa.LargeBinary),
)  # fmt: skip
values = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | st.binary(),
)


def written(rows: Sequence[Any]) -> bytes:
    stream = io.BytesIO()
    writer = StateWriter(stream, HEADER)
    writer.write_table(TABLE, rows, no_tick)
    writer.end({"changes": 1})
    return stream.getvalue()


def read(data: bytes, *, keeps_nul: bool = True) -> list[Any]:
    reader = StateReader(io.BytesIO(data), "f.gz", no_tick, keeps_nul=keeps_nul)
    assert reader.header == HEADER
    found = []
    for table in reader.tables():
        found += list(table.rows)
        sums = table.found
    assert reader.end().tables["some"].as_json() == sums.as_json()
    return found


@given(st.lists(values))
def test_what_is_read_is_what_was_written(rows: list[Any]) -> None:
    assert read(written(rows)) == rows


@given(st.lists(values), st.randoms())
def test_the_sum_of_a_table_depends_on_its_rows_only(rows: list[Any], dice: Any) -> None:
    other = rows.copy()
    dice.shuffle(other)

    def end(some: list[Any]) -> bytes:
        return written(some).splitlines()[-1]

    assert end(rows) == end(other)
    if rows:
        assert end(rows) != end(rows[:-1])
        assert end(rows) != end([*rows, rows[0]])


@given(st.lists(values))
def test_only_nul_is_replaced_where_it_can_not_be_stored(rows: list[Any]) -> None:
    wanted = [
        tuple(each.replace("\0", "\ufffd") if isinstance(each, str) else each for each in row) for row in rows
    ]
    assert read(written(rows), keeps_nul=False) == wanted


def test_the_sum_is_documented() -> None:
    """Another program can compute it: the hash of ``[]`` twice, and of ``[1]``."""
    summed = RowSum()
    for line in (b"[]", b"[]", b"[1]"):
        summed.add(line)
    assert summed.as_json() == {
        "rows": 3,
        "sum": "a6b23a1740acf30e0910020b356eacbd7b4196061ec7aaff361f7683b252f1ac",
    }


@pytest.mark.parametrize("value", [1.5, "text", b"1", True])
def test_a_value_of_another_type_is_not_written(value: Any) -> None:
    with pytest.raises(
        StoreUnavailable, match=r"table some, row .*: id is \w+ instead of number; correct that"
    ):
        written([(value, "a", b"")])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('["1","a",""]', "id is str instead of number"),
        ('[true,"a",""]', "id is bool instead of number"),
        ("[1,2,null]", "words is int instead of text"),
        ('[1,"a","*"]', "base64|Incorrect|Only|Excess"),
        ('[1,"a",7]', "data is int instead of blob"),
        ('[1,"a"]', "2 values instead of 3"),
        ("nonsense", "Expecting value"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_a_row_that_no_export_has_is_refused(row: str, words: str) -> None:
    lines = written([(1, "a", b"")]).decode().splitlines()
    lines[2] = row
    with pytest.raises(StoreUnavailable, match=rf"f\.gz:3 is cut or damaged \(.*({words})"):
        read("".join(f"{line}\n" for line in lines).encode())


@pytest.mark.parametrize("at", ["null", "1e400", "1" + "0" * 30, "true", "-1", '"5"'])
def test_a_header_without_a_time_is_refused(at: str) -> None:
    lines = written([]).splitlines(keepends=True)
    lines[0] = lines[0].replace(b'"at":5', f'"at":{at}'.encode())
    with pytest.raises(StoreUnavailable, match=r"f\.gz:1 is cut or damaged"):
        read(b"".join(lines))


def test_a_last_line_with_numbers_that_are_none_is_refused() -> None:
    data = written([]).replace(b'"changes":1', b'"changes":1e400')
    with pytest.raises(StoreUnavailable, match=r"f\.gz:3 is cut or damaged"):
        read(data)


def test_the_values_of_a_row_are_compared_and_not_its_form() -> None:
    """Another program may have written the line."""
    lines = written([(1, "é", None)]).splitlines(keepends=True)
    lines[2] = b'[1, "\\u00e9", null]\n'
    reader = StateReader(io.BytesIO(b"".join(lines)), "f.gz", no_tick, keeps_nul=True)
    (table,) = [(list(each.rows), each)[1] for each in reader.tables()]
    summed = RowSum()
    summed.add('[1,"é",null]'.encode())
    assert table.stored.as_json() == summed.as_json()


def test_other_files_and_newer_formats_are_refused() -> None:
    for other in (b"{}\n", b"[]\n", b'{"format": "x"}\n'):
        with pytest.raises(StoreUnavailable, match=r"f\.gz is no export of alert-router"):
            read(other)
    newer = json.dumps({"format": "alert-router state", "version": 2, "written_by": "9.0"}).encode() + b"\n"
    with pytest.raises(StoreUnavailable, match=r"written by alert-router 9\.0 in a newer format"):
        read(newer)


async def made_database(folder: Path, count: int = 40) -> str:
    store = await Store.open(f"sqlite:///{folder}/state/router.db")
    await store.start(1)
    for number in range(count):
        await store.quarantine(b"%d" % number * 50, "default", f"reason {number}", 1)
    await store.close()
    return f"sqlite:///{folder}/state/router.db"


async def test_an_export_is_one_private_file(tmp_path: Path) -> None:
    url, file = await made_database(tmp_path), tmp_path / "e.gz"
    done = exported(url, file)
    assert (mode_of(file), done.size, done.rows["webhooks"]) == (0o600, file.stat().st_size, 40)
    assert left(tmp_path) == ["e.gz"]
    with pytest.raises(StoreUnavailable, match=r"e\.gz exists; give another file, or --force"):
        exported(url, file)
    with pytest.raises(StoreUnavailable, match="belongs to the database itself"):
        exported(url, tmp_path / "state" / "router.db")
    with pytest.raises(StoreUnavailable, match="there is no such database"):
        exported(f"sqlite:///{tmp_path}/none.db", tmp_path / "f.gz")


async def test_a_cut_file_is_noticed_wherever_it_is_cut(tmp_path: Path) -> None:
    url, file, cut = await made_database(tmp_path), tmp_path / "e.gz", tmp_path / "cut.gz"
    exported(url, file)
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    whole = file.read_bytes()
    (tmp_path / "new").mkdir()
    for data in (
        *(whole[:size] for size in range(0, len(whole), 211)), whole[:-1],
        *(gzip.compress(b"".join(lines[:size])) for size in range(len(lines))),
        gzip.compress(b"".join(lines)[:-1]), gzip.compress(b"".join([*lines, lines[-1]])),
    ):  # fmt: skip
        cut.write_bytes(data)
        with pytest.raises(StoreUnavailable, match=r"cut or damaged|no export"):
            imported(f"sqlite:///{tmp_path}/new/router.db", cut)
        assert left(tmp_path / "new") in ([], ["router.db.lock"])
    imported(f"sqlite:///{tmp_path}/new/router.db", file)


async def test_a_changed_row_is_noticed(tmp_path: Path) -> None:
    url, file = await made_database(tmp_path), tmp_path / "e.gz"
    exported(url, file)
    text = gzip.decompress(file.read_bytes())
    lines = text.splitlines(keepends=True)
    for changed, words in (
        (text.replace(b"reason 7", b"reason 8"), "table webhooks: its rows differ from their sum"),
        (b"".join(line for line in lines if b"reason 7" not in line), "table webhooks: its rows differ"),
        (text.replace(b'"table":"troubles"', b'"table":"worries"'), "table worries is not one of revision"),
        (text.replace(b'["since","number"],', b"", 1), "is not one of revision"),
        (text.replace(b'"changes":0', b'"changes":1'), "the ledger differs from the exported one"),
    ):
        assert changed != text
        file.write_bytes(gzip.compress(changed))
        with pytest.raises(StoreUnavailable, match=words):
            imported(f"sqlite:///{tmp_path}/new.db", file)
        assert not (tmp_path / "new.db").exists()


async def test_numbers_and_texts_beyond_limits_are_refused(tmp_path: Path) -> None:
    url, file = await made_database(tmp_path), tmp_path / "e.gz"
    exported(url, file)
    text = gzip.decompress(file.read_bytes())
    for odd in (
        text.replace(b'"reason 7"', rb'"\ud800"'),
        text.replace(b'"default",1,', b'"default",9223372036854775808,'),
    ):
        assert odd != text
        file.write_bytes(gzip.compress(odd))
        with pytest.raises(StoreUnavailable, match=r"cut or damaged \(table webhooks: \w+Error"):
            imported(f"sqlite:///{tmp_path}/new.db", file)


async def test_a_wal_without_its_database_is_not_applied_to_the_new_one(tmp_path: Path) -> None:
    url, file = await made_database(tmp_path), tmp_path / "e.gz"
    exported(url, file)
    (tmp_path / "new.db-wal").write_bytes(b"of another database")
    with pytest.raises(StoreUnavailable, match=r"new\.db-wal is there without new\.db, which was moved away"):
        imported(f"sqlite:///{tmp_path}/new.db", file)
    assert (tmp_path / "new.db-wal").read_bytes() == b"of another database"


async def test_a_text_in_a_column_of_numbers_ends_the_export(tmp_path: Path) -> None:
    url = await made_database(tmp_path)
    change(tmp_path / "state" / "router.db", "UPDATE webhooks SET settled_at = 'soon' WHERE id % 7 = 0")
    with pytest.raises(
        StoreUnavailable, match=r"table webhooks, row \d+: settled_at is str instead of number"
    ):
        exported(url, tmp_path / "e.gz")
    assert left(tmp_path) == []


@contextmanager
def small_disk() -> Iterator[None]:
    """No file can become larger than 50 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_full_disk_leaves_no_part_of_an_export_or_an_import(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/state/router.db")
    for _ in range(20):
        await store.quarantine(os.urandom(10_000), "default", "reason", 1)
    await store.close()
    url, file, new = f"sqlite:///{tmp_path}/state/router.db", tmp_path / "e.gz", tmp_path / "new"
    with (
        small_disk(),
        pytest.raises(StoreUnavailable, match=r"e\.gz: File too large; make room, or give a file in"),
    ):
        exported(url, file)
    assert left(tmp_path) == []
    exported(url, file)
    with (
        small_disk(),
        pytest.raises(StoreUnavailable, match=r"new/router\.db: .*(the disk is full|the disk fails)"),
    ):
        imported(f"sqlite:///{new}/router.db", file)
    assert left(new) == ["router.db.lock"]
    assert imported(f"sqlite:///{new}/router.db", file).rows["webhooks"] == 20
