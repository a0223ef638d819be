"""One writer thread that commits the jobs of many callers together, and readers with their own connections."""

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from router.clock import DatabaseClock
from router.core.adopt import Adopted
from router.core.head import Grant, HeadReading, LeaseLost, OtherRules, RefusedJob
from router.core.rules_in_force import Choice
from router.core.settled import BatchEvents
from router.core.undecided_count import TooManyUndecided
from router.store.backend import Hearing, open_backend
from router.store.batch import Batch, Direct, JobResult
from router.store.disk_usage import DiskUsage
from router.store.health import CountError, Health, RulesReplaced, StoreUnavailable, WorkLost
from router.store.jobs import Adopt, Job
from router.store.notices import ReplicaNotice
from router.store.opening import StoredTables, check_database, migrate
from router.store.queued_jobs import QueuedJob, UnknownBatch, set_errors
from router.store.sets import DatabaseCursor, Sets
from router.store.writer_connection import Committed, CommitWithoutAnswer, WriterConnection
from router.threads import Threads

T = TypeVar("T")
log = structlog.get_logger(__name__)

BatchObserver = Callable[[float, Iterable[tuple[str, float]]], None]
"""Called after each batch with its seconds, and the kind and the seconds of each of its jobs."""
EventObserver = Callable[[BatchEvents], None]
"""Called with what objectives and tenants count of a batch, after it is saved."""

WORKS_BY: ContextVar[Grant | None] = ContextVar("works_by", default=None)
"""The lease of the work that a task does. All that the task writes is refused if another replica does that work by now, for
example because this process was stopped for a while. None: the task works by no lease."""

MAX_BATCH_WEIGHT = 256
"""The largest weight of a batch, in alerts, see :attr:`router.store.jobs.Job.weight`. Such a batch takes some tens of milliseconds."""
_MAX_QUEUED_JOBS = 10_000
_READERS = 4
_FIND_OUT_SECONDS = 2.0
"""How long the writer waits before it asks again whether its last transaction was committed."""
_NEXT_JOB_SECONDS = 0.01
"""How long jobs wait for the next one, if they are to run in its batch."""
_LAST_READS_SECONDS = 0.5
"""How long a close waits for the readers."""


