"""The tables equal the schema of the code, whether they were created or migrated."""

import re
from dataclasses import replace
from pathlib import Path

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import router.store
from router.store import Store
from router.store.backend import Backend
from router.store.opening import migrate
from router.store.schema import members, metadata
from tests.postgresql import made
from tests.quarantine import quarantined
from tests.unit.core.world import NOON, POLICY, TEAM, alert, webhook

HEAD = ScriptDirectory(str(Path(router.store.__file__).parent / "migrations")).get_current_head()

GROUPS = {"ix_groups_key", "uq_groups_source_receiver_group_key"}


@pytest.fixture
def url(new_url: str) -> str:
    return new_url


def tables(path: Path) -> dict[str, list[str]]:
    """The columns, constraints and conditions of a file's tables and indexes, by name."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    engine.dispose()
    return {
        name: sorted(re.split(r",\s", " ".join(sql.replace('"', "").split())[:-1])) for name, sql in found
    }


def is_everywhere(_item: object, name: str | None, *_: object) -> bool:
    """Return False for the index that finds a group by its key, because it differs between databases."""
    return name not in GROUPS


def test_migrated_tables_equal_new_tables(tmp_path: Path) -> None:
    paths = tmp_path / "old.db", tmp_path / "new.db"
    for path, revisions in zip(paths, (["0001", "head"], ["head"]), strict=True):
        engine = sa.create_engine(f"sqlite:///{path}")
        for revision in revisions:
            migrate(engine, revision)
        engine.dispose()
    old, new = map(tables, paths)
    assert {name: [each.rstrip(" )") for each in parts] for name, parts in old.items()} == {
        name: [each.rstrip(" )") for each in parts] for name, parts in new.items()
    }


def test_a_new_database_has_the_tables_of_the_schema(database: Backend) -> None:
    with database.open_read_only() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_everywhere})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD


async def test_opening_a_database_again_changes_nothing(url: str) -> None:
    for _ in range(2):
        store = await Store.open(url)
        await store.quarantine(b"x", "default", "r", 1)
        await store.close()
    store = await Store.open(url)
    assert len(await quarantined(store)) == 2
    await store.close()


def test_the_newest_migration_goes_back_and_forth(database: Backend) -> None:
    """A database of another kind than SQLite has no older one to begin with."""
    migrate_to(database, "-1")
    migrate(database.engine)
    with database.open_read_only() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_everywhere})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD


async def test_a_migration_finds_where_alerts_are_inhibited(url: str) -> None:
    policy = replace(POLICY, root=replace(POLICY.root, routes=()))
    store = await Store.open(url)
    alerts = [alert("D", level) for level in ("critical", "warning", "info")]
    await store.accept(webhook(*alerts), "default", b"{}", policy, NOON)
    await store.close()
    database = made(url)
    before = muted_destinations(database)
    migrate_to(database, "0017")
    migrate(database.engine)
    assert muted_destinations(database) == before
    assert sorted(before, key=str) == [None, TEAM.key, TEAM.key]
    database.close()


def muted_destinations(database: Backend) -> list[str | None]:
    with database.open_read_only() as connection:
        ordered = sa.select(members.c.muted_destination).order_by(members.c.id)
        return list(connection.execute(ordered).scalars())


def migrate_to(database: Backend, revision: str) -> None:
    """Go back to an older revision."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(router.store.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with database.engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, revision)
