"""A store that can't be written or opened: the error for callers, the log, and how it recovers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from router.package import package_version
from router.store import Store, StoreUnavailable
from tests.database import change, empty_disk, fill_disk, locked, on_writer, rows
from tests.quarantine import quarantined


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "router.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{path}")
    yield store
    await store.close()


async def made(path: Path) -> None:
    """Create a database with some rows, and close it."""
    store = await Store.open(f"sqlite:///{path}")
    for number in range(200):
        await store.quarantine(b"x" * 4_000, "default", f"reason {number}", 1)
    await store.close()


async def refusal(path: Path) -> str:
    with pytest.raises(StoreUnavailable) as refused:
        await Store.open(f"sqlite:///{path}")
    return str(refused.value)


def events(logs: list[Any]) -> list[str]:
    return [each["event"].split(";")[0] for each in logs]


@pytest.fixture(autouse=True)
def _waits_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only briefly for a lock of another program."""
    monkeypatch.setattr("router.store.sqlite._BUSY_SECONDS", 0.3)


async def test_a_full_disk_and_its_end_are_logged_once(store: Store, path: Path) -> None:
    await fill_disk(store)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="the disk is full; make room") as refused:
                await store.quarantine(b"x" * 100_000, "default", "r", 1)
            store.refused(refused.value)
        assert store.trouble == str(refused.value)
        assert str(path) in store.trouble
        await empty_disk(store)
        await store.quarantine(b"x" * 100_000, "default", "r", 1)
    assert store.trouble is None
    assert events(logs) == ["the store can't be written", "the store can be written again"]
    assert logs[1]["refused"] == 3


async def test_every_job_of_a_batch_fails_on_a_full_disk(store: Store) -> None:
    """SQLite undoes everything then, so no caller may get a success."""
    await fill_disk(store)
    writes = [store.quarantine(b"x" * size, "default", "r", 1) for size in (10, 100_000, 10)]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    kept = await quarantined(store)
    assert [isinstance(each, int) for each in answers].count(True) == len(kept)
    assert all(isinstance(each, int) or "the disk is full" in str(each) for each in answers)


async def test_ready_writes_something(store: Store, path: Path) -> None:
    await store.ready()
    before = _bytes(path.with_name("router.db-wal"))
    await store.ready()
    assert len(_bytes(path.with_name("router.db-wal"))) > len(before)


async def test_a_lock_of_another_program_is_an_error_after_a_wait(store: Store, path: Path) -> None:
    with locked(path), pytest.raises(StoreUnavailable, match="another program has locked it"):
        await store.ready()
    await store.ready()


@pytest.mark.parametrize(
    "error", [SystemExit(1), StopIteration(), MemoryError(), KeyError("x"), RecursionError()]
)
async def test_a_job_that_raises_fails_alone_and_the_writer_goes_on(
    store: Store, error: BaseException
) -> None:
    def broken(_: sa.Connection) -> None:
        raise error

    mates = [store.quarantine(b"x", "default", "r", 1) for _ in range(3)]
    answers = await asyncio.gather(mates[0], on_writer(store, broken), *mates[1:], return_exceptions=True)
    assert [isinstance(each, int) for each in answers] == [True, False, True, True]
    assert isinstance(answers[1], Exception)
    assert not isinstance(answers[1], StoreUnavailable)
    assert store.trouble is None


async def test_a_broken_transaction_ends_before_the_next_batch(store: Store) -> None:
    """Whatever state the connection is left in, the next batch starts from a clean one."""

    def broken(connection: sa.Connection) -> None:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN")
        raise KeyError("x")

    with pytest.raises(StoreUnavailable):
        await on_writer(store, broken)
    await store.ready()


async def test_a_database_that_was_moved_away_is_not_written(store: Store, path: Path) -> None:
    await store.quarantine(b"x", "default", "r", 1)
    away = path.with_name("away.db")
    _move(path, away)
    with pytest.raises(StoreUnavailable, match="was moved away in use"):
        await store.ready()
    _move(away, path)
    await store.ready()
    assert len(await quarantined(store)) == 1


def _move(path: Path, to: Path) -> None:
    """Move the file; no other file was created at the target."""
    assert not to.exists()
    path.rename(to)


