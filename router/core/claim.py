"""Claims due conversations: decides what each message says, and records its attempt before anything is sent."""

import json
from collections.abc import Mapping
from dataclasses import replace

from router.core import digests, rows
from router.core.alerts import alert_of, labels_of
from router.core.claimed_delivery import ClaimedDelivery, Notice
from router.core.conversations import (
    DATABASE_ID,
    change,
    close_if_empty,
    find_due,
    open_slot,
    put_member,
    revision_of,
)
from router.core.digests import ALL_DESTINATIONS, DigestScope
from router.core.inhibited_alerts import with_inhibited
from router.core.judging import rejudge, want_rejudged
from router.core.rows import (
    FIRING,
    NOT_FIRING,
    NOTHING,
    OF_GROUP,
    RESOLVED,
    UNKNOWN,
    AlertRow,
    ConversationRow,
    DeliveryRow,
    GroupRow,
    MemberRow,
)
from router.core.state import State
from router.core.unsent_ends import settle_due_ends
from router.decide import Policy
from router.model import Conversation, DigestView, Labels, Millis, ShownAlert, Status

# How many alerts whose end was notified a message still lists: the newest ones. The others are only counted.
_ENDED_KEPT = 1_000


def want_conversations(state: State, policy: Policy, ids: list[int], now: Millis) -> None:
    """Request the rows that a claim of these conversations needs. :raises MissingRows: some are not loaded yet"""
    state.meta.want("id", (DATABASE_ID,))
    state.conversations.want("id", ids)
    state.members.want("conversation", ids)
    state.ready()
    for id_ in ids:
        row = state.conversations[id_]
        state.alerts.want("id", (member.alert_id for member in state.members.of("conversation", id_)))
        state.groups.want("id", () if row.group_id is None else (row.group_id,))
    state.ready()
    stale = {
        member.alert_id
        for id_ in ids
        for member in state.members.of("conversation", id_)
        if needs_rejudging(state, member, policy, now)
    }
    want_rejudged(state, policy, stale, now)


def needs_rejudging(state: State, member: MemberRow, policy: Policy, now: Millis) -> bool:
    """Return whether a member is to be judged again before its first notification.

    It is not if no decision can have changed: the rules send its alert to the destination at any hour, and nothing mutes it.
    """
    if not member.is_unnotified_firing:
        return False
    row = state.conversations[member.conversation_id]
    if row.slot is not None:
        return member.decision in (rows.DIGEST, rows.INHIBITED)
    if not member.is_due(now):
        return False
    alert = state.alerts[member.alert_id]
    if member.decision != rows.SEND or alert.withheld is not None or alert.about is not None:
        return True
    return row.destination not in policy.match(labels_of(alert), alert.identity).always


def claim_conversation(
    state: State,
    id_: int,
    policy: Policy,
    now: Millis,
    *,
    quiet_digest: bool = False,
    scope: DigestScope = ALL_DESTINATIONS,
) -> ClaimedDelivery | None:
    """Begin the delivery of a due conversation; return None if it has nothing to say.

    Members whose firing was not notified are judged again, by the inhibitors and the hours that apply now.

    :param quiet_digest: an empty digest is sent as "all quiet" instead of skipped
    :param scope: the destinations whose held and obsolete alerts a digest reports
    """
    row = state.conversations[id_]
    if row.slot is None:
        work = present_state(state, id_, policy, now)
        work = None if work is None else with_inhibited(state, work, policy, now)
    else:
        work = _claim_digest(state, row, policy, now, quiet=quiet_digest, scope=scope)
    return None if work is None else begin(state, work, now)


def begin(state: State, work: ClaimedDelivery, now: Millis) -> ClaimedDelivery:
    """Log an attempt as begun; return it with its delivery id and revision."""
    conversation = work.conversation
    delivery = state.deliveries.put(
        DeliveryRow(
            state.new_id(), work.id, conversation.destination, conversation.version, conversation.attempt, now,
            None, None, "", "", state.head.session,
        )
    ).id  # fmt: skip
    revision = revision_of(state, conversation)
    row = state.conversations[work.id]
    change(
        state, row, revision=revision, delivery_id=delivery,
        tried_since=work.tried_since if row.tried_since is None else row.tried_since,
    )  # fmt: skip
    return replace(work, delivery=delivery, conversation=replace(conversation, revision=revision))


