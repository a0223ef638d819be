"""A restore checks the backup, keeps the database before, and gives the restored one another id."""

import os
from pathlib import Path

import pytest

from router.core.conversations import DATABASE_ID
from router.store import Store, StoreUnavailable
from router.store.backup_file import write_backup
from router.store.restore import RestoredDatabase, restore_backup
from tests.database import change, rows
from tests.unit.store.test_backup_file import bodies, damage, left, mode_of
from tests.world.conftest import MONDAY_NOON

NAME = "router.db.before-restore-20261123T120000Z"


async def made(path: Path, count: int) -> None:
    """Create a database with so many bodies."""
    store = await Store.open(f"sqlite:///{path}")
    await store.start(1)
    for number in range(count):
        await store.quarantine(b"x" * 4_000, "default", f"reason {number}", 1)
    await store.close()


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    """A backup with three bodies."""
    await made(tmp_path / "old" / "router.db", 3)
    write_backup(f"sqlite:///{tmp_path}/old/router.db", tmp_path / "backup.db")
    return tmp_path / "backup.db"


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database with five bodies."""
    await made(tmp_path / "state" / "router.db", 5)
    return tmp_path / "state" / "router.db"


def restored(path: Path, backup: Path) -> RestoredDatabase:
    return restore_backup(f"sqlite:///{path}", backup, MONDAY_NOON)


def refusal(path: Path, backup: Path) -> str:
    with pytest.raises(StoreUnavailable) as refused:
        restored(path, backup)
    return str(refused.value)


def id_of(path: Path) -> str:
    ((value,),) = rows(path, f"SELECT value FROM meta WHERE key = '{DATABASE_ID}'")
    return str(value)


async def test_the_backup_is_in_place_and_the_database_before_beside_it(path: Path, backup: Path) -> None:
    done = restored(path, backup)
    assert (done.path, done.before) == (path, path.with_name(NAME))
    assert left(path.parent) == ["router.db", NAME, "router.db.lock"]
    assert (bodies(path), bodies(path.with_name(NAME))) == (3, 5)
    assert mode_of(path) == 0o600
    assert done.found.imbalance == 0
    restored(path, backup)
    assert f"{NAME}-2" in left(path.parent)
    store = await Store.open(f"sqlite:///{path}")
    await store.close()


def test_the_restored_database_has_another_id_than_the_backup(path: Path, backup: Path) -> None:
    before = id_of(backup)
    restored(path, backup)
    assert len({before, id_of(path), id_of(path.with_name(NAME))}) == 3
    assert id_of(backup) == before


def test_a_restore_into_an_empty_folder_creates_the_database(tmp_path: Path, backup: Path) -> None:
    path = tmp_path / "new" / "folder" / "router.db"
    assert restored(path, backup).before is None
    assert bodies(path) == 3
    assert mode_of(path.parent) == 0o700


async def test_a_database_that_a_router_serves_from_is_refused(path: Path, backup: Path) -> None:
    store = await Store.open(f"sqlite:///{path}")
    assert "is in use by another alert-router; stop that one" in refusal(path, backup)
    await store.close()
    assert bodies(path) == 5


async def test_the_wal_of_a_killed_router_stays_with_the_database_before(
    path: Path, backup: Path, tmp_path: Path
) -> None:
    store = await Store.open(f"sqlite:///{path}")
    await store.quarantine(b"last", "default", "in the WAL", 1)
    killed = tmp_path / "killed" / "router.db"
    killed.parent.mkdir()
    for name in ("router.db", "router.db-wal"):
        (killed.parent / name).write_bytes((path.parent / name).read_bytes())
    await store.close()
    restored(killed, backup)
    assert left(killed.parent) == ["router.db", NAME, "router.db.lock"]
    assert (bodies(killed), bodies(killed.with_name(NAME))) == (3, 6)


def test_a_damaged_database_before_is_kept_with_its_wal(path: Path, backup: Path) -> None:
    path.write_bytes(b"no database" * 1_000)
    wal = path.with_name("router.db-wal")
    wal.write_bytes(b"its WAL")
    restored(path, backup)
    assert bodies(path) == 3
    assert not wal.exists()
    assert path.with_name(f"{NAME}-wal").read_bytes() == b"its WAL"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE alembic_version SET version_num = 'f00f'", "which is newer than this version"),
        ("DROP TABLE alembic_version", "belongs to another program"),
    ],
)
def test_a_backup_that_this_version_can_not_use_is_refused(
    path: Path, backup: Path, statement: str, words: str
) -> None:
    change(backup, statement)
    assert words in refusal(path, backup)
    assert left(path.parent) == ["router.db", "router.db.lock"]
    assert bodies(path) == 5


def test_a_damaged_backup_is_refused(path: Path, backup: Path) -> None:
    damage(backup)
    assert "damaged" in refusal(path, backup)
    backup.write_bytes(b"no database" * 1_000)
    assert refusal(path, backup) == f"{backup} is damaged (file is not a database); use an older backup"
    backup.write_bytes(b"")
    assert "is empty: it has no tables of alert-router" in refusal(path, backup)
    backup.unlink()
    assert "there is no such file" in refusal(path, backup)
    assert "is the database itself" in refusal(path, path)
    assert bodies(path) == 5


def test_a_refused_restore_by_root_leaves_no_lock_of_root(
    path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user of the service could not open it, and the service would not start."""
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda file, *owner: given.append((Path(file).name, *owner)))
    path.with_name("router.db.lock").unlink()
    backup.write_bytes(b"no database" * 1_000)
    refusal(path, backup)
    assert given == [("router.db.lock", path.stat().st_uid, path.stat().st_gid)]


def test_postgresql_is_referred_to_pg_restore(backup: Path) -> None:
    with pytest.raises(
        StoreUnavailable, match=r"pg_restore --clean --if-exists --dbname='?postgresql://db/a"
    ):
        restore_backup("postgresql://db/a", backup, 0)
