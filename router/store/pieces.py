"""Runs long work as many jobs, each about one piece, so that webhooks are stored in between."""

from collections.abc import Callable
from typing import TypeVar

from router.core.conclusions import ALERTS_PER_BATCH
from router.store.database import Database
from router.store.jobs import Job

T = TypeVar("T")


async def for_found_ids(
    database: Database, find: Callable[[int], Job[list[int]]], piece: Callable[[list[int]], Job[T]]
) -> list[T]:
    """Find ids on a reader's connection, and process them in pieces. Return the result of each piece.

    :param find: takes the last id so far (0 at first) and makes the job that finds the next ids; it finds
        :data:`router.core.conclusions.ALERTS_PER_BATCH` ids, fewer if there are no more
    :param piece: takes these ids and makes the job that processes them; the rows may have changed since they were found
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
    """Run all pieces of some work. Return the result of each piece.

    :param piece: takes the position where the last piece ended (0 at first) and makes the next job; the job returns its
        result, and the position where it ended (0: there are no more pieces)
    """
    results: list[T] = []
    after = 0
    while True:
        result, after = await database.do(piece(after))
        results.append(result)
        if not after:
            return results
