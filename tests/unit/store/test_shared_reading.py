"""A result that is shared between all who ask for it."""

import asyncio

import pytest

from router.store.shared_reading import KEPT_SECONDS, SharedReading


class Counting:
    """A query that returns how often it ran. It runs until it is let through."""

    def __init__(self) -> None:
        self.runs = self.commits = 0
        self.at = 0.0
        self.is_large = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.shared = SharedReading(
            self.read, lambda: self.commits, lambda _: self.is_large, lambda: self.at, max_age=100.0
        )

    async def read(self) -> int:
        self.runs += 1
        await self.goes_on.wait()
        if self.runs == 3:
            raise ValueError("the third run fails")
        return self.runs


async def test_a_result_is_used_until_the_next_commit() -> None:
    query = Counting()
    assert [await query.shared.get(), await query.shared.get()] == [1, 1]
    query.commits += 1
    assert await query.shared.get() == 2


async def test_a_large_result_is_used_for_some_seconds() -> None:
    query = Counting()
    query.is_large = True
    for at, expected in ((0.0, 1), (KEPT_SECONDS - 0.1, 1), (KEPT_SECONDS, 2)):
        query.commits, query.at = query.commits + 1, at
        assert await query.shared.get() == expected


async def test_who_asks_while_a_query_runs_gets_its_result() -> None:
    query = Counting()
    query.goes_on.clear()
    asking = [asyncio.create_task(query.shared.get()) for _ in range(3)]
    await asyncio.sleep(0)  # real time: none; the tasks begin
    asking[0].cancel()
    query.goes_on.set()
    assert await asyncio.gather(*asking[1:]) == [1, 1]
    assert asking[0].cancelled()


async def test_who_asks_after_a_commit_gets_no_older_result() -> None:
    query = Counting()
    query.goes_on.clear()
    before = asyncio.create_task(query.shared.get())
    await asyncio.sleep(0)  # real time: none; the query begins
    query.commits += 1
    after = asyncio.create_task(query.shared.get())
    await asyncio.sleep(0)  # real time: none; the second one asks
    query.goes_on.set()
    assert (await before, await after) == (1, 2)


async def test_an_old_result_is_not_used_although_nothing_changed() -> None:
    query = Counting()
    for at, expected in ((0.0, 1), (99.0, 1), (100.0, 2)):
        query.at = at
        assert await query.shared.get() == expected


async def test_a_query_that_fails_runs_again() -> None:
    query = Counting()
    query.runs = 2
    with pytest.raises(ValueError, match="the third run fails"):
        await query.shared.get()
    assert await query.shared.get() == 4
