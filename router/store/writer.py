"""The writer's thread: it commits the jobs of many callers together, and answers each of them."""

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import structlog

from router.core.head import Grant, RefusedJob
from router.core.settled import BatchEvents
from router.store.backend import Backend
from router.store.batch import Direct, JobResult
from router.store.health import Health, StoreUnavailable
from router.store.jobs import Job
from router.store.queued_jobs import JobQueue, QueuedJob, UnknownBatch, set_errors
from router.store.writer_connection import Committed, CommitWithoutAnswer, WriterConnection

log = structlog.get_logger(__name__)

BatchObserver = Callable[[float, Iterable[tuple[str, float]]], None]
"""Called after each batch with its seconds, and the kind and the seconds of each of its jobs."""
EventObserver = Callable[[BatchEvents], None]
"""Called with what objectives and tenants count of a batch, after it is saved."""

MAX_BATCH_WEIGHT = 256
"""The largest weight of a batch, in alerts, see :attr:`router.store.jobs.Job.weight`. Such a batch takes some tens of milliseconds."""
_MAX_QUEUED_JOBS = 10_000
_FIND_OUT_SECONDS = 2.0
"""How long the writer waits before it asks again whether its last transaction was committed."""
_NEXT_JOB_SECONDS = 0.01
"""How long jobs wait for the next one, if they are to run in its batch."""


