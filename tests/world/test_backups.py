"""The service makes backups by itself, keeps so many, says what fails, and says when its database is new."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.app import ServeOptions, Service
from router.backup_schedule import BackupOptions
from router.model import DAY, HOUR, MINUTE
from router.store import StoreUnavailable, read_ledger
from router.store.backup_file import CopyProgress
from tests.database import rows
from tests.waiting import until
from tests.world.asking import metric_value, until_delivered
from tests.world.commands import run
from tests.world.conftest import World
from tests.world.old_versions import of_that_version

SUCCESS = "alert_router_backup_last_successful"
TIME = "alert_router_backup_last_success_timestamp_seconds"
FIRST = "alert-router-20261123T120000Z.db"


async def start(world: World, **options: Any) -> None:
    """Start a service that makes backups."""
    given = BackupOptions(world.folder / "backups", **options)
    serve = ServeOptions(
        world.write(), ("127.0.0.1", 0), f"sqlite:///{world.folder}/router.db", backups=given
    )
    world.service = await Service.open(serve, {}, world.clock)
    await world.service.start()


def made(world: World) -> list[str]:
    return sorted(path.name for path in (world.folder / "backups").glob("*.db"))


async def until_made(world: World, *names: str) -> None:
    async def are_made() -> bool:
        return made(world) == sorted(names)

    await until(are_made, f"{names} are made, there is {made(world)}", pause=0.01)


async def backups(world: World) -> Any:
    return (await world.get("/status"))["backups"]


async def until_noted(world: World, name: str, value: Any) -> None:
    async def is_noted() -> bool:
        return bool((await backups(world))[name] == value)

    await until(is_noted, f"{name} is {value}", pause=0.01)


async def trouble(world: World) -> list[str]:
    return [each["words"] for each in (await world.get("/api/v1/overview"))["trouble"]]


async def test_a_backup_is_made_at_the_start_and_then_every_day(world: World) -> None:
    await start(world)
    await until_noted(world, "last_success", world.clock.now())
    assert made(world) == [FIRST]
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    world.clock.advance(DAY - 1)
    await world.at_rest()
    assert made(world) == [FIRST]
    world.clock.advance(1)
    second = "alert-router-20261124T120000Z.db"
    await until_noted(world, "last_success", world.clock.now())
    assert made(world) == [FIRST, second]
    ledger = read_ledger(f"sqlite:///{world.folder}/backups/{second}", None, None)
    assert (ledger["fates"]["delivered"], ledger["imbalance"]) == (3, 0)
    assert await metric_value(world, SUCCESS) == 1
    assert await metric_value(world, TIME) == world.clock.now() / 1_000
    assert await metric_value(world, "alert_router_backup_interval_seconds") == 86_400
    assert await metric_value(world, 'alert_router_backups_total{outcome="made"}') == 2


async def test_a_restart_makes_no_backup_before_the_next_one_is_due(world: World) -> None:
    await start(world)
    await until_noted(world, "last_success", at := world.clock.now())
    await world.stop()
    world.clock.advance(HOUR)
    await start(world)
    await until_noted(world, "last_success", at)
    await world.at_rest()
    assert made(world) == [FIRST]
    assert (await backups(world))["next"] == at + DAY
    assert await metric_value(world, TIME) == at / 1_000


async def test_the_oldest_backups_are_deleted_and_nothing_else_is(world: World) -> None:
    folder = world.folder / "backups"
    folder.mkdir()
    foreign = (
        "alert-router-notes.db",
        "mine.db",
        "alert-router-20261101T000000Z.db.bak",
        "x-alert-router-20261101T000000Z.db",
    )
    for name in foreign:
        (folder / name).write_text("mine")
    (folder / "alert-router-20261102T000000Z.db").symlink_to(folder / "mine.db")
    (folder / ".alert-router-20261122T120000Z.db.0123abcd.part").write_text("of a router that was killed")
    await start(world, every=HOUR, keep=2)
    await until_noted(world, "last_success", world.clock.now())
    for _ in range(3):
        world.clock.advance(HOUR)
        await until_noted(world, "last_success", world.clock.now())
    left = {path.name for path in folder.iterdir()} - set(foreign)
    assert left == {
        "alert-router-20261102T000000Z.db", "alert-router-20261123T140000Z.db", "alert-router-20261123T150000Z.db",
        ".alert-router-backups.lock",
    }  # fmt: skip


async def test_after_a_clock_went_back_the_new_backups_are_the_ones_that_stay(world: World) -> None:
    folder = world.folder / "backups"
    folder.mkdir()
    wrong = ["alert-router-20270101T000000Z.db", "alert-router-20270102T000000Z.db"]
    for name in wrong:
        (folder / name).write_text("made while the clock was wrong")
    await start(world, every=HOUR, keep=2)
    await until_noted(world, "last_success", world.clock.now())
    assert made(world) == [FIRST, wrong[1]]
    world.clock.advance(HOUR)
    second = "alert-router-20261123T130000Z.db"
    await until_noted(world, "last_success", at := world.clock.now())
    assert made(world) == [FIRST, second]
    (folder / wrong[0]).write_text("made while the clock was wrong")
    await world.stop()
    await start(world, every=HOUR, keep=2)
    await until_noted(world, "last_success", at)
    await world.at_rest()
    assert made(world) == [FIRST, second, wrong[0]]


async def test_a_backup_by_hand_in_the_same_folder_goes_on(world: World) -> None:
    (world.folder / "backups").mkdir()
    mine = world.folder / "backups" / ".alert-router-before-upgrade.db.0123abcd.part"
    mine.write_text("another command writes it")
    await start(world)
    await until_noted(world, "last_success", world.clock.now())
    assert mine.exists()


async def test_a_failure_is_shown_and_counted_and_tried_again_soon(world: World) -> None:
    (world.folder / "backups").write_text("a file where the folder should be")
    with capture_logs() as logs:
        await start(world)
        await until_noted(world, "last_failure", world.clock.now())
    assert [each["log_level"] for each in logs if each["event"] == "the backup failed"] == ["error"]
    (words,) = [each for each in await trouble(world) if "backup" in each]
    assert words.startswith("The backup failed, there is none yet: ")
    assert await metric_value(world, SUCCESS) == 0
    assert await metric_value(world, 'alert_router_backups_total{outcome="failed"}') == 1
    assert await metric_value(world, TIME) == 0
    (world.folder / "backups").unlink()
    world.clock.advance(10 * MINUTE)
    await until_noted(world, "last_success", world.clock.now())
    assert not [each for each in await trouble(world) if "backup" in each]
    assert await metric_value(world, SUCCESS) == 1


async def test_a_router_leaves_the_backups_of_another_one_alone(world: World) -> None:
    await start(world)
    await until_noted(world, "last_success", world.clock.now())
    other = replace(world, folder=world.folder / "other")
    other.folder.mkdir()
    options = BackupOptions(world.folder / "backups", every=MINUTE)
    serve = ServeOptions(
        other.write(), ("127.0.0.1", 0), f"sqlite:///{other.folder}/router.db", backups=options
    )
    other.service = await Service.open(serve, {}, world.clock)
    await other.service.start()
    world.clock.advance(MINUTE)
    await until_noted(other, "last_failure", world.clock.now())
    assert "give each one a folder of its own" in (await backups(other))["error"]
    await other.end()


async def test_a_stop_in_the_middle_leaves_no_part_of_a_backup(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.store.sqlite_backup._PAGES_PER_PIECE", 1)
    begun, loop = asyncio.Event(), asyncio.get_running_loop()
    pieces = []

    def noted(progress: CopyProgress) -> Callable[[int, int], None]:
        def tick(copied: int, size: int) -> None:
            pieces.append((copied, size))
            loop.call_soon_threadsafe(begun.set)
            while not progress.is_stopped():
                pass

        return tick

    monkeypatch.setattr(
        "router.backup_schedule.CopyProgress",
        lambda is_stopped: CopyProgress(noted(CopyProgress(is_stopped=is_stopped)), is_stopped),
    )
    await start(world)
    await begun.wait()
    await world.end()
    assert {path.name for path in (world.folder / "backups").iterdir()} == {".alert-router-backups.lock"}
    assert pieces[-1][0] < pieces[-1][1]


async def test_an_upgrade_of_the_tables_makes_a_backup_before(world: World) -> None:
    of_that_version(world.folder / "router.db").close()
    await start(world)
    await until_made(world, FIRST)
    assert rows(world.folder / "backups" / FIRST, "SELECT version_num FROM alembic_version") == [("0005",)]
    assert rows(world.folder / "router.db", "SELECT version_num FROM alembic_version") != [("0005",)]


async def test_without_the_backup_before_an_upgrade_the_tables_stay(world: World) -> None:
    of_that_version(world.folder / "router.db").close()
    (world.folder / "backups").write_text("a file where the folder should be")
    with pytest.raises(
        StoreUnavailable, match=r"backup before their upgrade failed: .* start once without --backup-to"
    ):
        await start(world)
    assert rows(world.folder / "router.db", "SELECT version_num FROM alembic_version") == [("0005",)]


async def test_backups_of_postgresql_are_refused_with_the_command_to_use(
    tmp_path: Path, world: World
) -> None:
    options = BackupOptions(tmp_path / "backups")
    serve = ServeOptions(world.write(), ("127.0.0.1", 0), "postgresql://r:hidden@db/alerts", backups=options)
    with pytest.raises(
        StoreUnavailable, match=r"pg_dump --format=custom --file=FILE postgresql://r@db/alerts"
    ):
        await Service.open(serve, {}, world.clock)


async def test_a_new_database_is_said_loudly_until_the_first_webhook(world: World) -> None:
    (world.folder / "backups").mkdir()
    (world.folder / "backups" / FIRST).write_text("a backup of the database that is missing")
    with capture_logs() as logs:
        await start(world)
    (line,) = [each for each in logs if each["event"].startswith("the database is new and empty")]
    assert (line["log_level"], line["database"]) == ("warning", f"{world.folder}/router.db")
    assert line["newestBackup"] == f"{world.folder}/backups/{FIRST}"
    (words,) = await trouble(world)
    assert words.startswith("The database is new and empty, which is normal for a first start")
    assert words.endswith(f"{world.folder}/router.db")
    assert (await run(world, "status")).exit_code == 1
    assert await world.post("Disk", "info") == 200
    await until_noted(world, "error", None)
    assert await trouble(world) == []


async def test_a_start_on_the_same_database_says_nothing(world: World) -> None:
    await world.start()
    await world.stop()
    with capture_logs() as logs:
        await world.start()
    assert not [each for each in logs if each["log_level"] == "warning"]
    assert await trouble(world) == []
