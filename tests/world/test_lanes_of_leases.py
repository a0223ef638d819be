"""Lanes are served only as long as their lease is held, whatever happens while they are opened."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from router.core.head import Grant
from router.core.leases import lanes_lease
from router.replicas.membership import Held
from router.store.operator_pauses import OperatorPauses
from tests.world.made_up_channels import Fake, open_lanes


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
        lanes.share(lambda: None)
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
