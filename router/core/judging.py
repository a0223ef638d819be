"""Judging: decides an alert by the rules and the inhibitors that fire now, and applies the decisions."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from router.core.alerts import about_of, firing_rows, labels_of
from router.core.conversations import open_members
from router.core.firing import FiringTransition
from router.core.members import heartbeat_of
from router.core.rows import DROP, FIRING, GIVEN_UP, AlertRow, MemberRow
from router.core.state import MissingRows, State
from router.core.subjects import Subject, subject_of, want_memberships
from router.decide import Policy, decide
from router.decide.inhibition import Key
from router.model import Decision, DecisionKind, Destination, Labels, Millis

ABSENT = "not in Alertmanager's last answer"


def judge(
    state: State,
    policy: Policy,
    labels: Labels,
    about: frozenset[str] | None,
    now: Millis,
    identity: str = "",
    sender: str | None = None,
) -> tuple[Decision, ...]:
    """Return what the rules decide for an alert, by the inhibitors that fire now. See :func:`router.decide.decide`."""

    def source(key: Key) -> Labels | None:
        # Two alerts that both match both sides of a rule do not mute each other.
        # https://github.com/prometheus/alertmanager/blob/main/inhibit/inhibit.go
        for row in state.inhibitors.of("key", key.text):
            if not (key.two_sided and row.two_sided):
                return labels_of(state.alerts[row.alert_id])
        return None

    return decide(labels, policy, now, source, about, identity, sender)


def want_judged(state: State, policy: Policy, several: Iterable[tuple[str, Labels]]) -> None:
    """Request the rows that :func:`judge` needs.

    :param several: identity and labels of each alert
    :raises MissingRows: some are not loaded yet
    """
    if not policy.inhibition.rules:
        return
    keys = {key.text for identity, labels in several for key in policy.match(labels, identity).muted_by}
    state.inhibitors.want("key", keys)
    state.ready()
    state.alerts.want("id", {row.alert_id for key in keys for row in state.inhibitors.of("key", key)})


def want_rejudged(state: State, policy: Policy, alerts: Iterable[int], now: Millis) -> None:
    """Request the rows that :func:`rejudge` needs. :raises MissingRows: some are not loaded yet"""
    ids = list(alerts)
    if state.complete or not ids:
        return
    state.alerts.want("id", ids)
    state.members.want("open of alert", ids)
    state.ready()
    firing = firing_rows(state, ids)
    members = [member for row in firing for member in state.members.of("open of alert", row.id)]
    with suppress(MissingRows):
        want_judged(state, policy, ((row.identity, labels_of(row)) for row in firing))
    state.groups.want("id", {row.group_id for row in firing})
    want_open_fates(state, firing, members)
    state.groups.want(
        "id",
        {
            group
            for member in members
            if (group := state.conversations[member.conversation_id].group_id) is not None
        },
    )
    state.ready()
    by_subject: list[tuple[Subject, list[Destination]]] = []
    for row in firing:
        named = [
            each.destination
            for each in judge(state, policy, labels_of(row), about_of(row), now, row.identity, row.source)
        ]
        groups = {row.group_id}
        for member in open_members(state, row.id):
            group = state.conversations[member.conversation_id].group_id
            groups |= set() if group is None else {group}
        by_subject += ((subject_of(state, row, group), named) for group in groups)
    want_memberships(state, policy, by_subject, now)


def want_open_fates(state: State, alerts: Iterable[AlertRow], members: Collection[MemberRow]) -> None:
    """Request the last changes of alerts, the open fates of members, and the conversations of these members.

    :raises MissingRows: some are not loaded yet
    """
    last = [row.last_change_id for row in alerts if row.last_change_id is not None]
    state.fates.want("change", last)
    state.changes.want("id", last)
    state.fates.want("open of member", (member.id for member in members))
    state.conversations.want("id", {member.conversation_id for member in members})
    state.ready()


def rejudge(state: State, policy: Policy, alert_id: int, now: Millis) -> frozenset[str]:
    """Judge a firing alert again, because its inhibitor ended, its time came, or the rules changed.

    Return the keys of the destinations that may have something to send now.
    """
    alert = state.alerts.get(alert_id)
    if alert is None or alert.status != FIRING:
        return frozenset()
    decisions = judge(state, policy, labels_of(alert), about_of(alert), now, alert.identity, alert.source)
    if alert.withheld is not None:
        decisions = _withheld(decisions, alert.withheld)
    heartbeat = heartbeat_of(policy, alert)
    named = {decision.destination.key for decision in decisions}
    group_ids = {alert.group_id}
    for member in reversed(open_members(state, alert_id)):
        if not member.is_unnotified_firing:
            continue
        conversation = state.conversations[member.conversation_id]
        if conversation.group_id is not None:
            group_ids.add(conversation.group_id)
        if member.failover:  # a failover notification does not wait for hours
            key = conversation.destination
            decisions = tuple(
                each
                for each in decisions
                if each.destination.key != key or each.kind is not DecisionKind.HOLD
            )
        if conversation.destination in named or member.decision in (DROP, GIVEN_UP):
            continue
        if not (member.failover and policy.has_destination(conversation.destination)):
            FiringTransition(state, policy, subject_of(state, alert, alert.group_id), now).drop(
                member, "no longer routed here" if heartbeat is None else heartbeat.reason
            )
    # A conversation about the single alert, and a destination of new rules, take the first one: it reported the alert last.
    for group_id in (alert.group_id, *sorted(group_ids - {alert.group_id})):
        FiringTransition(state, policy, subject_of(state, alert, group_id), now).fire(decisions, None)
    return frozenset(named)


def rejudge_all(state: State, policy: Policy, ids: Sequence[int], now: Millis) -> frozenset[str]:
    """Judge several firing alerts again, see :func:`rejudge`. Return the keys of the destinations to wake."""
    want_rejudged(state, policy, ids, now)
    woken: set[str] = set()
    for id_ in ids:
        woken |= rejudge(state, policy, id_, now)
    return frozenset(woken)


def _withheld(decisions: tuple[Decision, ...], why: str) -> tuple[Decision, ...]:
    """Turn decisions into ``inhibited`` while Alertmanager withholds the alert.

    An alert that is only missing from its answers stays in the next digest.
    """
    stays = (DecisionKind.DROP, DecisionKind.DIGEST) if why == ABSENT else (DecisionKind.DROP,)
    return tuple(
        each
        if each.kind in stays
        else Decision(each.destination, DecisionKind.INHIBITED, None, each.rule, why)
        for each in decisions
    )
