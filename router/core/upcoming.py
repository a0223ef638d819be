"""What is due next at a destination: by the saved rows, corrected by what the batch has changed since."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from router.core.claimed_delivery import Share
from router.core.rows import ConversationRow
from router.core.state import State
from router.model import Millis

NEXT_DUE = "next due"
"""A query: for each priority, the first :class:`Upcoming` conversations that :class:`Wanted` names, one more than its limit; in
order, by the saved rows.
"""


class Upcoming(NamedTuple):
    """A conversation that is due now or later. They are sent in this order."""

    priority: int
    next_at: Millis
    id: int


class Wanted(NamedTuple):
    """Which conversations a lane may send."""

    destination: str
    share: Share
    limit: int
    """How many are wanted."""
    by: Millis | None = None
    """Only those that have been due since this time, also those in a backoff. None: also those that are due later."""

    def covers(self, row: ConversationRow) -> bool:
        if row.next_at is None or row.destination != self.destination or not self.share.has_own_message(row):
            return False
        return self.by is None or (row.due_at is not None and row.due_at <= self.by)

    def is_due(self, each: Upcoming, now: Millis) -> bool:
        return self.by is not None or each.next_at <= now


def next_due(
    state: State, wanted: Wanted, now: Millis, *, others_first: bool
) -> tuple[list[int], Millis | None]:
    """Return the ids of the next conversations that are due, and when to look again if nothing else happens (None: nothing
    waits).

    If the batch has changed so many conversations that those behind them are not known, the ids end there, and that time is
    not after ``now``.

    :param others_first: the conversation that has waited longest goes before the critical ones
    :raises MissingRows: the saved rows are not read yet
    """
    saved: Sequence[Upcoming] = state.ask(NEXT_DUE, wanted)
    changed = [state.conversations.get(id_) for id_ in state.conversations.before]
    read = Counter(each.priority for each in saved)
    # What comes after the last one that was read is not known.
    last = {each.priority: each for each in saved if read[each.priority] > wanted.limit}
    here = [each for each in saved if each.id not in state.conversations.before]
    here += [
        Upcoming(row.priority, row.next_at, row.id)
        for row in changed
        if row is not None and row.next_at is not None and wanted.covers(row)
    ]
    known = sorted(each for each in here if each <= last.get(each.priority, each))
    due = [each for each in known if wanted.is_due(each, now)]
    end = min((priority for priority, each in last.items() if wanted.is_due(each, now)), default=None)
    others = [each for each in due if each.priority > 0]
    found = [min(others, key=lambda each: each[1:])] if others_first and others else []
    found += [each for each in due if each not in found and (end is None or each.priority <= end)]
    del found[wanted.limit :]
    times = [each.next_at for each in known if each not in found] + [each.next_at for each in last.values()]
    if end is not None and len(found) < wanted.limit:
        times.append(now)
    return [each.id for each in found], min(times, default=None)
