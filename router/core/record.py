"""Recording: what the outcome of a delivery changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from router.core import digests, fates
from router.core.claimed_delivery import ClaimedDelivery
from router.core.conversations import (
    begin_another,
    change,
    close,
    close_if_empty,
    find_due,
    is_any_closing,
    keep_remote,
    next_of_changed,
    put_member,
)
from router.core.dead_letters import give_up, give_up_recipients, notify_instead, want_notified_instead
from router.core.fates import ANY_GENERATION
from router.core.fencing import is_fenced, record_late
from router.core.groups import complete_group
from router.core.members import NEVER_NOTIFIED
from router.core.rows import NOT_FIRING, RESOLVED, UNKNOWN, MessageRow
from router.core.state import State
from router.core.unsent_ends import Result, is_unsent_end, sends_ends, settle_ends
from router.decide import Policy
from router.model import Broken, Delivered, Fate, Millis, Outcome, Rejected, Retry
from router.render.words import counted

# How many refused recipients one line of the delivery log names; the others are counted.
_MAX_LISTED_RECIPIENTS = 5


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of recording an outcome."""

    accepted: tuple[Millis, ...] = ()
    """When the delivered changes had been accepted (epoch ms), without those that were held on purpose."""
    wake: frozenset[str] = frozenset()
    """The keys of other destinations that have something to send now."""
    next_at: Millis | None = 0
    """When a changed conversation of the destination may be due next (epoch ms); 0: now, or unknown; None: never."""
    closing: bool = False
    """Whether a large conversation has ended. Its members are then closed in pieces, by jobs that follow."""
    is_late: bool = False
    """Another replica has taken over meanwhile, so nothing is recorded but that an answer came."""


def want_recorded(
    state: State, works: Sequence[ClaimedDelivery], outcome: Outcome, policy: Policy, now: Millis
) -> None:
    """Request the rows that :func:`record_outcome` and :func:`record_parts` need.

    :raises MissingRows: some are not loaded yet
    """
    state.conversations.want("id", (each.id for each in works))
    state.deliveries.want("id", (each.delivery for each in works))
    state.groups.want("id", (each.group for each in works if each.group is not None))
    members = [each.member for part in works for each in part.notices]
    state.members.want("id", members)
    state.fates.want("open of member", members)
    state.dead_letters.want("open of conversation", (each.id for each in works))
    state.ready()
    works = [each for each in works if not is_fenced(state, each)]
    whole = [
        each.id
        for each in works
        if each.conversation.over
        or each.conversation.digest is not None
        or state.conversations[each.id].waiting > len(each.notices)
    ]
    whole = [id_ for id_ in whole if not state.conversations[id_].is_large]
    state.members.want("conversation", whole)
    state.ready()
    if isinstance(outcome, Rejected) or (isinstance(outcome, Delivered | Retry) and outcome.refused):
        state.run_all(partial(want_notified_instead, state, work, policy, now) for work in works)


def record_outcome(
    state: State, work: ClaimedDelivery, outcome: Outcome, policy: Policy, now: Millis, not_before: Millis,
    message: bytes | None = None,
) -> Recorded:  # fmt: skip
    """Record the outcome of an attempt.

    :param not_before: if the attempt failed: when the conversation may be tried again (epoch ms)
    :param message: what was sent, packed; None: nothing was sent
    """
    since = len(state.journal)
    if is_fenced(state, work):
        return Recorded(is_late=record_late(state, work, outcome))
    change(state, state.conversations[work.id], delivery_id=None)
    if work.conversation.storm is not None:
        recorded = _apply_to_storm(state, work, outcome, policy, now, not_before)
    else:
        recorded = apply_outcome(state, work, outcome, policy, now, not_before)
    again = "an earlier attempt may have arrived as well" if work.may_have_arrived else ""
    reason, words = (again, "") if isinstance(outcome, Delivered) else (outcome.reason, outcome.words)
    delivery = state.deliveries.get(work.delivery)
    if delivery is not None:
        state.deliveries.put(
            delivery._replace(
                finished_at=now, outcome=type(outcome).__name__.lower(), reason=reason,
                words="; ".join(filter(None, [words, _left_out(outcome)])),
            )
        )  # fmt: skip
        if message is not None:
            state.messages.put(MessageRow(work.delivery, message))
    recorded = replace(recorded, closing=is_any_closing(state, since))
    view = work.conversation
    if view.over or view.digest is not None or view.storm is not None:  # another conversation may follow it
        return recorded
    return replace(recorded, next_at=next_of_changed(state, view.destination, since))


