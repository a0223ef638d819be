"""What the writer does for its callers: each job a class, its rows and its transition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import ClassVar, Generic, Protocol, TypeVar

from router.core import adopt as rules
from router.core import claim as claims
from router.core import clock_steps, dead_letters, digests, large, reconcile, storms
from router.core import record as records
from router.core.accept import Receipt, accept, want_accepted
from router.core.adopt import Adoption, Phase
from router.core.claim import ALL_APART, Share, Work
from router.core.closing import close_some
from router.core.conversations import DATABASE_ID, next_of_changed
from router.core.members import rejudge_all
from router.core.pieces import accept_end, accept_some, give_up, keep
from router.core.reconcile import Answer, Listening
from router.core.record import Recorded
from router.core.release import UNRELEASED, release_some, unreleased
from router.core.rows import ALL, CLOSING, OPEN, ConversationRow, WebhookRow
from router.core.state import State
from router.core.storms import Limits, Room
from router.core.unclaim import NOT_BEGUN, unclaim
from router.decide import Policy
from router.model import Conversation, Destination, Millis, Outcome, StormView, Webhook

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

PIECE = 200
"""Members of a conversation of very many that one batch is about: some tens of milliseconds."""
# Conversations that a claim looks at before it is called again: most of what is due has something to say.
_CANDIDATES = 8
# Alerts of them that are loaded for that.
_MEMBERS = 200
RULES_PIECE = 128
"""Alerts that one batch judges by other rules."""


class Job(Protocol[T_co]):
    """``last``: it runs when all other jobs of its batch are saved."""

    last: ClassVar[bool]

    @property
    def weight(self) -> int:
        """How long it takes, in alerts: a batch has so many, whatever its jobs are."""

    def want(self, state: State) -> None:
        """Have rows loaded. :raises Missing: more are wanted once these are there"""

    def run(self, state: State) -> T_co:
        """:raises Missing: rows are wanted that are not loaded; the job runs again"""


class _First:
    last: ClassVar[bool] = False

    @property
    def weight(self) -> int:
        return 1

    def want(self, state: State) -> None:
        """Nothing is known beforehand."""


@dataclass(frozen=True, slots=True)
class Accept(_First):
    webhook: Webhook
    source: str
    body: bytes
    policy: Policy
    now: Millis
    certain: bool = False

    @property
    def weight(self) -> int:
        return len(self.webhook.alerts)

    def want(self, state: State) -> None:
        want_accepted(state, self.webhook, self.source, self.policy, self.now)

    def run(self, state: State) -> Receipt:
        return accept(
            state, self.webhook, self.source, self.body, self.policy, self.now, certain=self.certain
        )


@dataclass(frozen=True, slots=True)
class Keep(_First):
    """A webhook that is decided in pieces; its number in the order of arrival."""

    webhook: Webhook
    source: str
    body: bytes
    now: Millis

    def want(self, state: State) -> None:
        state.groups.want("key", ((self.source, self.webhook.receiver, self.webhook.group_key),))

    def run(self, state: State) -> int:
        return keep(state, self.webhook, self.source, self.body, self.now)


@dataclass(frozen=True, slots=True)
class AcceptSome(_First):
    """:param webhook: with some of its alerts"""

    arrival: int
    webhook: Webhook
    source: str
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return len(self.webhook.alerts)

    def want(self, state: State) -> None:
        want_accepted(state, self.webhook, self.source, self.policy, self.now, whole=False)

    def run(self, state: State) -> Receipt:
        return accept_some(state, self.arrival, self.webhook, self.source, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class AcceptEnd(_First):
    """All alerts of a webhook are decided. The destinations that may have something to do."""

    arrival: int
    webhook: Webhook
    source: str
    now: Millis

    def run(self, state: State) -> frozenset[str]:
        return accept_end(state, self.arrival, self.webhook, self.source, self.now)


@dataclass(frozen=True, slots=True)
class GiveUp(_First):
    """Alerts of a webhook can't be decided: it is quarantined."""

    arrival: int
    reason: str

    def want(self, state: State) -> None:
        state.webhooks.want("id", (self.arrival,))
        state.conversations.want("deciding", (self.arrival,))

    def run(self, state: State) -> frozenset[str]:
        return frozenset(give_up(state, self.arrival, self.reason))


