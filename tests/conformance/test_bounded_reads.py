"""The work of a query while the router serves grows neither with the history nor with what is due."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import sqlalchemy as sa

from router.model import MINUTE, SECOND, Delivered, Destination, Status
from router.store import ROWS_OF_LISTS, Limits, Permit, Store, totals
from router.store.backend import open_backend
from router.store.digest_reports import sent_slots
from router.store.queries import QUERIES
from tests.conformance.work import counted
from tests.unit.core.world import NIGHT, PAGER, PER_ALERT, POLICY, SLACK, TEAM, alert, webhook

MOST = 100
"""The bound of counts in this test."""
FEW, MANY = 70, 200
"""Groups of each kind: enough to fill each list, and many more."""
NOW = NIGHT + MINUTE
STORM = Limits(above=60, every=5 * SECOND)
Reading = Callable[[Store], Awaitable[object]]
READINGS: dict[str, Reading] = {
    "status": lambda store: store.pages.status(),
    "lanes": lambda store: store.pages.lanes(NOW),
    "status and lanes": lambda store: store.pages.status_and_lanes(NOW),
    "waiting": lambda store: store.pages.waiting(),
    "ledger": lambda store: store.pages.decisions(),
    "deliveries": lambda store: store.pages.attempts(),
    "dead letters": lambda store: store.pages.dead_letters(),
    "quarantine": lambda store: store.pages.quarantined(20),
    **{f"how many: {name}": lambda store, name=name: store.pages.total(name) for name in ROWS_OF_LISTS},  # type: ignore[misc]
    "slots of digests": lambda store: store.pages.open_and_latest_slots([SLACK.key], 3),
    "sent digests": lambda store: store.database.read(
        lambda connection: sent_slots(connection, SLACK.key, None, 20)
    ),
    "the sources of inhibition keys": lambda store: store.pages.firing_sources(
        [
            (key.text, False)
            for key in POLICY.inhibition.as_source({"severity": "critical", "alertname": "critical0"})
        ]
    ),
    "what is next at a lane": lambda store: store.claim(PAGER, POLICY, NOW),
    "the next opening": lambda store: store.presence.next_opening(NOW),
    "whether there is a storm": lambda store: store.claim(TEAM, POLICY, NOW, limits=STORM),
    "when something will be due, where much is": lambda store: store.database.read(
        lambda connection: QUERIES["next time"](connection, [(SLACK.key, NOW)])
    ),
    "when something is due at a lane": lambda store: store.claim(SLACK, POLICY, NIGHT - SECOND),
}


async def filled(store: Store, count: int) -> None:
    """Add criticals that are delivered and over, some that are due, held warnings, and quarantined bodies."""

    async def post(level: str, status: Status, first: int = 0) -> None:
        bodies = (
            webhook(alert(f"{level}{number}", level, status), group=f"{level}{number}")
            for number in range(first, first + count)
        )
        await asyncio.gather(*(store.accept(each, "default", b"{}", POLICY, NIGHT) for each in bodies))

    async def deliver(destination: Destination) -> None:
        while True:
            works = await store.claim_several(Permit(destination, count=count), POLICY, NOW)
            if not works.works:
                return
            outcome = Delivered({"ts": "1"})
            await asyncio.gather(*(store.record(each, outcome, POLICY, NOW, NOW) for each in works.works))

    for status in Status:
        await post("critical", status)
        for destination in (SLACK, PAGER, PER_ALERT):
            await deliver(destination)
    await post("warning", Status.FIRING)
    await post("critical", Status.FIRING, count)
    await asyncio.gather(*(store.quarantine(b"x", "default", "r", NOW) for _ in range(count)))


async def analyzed(url: str) -> None:
    """Let the database collect statistics. A server does so by itself after a while; SQLite never does."""
    database = open_backend(url)
    with database.engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("ANALYZE"))
    database.close()


@pytest.fixture
def _bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MAX_COUNTED", MOST)


@pytest.fixture
async def grown(new_url: str) -> AsyncIterator[Store]:
    """PostgreSQL reads a table of some hundred rows whole sooner than by its index. Here its statistics say that the table is large."""
    plans = "%20".join(
        f"-c%20enable_{each}%3Doff" for each in ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "sort")
    )
    store = await Store.open(f"{new_url}&options={plans}" if new_url.startswith("postgresql") else new_url)
    yield store
    await store.close()


@pytest.mark.usefixtures("_bound")
async def test_the_work_of_a_read_does_not_grow_with_the_rows(grown: Store, new_url: str) -> None:
    amounts: list[dict[str, int]] = []
    for count in (FEW, MANY):
        await filled(grown, count)
        await analyzed(new_url)
        found = {}
        for name, read in READINGS.items():
            with counted() as work:
                await read(grown)
            found[name] = work.done
        amounts.append(found)
    few, many = amounts
    more = {name: (few[name], many[name]) for name in READINGS if many[name] > 1.5 * few[name] + 100}
    assert more == {}