class Writer:
    """Runs jobs in batches, in a thread of its own.

    :param health: knows whether the database can be written
    :param observe: called with how long each batch took, and each of its jobs
    :param note_committed: called in the writer's thread with each job of a batch when it is known that the batch was committed; a
        job that failed or was refused has an error
    :param call_on_loop: lets the event loop call a function with arguments; its callers wait on this loop
    """

    def __init__(
        self,
        connection: WriterConnection,
        backend: Backend,
        health: Health,
        observe: BatchObserver,
        note_committed: Callable[[JobResult], None],
        call_on_loop: Callable[..., None],
    ) -> None:
        self._connection = connection
        self._backend = backend
        self._health = health
        self._timed = observe
        self._note_committed = note_committed
        self._call_on_loop = call_on_loop
        self.on_events: EventObserver = lambda _events: None
        self.commits = 0
        """Counts the batches, also those that failed. When it changes, a reader may find something new."""
        self._unknown: UnknownBatch | None = None
        """Its jobs are answered, and other jobs run, when it is known whether it was committed."""
        self._queue = JobQueue()
        self._is_open = False
        """Whether it takes jobs."""
        self._ended = asyncio.Event()
        """Set while there is no thread."""
        self._ended.set()

    def start(self) -> None:
        """Start the thread."""
        self._ended.clear()
        self._is_open = True
        threading.Thread(target=self._serve, name="store-write", daemon=True).start()

    @property
    def queued_jobs(self) -> int:
        """How many jobs wait."""
        return self._queue.qsize()

    async def run(self, job: Job[Any] | Direct, grant: Grant | None, *, is_urgent: bool = False) -> Any:
        """Run a job, and return its result after the commit is durable.

        :param grant: the lease of the work that the job belongs to; None: it belongs to none
        :param is_urgent: it runs before all other jobs that wait, and is taken even if the queue is full
        :raises StoreUnavailable: nothing of the job was saved, or the store was closed before it was known whether it was
        :raises Exception: what the job raises
        """
        if not self._is_open:
            raise StoreUnavailable("the store is closed")
        if self._health.damaged:
            self._health.count_error("write")
            raise StoreUnavailable(str(self._health.error))
        if not is_urgent and self.queued_jobs >= _MAX_QUEUED_JOBS:
            error = StoreUnavailable(
                f"{self._backend.name}: {_MAX_QUEUED_JOBS} writes are waiting already: the disk is too slow"
            )
            self._health.batch_failed(error)
            raise error
        waiting = QueuedJob(
            JobResult(job, grant=grant), asyncio.get_running_loop().create_future(), is_urgent=is_urgent
        )
        self._queue.put(waiting)
        return await waiting.future

    async def stop(self, within: float) -> bool:
        """Finish the queued jobs, and end the thread. Return whether it has ended.

        :param within: seconds; if the thread is still stuck after this time, it is left to end with the process
        """
        if not self._is_open:
            return self._ended.is_set()
        self._is_open = False
        self._queue.put(None)
        try:
            async with asyncio.timeout(None if within == math.inf else within):
                await self._ended.wait()
        except TimeoutError:
            log.warning(
                "the store's last write has not ended; its thread is abandoned", database=self._backend.name
            )
            return False
        return True

    def _serve(self) -> None:
        """Run the writer's thread. Whatever happens to a batch, its callers get an answer, and the thread goes on."""
        open_ = True
        while open_:
            batch: list[QueuedJob] = []
            job, weight = self._next_job(), 0
            until = time.monotonic() + _NEXT_JOB_SECONDS
            while job is not None:
                batch.append(job)
                weight += job.result.job.weight
                if weight >= MAX_BATCH_WEIGHT:
                    break
                try:
                    job = self._next_of_batch(batch, until)
                except queue.Empty:
                    break
            else:
                open_ = False
            if batch and (answered := self._write(batch)):
                self._call_on_loop(self._answer_callers, answered)
        self._give_up_finding_out()
        self._connection.close()
        self._call_on_loop(self._ended.set)

    def _next_job(self) -> QueuedJob | None:
        """Wait for a job; None: the store closes. Meanwhile find out what is unknown."""
        while self._unknown is not None:
            with suppress(queue.Empty):
                return self._queue.get(timeout=_FIND_OUT_SECONDS)
            self._find_out()
        return self._queue.get()

    def _next_of_batch(self, batch: list[QueuedJob], until: float) -> QueuedJob | None:
        """Return the next job of a batch; None: the store closes.

        :param until: after this time (``time.monotonic``), jobs that wait for the next one run without it
        :raises queue.Empty: no job waits
        """
        if all(each.result.job.with_next for each in batch):
            return self._queue.get(timeout=max(0.0, until - time.monotonic()))
        return self._queue.get_nowait()

    def _write(self, batch: list[QueuedJob]) -> list[QueuedJob]:
        """Commit a batch. A job that fails among others runs once more, alone; it is answered with an error only if it fails
        then, too.

        :returns: the jobs whose callers can be answered; :meth:`_find_out` answers the others
        """
        began = time.perf_counter()
        if (failure := self._find_out()) is not None:
            set_errors(batch, failure)
            return batch
        failed = self._commit(batch)
        batch[0].seconds = time.perf_counter() - began
        if self._unknown is not None:
            self._find_out()  # in most cases a new connection knows
            return []
        if len(batch) == 1:
            return batch
        unanswered: list[QueuedJob] = []
        for each in failed:
            before = each.result.error
            if (failure := self._find_out()) is not None:
                set_errors([each], failure)
                continue
            self._commit([each])
            if self._unknown is not None:
                unanswered.append(each)
            elif each.result.error is None:
                log.error(
                    "a job failed in a batch with others, but succeeded alone",
                    job=each.result.kind,
                    exc_info=before,
                )
        self._find_out()
        return [each for each in batch if each not in unanswered]

    def _commit(self, batch: list[QueuedJob]) -> list[QueuedJob]:
        """Commit the whole batch, or nothing.

        :returns: the jobs that failed, without those that were refused; none if the database itself can't be written
        """
        for each in batch:
            each.result.value = each.result.error = None
        try:
            committed = self._connection.run(
                [each.result for each in batch], notes_writes=self._health.error is not None
            )
        except CommitWithoutAnswer as error:
            self._unknown = UnknownBatch(batch, error.committed)
            return []
        except BaseException as error:  # noqa: BLE001  (otherwise the callers would wait forever)
            failure = self._classify(error)
            set_errors(batch, failure)
            self._connection.failed(error)
            return [] if isinstance(failure, StoreUnavailable) else batch
        self._note_commit(batch, committed)
        return [
            each
            for each in batch
            if each.result.error is not None and not isinstance(each.result.error, RefusedJob)
        ]

    def _note_commit(self, batch: list[QueuedJob], committed: Committed) -> None:
        """Keep what a transaction did for the answer to its callers, and report each of its jobs."""
        batch[0].committed.append(committed)
        for each in batch:
            self._note_committed(each.result)

    def _classify(self, error: BaseException) -> Exception:
        """Return whether a batch failed because of the database (:class:`StoreUnavailable`) or because of its own rows."""
        if isinstance(error, StoreUnavailable):
            return error
        if isinstance(error, Exception) and self._backend.is_row_error(error):
            log.error("a batch could not be saved", exc_info=error)
            return error
        return self._backend.explain_error(error)

    def _find_out(self) -> StoreUnavailable | None:
        """Find out whether the last batch was committed, and answer its callers. Return why that is not known yet; None:
        nothing is unknown.
        """
        unknown = self._unknown
        if unknown is None:
            return None
        try:
            was_committed = self._connection.find_out()
        except StoreUnavailable as error:
            self._call_on_loop(self._health.batch_failed, error)
            return error
        self._unknown = None
        if was_committed:
            self._note_commit(unknown.batch, unknown.committed)
        else:
            lost = StoreUnavailable(
                f"{self._backend.name}: the connection was lost at a commit; nothing was saved"
            )
            set_errors(unknown.batch, lost)
        self._call_on_loop(self._answer_callers, unknown.batch)
        return None

    def _give_up_finding_out(self) -> None:
        """Answer the callers of a transaction of which it is not known whether it was committed, because the store closes."""
        if (failure := self._find_out()) is not None and self._unknown is not None:
            set_errors(self._unknown.batch, failure)
            self._call_on_loop(self._answer_callers, self._unknown.batch)

    def _answer_callers(self, batch: list[QueuedJob]) -> None:
        """Answer the callers, on the event loop."""
        self._timed(batch[0].seconds, ((each.result.kind, each.result.seconds) for each in batch))
        self.commits += 1
        for each in batch:
            for events in (events for committed in each.committed for events in committed.events):
                self.on_events(events)
        errors = [each.result.error for each in batch]
        faults = [error for error in errors if isinstance(error, StoreUnavailable)]
        if faults:
            self._health.count_error("write")
        for fault in faults:
            self._health.write_failed(fault)
        # A transaction that writes nothing succeeds even on a full disk.
        if (
            not faults
            and any(committed.wrote for each in batch for committed in each.committed)
            and self.queued_jobs < _MAX_QUEUED_JOBS // 2
        ):
            self._health.write_succeeded()
        for each in batch:
            if each.future.done():
                continue
            if each.result.error is None:
                each.future.set_result(each.result.value)
            else:
                each.future.set_exception(each.result.error)