def take_back(state: State, work: ClaimedDelivery) -> ConversationRow:
    """Remove an attempt that is not made, and restore the conversation. The generation stays as the claim set it, because
    no generation is used twice.
    """
    delivery = state.deliveries.get(work.delivery)
    if delivery is not None:  # a conversation that a storm absorbed has none
        state.deliveries.remove(delivery)
    row, before = state.conversations[work.id], work.before
    if before is not None:
        row = row._replace(revision=before.revision, tried_since=before.tried_since, storm_id=before.storm_id)
    return change(state, row, delivery_id=None)


def present_state(state: State, id_: int, policy: Policy, now: Millis) -> ClaimedDelivery | None:
    """Return what a due conversation is to say, and mark its news as ``unknown``. The attempt is not logged yet.

    None: it has nothing to say, and is not due any more.
    """
    judge_once_more(state, id_, policy, now)
    members = state.members.of("conversation", id_)
    settle_due_ends(state, state.conversations[id_], members, policy, now)
    row = state.conversations[id_]
    known = [(member, state.alerts[member.alert_id]) for member in state.members.of("conversation", id_)]
    before = {member.id: member.notified for member, _ in known if is_news(member, now)}
    if not before:
        _nothing_due(state, id_, now)
        return None
    row = with_new_generation(state, row, before)
    work = work_about(row, state.groups[row.group_id], known, before, policy, now)
    for each in work.notices:
        member = state.members[each.member]
        put_member(state, member._replace(notified=UNKNOWN), member)
    return work


def with_new_generation(state: State, row: ConversationRow, before: Mapping[int, str]) -> ConversationRow:
    """Start a new generation if there is news that no attempt of the present generation had. A provider treats a
    generation that it has seen as the same content, so it would drop the news.

    :param before: what the destination was notified of, by id of the members that have news
    """
    attempted = row.revision.startswith(f"{row.generation}-")
    if attempted and any(notified != UNKNOWN for notified in before.values()):
        return change(state, row, generation=row.generation + 1)
    return row


def work_about(
    row: ConversationRow,
    group: GroupRow,
    known: list[tuple[MemberRow, AlertRow]],
    before: Mapping[int, str],
    policy: Policy,
    now: Millis,
) -> ClaimedDelivery:
    """Return what is claimed: the delivery of a conversation with these members.

    :param known: all members of the conversation, with their alerts
    :param before: what the destination was notified of before, by id of the members that have news
    """
    known = sorted(
        known, key=lambda each: (-1 if each[1].starts_at is None else each[1].starts_at, each[1].id)
    )
    shown: list[ShownAlert] = []
    notices: list[Notice] = []
    ended = 0
    for member, alert in reversed(known):
        notified = before.get(member.id)
        news = notified is not None
        if notified is None:
            if member.notified == NOTHING or (member.notified == RESOLVED and member.status == FIRING):
                continue
            if member.notified == RESOLVED:
                ended += 1
                if ended > _ENDED_KEPT:
                    continue
        else:
            notices.append(
                Notice(member.id, member.status, notified, member.held_since is not None, member.rule)
            )
        present = replace(alert_of(alert), status=Status(member.status))
        again = member.status == notified == FIRING
        shown.append(ShownAlert(present, alert.level, news, member.held_since if news else None, again))
    conversation = conversation_of(
        row, now, tuple(reversed(shown)), receiver=group.receiver, group_labels=json.loads(group.labels),
        external_url=group.external_url, truncated=group.truncated if row.kind == OF_GROUP else 0,
    )  # fmt: skip
    conversation = replace(
        conversation, left_out=max(0, ended - _ENDED_KEPT), source=policy.shown_source(row.source)
    )
    return work_of(row, conversation, tuple(notices), now)


