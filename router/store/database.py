"""The database: one writer for all jobs, readers with their own connections, and the notices of other replicas."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa

from router.clock import DatabaseClock
from router.core.adopt import Adopted
from router.core.head import Grant, HeadReading, LeaseLost, OtherRules
from router.core.rules_in_force import Choice
from router.core.undecided_count import TooManyUndecided
from router.store.backend import Hearing, open_backend
from router.store.batch import Batch, Direct, JobResult
from router.store.disk_usage import DiskUsage
from router.store.health import CountError, Health, RulesReplaced, StoreUnavailable, WorkLost
from router.store.jobs import Adopt, Job
from router.store.notices import ReplicaNotice
from router.store.opening import StoredTables, check_database, migrate
from router.store.sets import DatabaseCursor, Sets
from router.store.writer import BatchObserver, EventObserver, Writer
from router.store.writer_connection import WriterConnection
from router.threads import Threads, call_on_loop

T = TypeVar("T")

WORKS_BY: ContextVar[Grant | None] = ContextVar("works_by", default=None)
"""The lease of the work that a task does. All that the task writes is refused if another replica does that work by now, for
example because this process was stopped for a while. None: the task works by no lease."""

_READERS = 4
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
        self._writer_connection = WriterConnection(self._backend, self._make_batch)
        self._writer = Writer(
            self._writer_connection, self._backend, self.health, observe, self._note_rules, self._call_on_loop
        )
        self._readers = Threads("store-read", _READERS)
        self._reading: set[asyncio.Event] = set()
        """One event for each running read; it is set when the reader has released its connection."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.is_new = False
        """This process has created the tables."""

    def open(self, before_migration: Callable[[], None] = lambda: None) -> None:
        """Check the database, and bring its tables up to date. One that is shared is then written: a server that can be read but
        not written is found here, where the caller can try again.

        :param before_migration: called before tables of an older version are changed. If it raises an error, nothing is changed, and this raises
            the error
        :raises StoreUnavailable: it can't be opened, is damaged, or belongs to another program or to a newer router, or another
            process serves from it
        """
        with self._backend.explained_errors():
            self._backend.prepare()
            stored = check_database(self._backend)
            self._writer_connection.open()
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
                self._writer_connection.check()

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
        return self._writer.queued_jobs

    @property
    def commits(self) -> int:
        """Counts the batches of this process, also those that failed. When it changes, a reader may find something new."""
        return self._writer.commits

    def observe_events(self, observer: EventObserver) -> None:
        """Call a function with what objectives and tenants count of each batch, after it is saved."""
        self._writer.on_events = observer

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
        self._writer.start()

    async def do(self, job: Job[T]) -> T:
        """Run a job on the writer thread, and return its result after the commit is durable.

        If the server's answer to the commit is lost, it returns or raises when it is known whether it was committed. That may
        take as long as the server is away.

        :raises StoreUnavailable: nothing of the job was saved, or the store was closed before it was known whether it was
        :raises WorkLost: see :data:`WORKS_BY`
        :raises RulesReplaced: the job judges, and other rules are in force
        """
        try:
            result: T = await self._run(job)
        except OtherRules as error:
            raise RulesReplaced from error
        except TooManyUndecided as error:
            raise StoreUnavailable(str(error)) from error
        return result

    async def write(self, work: Callable[[sa.Connection], T], *, is_urgent: bool = False) -> T:
        """Run a function with the writer's connection, as :meth:`do` runs a job.

        :param is_urgent: it runs before all that waits, as leases need: they are lost if they are not renewed in time
        """
        result: T = await self._run(Direct(work), is_urgent=is_urgent)
        return result

    async def _run(self, job: Job[Any] | Direct, *, is_urgent: bool = False) -> Any:
        grant = WORKS_BY.get()
        try:
            return await self._writer.run(job, grant, is_urgent=is_urgent)
        except LeaseLost as error:
            if grant is None:  # the job has a lease of its own
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

    def _note_rules(self, committed: JobResult) -> None:
        """Note the rules by which this process judges, if the job has put rules in force, or joined them."""
        job, adopted = committed.job, committed.value
        if isinstance(job, Adopt) and isinstance(adopted, Adopted) and adopted.choice is not Choice.WAIT:
            self.rules = job.adoption.policy.fingerprint

    def _call_on_loop(self, back: Callable[..., object], *arguments: object) -> None:
        assert self._loop is not None  # noqa: S101  (narrows the type)
        call_on_loop(self._loop, back, *arguments)

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
        if not await self._writer.stop(within):
            return
        # A reader whose caller was cancelled still has its connection. When the last connection closes, SQLite moves the WAL
        # into the file.
        with suppress(TimeoutError):
            async with asyncio.timeout(min(within, _LAST_READS_SECONDS)):
                for each in self._reading:
                    await each.wait()
        self._closed = True
        self._readers.shutdown()
        self._writer_connection.close()  # if the writer has not done so
        self._backend.close()
