"""Storms: a lane with more due than a minute holds says so in one message, kept up to date until it is over.

The message is a conversation of its own, without members. What it takes along are the due conversations: they
count as notified with it. Criticals that fit still get their own messages in between.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from router.core import rows
from router.core.claim import (
    Work,
    begin,
    conversation_of,
    judge_once_more,
    present_state,
    want_conversations,
    work_of,
)
from router.core.conversations import DATABASE_ID, change, close, latest, open_conversation, token_of
from router.core.rows import ConversationRow
from router.core.state import State
from router.decide import Policy
from router.model import Millis, StormLine, StormView

_SUBJECT = "storm"
# A storm is over when no more is due than a quarter of what a minute holds.
_OVER = 4
_LINES = 20
# Taken along in one batch: webhooks wait as long as it takes.
BATCH = 25


@dataclass(frozen=True, slots=True)
class Limits:
    """What a lane can take."""

    a_minute: int
    """Deliveries a minute has room for."""
    every: Millis
    """How often the message of a storm is brought up to date."""
    edits: bool = False
    """Messages are edited."""


@dataclass(frozen=True, slots=True)
class Surge:
    """What is due at a destination."""

    due: int
    critical: int


def want_storm(state: State, destination: str) -> None:
    state.meta.want("id", (DATABASE_ID,))
    state.conversations.want("token", (storm_token(destination),))
    state.ready()


def storm_token(destination: str) -> str:
    return token_of(destination, "", _SUBJECT)


def _standing(state: State, destination: str) -> ConversationRow | None:
    row = latest(state, storm_token(destination))
    return row if row is not None and row.state == rows.OPEN else None


def begins(state: State, destination: str, limits: Limits, surge: Surge) -> bool:
    """Whether a storm begins, by what is due as it was judged so far."""
    return _standing(state, destination) is None and surge.due > limits.a_minute


def recheck(state: State, ids: Sequence[int], policy: Policy, now: Millis) -> None:
    """Judge once more what is due, before a storm begins: what is inhibited by now makes none."""
    want_conversations(state, policy, list(ids), now)
    for id_ in ids:
        judge_once_more(state, id_, policy, now)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a lane does next in a storm."""

    work: Work | None = None
    """The storm's own message; None: a single conversation is next, see below."""
    until: Millis | None = None
    """When the storm's message is next, at the latest. None: there is no storm, or none of it is left to say."""
    max_urgency: int = 2**31
    """Of a single conversation that may go before it: it is as urgent as this."""
    own: bool = False
    """Or it has a message of its own, whatever its urgency."""
    failing: bool = False


def turn(state: State, destination: str, limits: Limits, surge: Surge, now: Millis) -> Turn:
    row = _standing(state, destination)
    over = row is not None and surge.due * _OVER <= limits.a_minute
    if row is not None and over and not row.own_message:  # nobody has heard of it
        close(state, row.id)
        return Turn()
    if row is None and surge.due <= limits.a_minute:
        return Turn()
    criticals_fit = 0 < surge.critical <= limits.a_minute
    if row is not None and row.not_before > now:
        failing = row.attempts > 0
        if over:  # as usual, but not beyond the storm's last word
            return Turn(until=row.not_before, failing=failing)
        return Turn(
            until=row.not_before, max_urgency=0 if criticals_fit else -1, own=limits.edits, failing=failing
        )
    if row is None:
        row, _ = open_conversation(state, destination, "", rows.OF_STORM, _SUBJECT, now)
    row = change(state, row, generation=row.observed_generation + 1)
    conversation = replace(conversation_of(row, now, ()), storm=StormView(0, 0, (), over=over))
    work = replace(work_of(row, conversation, (), now), min_priority=None if over else int(criticals_fit))
    return Turn(begin(state, work, now))


def absorb(state: State, storm: Work, ids: Sequence[int], policy: Policy, now: Millis) -> list[Work]:
    """The due conversations that a storm's message takes along."""
    want_conversations(state, policy, list(ids), now)
    found = [work for id_ in ids if (work := present_state(state, id_, policy, now)) is not None]
    for each in found:
        change(state, state.conversations[each.id], delivery_id=storm.delivery)
    return found


@dataclass(frozen=True, slots=True)
class Affected:
    """A conversation of a destination that a storm's message counts: something fires in it, as notified."""

    urgency: int
    labels: str
    external_url: str
    firing: int


def view(affected: Sequence[Affected], storm: Work, policy: Policy) -> StormView:
    """What fires at the destination, as notified or about to be.

    :param affected: the most urgent first
    """
    levels = policy.severity.levels
    lines = tuple(
        StormLine(
            labels=json.loads(each.labels),
            level=levels[min(each.urgency, len(levels) - 1)],
            firing=each.firing,
            external_url=each.external_url,
        )
        for each in affected[:_LINES]
    )
    return StormView(
        len(affected), sum(each.firing for each in affected), lines, over=storm.min_priority is None
    )
