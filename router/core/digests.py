"""Digests: each slot is a conversation. This module has what a digest reports, and how the next one continues it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from router.core import fates, rows
from router.core.alerts import alert_of, labels_of
from router.core.conversations import change, close, latest, next_slot, open_slot, put_member, token_of
from router.core.rows import FIRING, NOTHING, AlertRow, ConversationRow, MemberRow
from router.core.state import State
from router.decide import Policy
from router.model import Destination, DigestLine, DigestView, Fate, Millis

DIGEST_GONE = "its digest is gone from the rules"
# An alert that fires this often within one period is called flapping.
_FLAPPING = 3

OBSOLETE_IN, FIRED_SINCE = "obsolete in", "fired since"
MANY_REPORTED, UNREPORTED = "many reported", "unreported"
"""Queries of the database, by their parameters:

- :data:`OBSOLETE_IN` ``(since, until)``: a row ``(change, alert, destination, reason, notified_at)`` for each destination
  at which a firing became obsolete; ``notified_at`` are the keys of destinations that were notified of the same change.
- :data:`FIRED_SINCE` ``(alert, since)``: how often the alert fired.
- :data:`MANY_REPORTED` ``(since, until)``: whether more than :data:`LARGE` alerts are held, or more than :data:`LARGE`
  firings became obsolete.
- :data:`UNREPORTED` ``member``: whether no digest has reported the firing of a member yet. By the ledger: the first of
  its open fates is that of a firing, or was added later than its change because the rules send the alert here since
  then. A digest that is delivered closes these fates, and open fates are never pruned. So the answer does not depend
  on restarts, on late digests, on the clock of the sender, or on how long history is kept.