@dataclass(frozen=True, slots=True)
class ReleaseSome(_First):
    """Judges alerts of the first inhibition key that ended and muted very many. The destinations that may have something
    to do, and the last id; None: no key is left.
    """

    policy: Policy
    now: Millis
    after: int

    @property
    def weight(self) -> int:
        return PIECE

    def want(self, state: State) -> None:
        state.meta.want("id", (UNRELEASED,))

    def run(self, state: State) -> tuple[frozenset[str], int] | None:
        keys = unreleased(state)
        if not keys:
            return None
        ids: list[int] = state.ask("muted by", (keys[0], self.after, PIECE))
        after = _next(ids, PIECE)
        return release_some(state, self.policy, keys[0], ids, self.now, last=not after), after


@dataclass(frozen=True, slots=True)
class Quarantine(_First):
    body: bytes
    source: str
    reason: str
    now: Millis
    encoding: str | None

    def run(self, state: State) -> int:
        row = WebhookRow(state.new_id(), self.source, self.now, self.body, self.reason, self.encoding)
        return state.webhooks.put(row).id


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is due; ``until``: when something will be, if nothing else happens (None: nothing waits)."""

    until: Millis | None
    failing: bool = False
    """Something is due, and waits only because an attempt failed."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Deliveries that are begun."""

    works: tuple[Work, ...]
    idle: Idle | None = None
    """None: more may be due."""


@dataclass(frozen=True, slots=True)
class Again:
    """Nothing of what was looked at had anything to say; there is more."""


@dataclass(frozen=True, slots=True)
class Many:
    """A conversation of very many members is next: it is claimed in pieces."""

    id: int


@dataclass(frozen=True, slots=True)
class ManyReported:
    """A digest of very many alerts is next: it is claimed in pieces."""

    id: int


