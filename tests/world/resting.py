"""Waits until a service has nothing left to do at the time that its clock shows."""

import asyncio

from router.app import Service
from tests.clock import ManualClock


async def at_rest(service: Service, clock: ManualClock) -> None:
    """Wait until the service has done all that can be done before the clock moves."""
    for _ in range(3):  # tasks that were just woken have begun
        await service.store.ready()
    while not (clock.at_rest and _nothing_is_sent(clock)):
        await service.store.ready()


def _nothing_is_sent(clock: ManualClock) -> bool:
    """Return whether every delivery under way waits for the clock."""
    sending = (each for each in asyncio.all_tasks() if each.get_name().startswith(("claim", "delivery")))
    return all(map(clock.is_asleep, sending))
