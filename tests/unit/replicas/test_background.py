"""The work in the background begins with its lease, ends with it, and may begin again."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from router.core.head import Grant
from router.core.leases import BACKGROUND
from router.replicas import Held
from router.replicas.background import BackgroundWork
from router.store import StoreUnavailable

HELD = Held(BACKGROUND, Grant(BACKGROUND, 1))


class NotingWork:
    """Notes what runs. It ends only when it may."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_load, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_load.set()
        self.may_end.set()
        self.fails = False
        self.work = BackgroundWork()
        self.work.load_first(self.load)
        self.work.add("noting", self.serve)

    async def load(self) -> None:
        if self.fails:
            raise StoreUnavailable("it can't be read")
        await self.may_load.wait()
        self.told.append("loaded")

    async def serve(self) -> None:
        self.told.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()
            self.told.append("ended")


@pytest.fixture
async def noting() -> AsyncIterator[NotingWork]:
    noting = NotingWork()
    yield noting
    noting.may_end.set()
    await noting.work.end()


async def rest() -> None:
    for _ in range(20):
        await asyncio.sleep(0)  # real time: none passes; the other tasks run


async def test_it_runs_while_the_lease_is_held_and_begins_again(noting: NotingWork) -> None:
    for _ in range(2):
        await noting.work.gained(HELD)
        await rest()
        assert noting.work.tasks
        await noting.work.release(BACKGROUND)
    assert noting.told == ["loaded", "began", "ended"] * 2


async def test_other_leases_do_not_matter(noting: NotingWork) -> None:
    await noting.work.gained(Held("lanes slack", Grant("lanes slack", 1)))
    assert not noting.work.tasks
    await noting.work.gained(HELD)
    await noting.work.release("lanes slack")
    noting.work.lost("lanes slack")
    await rest()
    assert noting.told == ["loaded", "began"]


async def test_what_was_lost_has_ended_before_it_begins_again(noting: NotingWork) -> None:
    await noting.work.gained(HELD)
    await rest()
    noting.may_end.clear()
    noting.work.lost(BACKGROUND)
    again = asyncio.create_task(noting.work.gained(HELD))
    await rest()
    assert noting.told == ["loaded", "began"]
    noting.may_end.set()
    await again
    await rest()
    assert noting.told == ["loaded", "began", "ended", "loaded", "began"]


async def test_nothing_begins_if_what_is_stored_cannot_be_read(noting: NotingWork) -> None:
    noting.fails = True
    with pytest.raises(StoreUnavailable):
        await noting.work.gained(HELD)
    assert not noting.work.tasks
    noting.fails = False
    await noting.work.gained(HELD)
    assert noting.work.tasks


async def test_a_beginning_that_is_cancelled_begins_nothing(noting: NotingWork) -> None:
    noting.may_load.clear()
    beginning = asyncio.create_task(noting.work.gained(HELD))
    await rest()
    beginning.cancel()
    noting.work.lost(BACKGROUND)
    noting.may_load.set()
    await rest()
    assert noting.told == []
    assert not noting.work.tasks


async def test_work_that_ends_by_an_error_is_logged(noting: NotingWork) -> None:
    async def broken() -> None:
        raise RuntimeError("a bug")

    noting.work.add("broken", broken)
    with capture_logs() as lines:
        await noting.work.begin()
        await rest()
    assert [(line["event"], line["task"]) for line in lines] == [
        (
            "work in the background has ended unexpectedly; it does not run until the router is restarted",
            "broken",
        )
    ]
