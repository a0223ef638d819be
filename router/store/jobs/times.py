"""Jobs that depend on the time."""

from dataclasses import dataclass

from router.core import digests, uptime
from router.core.adopt import POLICY
from router.core.conversations import DATABASE_ID
from router.core.head import LAST_TIME
from router.core.rows import OPEN, MetaRow
from router.core.state import State
from router.decide import Policy
from router.model import SECOND, Millis
from router.store.clock_steps import UNFINISHED_STEP, begun_step
from router.store.jobs.job import BaseJob


@dataclass(frozen=True, slots=True)
class NextOpening(BaseJob):
    """Finds when the next held alert becomes due (epoch ms; None: none is held)."""

    now: Millis

    def run(self, state: State) -> Millis | None:
        found: Millis | None = state.ask("next opening", self.now)
        return found


@dataclass(frozen=True, slots=True)
class OpenSlots(BaseJob):
    """Opens the slots of digests if these rules are in force. Returns whether they are."""

    policy: Policy
    now: Millis

    def run(self, state: State) -> bool:
        state.conversations.want("open slots", (OPEN,))
        state.meta.want("id", (DATABASE_ID, POLICY))
        state.ready()
        in_force = state.meta.get(POLICY)
        if in_force is not None and in_force.value != self.policy.fingerprint:
            return False
        digests.open_slots(state, self.policy, self.now)
        return True


@dataclass(frozen=True, slots=True)
class RecordUptime(BaseJob):
    """Records that the router runs."""

    now: Millis

    def run(self, state: State) -> None:
        uptime.beat(state, self.now)


@dataclass(frozen=True, slots=True)
class BeginCounting(BaseJob):
    """Begins to count time after a start.

    Returns how long the router was down, see :func:`router.core.uptime.down_for`; and since when time has passed without a
    gap (epoch ms).
    """

    now: Millis

    def want(self, state: State) -> None:
        state.meta.want("id", (uptime.ALIVE, uptime.SINCE))

    def run(self, state: State) -> tuple[Millis | None, Millis]:
        down = uptime.down_for(state, self.now)
        if down is None:
            uptime.beat(state, self.now)
        return down, uptime.counting_since(state)


@dataclass(frozen=True, slots=True)
class WatchUptime(BaseJob):
    """Records that a replica runs. If none has run for a while, or the clock was stepped, a step begins, see
    :mod:`router.store.clock_steps`: only for the first replica that sees it, because the others find its record.

    Returns since when time has passed without a gap or a step (epoch ms).
    """

    now: Millis
    has_run: bool
    """This replica has run and written all the time since its last record, without a step: there was no gap, whatever the store
    says."""

    def want(self, state: State) -> None:
        state.meta.want("id", (uptime.ALIVE, uptime.SINCE, UNFINISHED_STEP, LAST_TIME))

    def run(self, state: State) -> Millis:
        down = None if self.has_run else uptime.down_for(state, self.now)
        last = state.meta.get(LAST_TIME)
        if down is None and not self.has_run and last is not None and int(last.value) - self.now > SECOND:
            # A step back that is smaller than the time since the last record.
            down = self.now - int(last.value)
        if down is None:
            uptime.beat(state, self.now)
            return uptime.counting_since(state)
        rows = [state.meta.get(key) for key in (UNFINISHED_STEP, uptime.ALIVE)]
        unfinished, alive = (None if row is None else row.value for row in rows)
        state.meta.put(MetaRow(UNFINISHED_STEP, begun_step(unfinished, alive, back=down < 0)))
        if last is not None:
            state.meta.put(MetaRow(LAST_TIME, str(self.now)))
        uptime.count_from(state, self.now)
        return self.now
