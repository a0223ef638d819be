"""What a batch costs a database: a fixed number of statements and round trips, and no scan of a whole table."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest
import sqlalchemy as sa

from router.core.claimed_delivery import NO_STORM
from router.core.upcoming import Wanted
from router.decide import Policy, Route
from router.model import MINUTE, SECOND, Delivered, Millis, Status, Webhook
from router.store import Claimed, Idle, Limits, Permit, Store
from router.store.backend import open_backend
from router.store.postgresql_rows import PLANS, PostgresqlRows
from router.store.queries.lane_queries import next_due
from router.store.sets import Lookup
from tests.database import on_writer, rows
from tests.postgresql import Server
from tests.statements import accept_in_one_batch, watch_writer
from tests.unit.core.world import MONDAY, POLICY, SLACK, alert, webhook

MOST_STATEMENTS, MOST_ROUND_TRIPS = 25, 13
READ_BY_KEY = ("webhooks", "groups", "alerts", "inhibitors", "conversations", "members", "changes", "fates")


@pytest.fixture
def url(new_url: str) -> str:
    return new_url


def group(number: int, status: Status = Status.FIRING) -> tuple[Webhook, bytes]:
    """Return a webhook with a critical that inhibits a warning, and its body."""
    name, since = f"D{number}", MONDAY + (1 if status is Status.FIRING else 0)
    levels = ("critical", "warning")
    alerts = (alert(f"{name}", level, status, starts_at=since) for level in levels)
    return webhook(*alerts, group=f"g{number}"), b"{}"


async def test_1_or_256_webhooks_take_the_same_statements(store: Store) -> None:
    last, now = await watch_writer(store), MONDAY
    for status in (Status.FIRING, Status.FIRING, Status.RESOLVED):
        found = []
        for numbers in (range(1), range(1, 128)):
            now += MINUTE
            await accept_in_one_batch(store, [group(each, status) for each in numbers], POLICY, now)
            found.append((last.statements.copy(), last.round_trips))
        (one, trips), (many, many_trips) = found
        assert one == many
        assert len(one) <= MOST_STATEMENTS
        assert trips == many_trips <= MOST_ROUND_TRIPS


@pytest.mark.parametrize("limits", [None, Limits(above=60, every=5 * SECOND)], ids=["plain", "with storms"])
async def test_a_claim_takes_no_round_trip_besides_those_of_its_webhook(
    store: Store, limits: Limits | None
) -> None:
    """Without inhibit rules, and while there is no storm."""
    policy = Policy(severity=POLICY.severity, receivers={"all": (SLACK,)}, root=Route("route", "all"))
    last, found = await watch_writer(store), []
    permit = Permit(SLACK, limits)

    async def accept(number: int, *permits: Permit) -> list[Claimed]:
        claiming = [asyncio.create_task(store.claim_several(each, policy, MONDAY)) for each in permits]
        await asyncio.sleep(0)  # the claim waits now for the webhook
        received, body = group(number)
        await store.accept(received, "default", body, policy, MONDAY)
        found.append((len(last.statements), last.round_trips))
        return [await each for each in claiming]

    for number in range(6):  # with warm-ups
        await accept(2 * number)
        claimed = [await store.claim_several(permit, policy, MONDAY)]
        claimed += await accept(2 * number + 1, replace(permit, ahead=True))
        await accept(2 * number + 1)
        (nothing,) = await accept(2 * number + 1, replace(permit, ahead=True))
        assert nothing == Claimed((), Idle(None))
        for each in claimed:
            (work,) = each.works
            await store.record(work, Delivered(), policy, MONDAY, MONDAY)
    alone, with_claim, repeated, with_nothing_due = found[-4:]
    assert with_claim[1] == alone[1] in {0, 3}  # on SQLite, there are none
    assert with_nothing_due[1] == repeated[1]
    assert with_claim[0] <= alone[0] + 3  # what is due, and a storm; on SQLite also the insert of the attempt


async def test_what_is_due_next_is_read_in_the_order_of_an_index(on_postgresql: tuple[Store, str]) -> None:
    """By the plan that is kept for all destinations and all sizes of the table."""
    store, _ = on_postgresql
    await accept_in_one_batch(store, [group(each) for each in range(100)], POLICY, MONDAY)
    await on_writer(store, lambda connection: connection.exec_driver_sql("ANALYZE"))
    asked = next_due.statement(Wanted(SLACK.key, NO_STORM, 8))
    assert asked.has_one_plan
    text = str(PostgresqlRows.compile(asked.sql))
    for number, name in enumerate(asked.given, 1):
        text = text.replace(f"%({name})s", f"${number}")

    def explain(connection: sa.Connection) -> str:
        connection.exec_driver_sql(f"SELECT {PLANS}")
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN) {text}").scalars())

    plan = await store.database.write(explain)
    assert plan.count("ix_conversations_next") == 3, plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan


@pytest.fixture
async def on_postgresql(postgresql: Server) -> AsyncIterator[tuple[Store, str]]:
    with postgresql.database() as url:
        store = await Store.open(url)
        yield store, url
        await store.close()


async def test_no_batch_reads_a_whole_table(on_postgresql: tuple[Store, str]) -> None:
    """Also not by a plan from a time when the table was small."""
    store, url = on_postgresql

    async def whole_tables() -> dict[str, int]:
        await on_writer(
            store, lambda connection: connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        )
        found = rows(url, "SELECT relname, seq_scan FROM pg_stat_user_tables")
        return {table: scans for table, scans in found if table in READ_BY_KEY}

    async def accept(numbers: range, status: Status, now: Millis) -> None:
        for number in numbers:
            await accept_in_one_batch(store, [group(number, status)], POLICY, now)

    await accept(range(3), Status.FIRING, MONDAY)
    await on_writer(store, lambda connection: connection.exec_driver_sql("ANALYZE"))
    before = await whole_tables()
    for status in Status:
        await accept(range(20), status, MONDAY + MINUTE)
    assert await whole_tables() == before


async def test_look_ups_that_fail_together_raise_the_first_error(
    on_postgresql: tuple[Store, str], caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = on_postgresql
    # So many that the error comes before all of them are sent.
    lookups = [Lookup("SELECT 1", ()), Lookup("SELECT 1 / 0", ()), *[Lookup("SELECT 2", ())] * 500]

    def fails(connection: sa.Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        with pytest.raises(psycopg.errors.DivisionByZero):
            PostgresqlRows.load(driver.cursor(), lookups)
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT own")
        found = PostgresqlRows.load(driver.cursor(), lookups[::2])
        assert [list(each) for each in found] == [[(1,)], *[[(2,)]] * 250]

    await on_writer(store, fails)
    assert not caplog.records


@pytest.mark.parametrize(
    ("count", "kind"), [(1, psycopg.errors.AdminShutdown), (3, psycopg.OperationalError)]
)
async def test_a_transaction_fails_with_the_error_that_ended_its_session(
    on_postgresql: tuple[Store, str], count: int, kind: type[Exception]
) -> None:
    """Not with that of the rollback, which can't be sent."""
    _, url = on_postgresql
    lookups = [
        Lookup("SELECT pg_terminate_backend(pg_backend_pid())", ()),
        Lookup("SELECT 1", ()),
        Lookup("SELECT 2", ()),
    ]
    backend = open_backend(url, 1)
    connection = backend.open_writer()
    driver = connection.connection.driver_connection
    assert driver is not None
    with pytest.raises(kind), connection.begin():
        backend.load(driver.cursor(), lookups[:count])
    assert backend.in_transaction(driver)  # so it is not used any more
    connection.close()
    backend.close()


async def test_look_ups_may_be_larger_than_what_the_socket_takes(
    on_postgresql: tuple[Store, str],
) -> None:
    """In both directions: neither side waits for the other one to read first."""
    store, _ = on_postgresql
    size, count = 3_000_000, 8
    lookups = [Lookup(f"SELECT length(%s), repeat('y', {size})", ["x" * size])] * count

    def works(connection: sa.Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        for each in PostgresqlRows.load(driver.cursor(), lookups):
            ((sent, got),) = each
            assert (sent, len(got)) == (size, size)

    await on_writer(store, works)
