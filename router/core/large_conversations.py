"""Large conversations: before the delivery, their news is marked in pieces, and after it, the outcome is recorded in
pieces. Each piece is a batch of its own.

News are the members that are due and have something to say. If the process ends between two pieces, the message is sent
again. Members that were marked as ``unknown`` are still news in it. Members whose outcome was recorded are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from router.core.claim import (
    begin,
    conversation_of,
    is_news,
    needs_rejudging,
    with_new_generation,
    work_of,
)
from router.core.claimed_delivery import ClaimedDelivery
from router.core.conversations import change, close_if_empty, find_due, put_member
from router.core.dead_letters import give_up_some, notify_instead, want_notified_instead
from router.core.fencing import is_fenced
from router.core.judging import rejudge_all
from router.core.record import Recorded, record_notified, settle_failure, with_unknown_arrival
from router.core.rows import UNKNOWN, ConversationRow, GroupRow
from router.core.state import State
from router.core.storms import is_named_in_storm
from router.core.unsent_ends import settle_due_ends
from router.decide import Policy
from router.model import Broken, Delivered, Millis, Outcome, Rejected, Retry


@dataclass(frozen=True, slots=True)
class LargeClaim:
    """A begun delivery of a large conversation. Its content is then read on a reader's connection."""

    work: ClaimedDelivery
    """The attempt, still without alerts."""
    row: ConversationRow
    group: GroupRow


def mark(state: State, id_: int, ids: Sequence[int], policy: Policy, now: Millis) -> dict[int, str]:
    """Judge some members of a due conversation again, and mark those with news as ``unknown``.

    Return what the destination was notified of before, by member id.
    """
    state.conversations.want("id", (id_,))
    state.members.want("id", ids)
    state.ready()
    state.alerts.want("id", (state.members[each].alert_id for each in ids))
    state.ready()
    stale = [
        member.alert_id for each in ids if needs_rejudging(state, member := state.members[each], policy, now)
    ]
    rejudge_all(state, policy, stale, now)
    settle_due_ends(state, state.conversations[id_], [state.members[each] for each in ids], policy, now)
    before: dict[int, str] = {}
    for each in ids:
        member = state.members[each]
        if is_news(member, now):
            before[each] = member.notified
            put_member(state, member._replace(notified=UNKNOWN), member)
        elif member.is_due(now):
            put_member(state, member._replace(at=None), member)
    return before


def start(
    state: State, id_: int, now: Millis, before: Mapping[int, str], storm: ClaimedDelivery | None = None
) -> LargeClaim | None:
    """Begin the delivery of a conversation whose members are marked; None: it is not due any more.

    :param before: what the destination was notified of before, by id of the marked members
    :param storm: the storm whose message absorbs it; None: it has its own message
    """
    row = state.conversations[id_]
    if not row.is_due(now) or (storm is not None and not is_named_in_storm(state, storm, id_, now)):
        return None
    if not before:
        find_due(state, id_)
        close_if_empty(state, id_)
        return None
    group = state.groups[row.group_id]
    row = with_new_generation(state, row, before)
    work = work_of(row, conversation_of(row, now, ()), (), now)
    if storm is None:
        work = begin(state, work, now)
    else:
        work = replace(work, absorbed_by=storm.delivery)
        change(state, row, delivery_id=storm.delivery, storm_id=storm.id)
    return LargeClaim(work, state.conversations[id_], group)


def record_some(
    state: State, work: ClaimedDelivery, outcome: Outcome, policy: Policy, now: Millis
) -> Recorded:
    """Apply an outcome to some members, before :func:`router.core.record.record_outcome` ends the delivery.

    :param work: the attempt, with some of its notices
    """
    refused = outcome.refused if isinstance(outcome, Delivered | Retry) else ()
    if refused or isinstance(outcome, Rejected):
        want_notified_instead(state, work, policy, now)
    state.conversations.want("id", (work.id,))
    state.ready()
    if is_fenced(state, work):
        return Recorded()
    members = [each.member for each in work.notices]
    state.members.want("id", members)
    state.fates.want("open of member", members)
    state.ready()
    accepted: tuple[Millis, ...] = ()
    match outcome:
        case Rejected():
            given_up = with_unknown_arrival(work) if outcome.ambiguous else work
            return Recorded(wake=give_up_some(state, given_up, outcome.shown, policy, now))
        case Delivered():
            accepted = record_notified(state, work, policy, now)
        case Retry() | Broken() if work.conversation.digest is None:
            settle_failure(state, work, outcome, policy, now)
    woken = (notify_instead(state, work, f"{each.recipient}: {each.shown}", policy, now) for each in refused)
    return Recorded(accepted, frozenset().union(*woken))
