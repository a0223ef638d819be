"""How many deliveries may be under way at the same time, while the limit changes."""

import asyncio
from contextlib import suppress

import pytest

from router.deliver.slots import Slots


class Holders:
    """Tasks that each want a slot, and hold it until told."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: list[asyncio.Event] = []
        self.holding: list[int] = []

    async def add(self, count: int) -> None:
        for _ in range(count):
            self._ends.append(asyncio.Event())
            self._tasks.append(asyncio.create_task(self._hold(len(self._tasks))))
        await self._settled()

    async def end(self, number: int) -> None:
        self._ends[number].set()
        await self._settled()

    async def cancel(self, number: int) -> None:
        self._tasks[number].cancel()
        with suppress(asyncio.CancelledError):
            await self._tasks[number]
        await self._settled()

    async def _hold(self, number: int) -> None:
        async with self._slots.hold():
            self.holding.append(number)
            try:
                await self._ends[number].wait()
            finally:
                self.holding.remove(number)

    @staticmethod
    async def _settled() -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def slots() -> Slots:
    return Slots()


async def test_without_a_limit_nobody_waits(slots: Slots) -> None:
    holders = Holders(slots)
    await holders.add(50)
    assert len(holders.holding) == 50


async def test_who_waits_gets_the_next_slot_in_order(slots: Slots) -> None:
    slots.change(2)
    holders = Holders(slots)
    await holders.add(4)
    assert holders.holding == [0, 1]
    await holders.end(0)
    assert holders.holding == [1, 2]


async def test_a_changed_limit_counts_slots_that_are_held(slots: Slots) -> None:
    slots.change(3)
    holders = Holders(slots)
    await holders.add(5)
    slots.change(1)
    await holders.end(0)
    await holders.end(1)
    assert holders.holding == [2]
    slots.change(2)
    await holders.add(0)
    assert holders.holding == [2, 3]


async def test_who_is_cancelled_takes_no_slot_along(slots: Slots) -> None:
    slots.change(1)
    holders = Holders(slots)
    await holders.add(3)
    await holders.cancel(1)
    await holders.cancel(0)
    assert holders.holding == [2]
    await holders.end(2)
    await holders.add(1)
    assert holders.holding == [3]
