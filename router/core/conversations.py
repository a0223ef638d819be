"""Conversations: found, opened in episodes, counted, due and closed.

A conversation in which nothing fires and of which nothing is left to notify is closed, whatever ended it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from router.core import rows
from router.core.rows import (
    FIRING,
    LARGE,
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
FIRST_DUE = "first due"
"""A question: when the first member of a conversation is due, as it was saved; None: none is."""
ONE_ENDED = "one ended"
"""A question: a member of a conversation that is known there as ended, as it was saved, in a list."""
_LEAST_URGENT = 99
# Those of a batch are asked for several times.
_TOKENS = 10_000
# 80 bits: of a billion tokens, no two are the same, but for one chance in two million.
_TOKEN = 20


@lru_cache(_TOKENS)
def token_of(destination: str, source: str, subject: str) -> str:
    return _hash(destination, source, subject)[:_TOKEN]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def database_id(state: State) -> str:
    """Random, 32 hex digits; in every key that a provider sees."""
    row = state.meta.get(DATABASE_ID)
    return "" if row is None else row.value


def latest(state: State, token: str) -> ConversationRow | None:
    """The newest episode."""
    return state.conversations.one("token", token)


def open_conversation(
    state: State, destination: str, source: str, kind: str, subject: str, now: Millis, **given: Any
) -> tuple[ConversationRow, bool]:
    """The open conversation of this subject, and whether it is new: a new episode, made of ``given``, is opened if
    the last one is over.
    """
    # A group's key may be long, and stands in its own row.
    kept = subject if kind in {OF_DIGEST, OF_STORM} else ""
    return _open(state, token_of(destination, source, subject), destination, source, kind, kept, now, given)


def open_successor(state: State, row: ConversationRow, now: Millis, **given: Any) -> ConversationRow:
    """The conversation of the same subject that follows one that is over, made of ``given`` if it is new."""
    found, _ = _open(state, row.token, row.destination, row.source, row.kind, row.subject, now, given)
    return found


def _open(
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
"""What a conversation begins with."""


def keep_remote(state: State, id_: int, remote: Mapping[str, Any], /, **values: Any) -> ConversationRow:
    """Save what the channel keeps of it, and these values."""
    kept = json.dumps(dict(remote))
    return change(state, state.conversations[id_], remote=kept, own_message=int(bool(remote)), **values)


def change(state: State, conversation: ConversationRow, /, **values: Any) -> ConversationRow:
    """Save it with these values, and with the order that follows from them."""
    return state.conversations.put(_timed(conversation._replace(**values)))


def _timed(row: ConversationRow) -> ConversationRow:
    """With its place in the order of its lane: criticals first, then ends, then by time."""
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
    """One generation on.

    :param rank: of the alert that changed
    :param group: the group that reported it; None: as it is
    :param deciding: a webhook of which more alerts may concern it
    """
    row = state.conversations[id_]
    return change(
        state, row, generation=row.generation + 1, urgency=min(rank, row.urgency),
        group_id=row.group_id if group is None else group, not_before=0 if row.partly else row.not_before,
        deciding=row.deciding if deciding is None else deciding,
    )  # fmt: skip


def put_member(state: State, member: MemberRow, before: MemberRow | None = None) -> MemberRow:
    """Save a member, and count it in its conversation. :param before: as it was there; None: it was not"""
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
    """Its due time as it is: before, it may be earlier than that of any member."""
    row = state.conversations[id_]
    if row.slot is not None:
        return row
    if row.size > LARGE:
        saved: Millis | None = state.ask(FIRST_DUE, id_)
        times = [] if saved is None else [saved]
        changed = (state.members.get(key) for key in state.members.before)
        times += [each.at for each in changed if each and each.conversation_id == id_ and each.at is not None]
    else:
        times = [each.at for each in state.members.of("conversation", id_) if each.at is not None]
    return change(state, row, due_at=min(times, default=None))


def close(state: State, id_: int) -> None:
    row = state.conversations[id_]
    if row.size > LARGE:  # its members are marked later, in pieces
        change(state, row, state=rows.CLOSING, due_at=None)
        return
    change(state, row, state=rows.CLOSED, due_at=None)
    for member in state.members.of("conversation", id_):
        state.members.put(member._replace(open=0))


def begin_another(state: State, row: ConversationRow, members: Iterable[MemberRow], now: Millis) -> None:
    """What fires unnotified of these members of a conversation that is over (held, inhibited, or anew) begins another.

    :param row: as it was
    """
    waiting = [each for each in members if each.status == FIRING and each.notified in NOT_FIRING]
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
    """When the first conversation of a destination may be sent, of those that changed; None: none may.

    :param since: the length of the journal before the changes
    """
    times = (row.next_at for row in _changed(state, since) if row.destination == destination)
    return min((at for at in times if at is not None), default=None)


def is_any_closing(state: State, since: int) -> bool:
    """Whether one of very many members, of the conversations that changed, is left to be closed in pieces.

    :param since: the length of the journal before the changes
    """
    return any(row.state == rows.CLOSING for row in _changed(state, since))


def _changed(state: State, since: int) -> Iterator[ConversationRow]:
    keys = {key for table, key, *_ in state.journal[since:] if table is state.conversations}
    return filter(None, map(state.conversations.get, keys))


def open_members(state: State, alert: int) -> list[MemberRow]:
    """Those of an alert whose conversations are open; and those of digests that are closing, before they go on in the
    next slot.
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
    """After something of these ended."""
    empty = [id_ for id_ in sorted(ids) if has_nothing_to_say(state.conversations[id_])]
    state.dead_letters.want("open of conversation", empty)
    state.members.want("conversation", (id_ for id_ in empty if state.conversations[id_].size <= LARGE))
    state.ready()
    for id_ in empty:
        close_if_empty(state, id_)


