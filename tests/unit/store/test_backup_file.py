"""A backup of a database in use: one snapshot in one private file, checked before it gets its name."""

import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from router.store import Store, StoreUnavailable
from router.store.backup_file import BackupStopped, CopyProgress, write_backup
from tests.database import change, rows
from tests.world.old_versions import of_that_version


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "router.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{path}")
    for number in range(50):
        await store.quarantine(b"x" * 4_000, "default", f"reason {number}", 1)
    yield store
    await store.close()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.store.sqlite_backup._PAGES_PER_PIECE", 5)


def bodies(path: Path) -> int:
    ((count,),) = rows(path, "SELECT count(*) FROM webhooks")
    return int(count)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


async def test_a_backup_is_one_private_file_from_its_first_byte_on(
    store: Store, path: Path, tmp_path: Path, small_pieces: None
) -> None:
    modes: set[int] = set()

    def look(_copied: int, _size: int) -> None:
        modes.update(stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob(".*.part*"))

    found = write_backup(f"sqlite:///{path}", tmp_path / "b.db", progress=CopyProgress(look))
    assert modes == {0o600}
    assert left(tmp_path) == ["b.db"]
    assert mode_of(tmp_path / "b.db") == 0o600
    assert (found.size, found.imbalance) == ((tmp_path / "b.db").stat().st_size, 0)
    assert bodies(tmp_path / "b.db") == 50


async def test_what_is_written_meanwhile_neither_restarts_nor_enters_it(
    store: Store, path: Path, tmp_path: Path, small_pieces: None
) -> None:
    copied = []

    def write(done: int, _size: int) -> None:
        copied.append(done)
        change(path, "UPDATE webhooks SET source = source || 'x'", "DELETE FROM webhooks WHERE id = 1")

    write_backup(f"sqlite:///{path}", tmp_path / "b.db", progress=CopyProgress(write))
    assert len(copied) > 5
    assert copied == sorted(set(copied))
    assert bodies(tmp_path / "b.db") == 50
    assert rows(tmp_path / "b.db", "SELECT DISTINCT source FROM webhooks") == [("default",)]
    assert bodies(path) == 49


async def test_a_file_that_exists_is_replaced_only_by_force(store: Store, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.db"
    file.write_text("mine")
    with pytest.raises(StoreUnavailable, match=r"b.db exists; give another file, or --force"):
        write_backup(f"sqlite:///{path}", file)
    assert file.read_text() == "mine"
    write_backup(f"sqlite:///{path}", file, force=True)
    assert bodies(file) == 50
    assert left(tmp_path) == ["b.db"]


@pytest.mark.parametrize("name", ["router.db", "router.db-wal", "router.db.lock", "link", "hard"])
async def test_no_force_replaces_the_database_itself(store: Store, path: Path, name: str) -> None:
    (path.parent / "link").symlink_to(path)
    (path.parent / "hard").hardlink_to(path)
    with pytest.raises(StoreUnavailable, match="belongs to the database itself"):
        write_backup(f"sqlite:///{path}", path.parent / name, force=True)
    assert bodies(path) == 50


async def test_a_folder_and_a_missing_folder_are_refused(store: Store, path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is a folder; give the name of a file in it"):
        write_backup(f"sqlite:///{path}", tmp_path, force=True)
    with pytest.raises(StoreUnavailable, match="No such file or directory; give a folder that can be"):
        write_backup(f"sqlite:///{path}", tmp_path / "none" / "b.db")


async def test_a_disk_without_room_is_seen_before_it_is_filled(
    store: Store, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=64 * 2**20))
    with pytest.raises(StoreUnavailable, match="67 MB are free; make room, or give a folder on another disk"):
        write_backup(f"sqlite:///{path}", tmp_path / "b.db")
    assert left(tmp_path) == []


async def test_a_disk_that_fills_up_leaves_no_part_of_a_backup(
    store: Store, path: Path, tmp_path: Path, small_pieces: None
) -> None:
    def fill(_copied: int, _size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))

    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(StoreUnavailable, match=r"is the disk full\? Make room, and try again"):
            write_backup(f"sqlite:///{path}", tmp_path / "b.db", progress=CopyProgress(fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left(tmp_path) == []


async def test_a_caller_stops_the_copying_and_nothing_is_left(
    store: Store, path: Path, tmp_path: Path, small_pieces: None
) -> None:
    asked = iter([False, False, True])
    with pytest.raises(BackupStopped):
        write_backup(
            f"sqlite:///{path}", tmp_path / "b.db", progress=CopyProgress(is_stopped=lambda: next(asked))
        )
    assert left(tmp_path) == []


def damage(path: Path) -> None:
    """Overwrite some pages in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9_000] = b"\xff" * 9_000
    path.write_bytes(data)


async def test_a_damaged_database_gives_no_backup(path: Path, tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{path}")
    for number in range(200):
        await store.quarantine(b"x" * 4_000, "default", f"reason {number}", 1)
    await store.close()
    damage(path)
    with pytest.raises(StoreUnavailable, match="damaged"):
        write_backup(f"sqlite:///{path}", tmp_path / "b.db")
    assert left(tmp_path) == []


async def test_a_ledger_that_is_off_is_reported(store: Store, path: Path, tmp_path: Path) -> None:
    change(path, "UPDATE counters SET count = count + 3 WHERE what = 'owed'")
    change(path, "INSERT INTO counters (what, destination, value, count) SELECT 'owed', '', '', 3 WHERE "
                 "NOT EXISTS (SELECT 1 FROM counters WHERE what = 'owed')")  # fmt: skip
    assert write_backup(f"sqlite:///{path}", tmp_path / "b.db").imbalance == 3


def test_tables_of_an_older_version_are_copied_without_their_ledger(tmp_path: Path) -> None:
    of_that_version(tmp_path / "old.db").close()
    found = write_backup(f"sqlite:///{tmp_path}/old.db", tmp_path / "b.db")
    assert (found.revision, found.imbalance, found.firing) == ("0005", None, None)


def test_a_database_of_another_program_gives_no_backup(tmp_path: Path) -> None:
    change(tmp_path / "other.db", "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreUnavailable, match=r"other\.db belongs to another program"):
        write_backup(f"sqlite:///{tmp_path}/other.db", tmp_path / "b.db")
    with pytest.raises(StoreUnavailable, match="there is no such database"):
        write_backup(f"sqlite:///{tmp_path}/none.db", tmp_path / "b.db")
    assert left(tmp_path) == ["other.db"]


def test_postgresql_is_referred_to_its_own_tool_without_the_password(tmp_path: Path) -> None:
    url = "postgresql://router:hidden@db:5433/alerts?sslmode=require&sslpassword=hidden"
    with pytest.raises(StoreUnavailable) as refused:
        write_backup(url, tmp_path / "a b.db")
    assert str(refused.value) == (
        f"PostgreSQL has its own tool for this: pg_dump --format=custom --file='{tmp_path}/a b.db' "
        "'postgresql://router@db:5433/alerts?sslmode=require' (give the password in PGPASSWORD or ~/.pgpass)"
    )