@dataclass(frozen=True, slots=True)
class Surges:
    """A storm begins, by what is due as it was judged so far."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class Permit:
    """What a lane may begin now."""

    destination: Destination
    limits: Limits | None = None
    """Beyond them the lane has a storm instead; None: it never has."""
    count: int = 1
    """As many deliveries as can start at once."""
    others_first: bool = False
    """The one that has waited longest goes before criticals."""
    overdue: Millis = 0
    """Only what has been due for at least so many milliseconds."""


@dataclass(frozen=True, slots=True)
class Claim:
    permit: Permit
    policy: Policy
    now: Millis
    rechecked: bool = False
    """What is due was judged once more."""
    last: ClassVar[bool] = True

    @property
    def weight(self) -> int:
        return self.permit.count

    def want(self, state: State) -> None:
        state.meta.want("id", (DATABASE_ID,))

    def run(self, state: State) -> Claimed | Again | Surges | Many | ManyReported:
        turn = storms.Turn()
        key, limits = self.permit.destination.key, self.permit.limits
        if limits is not None:
            storms.want_storm(state, key)
            storm = storms.standing(state, key)
            own = 0 if storm is None else storm.id
            surge = state.ask("surge", (key, self.now, own, limits.edits, limits.above))
            if not self.rechecked and storms.begins(state, key, limits, surge):
                return Surges(limits)
            turn = storms.turn(state, key, limits, surge, self.now)
            if turn.work is not None:
                return Claimed((turn.work,))
        found = self._apart(state, turn.share)
        if not isinstance(found, Claimed) or found.idle is None or turn.share == ALL_APART:
            return found
        taken_at, _ = state.ask("next time", (key, turn.share, False))
        storm_at = turn.not_before if turn.waits else taken_at
        times = [found.idle.until, None if storm_at is None else max(storm_at, turn.not_before)]
        until = min((at for at in times if at is not None), default=None)
        return Claimed(found.works, Idle(until, found.idle.failing or turn.failing))

    def _apart(self, state: State, share: Share) -> Claimed | Again | Many | ManyReported:
        """What has a message of its own."""
        permit, now, since = self.permit, self.now, len(state.journal)
        destination, key = permit.destination, permit.destination.key
        due_by = now - permit.overdue
        limit = max(_CANDIDATES, permit.count)
        ids, until = state.ask("next due", (key, now, due_by, share, permit.others_first, limit))
        quiet = _says_all_quiet(destination)
        covers = digests.covered(destination, self.policy)
        state.conversations.want("id", ids)
        state.ready()
        due = [row for id_ in ids if (row := state.conversations[id_]).next_at is not None]
        if due and _is_large(due[0]):
            return Many(due[0].id)
        if due and due[0].slot is not None and digests.is_large(state, due[0], self.policy, now):
            return ManyReported(due[0].id)
        small = list(takewhile(lambda row: not _is_large(row), due))
        some = small[:1] if sum(row.size for row in small) > _MEMBERS else small
        claims.want_conversations(state, self.policy, [row.id for row in some], now)
        works: list[Work] = []
        left = [row.id for row in due]
        for row in some:
            if len(works) == permit.count:
                break
            left.remove(row.id)
            work = claims.claim(state, row.id, self.policy, now, quiet_digest=quiet, covers=covers)
            if work is not None:
                works.append(work)
        if works:
            times = [
                until,
                next_of_changed(state, key, since),
                *(state.conversations[row.id].next_at for row in some),
            ]
            until = min((at for at in times if at is not None), default=None)
            more = left or (until is not None and until <= now)
            return Claimed(tuple(works), None if more else Idle(until))
        if ids:
            return Again()
        next_at, due_at = state.ask("next time", (key, share, True))
        return Claimed((), Idle(next_at, due_at is not None and due_at <= now))


def _says_all_quiet(destination: Destination) -> bool:
    return destination.digest and destination.options.empty == "all-quiet"


@dataclass(frozen=True, slots=True)
class Report(_First):
    """What a digest says, whose members are judged. It changes nothing."""

    id: int
    destination: Destination
    policy: Policy
    now: Millis

    def run(self, state: State) -> Work:
        state.conversations.want("id", (self.id,))
        state.members.want("conversation", (self.id,))
        state.members.want("held", (1,))
        state.ready()
        covers = digests.covered(self.destination, self.policy)
        return claims.report(state, self.id, self.policy, self.now, covers)


@dataclass(frozen=True, slots=True)
class StartReport(_First):
    """Begins the delivery of a digest that was read beside the writer. None: it says nothing, or is due no more."""

    work: Work
    destination: Destination
    policy: Policy
    now: Millis

    def want(self, state: State) -> None:
        state.meta.want("id", (DATABASE_ID,))
        state.conversations.want("id", (self.work.id,))
        if self.work.conversation.digest is not None and self.work.conversation.digest.empty:
            state.members.want("conversation", (self.work.id,))

    def run(self, state: State) -> Work | None:
        quiet = _says_all_quiet(self.destination)
        return claims.start_report(state, self.work, self.policy, self.now, quiet=quiet)


def _is_large(row: ConversationRow) -> bool:
    return claims.is_large(row) and row.slot is None


@dataclass(frozen=True, slots=True)
class Mark(_First):
    """Marks the next members of a conversation of very many. What the destination was notified of before, by member;
    and the last id, 0: there are no more.
    """

    id: int
    policy: Policy
    now: Millis
    after: int

    @property
    def weight(self) -> int:
        return PIECE

    def run(self, state: State) -> tuple[dict[int, str], int]:
        ids: list[int] = state.ask("members of", (self.id, self.after, PIECE))
        return large.mark(state, self.id, ids, self.policy, self.now), _next(ids, PIECE)


@dataclass(frozen=True, slots=True)
class Start(_First):
    """Begins the delivery of a conversation whose members are marked, or has a storm's message take it along.

    :param before: of which, and what was known
    """

    id: int
    now: Millis
    before: Mapping[int, str]
    storm: Work | None = None

    def want(self, state: State) -> None:
        state.meta.want("id", (DATABASE_ID,))
        state.conversations.want("id", (self.id,))
        state.dead_letters.want("open of conversation", (self.id,))
        state.ready()
        group = state.conversations[self.id].group_id
        state.groups.want("id", () if group is None else (group,))

    def run(self, state: State) -> large.Begun | None:
        return large.start(state, self.id, self.now, self.before, self.storm)


@dataclass(frozen=True, slots=True)
class RecordSome(_First):
    """:param work: with some of its tellings"""

    work: Work
    outcome: Outcome
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return len(self.work.telling)

    def run(self, state: State) -> Recorded:
        return large.record_some(state, self.work, self.outcome, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class WriteLetter(_First):
    """The dead letter of a work of very many alerts, before these are given up in pieces."""

    work: Work
    reason: str
    recipient: str
    now: Millis

    @property
    def weight(self) -> int:
        return PIECE

    def run(self, state: State) -> None:
        state.dead_letters.want("open of conversation", (self.work.id,))
        state.ready()
        dead_letters.write(state, self.work, self.reason, self.now, self.recipient)


@dataclass(frozen=True, slots=True)
class CloseSome(_First):
    """Some members of a conversation that is closing, see :mod:`router.core.closing`. Whether there may be more."""

    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return PIECE

    def want(self, state: State) -> None:
        state.conversations.want("closing", (CLOSING,))

    def run(self, state: State) -> bool:
        found = state.conversations.of("closing", CLOSING)
        if not found:
            return False
        ids = state.ask("left open", (found[0].id, PIECE))
        state.members.want("id", ids)
        state.ready()
        state.meta.want("id", (DATABASE_ID,))
        state.ready()
        close_some(state, found[0].id, ids, self.policy, self.now)
        return True


Position = tuple[int, int]
"""Urgency and id of the last conversation that was looked at, in the order in which storms take them."""
START: Position = (-1, -1)
DUE = 2_000
"""So many are looked up at once: more than a message has room for, as a rule."""


@dataclass(frozen=True, slots=True)
class Due(_First):
    """What is due at a destination and a storm's message tells, the most urgent first: some, after a position."""

    destination: str
    now: Millis
    share: Share
    after: Position

    def run(self, state: State) -> list[Position]:
        found: list[Position] = state.ask(
            "due after", (self.destination, self.now, self.share, self.after, DUE)
        )
        return found


