"""A service is stopped, its database moves to the other kind, and it goes on there: nothing is lost or notified twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from router.model import HOUR, MINUTE
from tests.moving import Mover
from tests.postgresql import Server
from tests.world.asking import until_delivered
from tests.world.browsing import call
from tests.world.conftest import World
from tests.world.fake_pagerduty import HANG, KEY, Page
from tests.world.fake_slack import Want
from tests.world.test_failures import ANNA, BERT, BOTH, two
from tests.world.test_quarantine import _send as send_broken


@pytest.fixture
def mover(tmp_path: Path, postgresql: Server) -> Iterator[Mover]:
    with Mover(tmp_path, postgresql) as mover:
        yield mover


async def move(world: World, mover: Mover) -> None:
    """Stop the service like a kill, move its database to the other kind, and start it there."""
    assert world.database is not None
    await world.end()
    world.database = mover.move(world.database)
    (imported, *_) = mover.moves[::-1]
    assert (imported.ledger["imbalance"], imported.miscounted.count) == (0, 0)
    await world.start(two)


async def make_history(world: World) -> None:
    """A page, a failover and a dead letter, a digest's alert, a held alert, a quarantined body, and a page under way."""
    world.smtp.refused = {BERT: "550 5.1.1 <bert@example.com>: unknown"}
    await world.start(two)
    await world.post("Down", "critical")
    await world.post("Backup", "info")
    await send_broken(world, b"\0\xff no JSON")
    await until_delivered(world, 5)
    await world.at_rest()
    world.clock.advance(10 * HOUR)  # at night
    await world.post("Disk", "warning")
    world.pagerduty.fail(HANG)
    await world.post("Gone", "critical")
    await world.at_rest()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_service_goes_on_after_two_moves(world: World, mover: Mover, kind: str) -> None:
    world.database = mover.new(kind)
    await make_history(world)
    before = await world.ledger()
    await move(world, mover)
    try:
        world.clock.advance(MINUTE)  # the page of Gone was under way; it is tried again
        await world.pagerduty.until(lambda: len(world.pagerduty.incidents[KEY]) == 2)
        await world.at_rest()
        ledger = await world.ledger()
        assert ledger["webhooks"] == before["webhooks"] == {"accepted": 4, "quarantined": 1}
        assert ledger["changes"] == before["changes"]
        assert ledger["fates"]["held"] == 2
        (body,) = (await world.get("/api/v1/quarantine"))["items"]
        assert body["size"] == 10
        letters = (await world.get("/api/v1/dead-letters"))["items"]
        assert {(each["destination"], each["recipient"]) for each in letters} == {(BOTH, BERT)}
        world.pagerduty.expect(Page("Down", open=True), Page("Gone", open=True))

        assert await world.post("Down", "critical", "resolved") == 200
        await world.pagerduty.until(lambda: not world.pagerduty.incidents[KEY][0].open)
        await world.at_rest()
        await move(world, mover)
        world.smtp.refused = {}
        assert (await call(world, "POST", f"/api/v1/dead-letters/{letters[0]['id']}/retry"))[0] == 200
        await world.smtp.until(lambda: any(mail.recipients == (BERT,) for mail in world.smtp.mails))
        world.clock.advance(11 * HOUR)  # Tuesday, 09:00
        await world.slack.until(lambda: "Disk" in str(world.slack.messages))
        await world.smtp.until(
            lambda: any("digest@example.com" in mail.recipients for mail in world.smtp.mails)
        )
        await world.post("Gone", "critical", "resolved")
        await world.pagerduty.until(lambda: not world.pagerduty.incidents[KEY][1].open)
        await world.at_rest()
    finally:
        world.pagerduty.recover()
    world.pagerduty.expect(Page("Down", open=False), Page("Gone", open=False))
    assert len({each.dedup_key for each in world.pagerduty.incidents[KEY]}) == 2
    failover, replies = "C0WARNINGS", ("resolved",)
    world.slack.expect(
        Want("C0CRITICAL", ("Down", "Resolved"), replies=replies), Want(failover, ("Down", "Resolved"), replies=replies),
        Want("C0CRITICAL", ("Gone", "Resolved"), replies=replies), Want(failover, ("Gone", "Resolved"), replies=replies),
        Want("C0WARNINGS", ("Disk", "held since")),
    )  # fmt: skip
    ledger = await world.ledger()
    assert not {
        fate: count for fate, count in ledger["fates"].items() if count and fate not in {"delivered", "dead"}
    }
    firing = [mail for mail in world.smtp.mails if mail.recipients == (ANNA,) and "FIRING" in mail.subject]
    assert len(firing) == 2