def apply_outcome(
    state: State, work: ClaimedDelivery, outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
) -> Recorded:
    """Apply an outcome to a conversation, which a storm may have absorbed."""
    match outcome:
        case Delivered():
            accepted = _record_delivered(state, work, outcome, policy, now)
            return Recorded(accepted, give_up_recipients(state, work, outcome.refused, policy, now))
        case Retry() | Broken():
            _record_failure(state, work, outcome, policy, now, not_before)
            if isinstance(outcome, Retry):
                return Recorded(wake=give_up_recipients(state, work, outcome.refused, policy, now))
        case Rejected():
            given_up = with_unknown_arrival(work) if outcome.ambiguous else work
            return Recorded(wake=give_up(state, given_up, outcome.shown, policy, now))
    return Recorded()


def _left_out(outcome: Outcome) -> str:
    """Return the recipients that were refused while others were notified, as text."""
    refused = outcome.refused if isinstance(outcome, Delivered | Retry) else ()
    return counted(
        [f"not to {each.recipient}: {each.shown}" for each in refused], _MAX_LISTED_RECIPIENTS, "; "
    )


def with_unknown_arrival(work: ClaimedDelivery) -> ClaimedDelivery:
    """Return the attempt with each member marked as one that may have been notified before."""
    return replace(work, notices=tuple(replace(each, notified_before=UNKNOWN) for each in work.notices))


def record_parts(
    state: State,
    works: Iterable[ClaimedDelivery],
    outcome: Outcome,
    policy: Policy,
    now: Millis,
    not_before: Millis,
) -> Recorded:
    """Apply the outcome of a storm's message to conversations that it absorbed.

    A refused recipient has one dead letter, of the storm's message. The failover receiver is notified of each absorbed
    conversation.
    """
    since = len(state.journal)
    recorded = state.run_all(
        partial(_record_part, state, work, outcome, policy, now, not_before) for work in works
    )
    accepted = tuple(at for each in recorded for at in each.accepted)
    wake = frozenset().union(*(each.wake for each in recorded))
    return Recorded(accepted, wake, closing=is_any_closing(state, since))


def _record_part(
    state: State, work: ClaimedDelivery, outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
) -> Recorded:
    if is_fenced(state, work):
        return Recorded()
    change(state, state.conversations[work.id], delivery_id=None)
    wake: set[str] = set()
    for each in outcome.refused if isinstance(outcome, Delivered) else ():
        wake |= notify_instead(state, work, each.shown, policy, now)
    recorded = apply_outcome(state, work, _with_own_remote(outcome, work), policy, now, not_before)
    return Recorded(recorded.accepted, recorded.wake | wake)


def _with_own_remote(outcome: Outcome, work: ClaimedDelivery) -> Outcome:
    """Return the outcome for an absorbed conversation: its own remote state does not change."""
    match outcome:
        case Rejected():
            return outcome
        case Delivered():
            return Delivered(work.conversation.remote)
        case Retry():
            return replace(outcome, remote=work.conversation.remote, further=False)
    return replace(outcome, remote=work.conversation.remote)


def _apply_to_storm(
    state: State, work: ClaimedDelivery, outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
) -> Recorded:
    view = work.conversation.storm
    match outcome:
        case Delivered():
            _keep_success(state, work, outcome, now, not_before)
            if view is not None:
                change(state, state.conversations[work.id], shown_groups=view.groups)
            give_up_recipients(state, work, outcome.refused, policy, now)
        case Retry() | Broken():
            _keep_failure(state, work, outcome, not_before)
    if isinstance(outcome, Rejected) or (isinstance(outcome, Delivered) and view is not None and view.over):
        close(state, work.id)
    return Recorded()


def _record_delivered(
    state: State, work: ClaimedDelivery, outcome: Delivered, policy: Policy, now: Millis
) -> tuple[Millis, ...]:
    accepted = record_notified(state, work, policy, now)
    _keep_success(state, work, outcome, now, 0)
    if work.conversation.digest is not None:
        digests.finish_digest(state, work.id, policy, now)
    else:
        _find_due(state, work.id)
        if work.conversation.over:
            _close_if_over(state, work, now)
            return accepted
        if work.conversation.truncated and work.group is not None:
            _complete_by_now(state, work.group, policy, now)
        if not sends_ends(state, policy, work.conversation.destination):
            close_if_empty(state, work.id)
    return accepted


