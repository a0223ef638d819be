"""Storms: a lane with too much due tells of it in one message, and keeps that up to date until all has ended.

The message is a conversation of its own, without members. It takes the due conversations along: it names each of them,
and so they count as notified. It also tells of their ends: they belong to the storm until they have a message of their
own. While more fires and is due than a storm begins with, whatever becomes due is taken along; later, new groups have
messages of their own again. Criticals that fit always have.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from router.core import rows
from router.core.claim import (
    NO_STORM,
    Share,
    Work,
    begin,
    conversation_of,
    is_large,
    judge_once_more,
    present_state,
    take_back,
    want_conversations,
    work_of,
)
from router.core.conversations import DATABASE_ID, change, close, latest, open_conversation, token_of
from router.core.rows import ConversationRow
from router.core.state import State
from router.core.unsent_ends import sends_ends
from router.decide import Policy
from router.model import Millis, Status, StormLine, StormNews, StormView
from router.render.folding import key_of, room_of

_SUBJECT = "storm"
# Groups that fire and that a message shows, whenever they were told; the others are counted.
MAX_GROUPS_SHOWN = 500
# Conversations that are taken along in one batch, and members of them: webhooks wait as long as it takes.
BATCH = 25
_MEMBERS = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """When a lane has a storm, and what its messages hold."""

    above: int
    """A storm begins when more conversations than this are due."""
    every: Millis
    """How often the message of a storm is brought up to date."""
    room: int = 10_000
    """Characters of names that one message holds."""
    edits: bool = False
    """Messages are edited."""


@dataclass(frozen=True, slots=True)
class Surge:
    """What is due at a destination, and what belongs to its storm. A conversation that has a message of its own is left
    out, where messages are edited. What is compared with :attr:`Limits.above` is counted up to one more than that.
    """

    total: int
    """What is due and does not belong to the storm, and what fires of the storm's own."""
    due: int
    """Without the storm's own. Counted up to one more than the limit."""
    critical: int
    """Of these. Counted up to one more than the limit."""
    told: int
    """Groups that the storm told of, and that are due."""
    own_critical: int
    """Of these: critical, and not only ends."""
    standing: int
    """Groups that the storm told of, and that are not over."""
    groups: int
    """Of these: those in which something fires."""


@dataclass(frozen=True, slots=True)
class StormGroup:
    """A conversation of a storm in which something fires, as notified."""

    urgency: int
    labels: str
    external_url: str
    firing: int


@dataclass(frozen=True, slots=True)
class StormProgress:
    """What a storm's conversations have come to."""

    left: int
    """How many are not over, beside those that its present message takes along."""
    groups: int
    alerts: int
    resolved: int
    worst: tuple[StormGroup, ...]
    """The most urgent first, :data:`SHOWN` at most."""


def want_storm(state: State, destination: str) -> None:
    state.meta.want("id", (DATABASE_ID,))
    state.conversations.want("token", (storm_token(destination),))
    state.ready()


def storm_token(destination: str) -> str:
    return token_of(destination, "", _SUBJECT)


def active_storm(state: State, destination: str) -> ConversationRow | None:
    """The storm that is not over."""
    row = latest(state, storm_token(destination))
    return row if row is not None and row.state == rows.OPEN else None


def is_beginning(state: State, destination: str, limits: Limits, surge: Surge) -> bool:
    """Whether a storm begins, by what is due as it was judged so far."""
    return active_storm(state, destination) is None and surge.total > limits.above


def first_batch(state: State, ids: Sequence[int]) -> list[int]:
    """The first of these conversations, as many as one batch is about. One of very many members is alone."""
    state.conversations.want("id", ids)
    state.ready()
    sizes = accumulate(state.conversations[id_].size for id_ in ids)
    return [id_ for id_, size in zip(ids, sizes, strict=True) if size <= _MEMBERS] or list(ids[:1])


def recheck(state: State, ids: Sequence[int], policy: Policy, now: Millis) -> int:
    """Judge once more what is due, before a storm begins: what is inhibited by now makes none. How many of them are
    still due. One of very many members is judged when it is told.
    """
    small = [id_ for id_ in ids if not is_large(state.conversations[id_])]
    want_conversations(state, policy, small, now)
    for id_ in small:
        judge_once_more(state, id_, policy, now)
    return sum(_is_due(state.conversations[id_], now) for id_ in ids)


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """What a lane does next."""

    work: Work | None = None
    """The storm's own message; None: a conversation that is told apart is next."""
    share: Share = NO_STORM
    not_before: Millis = 0
    """When the storm's message may be next."""
    waits: bool = False
    """It has something to say, and waits for that moment."""
    failing: bool = False


