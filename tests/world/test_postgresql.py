"""The whole service on PostgreSQL: what is sent, held, digested, and what outlasts a restart and an outage."""

from collections.abc import AsyncIterator

import pytest

from router.model import DAY, HOUR
from tests.postgresql import Server
from tests.waiting import until
from tests.world.asking import until_delivered
from tests.world.conftest import World
from tests.world.fake_pagerduty import Page
from tests.world.fake_slack import Want


@pytest.fixture
async def there(world: World, postgresql: Server) -> AsyncIterator[World]:
    with postgresql.database() as url:
        world.database = url
        yield world
        await world.end()


async def until_served(world: World) -> None:
    """Wait until all lanes are served, which begins in real time. After another session they begin without tokens, which come as the
    world's clock goes on.
    """

    async def all_are() -> bool:
        assert world.service is not None
        table, leases = world.service.lanes._table, world.service.lanes._served._leases
        return len(leases.here()) == len(leases.wanted) == len(list(table)) > 0

    await until(all_are, "all lanes are served")


async def test_a_critical_is_sent_everywhere_and_its_end_after_a_restart(there: World) -> None:
    await there.start()
    assert await there.post("Down", "critical") == 200
    await until_delivered(there, 3)
    there.pagerduty.expect(Page("Down", open=True))
    await there.stop()
    await there.start()
    assert await there.post("Down", "critical", "resolved") == 200
    await until_delivered(there, 6)
    there.pagerduty.expect(Page("Down", open=False))
    there.slack.expect(Want("C0CRITICAL", ("Down", "Resolved"), replies=("resolved",)))
    assert len(there.smtp.mails) == 2
    assert await there.fates() == {"delivered": 6}


async def test_a_warning_at_night_is_held_over_a_restart_until_opening(there: World) -> None:
    there.clock.advance(10 * HOUR)
    await there.start()
    await there.post("Disk", "warning")
    await there.post("Gone", "warning")
    await there.post("Gone", "warning", "resolved")
    await there.at_rest()
    assert await there.fates() == {"held": 2, "obsolete": 4}
    await there.end()
    await there.start()
    await until_served(there)
    await there.at_rest()
    there.clock.advance(11 * HOUR)
    await until_delivered(there, 3)  # the digest of the night tells of what has ended
    there.slack.expect(Want("C0WARNINGS", ("Disk", "held since")))
    assert await there.fates() == {"delivered": 2, "obsolete": 4}


async def test_infos_come_in_one_digest(there: World) -> None:
    await there.start()
    await there.post("Cert", "info")
    await there.post("Backup", "info")
    await there.at_rest()
    assert await there.fates() == {"digest": 2}
    there.clock.advance(DAY)
    await there.smtp.until(lambda: bool(there.smtp.mails))
    await until_delivered(there, 1)
    assert "STILL FIRING (2)" in there.smtp.only.text
    assert await there.fates() == {"delivered": 2}


async def test_webhooks_are_refused_only_while_the_server_is_away(
    world: World, own_postgresql: Server
) -> None:
    world.database = own_postgresql.url(own_postgresql.create())
    await world.start()
    assert await world.post("Down", "critical") == 200
    await until_delivered(world, 3)
    own_postgresql.stop()
    assert [await world.post("Disk", "critical") for _ in range(2)] == [503, 503]
    own_postgresql.start()
    while await world.post("Disk", "critical") != 200:
        pass
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    await world.end()
