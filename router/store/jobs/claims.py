"""Jobs by which deliveries begin."""

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import ClassVar

from router.core import claim as claims
from router.core import digests, storms
from router.core.claimed_delivery import NO_STORM, ClaimedDelivery, Share
from router.core.conversations import DATABASE_ID, next_of_changed
from router.core.head import Grant
from router.core.inhibited_alerts import want_inhibited
from router.core.rows import ConversationRow
from router.core.state import State
from router.core.storms import Limits
from router.core.upcoming import NEXT_DUE, Wanted, look
from router.decide import Policy
from router.model import SECOND, Destination, Millis

# How many conversations a claim examines before it runs again. Most conversations that are due have something to send.
_CANDIDATES = 8
# How many large conversations a claim looks past, while one of them is under way at the lane.
_MAX_SKIPPED = 100
# How many members of these conversations are loaded together.
_MAX_MEMBERS_PER_CLAIM = 200


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is due.

    ``until``: when something will be due if nothing else happens (epoch ms; None: nothing waits)
    """

    until: Millis | None
    failing: bool = False
    """Something is due, but waits because an attempt failed."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Deliveries that are begun."""

    works: tuple[ClaimedDelivery, ...]
    idle: Idle | None = None
    """None: more may be due."""
    skipped: bool = False
    """Large conversations that are due were left out, see :attr:`Permit.skips_large`."""


@dataclass(frozen=True, slots=True)
class ClaimAgain:
    """None of the examined conversations had anything to send, but there are more."""


@dataclass(frozen=True, slots=True)
class LargeConversation:
    """The next conversation is too large for one batch, so it is claimed in pieces."""

    id: int


@dataclass(frozen=True, slots=True)
class LargeDigest:
    """The next digest is too large for one batch, so it is claimed in pieces."""

    id: int


@dataclass(frozen=True, slots=True)
class NotIndexed:
    """The inhibit rules in force do not know all firing alerts yet, so nothing is claimed: another replica has put the rules
    in force just now.
    """


