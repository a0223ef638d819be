"""Jobs that wait for the writer, with their callers."""

import asyncio
import queue
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from router.store.batch import JobResult
from router.store.writer_connection import Committed


@dataclass(slots=True, eq=False)
class QueuedJob:
    """A job, and the future that its caller waits for."""

    result: JobResult
    future: asyncio.Future[Any]
    is_urgent: bool = False
    """Whether it runs before all jobs that are not."""
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


class JobQueue(queue.Queue[QueuedJob | None]):
    """Jobs in their order, the urgent ones first. None stands for the end."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._urgent: deque[QueuedJob] = deque()

    def _qsize(self) -> int:
        return len(self._urgent) + super()._qsize()

    def _put(self, item: QueuedJob | None) -> None:
        if item is not None and item.is_urgent:
            self._urgent.append(item)
        else:
            super()._put(item)

    def _get(self) -> QueuedJob | None:
        return self._urgent.popleft() if self._urgent else super()._get()


def set_errors(batch: list[QueuedJob], error: Exception) -> None:
    for each in batch:
        each.result.error = error
