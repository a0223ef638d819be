"""Conversations: how they are found, opened one after the other, counted, made due, and closed.

A conversation is closed when nothing in it fires and nothing is left to notify.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from router.core import rows
from router.core.rows import (
    FIRING,
    INHIBITED,
    NOT_FIRING,
    NOTHING,
    OF_ALERT,
    OF_DIGEST,
    OF_GROUP,
    OF_STORM,
    RESOLVED,
    ConversationRow,
    MemberRow,
)
from router.core.state import State
from router.decide import Policy
from router.model import Conversation, Millis

DATABASE_ID = "database_id"
"""A key of the meta table, see :func:`database_id`."""
FIRST_DUE = "first due"
"""A query: when the first member of a conversation is due, by the saved rows (epoch ms); None: none is due."""
ONE_ENDED = "one ended"
"""A query: a list with the id of one member of a conversation, the end of which was notified; by the saved rows."""
_LEAST_URGENT = 99
# A batch computes the same tokens several times.
_CACHED_TOKENS = 10_000
# 80 bits: among a billion tokens, the chance that two are the same is one in two million.
_TOKEN_DIGITS = 20


@lru_cache(_CACHED_TOKENS)
def token_of(destination: str, source: str, subject: str) -> str:
    """Return the token by which a conversation is found: 20 hex digits."""
    return _hash(destination, source, subject)[:_TOKEN_DIGITS]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def database_id(state: State) -> str:
    """Return the random id of the database, 32 hex digits. Every key that a provider sees contains it."""
    row = state.meta.get(DATABASE_ID)
    return "" if row is None else row.value


def latest(state: State, token: str) -> ConversationRow | None:
    """Return the newest conversation that has this token; None: there is none.

    The conversations of one destination about one subject follow each other and have the same token.
    :attr:`ConversationRow.episode` numbers them.
    """
    return state.conversations.one("token", token)


def open_conversation(
    state: State, destination: str, source: str, kind: str, subject: str, now: Millis, **given: Any
) -> tuple[ConversationRow, bool]:
    """Return the open conversation of a subject, and whether it is new. If the last conversation is over, a new one is
    opened with the column values ``given``.
    """
    # The key of a group may be long, and is saved in the group's row.
    kept = subject if kind in {OF_DIGEST, OF_STORM} else ""
    return _open_episode(
        state, token_of(destination, source, subject), destination, source, kind, kept, now, given
    )


def open_successor(state: State, row: ConversationRow, now: Millis, **given: Any) -> ConversationRow:
    """Return the conversation that follows one that is over; a new one gets the column values ``given``."""
    found, _ = _open_episode(state, row.token, row.destination, row.source, row.kind, row.subject, now, given)
    return found


def _open_episode(
    state: State, token: str, destination: str, source: str, kind: str, subject: str, now: Millis,
    given: Mapping[str, Any],
) -> tuple[ConversationRow, bool]:  # fmt: skip
    last = latest(state, token)
    if last is not None and last.state == rows.OPEN:
        return last, False
    values = {**_EMPTY, **given}
    values["priority"] = _priority(values["urgency"], 0)
    row = ConversationRow(
        id=state.new_id(), destination=destination, source=source, kind=kind, subject=subject, token=token,
        episode=1 if last is None else last.episode + 1, created_at=now, key=_hash(database_id(state), token),
        **values,
    )  # fmt: skip
    return state.conversations.put(_timed(row)), True


_EMPTY: dict[str, Any] = {
    "group_id": None, "state": rows.OPEN, "urgency": _LEAST_URGENT, "priority": 2, "generation": 0,
    "observed_generation": 0, "due_at": None, "not_before": 0, "next_at": None, "attempts": 0, "tried_since": None,
    "partly": 0, "remote": "{}", "own_message": 0, "since": None, "slot": None, "revision": "", "notified_at": None,
    "delivery_id": None, "firing": 0, "known": 0, "shown": 0, "ended": 0, "waiting": 0, "ends": 0, "size": 0,
    "deciding": None, "storm_id": None, "shown_groups": 0,
}  # fmt: skip
"""The column values of a new conversation."""


def keep_remote(state: State, id_: int, remote: Mapping[str, Any], /, **values: Any) -> ConversationRow:
    """Save the remote state of a conversation, and these column values."""
    kept = json.dumps(dict(remote))
    return change(state, state.conversations[id_], remote=kept, own_message=int(bool(remote)), **values)


def change(state: State, conversation: ConversationRow, /, **values: Any) -> ConversationRow:
    """Save a conversation with these column values, and with the order that follows from them."""
    return state.conversations.put(_timed(conversation._replace(**values)))


def _timed(row: ConversationRow) -> ConversationRow:
    """Return a conversation with its order in the lane: criticals first, then ends, then by time."""
    due_at = row.due_at
    ready = due_at is not None and row.delivery_id is None and row.deciding is None and row.state == rows.OPEN
    next_at = max(due_at, row.not_before) if ready and due_at is not None else None
    priority = _priority(row.urgency, row.ends)
    if next_at == row.next_at and priority == row.priority:
        return row
    return row._replace(next_at=next_at, priority=priority)


def _priority(urgency: int, ends: int) -> int:
    return 0 if urgency == 0 else 1 if ends else 2


def bump(
    state: State, id_: int, rank: int, group: int | None, deciding: int | None = None
) -> ConversationRow:
    """Start the next generation of a conversation.

    :param rank: the urgency rank of the alert that changed
    :param group: id of the group that reported it; None: the same as before
    :param deciding: id of a webhook whose other alerts may concern the conversation
    """
    row = state.conversations[id_]
    return change(
        state, row, generation=row.generation + 1, urgency=min(rank, row.urgency),
        group_id=row.group_id if group is None else group, not_before=0 if row.partly else row.not_before,
        deciding=row.deciding if deciding is None else deciding,
    )  # fmt: skip


def put_member(state: State, member: MemberRow, before: MemberRow | None = None) -> MemberRow:
    """Save a member, and count it in its conversation. :param before: its row before; None: it is new in the conversation"""
    if member == before:
        return member
    row = state.conversations[member.conversation_id]
    counts = [row.firing, row.known, row.shown, row.ended, row.waiting, row.ends]
    for each, sign in ((before, -1), (member, 1)):
        if each is None or each.conversation_id != row.id:
            continue
        fires, known = each.status == FIRING, each.notified not in NOT_FIRING
        for number, counted in enumerate(
            (
                fires, known, fires and known, each.notified == RESOLVED, each.at is not None,
                each.at is not None and not fires,
            )
        ):  # fmt: skip
            if counted:
                counts[number] += sign
    firing, known_, shown, ended, waiting, ends = counts
    is_muted = member.inhibitor is not None and member.decision == INHIBITED and member.status == FIRING
    member = member._replace(muted_destination=row.destination if is_muted else None)
    size = row.size + (before is None or before.conversation_id != row.id)
    due_at = row.due_at
    if row.slot is None:  # a digest is due at its slot
        if not waiting:
            due_at = None
        elif member.at is not None and (due_at is None or member.at < due_at):
            due_at = member.at
    change(
        state, row, firing=firing, known=known_, shown=shown, ended=ended, waiting=waiting, ends=ends, size=size,
        due_at=due_at,
    )  # fmt: skip
    return state.members.put(member)


def find_due(state: State, id_: int) -> ConversationRow:
    """Set the due time of a conversation to that of its first due member. The old due time may be too early."""
    row = state.conversations[id_]
    if row.slot is not None:
        return row
    if row.is_large:
        saved: Millis | None = state.ask(FIRST_DUE, id_)
        times = [] if saved is None else [saved]
        changed = (state.members.get(key) for key in state.members.before)
        times += [each.at for each in changed if each and each.conversation_id == id_ and each.at is not None]
    else:
        times = [each.at for each in state.members.of("conversation", id_) if each.at is not None]
    return change(state, row, due_at=min(times, default=None))


def close(state: State, id_: int) -> None:
    """Close a conversation. Members of a large one are closed later, in pieces."""
    row = state.conversations[id_]
    if row.is_large:
        change(state, row, state=rows.CLOSING, due_at=None)
        return
    change(state, row, state=rows.CLOSED, due_at=None)
    for member in state.members.of("conversation", id_):
        state.members.put(member._replace(open=0))


def begin_another(state: State, row: ConversationRow, members: Iterable[MemberRow], now: Millis) -> None:
    """Move the firing members that were not notified from a conversation that is over to a new one.

    :param row: the conversation before it was closed
    """
    waiting = [each for each in members if each.is_unnotified_firing]
    if not waiting:
        return
    successor = open_successor(
        state, row, now, group_id=row.group_id, generation=row.generation, observed_generation=row.generation
    )
    for member in waiting:
        before = state.members[member.id]
        emptied = before._replace(status=RESOLVED, notified=NOTHING, at=None)
        put_member(state, emptied, before)
        state.members.put(before._replace(conversation_id=successor.id, notified=NOTHING, open=1))
        put_member(state, state.members[member.id])


def next_of_changed(state: State, destination: str, since: int) -> Millis | None:
    """Return when the first changed conversation of a destination is due (epoch ms); None: none is.

    :param since: the length of the journal before the changes
    """
    times = (row.next_at for row in _changed_since(state, since) if row.destination == destination)
    return min((at for at in times if at is not None), default=None)


def is_any_closing(state: State, since: int) -> bool:
    """Return whether a changed conversation is large and still to be closed in pieces.

    :param since: the length of the journal before the changes
    """
    return any(row.state == rows.CLOSING for row in _changed_since(state, since))


def _changed_since(state: State, since: int) -> Iterator[ConversationRow]:
    keys = {key for table, key, *_ in state.journal[since:] if table is state.conversations}
    return filter(None, map(state.conversations.get, keys))


def open_members(state: State, alert: int) -> list[MemberRow]:
    """Return the members of an alert in open conversations, and in closing digests, where the members go on in the next
    slot.
    """
    found = (
        (each, state.conversations[each.conversation_id]) for each in state.members.of("open of alert", alert)
    )
    return [
        each
        for each, row in found
        if row.state == rows.OPEN or (row.state == rows.CLOSING and row.slot is not None)
    ]


def close_empty(state: State, ids: Iterable[int]) -> None:
    """Close each of these conversations that has nothing left to say, after something in it ended."""
    empty = [id_ for id_ in sorted(ids) if has_nothing_to_say(state.conversations[id_])]
    state.dead_letters.want("open of conversation", empty)
    state.members.want("conversation", (id_ for id_ in empty if not state.conversations[id_].is_large))
    state.ready()
    for id_ in empty:
        close_if_empty(state, id_)


def has_nothing_to_say(row: ConversationRow) -> bool:
    """Return whether an open conversation has no alert that fires, that counts as firing at its destination, or that is due."""
    is_of_group = row.state == rows.OPEN and row.kind in {OF_GROUP, OF_ALERT}
    return is_of_group and not (row.firing or row.known or row.waiting)


def close_if_empty(state: State, id_: int) -> None:
    """Close a conversation that has nothing left to say, after something in it ended, was given up or was settled."""
    row = state.conversations[id_]
    if not has_nothing_to_say(row):
        return
    # A dead letter may be retried.
    if state.dead_letters.of("open of conversation", id_):
        return
    # Alerts that Alertmanager left out (max_alerts) may fire: it closes when Alertmanager shows the whole group.
    if row.ended and row.kind == OF_GROUP and state.groups[row.group_id].truncated:
        return
    close(state, id_)


def revision_of(state: State, conversation: Conversation) -> str:
    """Return the revision of what is sent, see :class:`router.model.Conversation`. A digest has only one revision,
    because it is sent once.
    """
    generation = f"{conversation.version}-"
    if conversation.revision and (
        conversation.digest is not None or conversation.revision.startswith(generation)
    ):
        return conversation.revision
    return generation + database_id(state)[:8]


def open_slot(
    state: State, policy: Policy, digest: str, now: Millis, **given: Any
) -> tuple[ConversationRow, bool]:
    """Return the conversation of a digest's next slot, and whether it is new."""
    slot = next_slot(state, policy, digest, now)
    since = min(policy.schedules[digest].previous(slot - 1), now)
    return open_conversation(
        state, digest, "", OF_DIGEST, f"slot:{slot}", now, slot=slot, due_at=slot, since=since, **given
    )


def slot_token(policy: Policy, digest: str, now: Millis) -> str:
    """Return the token of the slot that is next by the schedule."""
    return token_of(digest, "", f"slot:{policy.schedules[digest].next(now)}")


def next_slot(state: State, policy: Policy, digest: str, now: Millis) -> Millis:
    """Return the first slot that was not sent (epoch ms). After a step back of the clock, slots in the future may have
    been sent already.
    """
    schedule = policy.schedules[digest]
    slot = schedule.next(now)
    while (last := latest(state, token_of(digest, "", f"slot:{slot}"))) is not None and last.notified_at:
        slot = schedule.next(slot)
    return slot