def has_nothing_to_say(row: ConversationRow) -> bool:
    is_of_group = row.state == rows.OPEN and row.kind in {OF_GROUP, OF_ALERT}
    return is_of_group and not (row.firing or row.known or row.waiting)


def close_if_empty(state: State, id_: int) -> None:
    """After something of it ended, was given up or was settled."""
    row = state.conversations[id_]
    if not has_nothing_to_say(row):
        return
    # Somebody may have it tried again.
    if state.dead_letters.of("open of conversation", id_):
        return
    # Alerts that Alertmanager left out (max_alerts) may fire: it ends when the group is shown whole.
    if row.ended and row.kind == OF_GROUP and state.groups[row.group_id].truncated:
        return
    close(state, id_)


def revision_of(state: State, conversation: Conversation) -> str:
    """See :class:`router.model.Conversation`. A digest has one revision: it goes out once."""
    generation = f"{conversation.version}-"
    if conversation.revision and (
        conversation.digest is not None or conversation.revision.startswith(generation)
    ):
        return conversation.revision
    return generation + database_id(state)[:8]


def open_slot(
    state: State, policy: Policy, digest: str, now: Millis, **given: Any
) -> tuple[ConversationRow, bool]:
    """The digest's next slot, and whether it is new."""
    slot = next_slot(state, policy, digest, now)
    since = min(policy.schedules[digest].previous(slot - 1), now)
    return open_conversation(
        state, digest, "", OF_DIGEST, f"slot:{slot}", now, slot=slot, due_at=slot, since=since, **given
    )


def slot_token(policy: Policy, digest: str, now: Millis) -> str:
    """Of the slot that is next by its schedule."""
    return token_of(digest, "", f"slot:{policy.schedules[digest].next(now)}")


def next_slot(state: State, policy: Policy, digest: str, now: Millis) -> Millis:
    """The first that has not gone out: after the clock was stepped back, some to come have."""
    schedule = policy.schedules[digest]
    slot = schedule.next(now)
    while (last := latest(state, token_of(digest, "", f"slot:{slot}"))) is not None and last.notified_at:
        slot = schedule.next(slot)
    return slot
