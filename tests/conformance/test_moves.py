"""A database moves between SQLite and PostgreSQL, and nothing of it changes."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from router.core.conversations import DATABASE_ID
from router.store import Store, StoreUnavailable, state_file
from router.store.backend import Backend, open_backend
from router.store.opening import migrate
from router.store.postgresql import _SERVES
from router.store.schema import metadata
from router.store.state_export import NOT_EXPORTED, exported_tables, write_snapshot
from router.store.state_file import FileHeader
from tests.conformance.test_equal_results import HISTORIES, shown
from tests.conformance.test_schema import is_everywhere, migrate_to
from tests.database import change, rows
from tests.histories.compare import compare
from tests.histories.data import Recorded, load
from tests.histories.play import play
from tests.histories.policies import moment
from tests.moving import AT, Mover, end_of, exported, imported, no_tick, tables_of
from tests.postgresql import Server, made
from tests.unit.store.test_backup_file import left


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import and an export tick after every row."""
    monkeypatch.setattr(state_file, "_ROWS_PER_TICK", 1)


def with_restarts() -> list[Recorded]:
    """Long histories that are moved several times, with deliveries under way."""
    found = [each for each in load(every=5) if sum(step["do"] == "restart" for step in each["steps"]) >= 2]
    return sorted(found, key=lambda each: len(json.dumps(each)))[-4:]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("history", with_restarts(), ids=lambda each: f"history {each['seed']}")
async def test_a_history_goes_on_after_each_move(history: Recorded, kind: str, mover: Mover) -> None:
    results = await play(history, mover.new(kind), mover.move)
    assert len(mover.moves) >= 2
    assert not compare(history, results).problem
    assert {(each.ledger["imbalance"], each.miscounted.count) for each in mover.moves} == {(0, 0)}


@pytest.mark.parametrize("history", HISTORIES[:2], ids=lambda each: f"history {each['seed']}")
async def test_a_history_reads_the_same_after_a_move(history: Recorded, mover: Mover) -> None:
    url = mover.new("sqlite")
    await play(history, url)
    now = moment(history["start"]) + 2 * 86_400_000
    assert await shown(mover.move(url), now) == await shown(url, now)


def test_all_tables_but_those_about_processes_are_exported() -> None:
    assert {*metadata.tables} - {each.name for each in exported_tables()} <= NOT_EXPORTED
    assert {"replicas", "writers", "leases", "lanes", "lane_requests"} == NOT_EXPORTED


async def history_of(url: str) -> Recorded:
    await play(HISTORIES[0], url)
    return HISTORIES[0]


async def a_file(mover: Mover, folder: Path, name: str = "file.gz") -> Path:
    """An export with a history."""
    url = mover.new("sqlite")
    await history_of(url)
    exported(url, folder / name)
    return folder / name


async def test_a_database_with_rows_is_refused(mover: Mover, tmp_path: Path, kind: str) -> None:
    file, url = await a_file(mover, tmp_path), mover.new(kind)
    store = await Store.open(url)
    await store.quarantine(b"mine", "default", "r", 1)
    await store.close()
    with pytest.raises(
        StoreUnavailable, match=r"is not empty: the table \w+ has rows; give an empty database"
    ):
        imported(url, file)
    assert rows(url, "SELECT count(*) FROM webhooks") == [(1,)]
    assert rows(url, "SELECT count(*) FROM alerts") == [(0,)]


async def test_tables_without_rows_are_filled(mover: Mover, tmp_path: Path, kind: str) -> None:
    file, url = await a_file(mover, tmp_path), mover.new(kind)
    made(url).close()
    imported(url, file)
    exported(url, tmp_path / "again.gz")
    assert tables_of(tmp_path / "again.gz") == tables_of(file)
    assert await shown(url, AT)


async def test_empty_tables_of_an_older_version_are_refused(mover: Mover, tmp_path: Path, kind: str) -> None:
    file, url = await a_file(mover, tmp_path), mover.new(kind)
    database = made(url)
    migrate_to(database, "-1")
    database.close()
    with pytest.raises(StoreUnavailable, match="its tables are empty, but of an older version"):
        imported(url, file)


