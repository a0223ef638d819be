"""Checks and migrates a database before it is used. Nothing is written to one that is damaged, or that belongs to another program."""

from collections.abc import Collection
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from router.package import package_version
from router.store.backend import Backend
from router.store.health import StoreUnavailable
from router.store.schema import meta, metadata

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSIONS = "alembic_version"
WRITTEN_BY = "written_by"
"""A key of the meta table: the version of the router that last started on the database."""


@cache
def _scripts() -> "ScriptDirectory":
    """Return the migrations. They are read once, because that takes as long as creating a database."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415  (70 ms that reading a database does without)

    return ScriptDirectory(str(_MIGRATIONS))


class StoredTables(StrEnum):
    """What a database has before it is opened."""

    NOTHING = "nothing"
    OLDER = "older"
    """Tables of an older version, which a migration changes."""
    CURRENT = "current"


def check_database(backend: Backend) -> StoredTables:
    """Check that the database can be used.

    :raises StoreUnavailable: it is damaged, locked, or was written by a newer router or by another program
    """
    with backend.open_read_only() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        backend.check_usable(connection)
        revision = revision_of(connection, tables, backend.name)
    if revision is None:
        return StoredTables.NOTHING
    return StoredTables.CURRENT if revision == newest_revision() else StoredTables.OLDER


def revision_of(connection: sa.Connection, tables: Collection[str], name: str) -> str | None:
    """Return the revision of the tables of a database; None: it has no tables.

    :param tables: the names of its tables
    :param name: of the database, for the error
    :raises StoreUnavailable: it was written by a newer router or by another program
    """
    if not tables:
        return None
    if _VERSIONS not in tables:
        raise StoreUnavailable(f"{name} belongs to another program; give another --database")
    query = f"SELECT version_num FROM {_VERSIONS}"  # noqa: S608  (a constant)
    revisions = connection.exec_driver_sql(query).scalars().all()
    for revision in revisions:
        if not is_known_revision(revision):
            restored_with = "`alert-router restore`" if connection.dialect.name == "sqlite" else "pg_restore"
            raise StoreUnavailable(
                f"{name} was written by {_writer_of(connection, tables)}, which is newer than this version, "
                f"{package_version()} (its tables are at {revision!r}, unknown here). Start that version or a later one; "
                f"or stop it and put the backup from before the upgrade in place with {restored_with}; or give "
                "another --database"
            )
    return revisions[0] if revisions else None


def newest_revision() -> str | None:
    """Return the revision of the tables of this version."""
    return _scripts().get_current_head()


def _writer_of(connection: sa.Connection, tables: Collection[str]) -> str:
    """Return the version that last served from a database, in words."""
    found = None
    if meta.name in tables:
        with suppress(sa.exc.DBAPIError):  # a newer version may keep other columns
            found = connection.execute(sa.select(meta.c.value).where(meta.c.key == WRITTEN_BY)).scalar()
    return "another version of alert-router" if found is None else f"alert-router {found}"


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the tables up to a revision. A new database gets the newest tables directly.

    :param revision: tests give an older one to create a database of that version
    """
    import alembic.command  # noqa: PLC0415  (as above)
    from alembic.migration import MigrationContext  # noqa: PLC0415

    with engine.execution_options(writes=True, untimed=True).begin() as connection:
        context = MigrationContext.configure(connection)
        if revision == "head":
            if not sa.inspect(connection).get_table_names():
                metadata.create_all(connection, checkfirst=False)
                context.stamp(_scripts(), revision)
                return
            if context.get_current_heads() == tuple(_scripts().get_heads()):
                return
        alembic.command.upgrade(_config(connection), revision)


def create_tables(connection: sa.Connection) -> None:
    """Create the newest tables in an empty database, without indexes. See :func:`create_indexes`."""
    from alembic.migration import MigrationContext  # noqa: PLC0415  (as above)

    for table in metadata.sorted_tables:
        connection.execute(sa.schema.CreateTable(table))
    MigrationContext.configure(connection).stamp(_scripts(), "head")


def create_indexes(connection: sa.Connection) -> None:
    """Create the indexes of the newest tables. With the rows already there, this takes less time than with each row."""
    for table in metadata.sorted_tables:
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            index.create(connection)


def downgrade(connection: sa.Connection, revision: str) -> None:
    """Bring empty tables back to an older revision."""
    import alembic.command  # noqa: PLC0415  (as above)

    alembic.command.downgrade(_config(connection), revision)


def upgrade(connection: sa.Connection) -> None:
    """Bring tables up to the newest revision, in the transaction of the connection."""
    import alembic.command  # noqa: PLC0415  (as above)

    alembic.command.upgrade(_config(connection), "head")


def is_known_revision(revision: str) -> bool:
    """Return whether this version knows a revision of the tables."""
    return revision in {script.revision for script in _scripts().walk_revisions()}


def _config(connection: sa.Connection) -> "Config":
    import alembic.config  # noqa: PLC0415  (as above)

    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
