"""Older code on newer tables: it serves from them if their migration says so, and is refused if not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import router.store
from router.package import package_version
from router.store import Store, opening
from router.store.backend import Backend
from router.store.health import StoreUnavailable
from router.store.opening import StoredTables, check_database, migrate, newest_revision, oldest_that_serves
from tests.postgresql import Server, made

MIGRATIONS = Path(router.store.__file__).parent / "migrations"
_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = {revision!r}, {before!r}, None, None
{since}


def upgrade() -> None:
    op.create_table("of_{revision}", sa.Column("id", sa.Integer, primary_key=True))
    if {table!r}:
        op.add_column({table!r}, sa.Column("of_{revision}", sa.Text, server_default=""))


def downgrade() -> None:
    op.drop_table("of_{revision}")
"""


@pytest.fixture
def url(new_url: str) -> str:
    return new_url


class Newer:
    """A later version of the code: a copy of the migrations with more of them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder / "migrations", patch
        self._last = newest_revision()
        shutil.copytree(MIGRATIONS, self._folder, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, revision: str, since: str | None, table: str = "") -> None:
        """:param table: gets another column"""
        named = "" if since is None else f"serves_since = {since!r}"
        text = _MIGRATION.format(revision=revision, before=self._last, since=named, table=table)
        (self._folder / "versions" / f"{revision}_more.py").write_text(text)
        self._last = revision
        self.start()

    def start(self) -> None:
        """From now on, this version runs."""
        self._patch.setattr(opening, "_MIGRATIONS", self._folder)
        opening._scripts.cache_clear()

    def stop(self) -> None:
        """From now on, the version of this checkout runs."""
        self._patch.setattr(opening, "_MIGRATIONS", MIGRATIONS)
        opening._scripts.cache_clear()


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Newer]:
    with pytest.MonkeyPatch.context() as patch:
        version = Newer(tmp_path, patch)
        yield version
        version.stop()


async def test_older_code_serves_from_tables_that_it_may_use(newer: Newer, url: str) -> None:
    made(url).close()
    newer.add("9001", since=newest_revision())
    made(url).close()
    newer.stop()
    database = made(url)
    assert check_database(database) == StoredTables.CURRENT
    assert names_of_tables(database) >= {"of_9001"}
    assert revision_of(database) == "9001"
    database.close()
    store = await Store.open(url)
    await store.close()
    newer.start()
    database = made(url)
    assert check_database(database) == StoredTables.CURRENT
    database.close()


@pytest.mark.parametrize("since", [None, "9001"])
async def test_older_code_is_refused_on_other_tables(newer: Newer, url: str, since: str | None) -> None:
    made(url).close()
    newer.add("9001", since=newest_revision())
    newer.add("9002", since=since)
    made(url).close()
    newer.stop()
    with pytest.raises(StoreUnavailable, match=r"newer than this version, .*its tables are at '9002'"):
        await Store.open(url)


async def test_a_new_database_has_the_note_as_well(newer: Newer, url: str) -> None:
    newer.add("9001", since=newest_revision())
    made(url).close()
    newer.stop()
    store = await Store.open(url)
    await store.close()


def test_the_oldest_code_that_serves_is_allowed_by_every_later_migration(newer: Newer) -> None:
    before = newest_revision()
    assert before is not None
    newer.add("9001", since=before)
    newer.add("9002", since=before)
    assert oldest_that_serves() == before
    newer.add("9003", since="9001")
    assert oldest_that_serves() == "9001"
    newer.add("9004", since=before)  # 9003 still forbids older code
    assert oldest_that_serves() == "9001"
    newer.add("9005", since=None)
    assert oldest_that_serves() == "9005"


def test_tables_are_not_changed_under_replicas_that_need_them(newer: Newer, postgresql: Server) -> None:
    with postgresql.database() as url:
        _check_that_replicas_are_safe(newer, made(url))


def _check_that_replicas_are_safe(newer: Newer, database: Backend) -> None:
    beside = "INSERT INTO replicas (id, name, version, process, started_at, renewed_at, expires_at) VALUES"
    _execute(
        database,
        f"{beside} ('a', 'router-1', '1.2.3', '', 0, 0, 99999999999999), ('b', 'x', '1', '', 0, 0, 1)",
    )
    newer.add("9001", since=None)
    with pytest.raises(StoreUnavailable) as refused:
        migrate(database.engine)
    assert str(refused.value) == (
        "router-1 (version 1.2.3) still serve from this database, and could not use the tables of this version, "
        f"{package_version()}. Stop all replicas first; one that was killed counts until its session expires, a few seconds later"
    )
    assert "of_9001" not in names_of_tables(database)
    _execute(database, "DELETE FROM replicas WHERE id = 'a'")
    migrate(database.engine)
    assert "of_9001" in names_of_tables(database)
    database.close()


def names_of_tables(database: Backend) -> set[str]:
    with database.open_read_only() as connection:
        return set(sa.inspect(connection).get_table_names())


def revision_of(database: Backend) -> str:
    with database.open_read_only() as connection:
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def _execute(database: Backend, statement: str) -> None:
    with database.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql(statement)
