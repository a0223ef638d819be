"""Senders that give no status, only an end: an alert fires until then, and ends by itself."""

from typing import Any

import pytest

from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import until_delivered
from tests.world.bulk import post, until
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY

PAST, SOON, LATER = "2026-11-23T11:59:00Z", "2026-11-23T12:10:00Z", "2026-11-23T12:40:00Z"


def ending_at(ends: str | None, **fields: Any) -> dict[str, Any]:
    labels = {"alertname": "Down", "severity": "critical"}
    return {"labels": labels, "startsAt": "2026-11-23T11:00:00Z", "endsAt": ends, **fields}


def pages(world: World) -> list[bool]:
    """Return for each incident whether it is open."""
    return [each.open for each in world.pagerduty.incidents[KEY]]


async def changes(world: World) -> dict[str, int]:
    found: dict[str, int] = (await world.ledger())["changes"]
    return found


async def test_an_alert_without_a_status_fires_until_its_end(world: World) -> None:
    await world.start()
    await post(world, "g", ending_at(SOON))
    await until_delivered(world, 3)
    world.clock.advance(9 * MINUTE)
    assert (await changes(world))["resolved"] == 0
    await until(world, lambda: pages(world) == [False], SECOND)
    assert world.clock.now() >= 1_795_435_200_000 + 10 * MINUTE
    await until(world, lambda: len(world.smtp.mails) == 2)
    assert "at 12:10" in world.smtp.mails[1].text
    assert "its endsAt has passed" in world.smtp.mails[1].text


async def test_an_alert_without_a_status_whose_end_has_passed_is_resolved(world: World) -> None:
    await world.start()
    await post(world, "g", ending_at(PAST))
    assert await changes(world) == {"fired": 0, "resolved": 1, "repeated": 0}


async def test_a_later_end_keeps_it_firing(world: World) -> None:
    await world.start()
    await post(world, "g", ending_at(SOON))
    world.clock.advance(5 * MINUTE)
    await post(world, "g", ending_at(LATER))
    world.clock.advance(30 * MINUTE)
    await world.pagerduty.until(lambda: pages(world) == [True])
    await until(world, lambda: pages(world) == [False], SECOND)
    assert world.clock.now() >= 1_795_435_200_000 + 40 * MINUTE
    assert await changes(world) == {"fired": 1, "resolved": 1, "repeated": 1}


async def test_an_end_that_passed_while_the_router_was_down_waits_for_word(world: World) -> None:
    await world.start()
    await post(world, "g", ending_at(SOON))
    await world.pagerduty.until(lambda: pages(world) == [True])
    await world.stop()
    world.clock.advance(30 * MINUTE)
    await world.start()
    world.clock.advance(5 * MINUTE)
    await post(world, "g", ending_at("2026-11-23T13:40:00Z"))
    world.clock.advance(20 * MINUTE)
    assert await changes(world) == {"fired": 1, "resolved": 0, "repeated": 1}
    await until(world, lambda: pages(world) == [False], MINUTE)
    assert await changes(world) == {"fired": 1, "resolved": 1, "repeated": 1}


@pytest.mark.parametrize("where", ["alert", "group"])
async def test_what_is_said_to_fire_does_not_end_by_itself(world: World, where: str) -> None:
    """Prometheus and Grafana send an end in the future beside the status: the time at which they forget the alert."""
    await world.start()
    if where == "alert":
        await post(world, "g", ending_at(SOON, status="firing"))
    else:
        await post(world, "g", ending_at(SOON), status="firing")
    await world.pagerduty.until(lambda: pages(world) == [True])
    for _ in range(10):
        world.clock.advance(HOUR)
        assert await changes(world) == {"fired": 1, "resolved": 0, "repeated": 0}
