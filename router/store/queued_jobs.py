"""Jobs that wait for the writer, with their callers."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from router.store.batch import JobResult
from router.store.writer_connection import Committed


@dataclass(slots=True, eq=False)
class QueuedJob:
    """A job, and the future that its caller waits for."""

    result: JobResult
    future: asyncio.Future[Any]
    committed: list[Committed] = field(default_factory=list)
    """What the transactions did. It is set for the first job of a transaction only."""
    seconds: float = 0.0
    """How long the whole batch took. It is set for the first job of a batch only."""


@dataclass(frozen=True, slots=True)
class UnknownBatch:
    """A batch of which nobody knows yet whether it was committed."""

    batch: list[QueuedJob]
    committed: Committed
    """What it did, if it was."""


def set_errors(batch: list[QueuedJob], error: Exception) -> None:
    for each in batch:
        each.result.error = error
