"""Counters equal the sums of their rows, after all events and after a migration."""

from pathlib import Path

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa

import router.store
from router.model import DAY, HOUR, Delivered, Rejected, Retention, Retry, Status
from router.store import ClaimedDelivery, Store, totals
from router.store.backend import Backend, open_backend
from tests.postgresql import made
from tests.unit.core.world import DAILY, MONDAY, NIGHT, NOON, PAGER, POLICY, SLACK, TEAM, alert, webhook


async def assert_counted(store: Store, now: int) -> None:
    assert (await store.integrity(now)).miscounted.first == ()


async def played(store: Store) -> int:
    """Make rows of every kind that is counted, and prune some of them. Return the time at the end."""
    now = MONDAY
    for status in Status:
        for name, level in (("A", "critical"), ("B", "warning"), ("C", "info")):
            body = webhook(alert(name, level, status), group=name)
            await store.accept(body, "default", b"{}", POLICY, now)
        now += HOUR
        for destination, outcome in (
            (SLACK, Delivered({"ts": "1"})), (PAGER, Rejected("http 400")), (TEAM, Retry("http 503")),
            (DAILY, Delivered()),
        ):  # fmt: skip
            work = await store.claim(destination, POLICY, now)
            if isinstance(work, ClaimedDelivery):
                await store.record(work, outcome, POLICY, now, now + DAY)
    await store.quarantine(b"x", "default", "r", now)
    await store.accept(webhook(alert("D", "critical"), group="D"), "default", b"{}", POLICY, now)
    assert isinstance(await store.claim(SLACK, POLICY, now), ClaimedDelivery)  # and it stays under way
    async for _ in store.prune(Retention(history=HOUR, webhooks=HOUR // 2), now + DAY):
        pass
    return now + DAY


async def test_counters_follow_every_kind_of_row_through_pruning_and_a_restart(store: Store) -> None:
    now = await played(store)
    status = await store.pages.status()
    await assert_counted(store, now)
    assert status["deliveries"][SLACK.key]["under way"] == 1
    await store.start(now)
    await assert_counted(store, now)
    attempts = (await store.pages.status())["deliveries"][SLACK.key]
    assert (attempts.get("under way", 0), attempts["interrupted"]) == (0, 1)
    assert (await store.pages.lanes(now))[PAGER.key]["dead"] == 1
    (letter,) = (await store.pages.dead_letters(limit=500)).rows
    assert await store.discard(letter["id"], now)
    await assert_counted(store, now)
    assert not any(lane["dead"] for lane in (await store.pages.lanes(now)).values())


async def test_bodies_dropped_from_the_quarantine_stay_counted(store: Store) -> None:
    for size in (5, 10, 100_000, 7, 8):
        await store.quarantine(bytes(size), "default", "r", NOON)
    assert await store.quarantine_limits.trim(Retention(quarantine_rows=4)) == 1
    assert await store.quarantine_limits.trim(Retention(quarantine_bytes=1_000)) == 2
    assert [each.size for each in (await store.pages.quarantined(limit=20))[0]] == [8, 7]
    assert (await store.pages.status())["webhooks"]["quarantined"] == 5
    await assert_counted(store, NOON)


async def test_a_migrated_database_has_right_counters(new_url: str) -> None:
    store = await Store.open(new_url)
    now = await played(store)
    before = await store.pages.status()
    await store.close()
    _as_of_0010(open_backend(new_url))
    store = await Store.open(new_url)
    assert await store.pages.status() == before
    await assert_counted(store, now)
    await store.close()


def _as_of_0010(database: Backend) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(router.store.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with database.engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, "0010")
        assert not sa.inspect(connection).has_table("counters")
    database.close()


async def test_a_wrong_counter_is_reported_and_not_repaired(url: str) -> None:
    store = await Store.open(url)
    await store.quarantine(b"x", "default", "r", 1)
    await store.close()
    database = made(url)
    with database.engine.execution_options(writes=True).begin() as connection:
        connection.execute(sa.text("UPDATE counters SET count = 5"))
    database.close()
    store = await Store.open(url)
    for _ in range(2):
        found = (await store.integrity(1)).miscounted
        assert found.first == ("webhook quarantined: counted 5, added up 1",)
    await store.close()


@pytest.mark.parametrize(
    ("due", "later", "most", "expected"),
    [(3, 0, 10, (3, False)), (3, 0, 2, (3, False)), (3, 2, 2, (3, False)), (2, 3, 2, (2, False)), (3, 3, 2, (2, True))],
)  # fmt: skip
async def test_a_backlog_is_exact_unless_many_are_due_now_and_later(
    store: Store, monkeypatch: pytest.MonkeyPatch, due: int, later: int, most: int, expected: tuple[int, bool]
) -> None:
    monkeypatch.setattr(totals, "MAX_COUNTED", most)
    monkeypatch.setattr(totals, "_FIRST_BOUND", 1)
    for at, count in ((NOON, due), (NIGHT, later)):
        for number in range(count):
            name = f"{at}-{number}"
            await store.accept(
                webhook(alert(name, "warning"), group=name), "default", b"{}", POLICY, at + number
            )
    lane = (await store.pages.lanes(NIGHT + HOUR))[TEAM.key]
    assert (lane["backlog"], lane["backlog_more"]) == expected
    assert NOON <= lane["oldest_at"] < NOON + HOUR
