"""A batch of jobs: their rows are loaded together, their transitions run one after the other, and all is saved together."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, ClassVar, TypeVar, cast

import sqlalchemy as sa

from router.core.accept import Receipt
from router.core.head import LAST_TIME, NEXT_ID, Grant, HeadReading, LeaseLost, OtherRules
from router.core.record import Recorded
from router.core.rows import MetaRow
from router.core.settled import BatchEvents
from router.core.state import MissingRows, State
from router.store.jobs import Claim, Job
from router.store.notices import ReplicaNotice, lanes_to_wake, topics_of
from router.store.queries import CORRECTED, run_queries
from router.store.row_writes import BatchEnd, BatchId, RowWrites
from router.store.sets import DatabaseCursor, Sets

T = TypeVar("T")

# A job names the rows that it needs step by step: alerts, then their members, then the conversations of these. Each step
# loads rows that were not loaded before, so the steps end. A job that needs more steps than this has a bug; only this job
# fails.
_MAX_LOAD_STEPS = 1_000


@dataclass(frozen=True, slots=True)
class Direct:
    """A job that runs its own statements and no transition of rows, for example pruning."""

    work: Callable[[sa.Connection], Any]
    weight: ClassVar[int] = 1
    with_next: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """Its name in the metrics: the name of the function."""
        return str(getattr(self.work, "func", self.work).__qualname__)


@dataclass(slots=True)
class JobResult:
    """The result of a job."""

    job: Job[Any] | Direct
    value: Any = None
    error: Exception | None = None
    seconds: float = 0.0
    """How long its transition or its own statements took, without the loading and saving of rows."""
    grant: Grant | None = None
    """The lease of the work that it belongs to; None: it belongs to none."""

    @property
    def kind(self) -> str:
        """Its name in the metrics."""
        return self.job.kind if isinstance(self.job, Direct) else type(self.job).__name__


ReadHead = Callable[[DatabaseCursor], HeadReading]
"""Reads the head of a batch."""


class Batch:
    """Runs the jobs of one transaction.

    :param connection: in a transaction, which the caller commits
    :param sets_time: the head's time replaces the times of the jobs
    """

    def __init__(
        self, connection: sa.Connection, sets: Sets, read_head: ReadHead, *, sets_time: bool = False
    ) -> None:
        self._read_head = read_head
        self._sets_time = sets_time
        self._woken: set[str] = set()
        self._claimed: set[str] = set()
        """The lanes that need not be woken."""
        self._topics: set[str] = set()
        self._changes = False
        """Whether anything was written."""
        self._is_behind = False
        """Whether jobs that run now follow others whose changes are not written yet."""
        self._connection = connection
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  (narrows the type)
        self._cursor = driver.cursor()
        self._sets = sets
        self._state = self._new_state()
        self.events: list[BatchEvents] = []
        """What objectives and tenants count, of all saves."""

    def look(self, job: Job[T]) -> T:
        """Return the result of a job without saving anything.

        :raises Exception: what the job raises
        """
        result = JobResult(job)
        self._preload([result])
        self._run_all([result])
        self._state.release()
        if result.error is not None:
            raise result.error
        return cast("T", result.value)

    def run(self, results: Sequence[JobResult]) -> None:
        """Run the jobs in order: first transitions, then jobs with their own statements, then the jobs that are ``last``.
        :meth:`finish` writes what they change, unless a query or a statement has to see it before.

        :raises sqlalchemy.exc.DBAPIError: nothing of the batch can be saved; it may be an error of the driver itself
        """
        results = self._without_lost(results)
        own = [each for each in results if isinstance(each.job, Direct)]
        first = self._prepared(
            each for each in results if not isinstance(each.job, Direct) and not each.job.last
        )
        last = self._prepared(each for each in results if not isinstance(each.job, Direct) and each.job.last)
        self._preload(first if own else [*first, *last])
        self._run_all(first)
        if own:
            self.flush()
            for each in own:
                self._run_statements(each, is_last=each is own[-1] and not last)
            self._changes = True
            self._state.release()
            if last:
                self._state = self._new_state()
                last = self._prepared(last)
                self._preload(last)
        self._is_behind = self._state.is_changed
        if self._is_behind:
            self._state.forget_answers(CORRECTED)
        self._run_all(last)
        self._drop_needless_wakes(first, last)

    def flush(self) -> None:
        """Write now what :meth:`finish` would write."""
        self._sets.save(self._cursor, self._take_writes())
        self._is_behind = False

    def finish(self, batch: BatchId) -> None:
        """Write what is left. The transaction may be committed afterwards already, see :meth:`router.store.sets.Dialect.finish`.

        :param batch: noted with what is written
        """
        writes, head = self._take_writes(), self._state.head
        notice = ReplicaNotice(head.session, frozenset(self._woken - self._claimed), frozenset(self._topics))
        end = BatchEnd(writes, self._changes, batch, head.now, str(notice) if notice else "")
        self._sets.finish(self._cursor, end)
        self._state.release()

    def _take_writes(self) -> RowWrites:
        """Return how the changed rows are written; they count as written from now on. Results of queries by the rows as they
        were are forgotten.
        """
        state = self._state
        self._woken |= lanes_to_wake(state)
        self._topics.update(topics_of(state))
        if state.next_id != state.first_new_id:
            state.meta.put(MetaRow(NEXT_ID, str(state.next_id)))
        if self._sets_time and state.is_changed:
            state.meta.put(MetaRow(LAST_TIME, str(state.head.now)))
        writes, events = self._sets.changes(state)
        self._changes = self._changes or bool(writes)
        if events.any:
            self.events.append(events)
        state.journal.clear()
        state.forget_answers()
        return writes

    def _without_lost(self, results: Sequence[JobResult]) -> list[JobResult]:
        """Refuse the jobs of work that another replica does by now. Return the others."""
        for each in results:
            try:
                self._state.head.check_grant(each.grant)
            except LeaseLost as error:
                each.error = error
        return [each for each in results if each.error is None]

    def _new_state(self) -> State:
        state = State()
        read = self._read_head(self._cursor)
        state.head = read.head
        state.first_new_id = state.next_id = 1 if read.next_id is None else int(read.next_id)
        return state

    def _prepared(self, results: Iterable[JobResult]) -> list[JobResult]:
        """Give transitions the time of the batch. Return those that may run."""
        head = self._state.head
        results = list(results) if head.agrees else self._without_judging(results)
        if self._sets_time:
            for each in results:
                if hasattr(each.job, "now"):
                    each.job = replace(cast("Any", each.job), now=head.now)
        return results

    def _drop_needless_wakes(self, first: list[JobResult], last: list[JobResult]) -> None:
        """Let the results wake no lane that has claimed after them in this batch, and so knows when to look again."""
        self._claimed = claimed = {
            each.job.permit.destination.key
            for each in last
            if isinstance(each.job, Claim) and each.error is None and each.job.tells_all(each.value)
        }
        for each in first:
            if isinstance(each.value, Receipt | Recorded) and not claimed.isdisjoint(each.value.wake):
                each.value = replace(each.value, wake=each.value.wake - claimed)

    @staticmethod
    def _without_judging(results: Iterable[JobResult]) -> list[JobResult]:
        """Refuse the jobs that judge, because other rules are in force. Return the others."""
        others = []
        for each in results:
            if cast("Job[Any]", each.job).judges:
                each.error = OtherRules()
            else:
                others.append(each)
        return others

    def _preload(self, results: list[JobResult]) -> None:
        """Load the rows that the jobs name before they run."""
        state = self._state
        for _ in range(_MAX_LOAD_STEPS):
            for each in results:
                state.lacking = False
                began = perf_counter()
                with suppress(Exception):  # any other error is raised again when the job runs
                    cast("Job[Any]", each.job).want(state)
                each.seconds += perf_counter() - began
            if not state.wanting:
                break
            self._load()

    def _run_all(self, results: list[JobResult]) -> None:
        """Run the jobs, and load the rows that they lack, until all are done."""
        begin = self._state.mark()
        done = steps = 0
        while done < len(results):
            before = done
            done = self._run_from(results, done)
            if self._is_behind and self._state.asked.keys() - CORRECTED:
                # What these jobs have changed is no part of what the query has to see.
                self._state.undo(begin)
                self.flush()
                done = 0
            if done < len(results):
                self._load()
            steps = steps + 1 if done == before else 1
            if steps > _MAX_LOAD_STEPS:
                results[done].error = RuntimeError(
                    f"{results[done].kind}: it still lacks rows after {_MAX_LOAD_STEPS} loads"
                )
                done += 1

    def _run_from(self, results: list[JobResult], done: int) -> int:
        """Run the jobs in order, up to the first one that lacks rows, which are requested.

        The jobs after it run as well and are undone, so that the rows that all of them lack are loaded together.

        :param done: how many jobs are done already
        :returns: how many jobs are done now
        """
        state = self._state
        blocked: int | None = None
        start = state.mark()
        for number in range(done, len(results)):
            mark = state.mark()
            result = results[number]
            state.lacking = False
            began = perf_counter()
            try:
                result.value, result.error = cast("Job[Any]", result.job).run(state), None
            except MissingRows:
                state.undo(mark)
                if blocked is None:
                    blocked, start = number, mark
            except BaseException as error:  # noqa: BLE001  (the caller gets it)
                state.undo(mark)
                result.error = _raisable(error)
            result.seconds += perf_counter() - began
        if blocked is None:
            return len(results)
        state.undo(start)
        return blocked

    def _load(self) -> None:
        """Load what is requested."""
        state = self._state
        self._sets.load(self._cursor, state)
        if state.asked:
            run_queries(self._connection, state)

    def _run_statements(self, result: JobResult, *, is_last: bool) -> None:
        """:param is_last: the transaction has no other savepoint after this one, so that it ends with the transaction"""
        assert isinstance(result.job, Direct)  # noqa: S101  (narrows the type)
        self._connection.exec_driver_sql("SAVEPOINT own")
        began = perf_counter()
        try:
            result.value = result.job.work(self._connection)
        except sa.exc.DBAPIError:
            raise
        except BaseException as error:  # noqa: BLE001  (the caller gets it)
            self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT own")
            result.error = _raisable(error)
        else:
            if not is_last:
                self._connection.exec_driver_sql("RELEASE SAVEPOINT own")
        result.seconds = perf_counter() - began


def _raisable(error: BaseException) -> Exception:
    """Return an exception that may be raised to the caller. A future accepts no StopIteration, and a job must not end
    the process.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
