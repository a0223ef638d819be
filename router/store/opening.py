"""Checks and migrates a database before it is used. Nothing is written to one that is damaged, or that belongs to another program."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from router.store.backend import Backend
from router.store.health import StoreUnavailable
from router.store.schema import metadata

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSIONS = "alembic_version"


@cache
def _scripts() -> "ScriptDirectory":
    """Return the migrations. They are read once, because that takes as long as creating a database."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415  (70 ms that reading a database does without)

    return ScriptDirectory(str(_MIGRATIONS))


def check_database(backend: Backend) -> None:
    """Check that the database can be used.

    :raises StoreUnavailable: it is damaged, locked, or was written by a newer router or by another program
    """
    with backend.open_read_only() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        backend.check_usable(connection)
        if tables and _VERSIONS not in tables:
            raise StoreUnavailable(f"{backend.name} belongs to another program; give another --database")
        query = f"SELECT version_num FROM {_VERSIONS}"  # noqa: S608  (a constant)
        revisions = connection.exec_driver_sql(query).scalars().all() if tables else ()
        known = {script.revision for script in _scripts().walk_revisions()}
        for revision in revisions:
            if revision not in known:
                raise StoreUnavailable(
                    f"{backend.name} was written by a newer alert-router (its tables are at {revision!r}, unknown "
                    "here); start that version, or give another --database"
                )


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the tables up to a revision. A new database gets the newest tables directly.

    :param revision: tests give an older one to create a database of that version
    """
    import alembic.command  # noqa: PLC0415  (as above)
    import alembic.config  # noqa: PLC0415
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
        config = alembic.config.Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)