class Database:
    """One writer, many readers.

    :param url: see :func:`router.store.backend.open_backend`
    :param observe: called with how long each batch took, and each of its jobs
    :param count_error: called for each read and batch that fails because of the database
    :raises StoreUnavailable: the URL names no usable kind of database
    """

    def __init__(self, url: str, observe: BatchObserver, count_error: CountError) -> None:
        self._timed = observe
        self.on_events: EventObserver = lambda _events: None
        self._backend = open_backend(url, _READERS)
        self.name = self._backend.name
        self.is_shared = self._backend.is_shared
        """Whether several processes may serve from the database at the same time."""
        self.rules: str | None = None
        """The fingerprint of the rules by which this process judges: those that it last put in force or joined. While others
        are in force, its jobs judge nothing. None: it has no rules yet, and nothing is checked."""
        self.on_other_rules: Callable[[], None] = lambda: None
        """Called on the event loop when this process sees that the rules in force have become others."""
        self._rules_seen = ""
        self._hearing: Hearing | None = None
        self.clock: DatabaseClock | None = None
        """The clock that follows the database's; None: the service brings its own time."""
        self.health = Health(self.name, count_error)
        self._sets = Sets(self._backend)
        self._writer = WriterConnection(self._backend, self._make_batch)
        self._unknown: UnknownBatch | None = None
        """Its jobs are answered, and other jobs run, when it is known whether it was committed."""
        self._readers = Threads("store-read", _READERS)
        self._reading: set[asyncio.Event] = set()
        """One event for each running read; it is set when the reader has released its connection."""
        self._queue: queue.Queue[QueuedJob | None] = queue.Queue(_MAX_QUEUED_JOBS)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._closed = False
        self.commits = 0
        """How many batches this process has committed."""
        self.is_new = False
        """This process has created the tables."""

    def open(self, before_migration: Callable[[], None] = lambda: None) -> None:
        """Check the database, and bring its tables up to date. One that is shared is then written: a server that can be read but
        not written is found here, where the caller can try again.

        :param before_migration: called before tables of an older version are changed; what it raises ends the opening
        :raises StoreUnavailable: it can't be opened, is damaged, or belongs to another program or to a newer router, or another
            process serves from it
        """
        with self._backend.explained_errors():
            self._backend.prepare()
            stored = check_database(self._backend)
            self._writer.open()
            if stored == StoredTables.OLDER:
                before_migration()
        try:
            with self._backend.explained_errors():
                self.is_new = migrate(self._backend.engine, name=self.name)
        except StoreUnavailable as error:
            holders = self._backend.holders() if error.passes else ""
            if not holders:
                raise
            raise StoreUnavailable(
                f"{error}; its tables are used by the processes {holders}", passes=True
            ) from error
        if self.is_shared:
            with self._backend.explained_errors():
                self._writer.check()

    @property
    def session(self) -> str:
        """The session of this process among the replicas; empty: it has none."""
        return self._backend.session

    @session.setter
    def session(self, session: str) -> None:
        self._backend.session = session

    @property
    def queued_jobs(self) -> int:
        """How many jobs wait for the writer."""
        return self._queue.qsize()

    def listen(self, hear: Callable[[ReplicaNotice], None]) -> None:
        """Hear the notices of other replicas from now on, on the event loop."""

        def heard(text: str) -> None:
            notice = ReplicaNotice.read(text)
            if notice.sender != self.session:
                self._call_on_loop(hear, notice)

        self._hearing = self._backend.listen(heard)

    @property
    def is_hearing(self) -> bool:
        """Whether notices of other replicas come in now. If not, the database has to be asked more often."""
        return self._hearing is not None and self._hearing.is_connected

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the writer thread. It answers its callers on this event loop."""
        self._loop = loop
        self._thread = threading.Thread(target=self._serve, name="store-write", daemon=True)
        self._thread.start()

    async def do(self, job: Job[T]) -> T:
        """Run a job on the writer thread, and return its result after the commit is durable.

        If the server's answer to the commit is lost, it returns or raises when it is known whether it was committed. That may
        take as long as the server is away.

        :raises StoreUnavailable: nothing of the job was saved
        :raises WorkLost: see :data:`WORKS_BY`
        :raises RulesReplaced: the job judges, and other rules are in force
        """
        try:
            result: T = await self._enqueue(job)
        except OtherRules as error:
            raise RulesReplaced from error
        except TooManyUndecided as error:
            raise StoreUnavailable(str(error)) from error
        return result

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run a function with the writer's connection, as :meth:`do` runs a job."""
        result: T = await self._enqueue(Direct(work))
        return result

    async def _enqueue(self, job: Job[Any] | Direct) -> Any:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            raise StoreUnavailable("the store is closed")
        if self.health.damaged:
            self.health.count_error("write")
            raise StoreUnavailable(str(self.health.error))
        waiting = QueuedJob(JobResult(job, grant=WORKS_BY.get()), loop.create_future())
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            error = StoreUnavailable(
                f"{self.name}: {_MAX_QUEUED_JOBS} writes are waiting already: the disk is too slow"
            )
            self.health.batch_failed(error)
            raise error from None
        try:
            return await waiting.future
        except LeaseLost as error:
            if waiting.result.grant is None:  # the job has a lease of its own
                raise
            raise WorkLost from error

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run a function with a connection of its own, on a reader thread.

        :raises StoreUnavailable: the database can't be read
        """

        def call() -> T:
            try:
                with self._backend.explained_errors(), self._backend.engine.connect() as connection:
                    return work(connection)
            finally:
                self._call_on_loop(ended.set)
                if self._closed:  # the close did not wait for this reader
                    self._backend.close()

        ended = asyncio.Event()
        self._reading = {each for each in self._reading if not each.is_set()} | {ended}
        try:
            return await self._readers.run(call)
        except StoreUnavailable as error:
            self.health.count_error("read")
            if error.damaged:
                self.health.write_failed(error)
            raise

    def _make_batch(self, connection: sa.Connection) -> Batch:
        return Batch(connection, self._sets, self._read_head, sets_time=self.clock is not None)

    def _read_head(self, cursor: DatabaseCursor) -> HeadReading:
        read = self._backend.read_head(cursor)
        head = read.head
        if self.clock is not None:
            self.clock.observe(head.now, read.asked_at, read.answered_at)
        if head.is_alone:
            return read
        if head.rules != self._rules_seen:
            self._rules_seen = head.rules
            self._call_on_loop(self.on_other_rules)
        return read._replace(head=replace(head, agrees=self.rules is None or head.rules in {"", self.rules}))

    async def disk_usage(self) -> DiskUsage:
        """Measure the database on disk, on a reader thread. :raises StoreUnavailable: it can't be measured"""
        return await self.read(self._backend.disk_usage)

    async def look(self, job: Job[T]) -> T:
        """Return the result of a job on a reader's connection. Nothing is saved, and the writer is not held up."""

        def work(connection: sa.Connection) -> T:
            with connection.begin():
                return Batch(connection, self._sets, self._read_head).look(job)

        return await self.read(work)

    async def close(self, within: float = math.inf) -> None:
        """Finish the queued jobs, then close the database.

        :param within: seconds; if the writer is still stuck after this time (a dead disk), it is left to end with the
            process
        """
        if self._hearing is not None:
            await asyncio.to_thread(self._hearing.close, min(within, 2 * _LAST_READS_SECONDS))
        if self._thread is not None:
            self._thread = None
            with suppress(queue.Full):  # then the writer is stuck
                self._queue.put_nowait(None)
            try:
                async with asyncio.timeout(None if within == math.inf else within):
                    await self._ended.wait()
            except TimeoutError:
                log.warning(
                    "the store's last write has not ended; its thread is abandoned", database=self.name
                )
                return
        # A reader whose caller was cancelled still has its connection. When the last connection closes, SQLite moves the WAL
        # into the file.
        with suppress(TimeoutError):
            async with asyncio.timeout(min(within, _LAST_READS_SECONDS)):
                for each in self._reading:
                    await each.wait()
        self._closed = True
        self._readers.shutdown()
        self._writer.close()  # if the writer has not done so
        self._backend.close()

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
        self._writer.close()
        self._call_on_loop(self._ended.set)

    def _call_on_loop(self, back: Callable[..., object], *arguments: object) -> None:
        assert self._loop is not None  # noqa: S101  (narrows the type)
        with suppress(RuntimeError):  # the loop has ended: no caller waits for an answer
            self._loop.call_soon_threadsafe(back, *arguments)

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
            committed = self._writer.run(
                [each.result for each in batch], notes_writes=self.health.error is not None
            )
        except CommitWithoutAnswer as error:
            self._unknown = UnknownBatch(batch, error.committed)
            return []
        except BaseException as error:  # noqa: BLE001  (otherwise the callers would wait forever)
            failure = self._classify(error)
            set_errors(batch, failure)
            self._writer.failed(error)
            return [] if isinstance(failure, StoreUnavailable) else batch
        self._note_commit(batch, committed)
        return [
            each
            for each in batch
            if each.result.error is not None and not isinstance(each.result.error, RefusedJob)
        ]

    def _note_commit(self, batch: list[QueuedJob], committed: Committed) -> None:
        """Keep what a transaction did for the answer to its callers, and note the rules that it put in force or joined."""
        batch[0].committed.append(committed)
        for each in batch:
            if isinstance(each.result.job, Adopt) and isinstance(each.result.value, Adopted):
                self._judge_by(each.result.job, each.result.value)

    def _judge_by(self, job: Adopt, adopted: Adopted) -> None:
        """Note the rules by which this process judges, now that they are committed."""
        if adopted.choice is not Choice.WAIT:
            self.rules = job.adoption.policy.fingerprint

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
            was_committed = self._writer.find_out()
        except StoreUnavailable as error:
            self._call_on_loop(self.health.batch_failed, error)
            return error
        self._unknown = None
        if was_committed:
            self._note_commit(unknown.batch, unknown.committed)
        else:
            lost = StoreUnavailable(f"{self.name}: the connection was lost at a commit; nothing was saved")
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
            self.health.count_error("write")
        for fault in faults:
            self.health.write_failed(fault)
        # A transaction that writes nothing succeeds even on a full disk.
        if (
            not faults
            and any(committed.wrote for each in batch for committed in each.committed)
            and self.queued_jobs < _MAX_QUEUED_JOBS // 2
        ):
            self.health.write_succeeded()
        for each in batch:
            if each.future.done():
                continue
            if each.result.error is None:
                each.future.set_result(each.result.value)
            else:
                each.future.set_exception(each.result.error)
