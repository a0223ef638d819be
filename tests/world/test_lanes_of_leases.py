"""Lanes are served only as long as their lease is held, whatever happens while they are opened."""

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.clock import SystemClock
from router.core.head import Grant
from router.core.leases import Renewal, lanes_lease
from router.deliver.self_alerts import ALERTNAME
from router.model import Broken
from router.replicas.membership import Held
from router.store import Store
from router.store.operator_pauses import OperatorPauses
from tests.waiting import until
from tests.world.made_up_channels import ODD, POLICY, Fake, open_lanes, returning


@dataclass(frozen=True)
class Alone:
    """In place of the membership: a replica that has not renewed its session yet."""

    name: str = "replica-1"
    session: str = "session-1"
    renewal: Renewal | None = None

    def renew_soon(self) -> None:
        """Do nothing: the test grants and takes the leases."""


async def test_a_lease_lost_while_its_lanes_open_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, load = asyncio.Event(), asyncio.Event(), OperatorPauses.load

    async def slow(pauses: OperatorPauses) -> Any:
        begun.set()
        await go_on.wait()
        return await load(pauses)

    async with open_lanes(tmp_path, Fake()) as harness:
        lanes = harness.lanes
        lanes.share(Alone(), SystemClock())
        held = Held(lanes_lease("odd"), Grant(lanes_lease("odd"), 1))
        await lanes.gained(held)
        assert [each["destination"] for each in lanes.describe()] == ["odd:one"]
        lanes.lost(held.name)
        monkeypatch.setattr(OperatorPauses, "load", slow)
        opening = asyncio.create_task(lanes.gained(held))
        await begun.wait()
        lanes.lost(held.name)
        go_on.set()
        await opening
        assert lanes.describe() == []


async def self_alerts(store: Store) -> list[tuple[str, str]]:
    """Return name and status of each of the router's own alerts."""
    query = "SELECT labels, status FROM alerts WHERE about IS NOT NULL"
    found = await store.database.read(lambda connection: connection.exec_driver_sql(query).all())
    return [(json.loads(labels)["alertname"], status) for labels, status in found]


async def test_the_next_owner_of_a_lane_ends_the_alert_about_it(tmp_path: Path) -> None:
    """Handing the lane over does not end the alert, because nothing was repaired."""
    broken = returning(Broken("channel_not_found"))
    async with open_lanes(tmp_path, Fake([broken])) as harness:
        other = harness.another()
        destinations = list(POLICY.destinations.values())
        firing, resolved = [[(ALERTNAME, status)] for status in ("firing", "resolved")]
        for lanes in (harness.lanes, other):
            lanes.share(Alone(), SystemClock())
        await other.serve(destinations)  # before anything is wrong
        held = Held(lanes_lease("odd"), Grant(lanes_lease("odd"), 1))
        await harness.lanes.gained(held)
        await harness.fire()
        await until(lambda: is_equal(self_alerts(harness.store), firing), "the alert fires")
        harness.lanes.lost(held.name)
        await harness.lanes.serve(destinations)
        assert await self_alerts(harness.store) == firing
        await other.gained(held)
        assert await self_alerts(harness.store) == firing
        await other.resume(ODD.key)
        await until(lambda: is_equal(self_alerts(harness.store), resolved), "a success ends it")
        await other.stop(5_000)


async def is_equal(asked: Awaitable[object], wanted: object) -> bool:
    return await asked == wanted