@dataclass(frozen=True, slots=True)
class Recheck(_First):
    """Judges the first of these conversations once more, before a storm begins. How many were looked at, and how many of
    them are still due.
    """

    ids: Sequence[int]
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return PIECE

    def run(self, state: State) -> tuple[int, int]:
        some = storms.at_once(state, self.ids)
        return len(some), storms.recheck(state, some, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Absorb(_First):
    """The first of these conversations that a storm's message takes along, what room it has left, and how many were
    looked at; none: the first one has very many members.
    """

    storm: Work
    ids: Sequence[int]
    policy: Policy
    now: Millis
    room: Room

    @property
    def weight(self) -> int:
        return PIECE

    def run(self, state: State) -> tuple[list[Work], Room, int]:
        some = storms.at_once(state, self.ids)
        if claims.is_large(state.conversations[some[0]]):
            return [], self.room, 0
        works, room = storms.absorb(state, self.storm, some, self.policy, self.now, self.room)
        return works, room, len(some)


@dataclass(frozen=True, slots=True)
class View(_First):
    """What a storm's message tells; None: it has nothing to tell after all."""

    storm: Work
    parts: tuple[Work, ...]
    full: bool
    policy: Policy
    last: ClassVar[bool] = True

    def run(self, state: State) -> StormView | None:
        known = state.ask("standing", self.storm.id)
        state.conversations.want("id", (self.storm.id,))
        state.deliveries.want("id", (self.storm.delivery,))
        state.ready()
        return storms.view(state, known, self.storm, self.parts, self.policy, full=self.full)


@dataclass(frozen=True, slots=True)
class Record(_First):
    work: Work
    outcome: Outcome
    policy: Policy
    now: Millis
    not_before: Millis
    message: bytes | None = None
    """What was sent, packed."""

    def want(self, state: State) -> None:
        records.want_recorded(state, (self.work,), self.outcome, self.policy, self.now)

    def run(self, state: State) -> Recorded:
        return records.record(
            state, self.work, self.outcome, self.policy, self.now, self.not_before, self.message
        )


@dataclass(frozen=True, slots=True)
class RecordParts(_First):
    works: tuple[Work, ...]
    outcome: Outcome
    policy: Policy
    now: Millis
    not_before: Millis

    def want(self, state: State) -> None:
        records.want_recorded(state, self.works, self.outcome, self.policy, self.now)

    def run(self, state: State) -> Recorded:
        return records.record_parts(state, self.works, self.outcome, self.policy, self.now, self.not_before)


@dataclass(frozen=True, slots=True)
class Unclaim(_First):
    """Takes claims back of which nothing was sent."""

    works: tuple[Work, ...]
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return sum(max(1, len(each.telling)) for each in self.works)

    def want(self, state: State) -> None:
        records.want_recorded(state, self.works, NOT_BEGUN, self.policy, self.now)

    def run(self, state: State) -> None:
        state.together(partial(unclaim, state, each, self.now) for each in self.works)


@dataclass(frozen=True, slots=True)
class Tellings:
    """A letter has very many alerts: it is settled in pieces."""

    by_member: dict[int, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Retry(_First):
    letter: int
    policy: Policy
    now: Millis

    def want(self, state: State) -> None:
        dead_letters.want_letter(state, self.letter)

    def run(self, state: State) -> frozenset[str] | Tellings | None:
        many = dead_letters.many(state, self.letter)
        return Tellings(many) if many else dead_letters.retry(state, self.letter, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Discard(_First):
    letter: int
    now: Millis

    def want(self, state: State) -> None:
        dead_letters.want_letter(state, self.letter)

    def run(self, state: State) -> bool | Tellings:
        many = dead_letters.many(state, self.letter)
        return Tellings(many) if many else dead_letters.discard(state, self.letter, self.now)


@dataclass(frozen=True, slots=True)
class RetrySome(_First):
    """Some alerts of a letter of very many are tried again. False: it is settled already."""

    letter: int
    tellings: Mapping[int, dict[str, str]]
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return len(self.tellings)

    def want(self, state: State) -> None:
        dead_letters.want_some(state, self.letter, list(self.tellings))

    def run(self, state: State) -> bool:
        dead_letters.want_some(state, self.letter, list(self.tellings))
        return dead_letters.retry_some(state, self.letter, self.tellings, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class DiscardSome(_First):
    """Nobody is to be notified of some alerts of a letter of very many. False: it is settled already."""

    letter: int
    members: Sequence[int]
    now: Millis

    @property
    def weight(self) -> int:
        return len(self.members)

    def run(self, state: State) -> bool:
        dead_letters.want_some(state, self.letter, self.members)
        return dead_letters.discard_some(state, self.letter, self.members, self.now)


@dataclass(frozen=True, slots=True)
class Settle(_First):
    """All alerts of a letter of very many are tried again, or discarded. None: it is settled already."""

    letter: int
    how: str
    now: Millis

    def run(self, state: State) -> frozenset[str] | None:
        dead_letters.want_some(state, self.letter, ())
        return dead_letters.settle(state, self.letter, self.how, self.now)


@dataclass(frozen=True, slots=True)
class Upcoming(_First):
    """What a digest would report if its next slot were now."""

    destination: Destination
    policy: Policy
    now: Millis

    def run(self, state: State) -> Conversation:
        covers = digests.covered(self.destination, self.policy)
        return claims.upcoming(state, self.destination.key, self.policy, self.now, covers)


@dataclass(frozen=True, slots=True)
class Fragments(_First):
    def run(self, state: State) -> dict[str, str]:
        return rules.known_fragments(state)


@dataclass(frozen=True, slots=True)
class Adopt(_First):
    """What is left to do until everything that fires is judged by these rules; None: nothing."""

    adoption: Adoption
    now: Millis

    def want(self, state: State) -> None:
        state.fragments.want(ALL, ((),))
        state.destinations.want(ALL, ((),))
        state.meta.want("id", (rules.POLICY, rules.CURSOR, DATABASE_ID))

    def run(self, state: State) -> Phase | None:
        return rules.adopt(state, self.adoption, self.now)


@dataclass(frozen=True, slots=True)
class Retire(_First):
    """How to reach the destinations that the rules name no more, and that have yet to be notified of an end."""

    policy: Policy

    def want(self, state: State) -> None:
        state.destinations.want(ALL, ((),))

    def run(self, state: State) -> dict[str, str]:
        return rules.retire(state, self.policy, state.ask("still notified", ()))


@dataclass(frozen=True, slots=True)
class JudgeSome(_First):
    """The next piece of what fires is indexed or judged by the rules in force, where the cursor stands. What is left
    to do (None: nothing), and the destinations that may have something to do.
    """

    policy: Policy
    now: Millis
    skip: bool = False
    """The piece can't be judged: its alerts stay as they were judged last."""

    @property
    def weight(self) -> int:
        return RULES_PIECE

    def want(self, state: State) -> None:
        state.meta.want("id", (rules.POLICY, rules.CURSOR))

    def run(self, state: State) -> tuple[Phase | None, frozenset[str]]:
        at, woken = rules.cursor(state, self.policy), frozenset[str]()
        if at is None:
            return None, woken
        ids: list[int] = state.ask("firing of", (None, at.after, RULES_PIECE))
        if self.skip:
            pass
        elif at.phase is Phase.INDEX:
            rules.reindex(state, self.policy, ids)
        else:
            woken = rejudge_all(state, self.policy, ids, self.now)
        left = rules.following(at, _next(ids, RULES_PIECE))
        rules.move(state, left)
        return (None if left is None else left.phase), woken


class _Piece(_First, Generic[T]):
    """A part of a work that is done in many batches, so that webhooks come in between. Its result, and the last id
    that it looked at; 0: there are no more.
    """


@dataclass(frozen=True, slots=True)
class Confirm(_Piece[Receipt]):
    answer: Answer
    policy: Policy
    now: Millis
    after: int

    def run(self, state: State) -> tuple[Receipt, int]:
        ids: list[int] = state.ask("firing of", (self.answer.source, self.after, reconcile.BATCH))
        reconcile.want_marked(state, self.policy, ids, self.now)
        return reconcile.confirm(state, self.answer, ids, self.policy, self.now), _next(ids)


@dataclass(frozen=True, slots=True)
class Doubted(_First):
    """The next alerts of a source that are in doubt."""

    source: str
    after: int

    def run(self, state: State) -> list[int]:
        found: list[int] = state.ask("doubted", (self.source, self.after, reconcile.BATCH))
        return found


@dataclass(frozen=True, slots=True)
class SettleByAnswer(_First):
    answer: Answer
    ids: Sequence[int]
    policy: Policy
    now: Millis

    def run(self, state: State) -> Receipt:
        state.alerts.want("id", self.ids)
        state.ready()
        return reconcile.settle_by_answer(state, self.answer, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Reopen(_First):
    answer: Answer
    identities: tuple[str, ...]
    policy: Policy
    now: Millis

    def run(self, state: State) -> Receipt:
        return reconcile.reopen(state, self.answer, self.identities, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Marked(_First):
    """The next firing alerts of which Alertmanager said something."""

    after: int

    def run(self, state: State) -> list[int]:
        found: list[int] = state.ask("marked", (self.after, reconcile.BATCH))
        return found


@dataclass(frozen=True, slots=True)
class ForgetAnswers(_First):
    trusted: frozenset[str]
    ids: Sequence[int]
    policy: Policy
    now: Millis

    def run(self, state: State) -> frozenset[str]:
        reconcile.want_marked(state, self.policy, self.ids, self.now)
        return reconcile.forget_answers(state, self.trusted, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Unheard(_First):
    """The next firing alerts of which nothing was heard for too long."""

    listening: Listening
    now: Millis
    after: int

    def run(self, state: State) -> list[int]:
        state.meta.want("id", (clock_steps.SINCE,))
        state.ready()
        seen_up_to = reconcile.silent_since(state, self.listening, self.now)
        found: list[int] = state.ask("unheard", (seen_up_to, self.now, self.after, reconcile.BATCH))
        return found


@dataclass(frozen=True, slots=True)
class Expire(_First):
    listening: Listening
    ids: Sequence[int]
    policy: Policy
    now: Millis

    def run(self, state: State) -> dict[str, Receipt]:
        state.meta.want("id", (clock_steps.SINCE,))
        reconcile.want_marked(state, self.policy, self.ids, self.now)
        return reconcile.expire(state, self.listening, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class SettleDoubts(_First):
    """What it came to, by source; and when to settle the next one (None: there is no doubt left)."""

    policy: Policy
    now: Millis

    def run(self, state: State) -> tuple[dict[str, Receipt], Millis | None]:
        ids, following = state.ask("lasting doubts", (self.now, _DOUBTS))
        state.alerts.want("id", ids)
        state.ready()
        settled, left = reconcile.settle_doubts(state, ids, self.policy, self.now)
        return settled, following if left is None else left


# Each may be one of many groups.
_DOUBTS = 20


@dataclass(frozen=True, slots=True)
class NextOpening(_First):
    """When the next held alert is to be let out; None: none is held."""

    now: Millis

    def run(self, state: State) -> Millis | None:
        found: Millis | None = state.ask("next opening", self.now)
        return found


@dataclass(frozen=True, slots=True)
class OpenSlots(_First):
    policy: Policy
    now: Millis

    def run(self, state: State) -> None:
        state.conversations.want("open slots", (OPEN,))
        state.meta.want("id", (DATABASE_ID,))
        state.ready()
        digests.open_slots(state, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Beat(_First):
    now: Millis

    def run(self, state: State) -> None:
        clock_steps.beat(state, self.now)


@dataclass(frozen=True, slots=True)
class BeginCounting(_First):
    """How long the router was down, see :func:`router.core.clock_steps.down_for`; and since when time has passed."""

    now: Millis

    def want(self, state: State) -> None:
        state.meta.want("id", (clock_steps.ALIVE, clock_steps.SINCE))

    def run(self, state: State) -> tuple[Millis | None, Millis]:
        down = clock_steps.down_for(state, self.now)
        if down is None:
            clock_steps.beat(state, self.now)
        return down, clock_steps.counting_since(state)


def _next(ids: list[int], page: int = reconcile.BATCH) -> int:
    return ids[-1] if len(ids) == page else 0
