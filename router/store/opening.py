"""Before a database is used: is it whole, and is it ours? Nothing is written to one that is not."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import alembic.command
import alembic.config
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from router.store.health import StoreUnavailable, damaged, unavailable
from router.store.writer import BUSY_SECONDS

_MIGRATIONS = Path(__file__).parent / "migrations"
# A gigabyte takes about a second from memory, and as long as reading it takes from a disk. A file that needs longer
# than this is checked in part: a start that takes minutes costs more alerts than a flipped bit.
_CHECK_SECONDS = 5.0


def check(path: Path) -> None:
    """:raises StoreUnavailable: it is damaged, locked, or was made by a newer router or by another program"""
    try:
        uri = f"file:{quote(str(path))}?mode=ro"  # else closing it would bring the WAL in
        with closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        ) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            found = _quick_check(connection)
            if found:
                raise damaged(path, f"it is damaged ({found})")
            if tables and "alembic_version" not in tables:
                raise StoreUnavailable(f"{path} belongs to another program; give another --database")
            revisions = connection.execute("SELECT version_num FROM alembic_version") if tables else ()
            known = {script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}
            for (revision,) in revisions:
                if revision not in known:
                    raise StoreUnavailable(
                        f"{path} was written by a newer alert-router (its tables are at {revision!r}, unknown here); "
                        "start that version, or give another --database"
                    )
    except sqlite3.Error as error:
        raise unavailable(error, path) from error


def _quick_check(connection: sqlite3.Connection) -> str:
    """The first thing that is wrong, or nothing. https://sqlite.org/pragma.html#pragma_quick_check"""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(_CHECK_SECONDS, give_up)
    timer.start()
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        if late.is_set():
            return ""
        raise
    finally:
        timer.cancel()
        timer.join()
    return "" if found == "ok" or late.is_set() else " ".join(str(found).split())


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the tables up to a revision. :param revision: an older one only to make a database of that version"""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)
