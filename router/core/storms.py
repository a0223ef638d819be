"""Storms: a lane with too much due sends one summary message, and keeps it up to date until all has ended.

The message is a conversation of its own, without members. It absorbs the due conversations: it names each of them, so
they count as notified. It also notifies their ends: they belong to the storm until they have their own messages. While
more fires and is due than the limit at which a storm begins, every conversation that becomes due is absorbed; later, new
groups have their own messages again. Criticals always have their own messages, as long as they are within the limit.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from router.core import rows
from router.core.claim import (
    begin,
    conversation_of,
    judge_once_more,
    present_state,
    take_back,
    want_conversations,
    work_of,
)
from router.core.claimed_delivery import NO_STORM, ClaimedDelivery, Share
from router.core.conversations import DATABASE_ID, change, close, latest, open_conversation, token_of
from router.core.rows import ConversationRow
from router.core.state import State
from router.core.unsent_ends import sends_ends
from router.decide import Policy
from router.model import Millis, Status, StormLine, StormNews, StormView
from router.render.folding import key_of, room_of

_STORM_SUBJECT = "storm"
# How many firing groups a message lists, however old they are; the others are only counted.
MAX_GROUPS_SHOWN = 500
# How many conversations one batch absorbs, and how many members they have together. Webhooks wait for the batch.
CONVERSATIONS_PER_BATCH = 25
_MAX_MEMBERS_PER_BATCH = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """When a lane has a storm, and what its messages hold."""

    above: int
    """A storm begins when more conversations than this are due at the lane."""
    every: Millis
    """How often the message of a storm is updated (ms)."""
    room: int = 10_000
    """How many characters of names one message holds."""
    edits: bool = False
    """Messages are edited."""


@dataclass(frozen=True, slots=True)
class Surge:
    """How many conversations are due at a destination, and how many belong to its storm. Where messages are edited,
    conversations with their own messages are left out. ``due`` and ``critical`` are counted up to one more than
    :attr:`Limits.above`.
    """

    total: int
    """The sum of :attr:`due` and of the storm's own conversations in which an alert fires."""
    due: int
    """Due conversations that do not belong to the storm."""
    critical: int
    """How many of :attr:`due` are critical."""
    own_due: int
    """Due conversations that belong to the storm."""
    own_critical: int
    """How many of :attr:`own_due` are critical and have more to notify than ends."""
    own_open: int
    """Conversations that belong to the storm, of which something was notified, and that are not over."""
    own_firing: int
    """How many of :attr:`own_open` have a firing alert."""


@dataclass(frozen=True, slots=True)
class StormGroup:
    """A conversation of a storm in which an alert fires, as it was notified."""

    urgency: int
    labels: str
    external_url: str
    firing: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class StormProgress:
    """The state of the conversations that belong to a storm."""

    left: int
    """How many are not over. Those that the current message absorbs are not counted."""
    groups: int
    """How many have firing alerts."""
    alerts: int
    """How many alerts fire in them."""
    resolved: int
    """How many are over."""
    worst: tuple[StormGroup, ...]
    """The most urgent first, at most :data:`MAX_GROUPS_SHOWN`."""


def want_storm(state: State, destination: str) -> None:
    """Request the storm of a destination. :raises MissingRows: it is not loaded yet"""
    state.meta.want("id", (DATABASE_ID,))
    state.conversations.want("token", (storm_token(destination),))
    state.ready()


def storm_token(destination: str) -> str:
    return token_of(destination, "", _STORM_SUBJECT)


def active_storm(state: State, destination: str) -> ConversationRow | None:
    """Return the conversation of the open storm of a destination; None: it has none."""
    row = latest(state, storm_token(destination))
    return row if row is not None and row.state == rows.OPEN else None


def is_beginning(state: State, destination: str, limits: Limits, surge: Surge) -> bool:
    """Return whether a storm begins, by how much is due. What is due may still have to be judged again."""
    return active_storm(state, destination) is None and surge.total > limits.above


