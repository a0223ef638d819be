"""The deliveries under way, each in a task of its own."""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial

from router.deliver.delivery import Delivery


class RunningDeliveries:
    """Starts deliveries, and knows which ones have not ended yet."""

    def __init__(self) -> None:
        self._tasks: dict[Delivery, asyncio.Task[None]] = {}

    def start(self, delivery: Delivery) -> None:
        """Run a delivery in a task."""
        name = f"delivery {delivery.work.delivery} to {delivery.destination.key}"
        self._tasks[delivery] = task = asyncio.create_task(delivery.run(), name=name)
        task.add_done_callback(partial(self._ended, delivery))

    def _ended(self, delivery: Delivery, _: asyncio.Task[None]) -> None:
        """Let a delivery free what it has taken, also if its task was cancelled before its first step."""
        del self._tasks[delivery]
        delivery.ended()

    def tasks(self) -> Mapping[Delivery, asyncio.Task[None]]:
        """Return the task of each delivery that has not ended."""
        return dict(self._tasks)

    async def settled(self, destinations: Collection[str]) -> None:
        """Return when the deliveries to these destinations that are under way now have ended."""
        tasks = [task for each, task in self._tasks.items() if each.destination.key in destinations]
        if tasks:
            await asyncio.wait(tasks)
