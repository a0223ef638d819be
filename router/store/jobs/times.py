"""Jobs that depend on the time."""

from dataclasses import dataclass

from router.core import digests, uptime
from router.core.adopt import POLICY
from router.core.conversations import DATABASE_ID
from router.core.rows import OPEN
from router.core.state import State
from router.decide import Policy
from router.model import Millis
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
    """Opens the slots of digests. Does nothing if other rules are in force by now, because these opened their own slots."""

    policy: Policy
    now: Millis

    def run(self, state: State) -> None:
        state.conversations.want("open slots", (OPEN,))
        state.meta.want("id", (DATABASE_ID, POLICY))
        state.ready()
        in_force = state.meta.get(POLICY)
        if in_force is None or in_force.value == self.policy.fingerprint:
            digests.open_slots(state, self.policy, self.now)


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