"""


@dataclass(frozen=True, slots=True)
class DigestScope:
    """The destinations whose held and obsolete alerts a digest reports, in addition to its own alerts."""

    destinations: frozenset[str] | None = None
    """Their keys; None: all destinations."""
    machines: frozenset[str] = frozenset()
    """The keys of the destinations that notify a program, not people."""

    def __contains__(self, destination: str) -> bool:
        return self.destinations is None or destination in self.destinations

    def is_read(self, destination: str) -> bool:
        """Return whether readers of the digest know what was sent to this destination."""
        return destination in self and destination not in self.machines


ALL_DESTINATIONS = DigestScope()


def scope_of(destination: Destination, policy: Policy) -> DigestScope:
    """Return the destinations that a digest reports about, by its option ``covers``."""
    machines = frozenset(key for key, each in policy.destinations.items() if each.machine)
    if not destination.digest or not destination.options.covers:
        return DigestScope(None, machines)
    keys = (each.key for name in destination.options.covers for each in policy.receivers.get(name, ()))
    return DigestScope(frozenset(keys) | {destination.key}, machines)


def is_large_digest(state: State, row: ConversationRow, policy: Policy, now: Millis) -> bool:
    """Return whether a digest reports so many alerts that it is claimed in pieces."""
    return row.is_large or bool(state.ask(MANY_REPORTED, _reported_period(row, policy, now)))


def _reported_period(row: ConversationRow, policy: Policy, now: Millis) -> tuple[Millis, Millis]:
    return row.since or 0, max(row.slot or 0, policy.schedules[row.destination].previous(now))


def digest_view(
    state: State, row: ConversationRow, policy: Policy, now: Millis, scope: DigestScope
) -> DigestView:
    """Return what a digest reports. A late digest covers all slots up to the latest one."""
    since, until = _reported_period(row, policy, now)
    own = [each for each in state.members.of("conversation", row.id) if each.decision == rows.DIGEST]
    own.sort(key=lambda each: each.alert_id)
    held = state.members.of("held", 1)
    unnotified = _obsolete(state, since, until)
    _want_viewed(state, own, held, [alert for _, alert, _, _, _ in unnotified], since)
    firing: list[DigestLine] = []
    ended: list[DigestLine] = []
    flapping: list[DigestLine] = []
    seen: set[int] = set()
    for member in own:
        alert = state.alerts[member.alert_id]
        seen.add(alert.id)
        line = _line(
            state, policy, alert, alert.note, state.ask(FIRED_SINCE, (alert.id, since)),
            is_new=state.ask(UNREPORTED, member.id),
        )  # fmt: skip
        kind = flapping if line.fired >= _FLAPPING else firing if alert.status == FIRING else ended
        kind.append(line)
    held_lines = _held_lines(state, policy, held, seen, scope, since)
    obsolete = _obsolete_lines(state, policy, unnotified, seen, scope)
    return DigestView(since, until, tuple(firing), tuple(ended), tuple(flapping), held_lines, obsolete)


_Obsolete = tuple[int, int, str, str, tuple[str, ...]]
"""A row of :data:`OBSOLETE_IN`."""


def _obsolete(state: State, since: Millis, until: Millis) -> list[_Obsolete]:
    found: list[_Obsolete] = state.ask(OBSOLETE_IN, (since, until))
    return found


def _want_viewed(
    state: State, own: list[MemberRow], held: list[MemberRow], unnotified: list[int], since: Millis
) -> None:
    alerts = {*(each.alert_id for each in (*own, *held)), *unnotified}
    state.alerts.want("id", alerts)
    state.conversations.want("id", {each.conversation_id for each in held})
    for each in own:
        state.want_answer(FIRED_SINCE, (each.alert_id, since))
        state.want_answer(UNREPORTED, each.id)
    state.ready()
    state.groups.want("id", {state.alerts[each].group_id for each in alerts})
    state.ready()


def _line(
    state: State, policy: Policy, row: AlertRow, note: str, fired: int = 1, *, is_new: bool = True
) -> DigestLine:
    external_url = state.groups[row.group_id].external_url
    return DigestLine(
        alert_of(row), row.level, fired, note, is_new, source=row.source, external_url=external_url,
        tenant=policy.tenants.of(labels_of(row)),
    )  # fmt: skip


def _held_lines(
    state: State, policy: Policy, held: Iterable[MemberRow], seen: set[int], scope: DigestScope, since: Millis
) -> tuple[DigestLine, ...]:
    """Return the lines of held alerts that are not in ``seen``, and add them there. :param since: of the period"""
    lines = []
    for member in held:
        destination = state.conversations[member.conversation_id].destination
        if member.alert_id not in seen and destination in scope:
            seen.add(member.alert_id)
            is_new = member.held_since is None or member.held_since >= since
            line = _line(state, policy, state.alerts[member.alert_id], member.reason, is_new=is_new)
            lines.append(replace(line, opens_at=member.at))
    return tuple(lines)


def _obsolete_lines(
    state: State, policy: Policy, unnotified: list[_Obsolete], seen: set[int], scope: DigestScope
) -> tuple[DigestLine, ...]:
    """Return the lines of alerts that became obsolete, were sent to no reader, and are not in ``seen``."""
    known = {number for number, _, _, _, at in unnotified if any(scope.is_read(each) for each in at)}
    lines = []
    for number, alert, destination, reason, _ in unnotified:
        if number not in known and alert not in seen and destination in scope:
            seen.add(alert)
            lines.append(_line(state, policy, state.alerts[alert], reason))
    return tuple(lines)


def finish_digest(state: State, id_: int, policy: Policy, now: Millis) -> None:
    """Close a digest; its members move to the next slot. Those of a large digest move in pieces, see
    :func:`move_to_next_slot`.
    """
    row = state.conversations[id_]
    if not state.head.agrees:
        # A replica that agrees with the rules in force closes it, as it does with large ones.
        change(state, row, state=rows.CLOSING, due_at=None)
        return
    if not row.is_large:
        move_to_next_slot(state, row, state.members.of("conversation", id_), policy, now)
    elif row.destination in policy.schedules:
        open_slot(state, policy, row.destination, now)
    close(state, id_)


def move_to_next_slot(
    state: State, row: ConversationRow, members: Sequence[MemberRow], policy: Policy, now: Millis
) -> None:
    """Move members of a digest that is over to the next slot: those that still fire, and those with open fates. Running
    it twice does no harm. If the rules no longer name the digest, their fates are dropped instead.
    """
    state.fates.want("open of member", (each.id for each in members))
    if row.destination not in policy.schedules:
        state.ready()
        for each in members:
            fates.finish(state, each.id, fates.ANY_GENERATION, Fate.DROPPED, DIGEST_GONE, now)
        return
    successor, _ = open_slot(state, policy, row.destination, now)
    state.alerts.want("id", (each.alert_id for each in members))
    state.members.want("pair", ((successor.id, each.alert_id) for each in members))
    state.ready()
    for member in members:
        alert = state.alerts[member.alert_id]
        goes_on = alert.status == FIRING and member.decision in (rows.DIGEST, rows.INHIBITED)
        if goes_on or state.fates.of("open of member", member.id):
            _add_to_slot(state, member, alert, successor.id)


def report_next(state: State, member: MemberRow, destination: str, policy: Policy, now: Millis) -> None:
    """Add a member of a closed slot to the next one, with its open fates."""
    successor, _ = open_slot(state, policy, destination, now)
    _add_to_slot(state, member, state.alerts[member.alert_id], successor.id)


def _add_to_slot(state: State, member: MemberRow, alert: AlertRow, successor: int) -> None:
    there = state.members.one("pair", (successor, alert.id))
    if there is None:
        there = put_member(
            state,
            MemberRow(
                state.new_id(), successor, alert.id, 1, alert.status, NOTHING, member.decision, None,
                member.rule, member.reason, member.inhibitor, member.held_since,
                member.failover,
            ),
        )  # fmt: skip
    fates.move_open(state, member.id, there.id, state.conversations[successor].slot)


def close_slots(state: State, policy: Policy, now: Millis) -> None:
    """Close the open slots of digests that the rules no longer name."""
    gone = [
        slot
        for slot in state.conversations.of("open slots", rows.OPEN)
        if slot.destination not in policy.schedules
    ]
    state.members.want("conversation", (slot.id for slot in gone if not slot.is_large))
    state.ready()
    state.run_all(partial(finish_digest, state, slot.id, policy, now) for slot in gone)


def open_slots(state: State, policy: Policy, now: Millis) -> None:
    """Open the next slot of each digest, even without alerts; an open slot follows a changed schedule."""
    state.run_all(partial(_open_next, state, policy, destination, now) for destination in policy.schedules)


def _open_next(state: State, policy: Policy, destination: str, now: Millis) -> None:
    slot = next_slot(state, policy, destination, now)
    waiting = [
        each
        for each in state.conversations.of("open slots", rows.OPEN)
        if each.destination == destination and each.slot is not None and each.slot > now
    ]
    if waiting and all(each.slot != slot for each in waiting):
        subject = f"slot:{slot}"
        token = token_of(destination, "", subject)
        # A digest that was removed for a while may have left a closed conversation at the same slot.
        last = latest(state, token)
        change(
            state, waiting[0], slot=slot, due_at=slot, subject=subject, token=token,
            episode=1 if last is None else last.episode + 1,
        )  # fmt: skip
    open_slot(state, policy, destination, now)
