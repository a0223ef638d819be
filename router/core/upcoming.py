"""What is due next at a lane: by the saved rows, corrected by what the batch has changed since."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from router.core.claimed_delivery import Share
from router.core.rows import ConversationRow
from router.core.state import State
from router.core.storms import Surge
from router.model import Millis

NEXT_DUE = "next due"
"""A query: the first conversations that :class:`Wanted` names, as :class:`Upcoming`, in order, by the saved rows. For each
priority there is at most one more than the limit.
"""


class Upcoming(NamedTuple):
    """A conversation that is due now or later. They are sent in this order."""

    priority: int
    next_at: Millis
    id: int
    due_at: Millis
    own_message: int


class Wanted(NamedTuple):
    """Which conversations of a lane are asked for."""

    destination: str
    share: Share
    limit: int
    """How many of each priority are wanted."""
    by: Millis | None = None
    """Only those that have been due since this time, also those in a backoff. None: also those that are due later."""

    def covers(self, row: ConversationRow) -> bool:
        """Return whether a conversation that has a next time is one of them."""
        if row.destination != self.destination or not self.share.has_own_message(row):
            return False
        return self.by is None or (row.due_at is not None and row.due_at <= self.by)


@dataclass(frozen=True, slots=True)
class Queue:
    """The conversations that are due at a lane, and those that will be. It has the first ones of each priority."""

    due: Sequence[Upcoming]
    """In the order in which they are sent."""
    later: Sequence[Upcoming]
    ends: Mapping[int, Upcoming]
    """The last one that was read, for each priority that may have more. What follows it is not known."""
    full: int | None
    """More may be due than :attr:`due` has; this is the first priority that may have more. None: :attr:`due` has all."""

    def first(self, count: int, now: Millis, *, others_first: bool) -> tuple[list[int], Millis | None]:
        """Return the ids of the next conversations that are due, and when to look again if nothing else happens (None:
        nothing waits). If it is not certain which ones are next, there are fewer ids, and that time has come.

        :param count: the largest number of ids
        :param others_first: the conversation that has waited longest goes before the critical ones
        """
        longest = self._waits_longest() if others_first else None
        found = [] if longest is None else [longest]
        found += [
            each for each in self.due if each != longest and (self.full is None or each.priority <= self.full)
        ]
        del found[count:]
        times = [each.next_at for each in (*self.due, *self.later) if each not in found]
        times += [each.next_at for each in self.ends.values()]
        if self.full is not None and len(found) < count:
            times.append(now)
        return [each.id for each in found], min(times, default=None)

    def _waits_longest(self) -> Upcoming | None:
        """Return the conversation that waits longest, of those that are not critical; None: there is none, or it was not read."""
        found = min((each for each in self.due if each.priority), key=_since, default=None)
        ends = (each for each in self.ends.values() if each.priority)
        return None if found is None or any(_since(each) < _since(found) for each in ends) else found

    def surge(self, above: int, *, edits: bool) -> Surge | None:
        """Return how much is due, where no storm is; None: more may be due than was read.

        :param above, edits: see :class:`router.core.storms.Limits`
        """
        if self.full is not None:
            return None
        counted = [each for each in self.due if not (edits and each.own_message)]
        urgent = sum(each.priority == 0 for each in counted)
        due = min(len(counted), above + 1)
        return Surge(due, due, min(urgent, above + 1), 0, 0, 0, 0)

    def next_time(self, now: Millis) -> tuple[Millis | None, bool] | None:
        """Return when something will be due next (None: nothing waits), and whether something is due, but waits because an
        attempt failed; None: more may wait than was read.
        """
        if self.ends:
            return None
        failing = any(each.due_at <= now for each in self.later)
        return min((each.next_at for each in self.later), default=None), failing


def _since(each: Upcoming) -> tuple[Millis, int]:
    return each.next_at, each.id


def look(state: State, wanted: Wanted, now: Millis) -> Queue:
    """Return what is due next at a lane. :raises MissingRows: the saved rows are not read yet"""
    saved: Sequence[Upcoming] = state.ask(NEXT_DUE, wanted)
    changed = [state.conversations.get(id_) for id_ in state.conversations.before]
    read = Counter(each.priority for each in saved)
    ends = {each.priority: each for each in saved if read[each.priority] > wanted.limit}
    here = [each for each in saved if each.id not in state.conversations.before]
    here += [
        Upcoming(row.priority, row.next_at, row.id, row.due_at, row.own_message)
        for row in changed
        if row is not None and row.next_at is not None and row.due_at is not None and wanted.covers(row)
    ]
    known = sorted(each for each in here if each <= ends.get(each.priority, each))

    def is_due(each: Upcoming) -> bool:
        return wanted.by is not None or each.next_at <= now

    return Queue(
        [each for each in known if is_due(each)],
        [each for each in known if not is_due(each)],
        ends,
        min((priority for priority, each in ends.items() if is_due(each)), default=None),
    )
