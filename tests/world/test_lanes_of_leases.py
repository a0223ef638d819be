"""Lanes are served only as long as their lease is held, whatever happens while they are opened."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.clock import SystemClock
from router.core.head import Grant
from router.core.leases import Renewal, lanes_lease
from router.deliver import Lanes
from router.replicas import Held
from router.store.operator_pauses import OperatorPauses
from tests.world.made_up_channels import Fake, open_lanes


@dataclass(frozen=True)
class Alone:
    """In place of the membership: a replica that has not renewed its session yet."""

    name: str = "replica-1"
    session: str = "session-1"
    renewal: Renewal | None = None

    def renew_soon(self) -> None:
        """Do nothing: the test grants and takes the leases."""


def served(lanes: Lanes) -> list[object]:
    """Return the destinations that this process serves."""
    return [each["destination"] for each in lanes.describe() if each["is_here"]]


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
        assert served(lanes) == ["odd:one"]
        lanes.lost(held.name)
        monkeypatch.setattr(OperatorPauses, "load", slow)
        opening = asyncio.create_task(lanes.gained(held))
        await begun.wait()
        lanes.lost(held.name)
        go_on.set()
        await opening
        assert served(lanes) == []
