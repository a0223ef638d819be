"""Settled changes: what the objectives count when a change that was due is delivered or given up.

Each change x destination that was due counts once, when it is settled:

- ``delivered``: good if it was delivered, bad if it was given up.
- ``in_time``, and for the most urgent level ``urgent_in_time``: good if it was delivered within the limit after it was
  due, bad if it was settled later. A change that was given up within the limit counts only in ``delivered``.

Changes that were never due do not count: obsolete and dropped ones, and those that tell the destination nothing new. Tests of
receivers do not count either.
"""

from collections import Counter
from typing import NamedTuple

from router.core.rows import FateRow
from router.core.state import State
from router.model import ANY_WITHIN, URGENT_WITHIN, Fate, Millis, Objective

_SETTLED = (Fate.DELIVERED, Fate.DEAD)


class SettledChange(NamedTuple):
    """A change that was due at a destination, and was delivered there or given up."""

    tenant: str
    urgency: int
    """The rank of its level; 0: the most urgent one."""
    at: Millis
    late_by: Millis
    """How long after it was due."""
    is_delivered: bool


def settlement(before: FateRow | None, after: FateRow | None) -> SettledChange | None:
    """Return what a change of a fate settles; None: nothing."""
    # A due time of 0 is NOT_COUNTED.
    if after is None or not after.due_at or after.fate not in _SETTLED:
        return None
    if before is not None and before.fate in _SETTLED:
        return None
    late_by = max(0, after.updated_at - after.due_at)
    return SettledChange(after.tenant, after.urgency, after.updated_at, late_by, after.fate == Fate.DELIVERED)


class BatchEvents(NamedTuple):
    """What objectives and tenants count of a batch."""

    settled: list[SettledChange]
    tenant_changes: Counter[tuple[str, str, str]]
    """New changes by tenant, level and kind; empty: no tenants are configured."""
    tenant_fates: Counter[tuple[str, str]]
    """How often changes got a fate, by tenant and fate; empty: no tenants are configured."""

    @property
    def any(self) -> bool:
        """Whether there is anything to count."""
        return bool(self.settled or self.tenant_changes or self.tenant_fates)


def batch_events(state: State) -> BatchEvents:
    """Return what objectives and tenants count of the unsaved rows of a batch."""
    events = BatchEvents([], Counter(), Counter())
    for key, before in state.fates.before.items():
        after = state.fates.get(key)
        if (settled := settlement(before, after)) is not None:
            events.settled.append(settled)
        if after is not None and after.tenant and (before is None or before.fate != after.fate):
            events.tenant_fates[after.tenant, after.fate] += 1
    for key, was in state.changes.before.items():
        change = state.changes.get(key)
        if was is None and change is not None and change.tenant:
            events.tenant_changes[change.tenant, change.level, change.kind] += 1
    return events


def objective_results(settled: SettledChange) -> list[tuple[Objective, bool]]:
    """Return the objectives that count a settled change, and whether it is good."""
    found = [(Objective.DELIVERED, settled.is_delivered)]
    within = (Objective.IN_TIME, ANY_WITHIN), (Objective.URGENT_IN_TIME, URGENT_WITHIN)
    for objective, limit in within if settled.urgency == 0 else within[:1]:
        is_late = settled.late_by > limit
        if is_late or settled.is_delivered:
            found.append((objective, not is_late))
    return found