@dataclass(frozen=True, slots=True)
class StormBegins:
    """Enough is due for a storm to begin, by the last decisions. They have to be rechecked first."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class Permit:
    """What a lane can begin now, by its rate and concurrency."""

    destination: Destination
    limits: Limits | None = None
    """The limits beyond which a storm begins; None: the lane has no storms."""
    count: int = 1
    """How many deliveries can start now."""
    others_first: bool = False
    """The conversation that has waited longest goes before the critical ones."""
    overdue: Millis = 0
    """Claim only conversations that have been due for at least this long (ms)."""
    skips_large: bool = False
    """Leave large conversations due: one of them is under way at the lane, or is perhaps just claimed there. Each takes as much
    memory as its alerts.
    """
    grant: Grant | None = None
    """The lease by which the lane is served; None: no other process serves."""
    ahead: bool = False
    """Nothing is due yet. The claim waits a moment for the next job, and runs in that job's batch. The job probably makes something
    due.
    """


@dataclass(frozen=True, slots=True)
class Claim:
    """Begins the next deliveries of a lane. Returns what it began, or why nothing could be begun in this batch."""

    permit: Permit
    policy: Policy
    now: Millis
    rechecked: bool = False
    """Whether the conversations that are due were judged again already."""
    last: ClassVar[bool] = True
    judges: ClassVar[bool] = True

    @property
    def weight(self) -> int:
        return self.permit.count

    @property
    def with_next(self) -> bool:
        return self.permit.ahead

    def tells_all(self, found: object) -> bool:
        """Return whether a result of this claim says when its lane has to look again, so that nothing has to wake it."""
        if not isinstance(found, Claimed) or self.permit.overdue:
            return False
        return found.idle is not None and not found.skipped

    def want(self, state: State) -> None:
        state.meta.want("id", (DATABASE_ID,))
        state.want_answer(NEXT_DUE, self._wanted(NO_STORM))
        if self.permit.limits is not None:
            storms.want_storm(state, self.permit.destination.key)

    def run(
        self, state: State
    ) -> Claimed | ClaimAgain | NotIndexed | StormBegins | LargeConversation | LargeDigest:
        """:raises LeaseLost: another replica may serve the lane by now"""
        state.head.check_grant(self.permit.grant)
        if state.head.is_indexing:
            return NotIndexed()
        plan = storms.ClaimPlan()
        key, limits = self.permit.destination.key, self.permit.limits
        if limits is not None:
            storms.want_storm(state, key)
            storm = storms.active_storm(state, key)
            surge = None
            if storm is None and not self.permit.overdue:
                surge = look(state, self._wanted(NO_STORM), self.now).surge(limits.above, edits=limits.edits)
            if surge is None:
                own = 0 if storm is None else storm.id
                surge = state.ask("surge", (key, self.now, own, limits.edits, limits.above))
            if not self.rechecked and storms.is_beginning(state, key, limits, surge):
                return StormBegins(limits)
            plan = storms.plan_claim(state, key, limits, surge, self.policy, self.now)
            if plan.work is not None:
                return Claimed((plan.work,))
        found = self._claim_separate(state, plan.share)
        if not isinstance(found, Claimed) or found.idle is None or plan.share == NO_STORM:
            return found
        # What becomes due may get a message of its own, or may be news for the storm's message.
        following, _ = state.ask("next time", (key, self.now))
        until = _earliest(found.idle.until, following)
        if plan.waits:
            # While the storm's message waits, the lane looks for conversations with their own messages at most once a second.
            until = _earliest(plan.not_before, None if until is None else max(until, self.now + SECOND))
        return replace(found, idle=Idle(until, found.idle.failing or plan.failing))

    @property
    def _candidates(self) -> int:
        """How many conversations it examines."""
        return max(_CANDIDATES, self.permit.count)

    @property
    def _most(self) -> int:
        """How many conversations it looks at, to examine some of them."""
        return self._candidates + (_MAX_SKIPPED if self.permit.skips_large else 0)

    def _wanted(self, share: Share) -> Wanted:
        permit = self.permit
        # Without a storm, those that are due are also counted.
        counted = permit.limits.above if permit.limits is not None and share == NO_STORM else 0
        by = self.now - permit.overdue if permit.overdue else None
        return Wanted(permit.destination.key, share, max(self._most, counted), by)

    def _claim_separate(
        self, state: State, share: Share
    ) -> Claimed | ClaimAgain | LargeConversation | LargeDigest:
        """Claim conversations that get messages of their own, separate from the storm's."""
        permit, now, since = self.permit, self.now, len(state.journal)
        destination, key = permit.destination, permit.destination.key
        queue = look(state, self._wanted(share), now)
        ids, until = queue.first(self._most, now, others_first=permit.others_first)
        quiet = destination.sends_empty_digests
        scope = digests.scope_of(destination, self.policy)
        state.conversations.want("id", ids)
        state.ready()
        due = [row for id_ in ids if (row := state.conversations[id_]).next_at is not None]
        skipped = permit.skips_large and any(map(_is_large, due))
        if skipped:
            due = [row for row in due if not _is_large(row)]
            if not due:
                return Claimed((), Idle(now + SECOND), skipped=True)
        left = [row.id for row in due]
        due = due[: self._candidates]
        if due and _is_large(due[0]):
            return LargeConversation(due[0].id)
        if due and due[0].slot is not None and digests.is_large_digest(state, due[0], self.policy, now):
            return LargeDigest(due[0].id)
        small = list(takewhile(lambda row: not _is_large(row), due))
        some = small[:1] if sum(row.size for row in small) > _MAX_MEMBERS_PER_CLAIM else small
        claims.want_conversations(state, self.policy, [row.id for row in some], now)
        want_inhibited(state, self.policy, [row.id for row in some if row.slot is None], now)
        works: list[ClaimedDelivery] = []
        for row in some:
            if len(works) == permit.count:
                break
            left.remove(row.id)
            work = claims.claim_conversation(state, row.id, self.policy, now, quiet_digest=quiet, scope=scope)
            if work is not None:
                works.append(work)
        if works:
            until = _earliest(
                until,
                next_of_changed(state, key, since),
                *(state.conversations[row.id].next_at for row in some),
            )
            more = left or (until is not None and until <= now)
            return Claimed(tuple(works), None if more else Idle(until), skipped)
        if ids or (until is not None and until <= now):
            return ClaimAgain()
        known = queue.next_time(now) if share == NO_STORM and not permit.overdue else None
        return Claimed((), Idle(*(known or state.ask("next time", (key, now)))))


def _earliest(*times: Millis | None) -> Millis | None:
    return min((at for at in times if at is not None), default=None)


def _is_large(row: ConversationRow) -> bool:
    return row.is_large and row.slot is None
