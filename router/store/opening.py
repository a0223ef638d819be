"""Checks and migrates a database before it is used. Nothing is written to one that is damaged, or that belongs to another program."""

from collections.abc import Collection
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from router.package import package_version
from router.store.backend import Backend
from router.store.health import StoreUnavailable
from router.store.schema import meta, metadata, replicas

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSIONS = "alembic_version"
WRITTEN_BY = "written_by"
"""A key of the meta table: the version of the router that last started on the database."""
SERVES_SINCE = "serves_since"
"""A key of the meta table: the revision of the tables, and the oldest one whose code can serve from them, see
:func:`oldest_that_serves`."""


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
    """Tables of this version, or of a newer one that says that this version can serve from them."""


def check_database(backend: Backend) -> StoredTables:
    """Check that the database can be used.

    :raises StoreUnavailable: it is damaged, locked, or was written by another program, or by a newer router whose tables this
        version can't use
    """
    with backend.open_read_only() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        backend.check_usable(connection)
        revision = revision_of(connection, tables, backend.name)
    if revision is None:
        return StoredTables.NOTHING
    is_older = revision != newest_revision() and is_known_revision(revision)
    return StoredTables.OLDER if is_older else StoredTables.CURRENT


def revision_of(connection: sa.Connection, tables: Collection[str], name: str) -> str | None:
    """Return the revision of the tables of a database; None: it has no tables. It may be one that this version does not know,
    if the version that made the tables says that this one can use them.

    :param tables: the names of its tables
    :param name: of the database, for the error
    :raises StoreUnavailable: it was written by another program, or by a newer router whose tables this version can't use
    """
    if not tables:
        return None
    if _VERSIONS not in tables:
        raise StoreUnavailable(f"{name} belongs to another program; give another --database")
    query = f"SELECT version_num FROM {_VERSIONS}"  # noqa: S608  (a constant)
    revisions = connection.exec_driver_sql(query).scalars().all()
    for revision in revisions:
        of, _, oldest = (_kept(connection, tables, SERVES_SINCE) or "").partition(" ")
        if not is_known_revision(revision) and not (of == revision and is_known_revision(oldest)):
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


def oldest_that_serves() -> str | None:
    """Return the oldest revision whose code can serve from the newest tables.

    A migration that older code does not notice names in ``serves_since`` the oldest revision whose code can run on its tables.
    It may only add tables, indexes, and columns with a server default. Without the name, only its own code can. So replicas
    of the version before go on during a rolling upgrade, and such a version can be started again after it.
    """
    newest_first = list(_scripts().walk_revisions())
    position = {script.revision: number for number, script in enumerate(newest_first)}
    oldest, allowed = 0, len(newest_first)
    for number, script in enumerate(newest_first):
        # Code of an older revision meets the changes of all later migrations.
        allowed = min(allowed, position[getattr(script.module, SERVES_SINCE, script.revision)])
        if allowed <= number:
            break
        oldest = number + 1
    return newest_first[oldest].revision if newest_first else None


def _known_revisions() -> dict[str, int]:
    """Return the revisions of this version with their positions, the newest first."""
    return {script.revision: number for number, script in enumerate(_scripts().walk_revisions())}


def _writer_of(connection: sa.Connection, tables: Collection[str]) -> str:
    """Return the version that last served from a database, in words."""
    found = _kept(connection, tables, WRITTEN_BY)
    return "another version of alert-router" if found is None else f"alert-router {found}"


def _kept(connection: sa.Connection, tables: Collection[str], key: str) -> str | None:
    """Return a value of the meta table; None: there is none."""
    if meta.name not in tables:
        return None
    try:
        value: str | None = connection.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar()
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        return None  # a newer version may keep other columns
    return value


def migrate(engine: sa.Engine, revision: str = "head", name: str = "the database") -> bool:
    """Bring the tables up to a revision. A new database gets the newest tables directly. Tables of a newer version stay as they
    are, if this one can use them. Return whether the database was new.

    It is one transaction under the lock of all writers, so one router migrates while others wait, and a router that ends
    half-way leaves the tables as they were.

    :param revision: tests give an older one to create a database of that version
    :param name: of the database, for the error
    :raises StoreUnavailable: meanwhile a newer router has migrated it so that this one can't use it; or replicas serve from
        the tables that could not use the newest ones
    """
    import alembic.command  # noqa: PLC0415  (as above)
    from alembic.migration import MigrationContext  # noqa: PLC0415

    with engine.execution_options(writes=True, unlimited=True).begin() as connection:
        context = MigrationContext.configure(connection)
        if revision == "head":
            tables = sa.inspect(connection).get_table_names()
            if not tables:
                metadata.create_all(connection, checkfirst=False)
                context.stamp(_scripts(), revision)
                keep_oldest(connection)
                return True
            current = revision_of(connection, tables, name)
            if current is not None and (current == newest_revision() or not is_known_revision(current)):
                return False
            _refuse_if_served(connection, current)
        alembic.command.upgrade(_config(connection), revision)
        if revision == "head":
            keep_oldest(connection)
    return False


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
    return revision in _known_revisions()


def _config(connection: sa.Connection) -> "Config":
    import alembic.config  # noqa: PLC0415  (as above)

    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def keep_oldest(connection: sa.Connection) -> None:
    """Store the oldest revision whose code can serve from the newest tables."""
    connection.execute(sa.delete(meta).where(meta.c.key == SERVES_SINCE))
    connection.execute(
        sa.insert(meta).values(key=SERVES_SINCE, value=f"{newest_revision()} {oldest_that_serves()}")
    )


def _refuse_if_served(connection: sa.Connection, current: str | None) -> None:
    """:raises StoreUnavailable: replicas of the version that made the tables run, and can't run on the newest tables"""
    positions, oldest = _known_revisions(), oldest_that_serves()
    if current is None or oldest is None or positions[current] <= positions[oldest]:
        return
    if connection.dialect.name != "postgresql" or not sa.inspect(connection).has_table(replicas.name):
        return
    now = sa.extract("epoch", sa.func.clock_timestamp()) * 1_000
    live = connection.execute(
        sa.select(replicas.c.name, replicas.c.version).where(replicas.c.expires_at > now)
    ).all()
    if live:
        named = ", ".join(f"{name} (version {version})" for name, version in sorted(map(tuple, live)))
        raise StoreUnavailable(
            f"{named} still serve from this database, and could not use the tables of this version, {package_version()}. "
            "Stop all replicas first; one that was killed counts until its session expires, a few seconds later"
        )