def first_batch(state: State, ids: Sequence[int]) -> list[int]:
    """Return the first of these conversations, as many as one batch takes. A large one is alone in its batch."""
    state.conversations.want("id", ids)
    state.ready()
    sizes = accumulate(state.conversations[id_].size for id_ in ids)
    return [id_ for id_, size in zip(ids, sizes, strict=True) if size <= _MAX_MEMBERS_PER_BATCH] or list(
        ids[:1]
    )


def recheck(state: State, ids: Sequence[int], policy: Policy, now: Millis) -> int:
    """Judge due conversations again before a storm begins: alerts that are inhibited by now make no storm.

    Return how many are still due. A large conversation is judged when it is sent.
    """
    small = [id_ for id_ in ids if not state.conversations[id_].is_large]
    want_conversations(state, policy, small, now)
    for id_ in small:
        judge_once_more(state, id_, policy, now)
    return sum(state.conversations[id_].is_due(now) for id_ in ids)


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """What a lane sends next."""

    work: ClaimedDelivery | None = None
    """The storm's own message; None: a conversation with its own message is next."""
    share: Share = NO_STORM
    not_before: Millis = 0
    """When the storm's message may be sent next (epoch ms)."""
    waits: bool = False
    """The storm has news, and waits until :attr:`not_before` to send it."""
    failing: bool = False
    """The storm waits because an attempt failed."""


def plan_claim(
    state: State, destination: str, limits: Limits, surge: Surge, policy: Policy, now: Millis
) -> ClaimPlan:
    """Return what the lane of a destination sends next. Begins the delivery of the storm's message, if that is next."""
    row, absorbs_all = active_storm(state, destination), surge.total > limits.above
    with_ends = row is None or sends_ends(state, policy, destination)
    ends_unsent = surge.own_open == 0 and not with_ends
    if row is not None and not absorbs_all and (not row.own_message or ends_unsent):
        # No message is to be sent for its end.
        close(state, row.id)
        row = None
    if row is None and not absorbs_all:
        return ClaimPlan()
    apart = 0 < surge.critical + surge.own_critical <= limits.above
    share = Share(0 if row is None else row.id, absorbs_all, apart, limits.edits)
    taken = surge.own_due - apart * surge.own_critical + absorbs_all * (surge.due - apart * surge.critical)
    has_news = taken > 0 or (
        row is not None and with_ends and (surge.own_open == 0 or _is_stale(row, share, surge.own_firing))
    )
    if not has_news or (row is not None and row.not_before > now):
        failing = row is not None and row.attempts > 0 and has_news
        return ClaimPlan(None, share, 0 if row is None else row.not_before, has_news, failing)
    if row is None:
        row, _ = open_conversation(state, destination, "", rows.OF_STORM, _STORM_SUBJECT, now)
    # Each attempt has other content, so it has a version of its own.
    row = change(state, row, generation=row.generation + 1)
    conversation = replace(conversation_of(row, now, ()), storm=StormView(0, 0, (), over=False))
    work = replace(work_of(row, conversation, (), now), share=replace(share, storm=row.id))
    return ClaimPlan(begin(state, work, now))


def _is_stale(row: ConversationRow, share: Share, groups: int) -> bool:
    """Return whether an editable message shows other groups than those that fire now.

    Since it was sent, a group got its own message, or was given up.
    """
    return share.edits and bool(row.own_message) and row.shown_groups != groups


@dataclass(frozen=True, slots=True)
class Room:
    """The space that is left in a storm's message."""

    left: int
    """How many characters are left."""
    begun: frozenset[tuple[str, str]] = frozenset()
    """The (level, name) headings that the message has already."""
    full: bool = False