def plan_claim(
    state: State, destination: str, limits: Limits, surge: Surge, policy: Policy, now: Millis
) -> ClaimPlan:
    row, taking = active_storm(state, destination), surge.total > limits.above
    with_ends = row is None or sends_ends(state, policy, destination)
    ends_unsent = surge.standing == 0 and not with_ends
    if (
        row is not None and not taking and (not row.own_message or ends_unsent)
    ):  # nobody is to hear of its end
        close(state, row.id)
        row = None
    if row is None and not taking:
        return ClaimPlan()
    apart = 0 < surge.critical + surge.own_critical <= limits.above
    share = Share(0 if row is None else row.id, taking, apart, limits.edits)
    taken = surge.told - apart * surge.own_critical + taking * (surge.due - apart * surge.critical)
    has_news = taken > 0 or (
        row is not None and with_ends and (surge.standing == 0 or _is_stale(row, share, surge.groups))
    )
    if not has_news or (row is not None and row.not_before > now):
        failing = row is not None and row.attempts > 0 and has_news
        return ClaimPlan(None, share, 0 if row is None else row.not_before, has_news, failing)
    if row is None:
        row, _ = open_conversation(state, destination, "", rows.OF_STORM, _SUBJECT, now)
    # Each attempt tells something else, and so has a version of its own.
    row = change(state, row, generation=row.generation + 1)
    conversation = replace(conversation_of(row, now, ()), storm=StormView(0, 0, (), over=False))
    work = replace(work_of(row, conversation, (), now), share=replace(share, storm=row.id))
    return ClaimPlan(begin(state, work, now))


def _is_stale(row: ConversationRow, share: Share, groups: int) -> bool:
    """A message that can be edited shows other groups than fire: one was told apart since, or given up."""
    return share.edits and bool(row.own_message) and row.shown_groups != groups


@dataclass(frozen=True, slots=True)
class Room:
    """What a storm's message still has room for."""

    left: int
    begun: frozenset[tuple[str, str]] = frozenset()
    """The levels and names that it has groups of."""
    full: bool = False


def with_line(room: Room, work: Work, policy: Policy) -> Room:
    """The room that is left once the message names this work's group. It is ``full`` if the name does not fit."""
    line = _line(work, policy)
    key = key_of(line)
    left = room.left - room_of(line, begins=key not in room.begun)
    if left < 0 and room.begun:  # a message has at least one
        return Room(0, room.begun, full=True)
    return Room(left, room.begun if key in room.begun else room.begun | {key})


def is_named_in_storm(state: State, storm: Work, id_: int, now: Millis) -> bool:
    """Whether a conversation is due and belongs in the storm's message, not into one of its own."""
    row = state.conversations[id_]
    return _is_due(row, now) and not (storm.share or NO_STORM).has_own_message(row)


def absorb(
    state: State, storm: Work, ids: Sequence[int], policy: Policy, now: Millis, room: Room
) -> tuple[list[Work], Room]:
    """The due conversations that a storm's message takes along: those that it can name. Others may be due no more."""
    told = [id_ for id_ in ids if is_named_in_storm(state, storm, id_, now)]
    want_conversations(state, policy, told, now)
    found: list[Work] = []
    for id_ in told:
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
        found.append(work)
    return found, room


def _is_due(row: ConversationRow, now: Millis) -> bool:
    return row.next_at is not None and row.next_at <= now


def view(
    state: State, known: StormProgress, storm: Work, parts: Sequence[Work], policy: Policy, *, full: bool
) -> StormView | None:
    """What a storm's message tells; None: nothing, and its attempt is withdrawn.

    :param parts: what it takes along
    :param full: there is more, which it has no room for
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
            external_url=each.external_url,
        )
        for each in known.worst
    )  # fmt: skip
    resolved = known.resolved + sum(part.conversation.over for part in parts)
    return StormView(known.groups, known.alerts, lines, over, resolved, _news(parts, policy), full)


def _news(parts: Iterable[Work], policy: Policy) -> StormNews:
    firing: list[StormLine] = []
    eased: list[StormLine] = []
    resolved: list[StormLine] = []
    for part in sorted(parts, key=lambda each: (each.urgency, each.id)):
        line = _line(part, policy)
        if any(told.news and told.alert.status is Status.FIRING for told in part.conversation.alerts):
            firing.append(line)
        else:
            (resolved if part.conversation.over else eased).append(line)
    return StormNews(tuple(firing), tuple(eased), tuple(resolved))


def _line(work: Work, policy: Policy) -> StormLine:
    conversation = work.conversation
    names = sorted({told.alert.labels.get("alertname", "") for told in conversation.alerts} - {""})
    return StormLine(
        conversation.group_labels, _level(policy.severity.levels, work.urgency), len(conversation.firing),
        conversation.external_url, tuple(names),
    )  # fmt: skip


def _level(levels: Sequence[str], urgency: int) -> str:
    return levels[min(urgency, len(levels) - 1)]
