"""Works that are done in many batches, so that webhooks come in between."""

from collections.abc import Callable
from typing import TypeVar

from router.core.presence import BATCH as ALERTS_PER_BATCH
from router.store.jobs import Job
from router.store.writer import Database

T = TypeVar("T")


async def for_found_ids(
    database: Database, find: Callable[[int], Job[list[int]]], piece: Callable[[list[int]], Job[T]]
) -> list[T]:
    """All of a work about rows that are found beside the writer, some at a time.

    :param find: the next ids, after one; as many as :data:`router.core.presence.BATCH`, if there are more
    :param piece: what is done about them; they may have changed since they were found
    """
    results: list[T] = []
    after = 0
    while True:
        ids = await database.look(find(after))
        if ids:
            results.append(await database.do(piece(ids)))
        if len(ids) < ALERTS_PER_BATCH:
            return results
        after = ids[-1]


async def in_pieces(database: Database, piece: Callable[[int], Job[tuple[T, int]]]) -> list[T]:
    """All of a work.

    :param piece: takes where the last piece ended, and says where it ended itself; 0: there are no more
    """
    results: list[T] = []
    after = 0
    while True:
        result, after = await database.do(piece(after))
        results.append(result)
        if not after:
            return results