def with_line(room: Room, work: ClaimedDelivery, policy: Policy) -> Room:
    """Return the space that is left once the message names the group of this work; ``full``: the name does not fit."""
    line = _line(work, policy)
    key = key_of(line)
    left = room.left - room_of(line, begins=key not in room.begun)
    if left < 0 and room.begun:  # a message names at least one group
        return Room(0, room.begun, full=True)
    return Room(left, room.begun if key in room.begun else room.begun | {key})


def is_named_in_storm(state: State, storm: ClaimedDelivery, id_: int, now: Millis) -> bool:
    """Return whether a conversation is due and goes into the storm's message, not into its own."""
    row = state.conversations[id_]
    return row.is_due(now) and not (storm.share or NO_STORM).has_own_message(row)


def absorb(
    state: State, storm: ClaimedDelivery, ids: Sequence[int], policy: Policy, now: Millis, room: Room
) -> tuple[list[ClaimedDelivery], Room]:
    """Absorb due conversations into a storm's message, as many as it can name; return them and the space left.

    A conversation that turns out to have nothing to say is left out.
    """
    named = [id_ for id_ in ids if is_named_in_storm(state, storm, id_, now)]
    want_conversations(state, policy, named, now)
    found: list[ClaimedDelivery] = []
    for id_ in named:
        mark = state.mark()
        work = present_state(state, id_, policy, now)
        if work is None:
            continue
        left = with_line(room, work, policy)
        if left.full:
            state.undo(mark)
            return found, left
        room = left
        change(state, state.conversations[id_], delivery_id=storm.delivery, storm_id=storm.id)
        found.append(replace(work, absorbed_by=storm.delivery))
    return found, room


def storm_view(
    state: State,
    known: StormProgress,
    storm: ClaimedDelivery,
    parts: Sequence[ClaimedDelivery],
    policy: Policy,
    *,
    full: bool,
) -> StormView | None:
    """Return what a storm's message shows; None: nothing, and its attempt is removed.

    :param parts: the absorbed conversations
    :param full: more conversations are due, and the message has no space for them
    """
    over = not (known.left or full) and all(part.conversation.over for part in parts)
    row = state.conversations[storm.id]
    with_ends = sends_ends(state, policy, row.destination)
    stale = storm.share is not None and _is_stale(row, storm.share, known.groups)
    if not (parts or (with_ends and (over or stale))):
        row = take_back(state, storm)
        if over or not row.own_message:
            close(state, row.id)
        return None
    levels = policy.severity.levels
    lines = tuple(
        StormLine(
            labels=json.loads(each.labels), level=_level(levels, each.urgency), firing=each.firing,
            external_url=each.external_url, source=policy.shown_source(each.source),
        )
        for each in known.worst
    )  # fmt: skip
    resolved = known.resolved + sum(part.conversation.over for part in parts)
    return StormView(known.groups, known.alerts, lines, over, resolved, _news(parts, policy), full)


def _news(parts: Iterable[ClaimedDelivery], policy: Policy) -> StormNews:
    firing: list[StormLine] = []
    eased: list[StormLine] = []
    resolved: list[StormLine] = []
    for part in sorted(parts, key=lambda each: (each.urgency, each.id)):
        line = _line(part, policy)
        if any(shown.news and shown.alert.status is Status.FIRING for shown in part.conversation.alerts):
            firing.append(line)
        else:
            (resolved if part.conversation.over else eased).append(line)
    return StormNews(tuple(firing), tuple(eased), tuple(resolved))


def _line(work: ClaimedDelivery, policy: Policy) -> StormLine:
    conversation = work.conversation
    names = sorted({shown.alert.labels.get("alertname", "") for shown in conversation.alerts} - {""})
    return StormLine(
        conversation.group_labels, _level(policy.severity.levels, work.urgency), len(conversation.firing),
        conversation.external_url, tuple(names), conversation.source,
    )  # fmt: skip


def _level(levels: Sequence[str], urgency: int) -> str:
    return levels[min(urgency, len(levels) - 1)]