async def test_a_database_of_another_program_is_refused(mover: Mover, tmp_path: Path, kind: str) -> None:
    file, url = await a_file(mover, tmp_path), mover.new(kind)
    (change if kind == "postgresql" else create)(url, "CREATE TABLE theirs (id INTEGER)")
    with pytest.raises(StoreUnavailable, match="belongs to another program; give another --database"):
        imported(url, file)
    assert rows(url, "SELECT * FROM theirs") == []


def create(url: str, statement: str) -> None:
    change(path_of(url), statement)


async def test_a_database_that_a_router_serves_from_is_refused(
    mover: Mover, tmp_path: Path, kind: str
) -> None:
    file, url = await a_file(mover, tmp_path), mover.new(kind)
    store = await Store.open(url)
    with pytest.raises(StoreUnavailable, match="is in use by another alert-router; stop that one"):
        imported(url, file)
    await store.ready()
    await store.close()


async def test_a_session_that_shares_the_lock_of_routers_is_enough(
    mover: Mover, tmp_path: Path, postgresql: Server
) -> None:
    file, url = await a_file(mover, tmp_path), mover.new("postgresql")
    with psycopg.connect(url) as session:
        session.execute("SELECT pg_advisory_lock_shared(%s)", (_SERVES,))
        with pytest.raises(StoreUnavailable, match="is in use by another alert-router"):
            imported(url, file)
    assert imported(url, file).ledger["imbalance"] == 0


async def test_no_router_starts_on_a_database_that_is_being_filled(
    mover: Mover, tmp_path: Path, kind: str, every_row: None
) -> None:
    file, url = await a_file(mover, tmp_path), mover.new(kind)
    refusals: list[str] = []

    def start(_table: str, number: int) -> None:
        if number not in {1, 40}:
            return
        second = open_backend(url)
        try:
            second.prepare()
            second.open_writer()
        except StoreUnavailable as error:
            refusals.append(str(error))
        finally:
            second.close()

    imported(url, file, start)
    assert len(refusals) == 2
    assert all("is in use by an" in each for each in refusals)
    await (await Store.open(url)).close()


async def test_an_import_that_fails_leaves_nothing(
    mover: Mover, tmp_path: Path, kind: str, every_row: None
) -> None:
    file, url = await a_file(mover, tmp_path), mover.new(kind)

    def fail(_table: str, number: int) -> None:
        if number == 50:
            raise KeyboardInterrupt

    before = left(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        imported(url, file, fail)
    if kind == "sqlite":
        path = path_of(url)
        assert left(tmp_path) == sorted({*before, f"{path.name}.lock"})
    else:
        assert rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
    assert imported(url, file).ledger["imbalance"] == 0


async def test_the_tables_equal_those_of_a_new_database(mover: Mover, tmp_path: Path, kind: str) -> None:
    file, url, new = await a_file(mover, tmp_path), mover.new(kind), mover.new(kind)
    imported(url, file)
    made(new).close()
    definitions = (
        "SELECT name, sql FROM sqlite_master ORDER BY name"
        if kind == "sqlite"
        else "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace "
        "UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
    )
    assert rows(url, definitions) == rows(new, definitions)
    database = open_backend(url)
    with database.open_read_only() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_everywhere})
        assert compare_metadata(context, metadata) == []
    database.close()


async def test_each_import_gets_another_random_id(mover: Mover, tmp_path: Path, kind: str) -> None:
    source = mover.new("sqlite")
    await history_of(source)
    exported(source, tmp_path / "file.gz")
    ids = {
        rows(url, "SELECT value FROM meta WHERE key = :key", key=DATABASE_ID)[0][0]
        for url in (
            path_of(source),
            *map(import_into(mover, tmp_path, kind), range(2)),
        )
    }
    assert len(ids) == 3


def import_into(mover: Mover, folder: Path, kind: str) -> Any:
    def one(_number: int) -> str:
        url = mover.new(kind)
        imported(url, folder / "file.gz")
        return url

    return one


