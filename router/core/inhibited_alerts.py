"""How many alerts a conversation inhibits at its own destination. A message says it beside what fires.

The count causes no message: it is what is true when a message is sent for another reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from router.core.alerts import labels_of
from router.core.claimed_delivery import ClaimedDelivery
from router.core.rows import FIRING, NOT_FIRING, MemberRow
from router.core.state import State
from router.decide import Policy
from router.model import MAX_INHIBITED_COUNTED, Millis

INHIBITED_BY = "inhibited by"
"""A query: the alerts that a conversation inhibits, for ``(conversation, now)``. By the saved rows, these are the ids of the
alerts that are inhibited at the conversation's destination, by alerts that fire and that its message shows. If there are more
than :data:`router.model.MAX_INHIBITED_COUNTED`, the answer has one more than that.
"""


def want_inhibited(state: State, policy: Policy, ids: Iterable[int], now: Millis) -> None:
    """Request what :func:`with_inhibited` needs for these conversations. Their members and alerts are loaded.

    :raises MissingRows: it is not loaded yet
    """
    for id_ in ids:
        if _muting_keys(state, policy, state.members.of("conversation", id_)):
            state.want_answer(INHIBITED_BY, (id_, now))
    state.ready()


def with_inhibited(state: State, work: ClaimedDelivery, policy: Policy, now: Millis) -> ClaimedDelivery:
    """Return the work with the number of alerts that its conversation inhibits.

    A conversation whose alerts are no inhibitors needs no query.
    """
    shown = (each for each in state.members.of("conversation", work.id) if each.notified not in NOT_FIRING)
    keys = _muting_keys(state, policy, shown)
    if not keys:
        return work
    inhibited: set[int] = set(state.ask(INHIBITED_BY, (work.id, now)))
    if len(inhibited) <= MAX_INHIBITED_COUNTED:
        _apply_changed(state, policy, work.conversation.destination, keys, inhibited)
    return replace(work, conversation=replace(work.conversation, inhibited=len(inhibited)))


def _muting_keys(state: State, policy: Policy, members: Iterable[MemberRow]) -> Mapping[str, bool]:
    """Return the inhibition keys of the members that fire, and whether all sources of a key are two-sided."""
    keys: dict[str, bool] = {}
    if not policy.inhibition.rules:
        return keys
    for member in members:
        row = state.alerts[member.alert_id]
        if member.status == FIRING and row.about is None:
            for key in policy.match(labels_of(row), row.identity).mutes:
                keys[key.text] = key.two_sided and keys.get(key.text, True)
    return keys


def _apply_changed(
    state: State, policy: Policy, destination: str, keys: Mapping[str, bool], inhibited: set[int]
) -> None:
    """Correct a set of inhibited alerts by the members that this batch has changed: a claim judges alerts again."""
    for id_, before in state.members.before.items():
        member = state.members.get(id_)
        if member is not None and member.muted_destination == destination:
            if _is_muted(state, policy, member, keys):
                inhibited.add(member.alert_id)
        elif before is not None and before.muted_destination == destination:
            inhibited.discard(before.alert_id)


def _is_muted(state: State, policy: Policy, member: MemberRow, keys: Mapping[str, bool]) -> bool:
    """Return whether one of these keys mutes a member. Two alerts that match both sides of a rule don't mute each other."""
    if member.inhibitor is None or member.inhibitor not in keys:
        return False
    row = state.alerts[member.alert_id]
    muted_by = policy.match(labels_of(row), row.identity).muted_by
    is_two_sided = any(key.two_sided for key in muted_by if key.text == member.inhibitor)
    return not (is_two_sided and keys[member.inhibitor])