def _flip(path: Path, at: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * count)


async def test_damage_found_in_use_is_logged_once_and_ends_writing(path: Path) -> None:
    await made(path)
    store = await Store.open(f"sqlite:///{path}")
    _all_but_the_first_page(path)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"is damaged .* start again"):
                await store.quarantine(b"x", "default", "r", 1)
        with pytest.raises(StoreUnavailable, match="is damaged"):
            await store.ready()
    await store.close()
    assert events(logs) == ["the store can't be written"]


def _garbage(path: Path) -> None:
    _flip(path, 0, 100)


def _all_but_the_first_page(path: Path) -> None:
    _flip(path, 4096, path.stat().st_size - 4096)


def _truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _flipped_page(path: Path) -> None:
    _flip(path, path.stat().st_size // 2 // 4096 * 4096, 2048)


def _text(path: Path) -> None:
    path.write_text("this is no database\n" * 500)


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize("spoil", [_garbage, _truncated, _flipped_page, _text])
async def test_a_damaged_database_is_refused_and_not_changed(
    path: Path, spoil: Callable[[Path], None]
) -> None:
    await made(path)
    spoil(path)
    before = _bytes(path)
    reason = await refusal(path)
    assert "damaged" in reason
    assert reason.startswith(f"{path}: ")
    assert "move the file away together with router.db-wal and router.db-shm" in reason
    assert "\n" not in reason
    assert _bytes(path) == before


async def test_a_damaged_database_of_a_router_that_was_killed_keeps_its_wal(
    store: Store, path: Path, tmp_path: Path
) -> None:
    """People decide what can be recovered from it."""
    for number in range(200):
        await store.quarantine(b"x" * 4_000, "default", f"reason {number}", 1)
    change(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    await store.quarantine(b"x", "default", "r", 1)
    killed = _copied(path, tmp_path / "killed")
    _flipped_page(killed)
    files = killed, killed.with_name("router.db-wal")
    before = [_bytes(file) for file in files]
    assert "damaged" in await refusal(killed)
    assert [_bytes(file) for file in files] == before
    assert before[1]


def _copied(path: Path, to: Path) -> Path:
    """Copy the files as kill -9 would leave them now."""
    to.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        (to / name).write_bytes(path.with_name(name).read_bytes())
    return to / path.name


async def test_a_database_of_a_newer_router_is_refused_with_its_version(path: Path) -> None:
    store = await Store.open(f"sqlite:///{path}")
    await store.start(1)
    await store.close()
    assert rows(path, "SELECT value FROM meta WHERE key = 'written_by'") == [(package_version(),)]
    change(
        path,
        "UPDATE alembic_version SET version_num = 'f00f'",
        "UPDATE meta SET value = '99.1.0' WHERE key = 'written_by'",
    )
    assert await refusal(path) == (
        f"{path} was written by alert-router 99.1.0, which is newer than this version, {package_version()} (its tables are at "
        "'f00f', unknown here). Start that version or a later one; or stop it and put the backup from before the upgrade in "
        "place with `alert-router restore`; or give another --database"
    )
    change(path, "DROP TABLE meta")
    assert f"{path} was written by another version of alert-router, which is newer" in await refusal(path)


async def test_a_database_of_another_program_is_refused_and_gets_no_tables(path: Path) -> None:
    change(path, "CREATE TABLE recipes (name TEXT)")
    assert await refusal(path) == f"{path} belongs to another program; give another --database"
    assert rows(path, "SELECT name FROM sqlite_master") == [("recipes",)]


async def test_a_new_database_that_another_program_has_locked_is_refused(path: Path) -> None:
    with locked(path):
        assert "another program has locked it" in await refusal(path)


async def test_a_path_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file: File exists; give a folder that can be written" in await refusal(
        tmp_path / "file" / "router.db"
    )
    (tmp_path / "folder").mkdir()
    assert "Is a directory" in await refusal(tmp_path / "folder")


async def test_a_second_router_on_the_same_database_is_refused(store: Store, path: Path) -> None:
    assert "is in use by another alert-router" in await refusal(path)
    await store.ready()