def is_news(member: MemberRow, now: Millis) -> bool:
    """Return whether a member is due and has something to say."""
    return member.is_due(now) and (member.status == FIRING or member.notified not in NOT_FIRING)


def _nothing_due(state: State, id_: int, now: Millis) -> None:
    """Clear the due times of members that are due, but have nothing to notify."""
    for member in state.members.of("conversation", id_):
        if member.is_due(now):
            put_member(state, member._replace(at=None), member)
    find_due(state, id_)
    close_if_empty(state, id_)


def judge_once_more(state: State, id_: int, policy: Policy, now: Millis) -> None:
    """Judge again, in one conversation, the due members whose firing was not notified."""
    for member in state.members.of("conversation", id_):
        if needs_rejudging(state, member, policy, now):
            rejudge(state, policy, member.alert_id, now)


def start_report(
    state: State, work: ClaimedDelivery, policy: Policy, now: Millis, *, quiet: bool
) -> ClaimedDelivery | None:
    """Begin the delivery of a large digest, whose content was read on a reader's connection.

    None: it is not due, or reports nothing.
    """
    row = state.conversations[work.id]
    if not row.is_due(now):
        return None
    return None if finish_if_empty(state, work, policy, now, quiet=quiet) else begin(state, work, now)


def _claim_digest(
    state: State, row: ConversationRow, policy: Policy, now: Millis, *, quiet: bool, scope: DigestScope
) -> ClaimedDelivery | None:
    judge_once_more(state, row.id, policy, now)
    work = report(state, row.id, policy, now, scope)
    return None if finish_if_empty(state, work, policy, now, quiet=quiet) else work


def report(state: State, id_: int, policy: Policy, now: Millis, scope: DigestScope) -> ClaimedDelivery:
    """Return what a digest reports; its members are judged already. It changes no row."""
    row = state.conversations[id_]
    view = digests.digest_view(state, row, policy, now, scope)
    notices = tuple(
        Notice(member.id, member.status, member.notified, held=True, rule=member.rule)
        for member in state.members.of("conversation", id_)
        if member.decision == rows.DIGEST
    )
    return work_of(row, conversation_of(row, now, (), digest=view), notices, now)


def finish_if_empty(state: State, work: ClaimedDelivery, policy: Policy, now: Millis, *, quiet: bool) -> bool:
    """Finish a digest that reports nothing: the next one follows. Return whether it was finished.

    :param quiet: an empty digest is sent as "all quiet"
    """
    view = work.conversation.digest
    if quiet or view is None or not view.empty:
        return False
    digests.finish_digest(state, work.id, policy, now)
    return True


def upcoming(state: State, destination: str, policy: Policy, now: Millis, scope: DigestScope) -> Conversation:
    """Return what the next slot of a digest would report now."""
    row, _ = open_slot(state, policy, destination, now)
    view = replace(digests.digest_view(state, row, policy, now, scope), until=now)
    return conversation_of(row, now, (), digest=view)


def conversation_of(
    row: ConversationRow, now: Millis, alerts: tuple[ShownAlert, ...], *, receiver: str = "", group_labels: Labels | None = None,
    external_url: str = "", truncated: int = 0, digest: DigestView | None = None,
) -> Conversation:  # fmt: skip
    """Return a conversation with this content, as a message is rendered from it."""
    return Conversation(
        destination=row.destination, token=row.key, episode=row.episode, version=row.generation, now=now,
        receiver=receiver, group_labels=group_labels or {}, external_url=external_url, truncated=truncated,
        alerts=alerts, remote=json.loads(row.remote), attempt=row.attempts + 1, digest=digest,
        revision=row.revision,
    )  # fmt: skip


def work_of(
    row: ConversationRow, conversation: Conversation, notices: tuple[Notice, ...], now: Millis
) -> ClaimedDelivery:
    """Return the attempt to send this content; it is not logged yet, so its delivery has no id."""
    first = now
    if row.attempts > 0:
        first = row.tried_since or row.due_at or now
    return ClaimedDelivery(
        0, row.id, row.group_id, conversation, notices, min(first, now), row.urgency, before=row
    )