def record_notified(state: State, work: ClaimedDelivery, policy: Policy, now: Millis) -> tuple[Millis, ...]:
    """Record that the destination was notified. Return when the changes had been accepted (epoch ms)."""
    generation = work.conversation.version
    accepted: list[Millis] = []
    digest = work.conversation.digest is not None
    slot = state.conversations[work.id].slot
    for each in work.notices:
        if not each.held:
            times = [
                fate.at
                for fate in state.fates.of("open of member", each.member)
                if fate.fate == Fate.PENDING and fate.generation <= generation
            ]
            if times:
                accepted.append(min(times))
        up_to = generation
        if not digest:
            member = state.members[each.member]
            same = member.status == each.status
            put_member(
                state,
                member._replace(notified=each.status, held_since=None, at=None if same else now),
                member,
            )
            if same:
                # Changes during the attempt have the same status, so the destination knows it now.
                up_to = ANY_GENERATION
        fates.finish(state, each.member, up_to, Fate.DELIVERED, "notified", now, slot)
    _settle_unsent(state, work, policy, now, (Fate.DELIVERED, "notified"))
    return tuple(accepted)


def _settle_unsent(state: State, work: ClaimedDelivery, policy: Policy, now: Millis, *firing: Result) -> None:
    """Settle the ends that came while the attempt was under way, if the destination gets no message for them."""
    if work.conversation.digest is not None:
        return
    ended = [member for each in work.notices if is_unsent_end(member := state.members[each.member])]
    if ended and not sends_ends(state, policy, work.conversation.destination):
        settle_ends(state, ended, now, *firing)


def _find_due(state: State, id_: int) -> None:
    """Find the due time of a conversation, if a member of it still waits."""
    if state.conversations[id_].waiting:
        find_due(state, id_)


def _complete_by_now(state: State, group: int, policy: Policy, now: Millis) -> None:
    """Complete the group if Alertmanager has shown all of it during the attempt."""
    if state.groups[group].truncated == 0:
        complete_group(state, group, policy, now)


def _keep_success(
    state: State, work: ClaimedDelivery, outcome: Delivered, now: Millis, not_before: Millis
) -> None:
    """Save a delivered state. :param not_before: when the next message may be sent (epoch ms); 0: immediately"""
    keep_remote(
        state, work.id, outcome.remote, observed_generation=work.conversation.version, attempts=0, partly=0,
        not_before=not_before, notified_at=now, tried_since=None,
    )  # fmt: skip


def _keep_failure(state: State, work: ClaimedDelivery, outcome: Retry | Broken, not_before: Millis) -> None:
    remote = work.conversation.remote if outcome.remote is None else outcome.remote
    further, partly = (outcome.further, bool(outcome.late)) if isinstance(outcome, Retry) else (False, False)
    keep_remote(
        state, work.id, remote, attempts=0 if further else work.conversation.attempt, not_before=not_before,
        partly=int(partly),
    )  # fmt: skip


def _close_if_over(state: State, work: ClaimedDelivery, now: Millis) -> None:
    """Close a conversation that is over. Firing alerts that were not notified begin another conversation."""
    row = state.conversations[work.id]
    if row.known:
        return
    members = state.members.of("conversation", work.id) if row.firing and not row.is_large else []
    close(state, work.id)
    begin_another(state, row, members, now)


def _record_failure(
    state: State,
    work: ClaimedDelivery,
    outcome: Retry | Broken,
    policy: Policy,
    now: Millis,
    not_before: Millis,
) -> None:
    _keep_failure(state, work, outcome, not_before)
    if work.conversation.digest is None:
        settle_failure(state, work, outcome, policy, now)
        close_if_empty(state, work.id)


def settle_failure(
    state: State, work: ClaimedDelivery, outcome: Retry | Broken, policy: Policy, now: Millis
) -> None:
    """Update the members after a failed attempt. If its answer was lost, the destination may have been notified of
    them.
    """
    if outcome.ambiguous:
        _settle_unsent(state, work, policy, now)
    else:
        revert_notified(state, work, policy, now)


def revert_notified(state: State, work: ClaimedDelivery, policy: Policy, now: Millis) -> None:
    """Restore what the destination knew before the attempt: nothing of it arrived."""
    for each in work.notices:
        member = state.members[each.member]
        if each.notified_before == UNKNOWN or member.notified != UNKNOWN:
            continue
        after = member._replace(notified=each.notified_before)
        # An alert that ended during the attempt was never notified, and need not be.
        obsolete = after.status == RESOLVED and after.notified in NOT_FIRING
        if obsolete:
            after = after._replace(at=None, inhibitor=None)
        put_member(state, after, member)
        if obsolete:
            fates.finish(state, each.member, ANY_GENERATION, Fate.OBSOLETE, NEVER_NOTIFIED, now)
    _settle_unsent(state, work, policy, now)
