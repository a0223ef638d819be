"""A database in memory: the store's jobs run on a complete state."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

from router.core.adopt import CURSOR, AdoptionCursor, Phase
from router.core.conversations import DATABASE_ID
from router.core.reduce import PEER_LAG
from router.core.rows import NOT_FIRING, OF_STORM, OPEN, RESOLVED, ConversationRow, MetaRow
from router.core.state import State
from router.core.uptime import count_from, last_beat
from router.model import Millis
from router.store import RulesReplaced, clock_steps, starts
from router.store.jobs import Job
from tests.unit.core import oracle

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    work.close()
    raise AssertionError("it waits for something")


class Memory:
    """Offers the interface of :class:`router.store.database.Database`, without readers."""

    rules: str | None = None

    def __init__(self) -> None:
        self.state = State(complete=True, oracle=oracle.answer)

    async def do(self, job: Job[T]) -> T:
        if job.judges and not self.state.head.agrees:
            raise RulesReplaced
        mark = self.state.mark()
        try:
            return job.run(self.state)
        except BaseException:
            self.state.undo(mark)
            raise

    async def look(self, job: Job[T]) -> T:
        mark = self.state.mark()
        try:
            return job.run(self.state)
        finally:
            self.state.undo(mark)

    async def write(self, work: Callable[..., Any]) -> Any:
        assert isinstance(work, partial)
        return _STATEMENTS[work.func](self.state, **work.keywords)


def _later(row: ConversationRow) -> Millis | None:
    return None if row.due_at is None else max(row.due_at, row.not_before)


def _is_due(row: ConversationRow) -> bool:
    return row.state == OPEN and row.due_at is not None and row.delivery_id is None and row.deciding is None


def _begin(state: State, now: Millis) -> None:
    before = state.meta.get(DATABASE_ID)
    state.meta.put(MetaRow(DATABASE_ID, f"{1 if before is None else int(before.value, 16) + 1:032x}"))
    for delivery in list(state.deliveries):
        if delivery.outcome is None:
            state.deliveries.put(delivery._replace(outcome="interrupted", finished_at=now))
    for row in list(state.conversations):
        idle = row._replace(delivery_id=None)
        due = _is_due(idle) and idle.next_at is None
        state.conversations.put(idle._replace(next_at=_later(idle)) if due else idle)


def _resume_all(state: State, after: int, destination: str) -> int:
    for row in list(state.conversations):
        storm_stands = row.state == OPEN and row.kind == OF_STORM
        if row.destination == destination and (_is_due(row) or storm_stands):
            state.conversations.put(row._replace(not_before=0, next_at=row.due_at))
    return 0


def _step(state: State, now: Millis, *, back: bool) -> None:
    alive = last_beat(state)
    count_from(state, now)
    for alert in list(state.alerts):
        values: dict[str, Any] = {}
        if alert.doubt_until is not None:
            values["doubt_until"] = now + PEER_LAG
        if back:
            for name in ("seen_at", "changed_at", "absent_at", "claimed_firing_at"):
                if (getattr(alert, name) or 0) > now:
                    values[name] = now
        elif alive is not None and alert.status == RESOLVED and alert.changed_at > alive - PEER_LAG:
            values["changed_at"] = now
        state.alerts.put(alert._replace(**values))
    if back:
        _turn_back(state, now)
        found = state.meta.get(CURSOR)
        if found is None or AdoptionCursor.read(found.value).phase is Phase.JUDGE:
            state.meta.put(MetaRow(CURSOR, str(AdoptionCursor(Phase.JUDGE))))
        step = clock_steps.ClockStep(back=True, ended_since=None, table=clock_steps.RULES)
        state.meta.put(MetaRow(clock_steps.UNFINISHED_STEP, str(step)))


def _step_some(state: State, now: Millis) -> clock_steps.ClockStep | None:
    """Nothing is left to do: :func:`_step` did it in one piece."""
    row = state.meta.get(clock_steps.UNFINISHED_STEP)
    return None if row is None else clock_steps.ClockStep.read(row.value)


def _finish(state: State, step: clock_steps.ClockStep) -> None:
    row = state.meta.get(clock_steps.UNFINISHED_STEP)
    if row is not None and row.value == str(step):
        state.meta.remove(row)


def _turn_back(state: State, now: Millis) -> None:
    for member in list(state.members):
        settled = member.notified not in NOT_FIRING or member.failover
        if member.at is not None and member.at > now and settled:
            state.members.put(member._replace(at=now))
    for row in list(state.conversations):
        values: dict[str, Any] = {}
        if row.state == OPEN:
            values = {
                name: now
                for name in ("since", "tried_since", "notified_at")
                if (getattr(row, name) or 0) > now
            }
            if row.not_before > now:
                values["not_before"] = 0
        if row.slot is None and row.due_at is not None and row.due_at > now:
            times = (each.at for each in state.members.of("conversation", row.id) if each.at is not None)
            values["due_at"] = min(times, default=None)
        turned = row._replace(**values)
        state.conversations.put(turned._replace(next_at=_later(turned)) if _is_due(turned) else turned)


_STATEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {
    starts.mark_interrupted: _begin,
    starts.resume_some: _resume_all,
    clock_steps.begin_step: _step,
    clock_steps.step_some: _step_some,
    clock_steps.finish_step: _finish,
}