async def test_an_export_of_a_database_in_use_is_one_snapshot(
    mover: Mover, tmp_path: Path, kind: str, every_row: None
) -> None:
    url = mover.new(kind)
    await history_of(url)
    before = exported(url, tmp_path / "before.gz")
    database = path_of(url) if kind == "sqlite" else url

    def write(_table: str, number: int) -> None:
        if number in {1, 20, 60}:
            change(database, "UPDATE fates SET reason = 'later'", "DELETE FROM former_fates",
                   f"INSERT INTO troubles VALUES ('d{number}', 1, 'c', 'r', 0, 0)")  # fmt: skip

    source = open_backend(url)
    with source.open_read_only() as connection, (tmp_path / "meanwhile.gz").open("wb") as stream:
        found = write_snapshot(
            source, connection, exported_tables(), stream, FileHeader("0", "0", kind, AT), write
        )
    source.close()
    assert found.rows == before.rows
    assert tables_of(tmp_path / "meanwhile.gz") == tables_of(tmp_path / "before.gz")
    assert exported(url, tmp_path / "after.gz").rows["troubles"] == before.rows["troubles"] + 3


async def test_what_was_under_way_is_interrupted_and_due_again(
    mover: Mover, tmp_path: Path, kind: str
) -> None:
    """Also if another process than the one that starts next had it under way."""
    history = next(each for each in load() if ends_under_way(each))
    source = mover.new("postgresql" if kind == "sqlite" else "sqlite")
    await play({**history, "steps": history["steps"][: ends_under_way(history)]}, source)
    url = mover.move(source)
    assert mover.interrupted == 1
    assert rows(url, "SELECT count(*) FROM deliveries WHERE outcome = 'interrupted'") != [(0,)]
    assert rows(url, "SELECT count(*) FROM conversations WHERE delivery_id IS NOT NULL") == [(0,)]
    mover.move(url)
    assert mover.interrupted == 1
    assert [each.miscounted.count for each in mover.moves] == [0, 0]


def ends_under_way(history: Recorded) -> int:
    """Return the number of steps after which a delivery is under way at a restart; 0: there is none."""
    names = [step["do"] for step in history["steps"]]
    for number, name in enumerate(names):
        if name == "restart" and names[number - 1] == "claim" and "claims" in history["results"][number - 1]:
            return number
    return 0


def reflected(connection: sa.Connection) -> list[sa.Table]:
    found = sa.MetaData()
    found.reflect(connection)
    return [each for each in found.sorted_tables if each.name not in {*NOT_EXPORTED, "alembic_version"}]


def write_older(database: Backend, revision: str, file: Path) -> None:
    """Write an export as the version with this revision would."""
    with database.open_read_only() as connection, file.open("wb") as stream:
        header = FileHeader(revision, "0.0.9", connection.dialect.name, AT)
        write_snapshot(database, connection, reflected(connection), stream, header, no_tick)


@pytest.mark.parametrize("revision", ["0018", "0020"])
async def test_a_file_of_an_older_version_is_brought_up_to_date(
    mover: Mover, tmp_path: Path, kind: str, revision: str
) -> None:
    source, url = mover.new("sqlite"), mover.new(kind)
    await history_of(source)
    database = made(source)
    migrate_to(database, revision)
    write_older(database, revision, tmp_path / "older.gz")
    migrate(database.engine)
    database.close()
    exported(source, tmp_path / "migrated.gz")
    done = imported(url, tmp_path / "older.gz")
    assert (done.header.revision, done.ledger) == (revision, end_of(tmp_path / "migrated.gz")["ledger"])
    exported(url, tmp_path / "again.gz")
    assert tables_of(tmp_path / "again.gz") == tables_of(tmp_path / "migrated.gz")
    await (await Store.open(url)).close()


async def test_a_file_of_a_newer_version_is_refused(mover: Mover, tmp_path: Path, kind: str) -> None:
    source, url = mover.new("sqlite"), mover.new(kind)
    await history_of(source)
    database = made(source)
    write_older(database, "9999", tmp_path / "newer.gz")
    database.close()
    with pytest.raises(
        StoreUnavailable, match=r"newer\.gz was written by alert-router 0\.0\.9, which is newer than"
    ):
        imported(url, tmp_path / "newer.gz")
