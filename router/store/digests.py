"""Digests: a conversation a slot. What one reports, and how the next one takes over."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import Destination, DigestLine, DigestView, Millis, Verdict
from router.store.alert import alert_of
from router.store.conversation import FIND_CONVERSATION, close, next_slot, open_slot, token_of
from router.store.place import ADD_MEMBER, FIND_MEMBER, UNTOLD  # fmt: skip
from router.store.schema import OPEN_FATES, alerts, changes, conversations, fates, members
from router.store.writer import Statement, Transaction, among

# As often as this within one period, and an alert is called flapping.
FLAPPING = 3

_member = (
    sa.select(alerts, members.c.id.label("member"), members.c.verdict, members.c.rule, members.c.reason,
              members.c.inhibitor, members.c.held_since)
    .join(members, members.c.alert_id == alerts.c.id)
)  # fmt: skip
_MEMBERS = Statement(_member.where(members.c.conversation_id == p("conversation")))
_MEMBER = Statement(_member.where(members.c.id == p("member")))
_FIRED = Statement(
    sa.select(sa.func.count().label("times")).where(
        changes.c.alert_id == p("alert"), changes.c.kind == "fired", changes.c.at >= p("since")
    )
)
_HELD = Statement(
    sa.select(alerts, conversations.c.destination, members.c.reason)
    .join(members, members.c.alert_id == alerts.c.id)
    .join(conversations, conversations.c.id == members.c.conversation_id)
    .where(members.c.verdict == "hold", members.c.status == "firing", among(members.c.told, UNTOLD))
    .order_by(members.c.id)
)
_told_of = fates.alias("told_of")
# A row for each other destination that was told, or is to be told, of the same change.
_MOOT = Statement(
    sa.select(
        alerts,
        fates.c.destination,
        fates.c.reason,
        fates.c.change_id,
        _told_of.c.destination.label("told_at"),
    )
    .join(changes, changes.c.id == fates.c.change_id)
    .join(alerts, alerts.c.id == changes.c.alert_id)
    .outerjoin(
        _told_of,
        sa.and_(
            _told_of.c.change_id == fates.c.change_id,
            among(_told_of.c.fate, ("delivered", "pending", "digest")),
        ),
    )
    .where(
        fates.c.fate == "moot",
        fates.c.updated_at >= p("since"),
        fates.c.updated_at < p("until"),
        changes.c.kind == "fired",
    )
    .order_by(fates.c.id)
)
_ADOPT_FATES = Statement(
    sa.update(fates)
    .where(fates.c.member_id == p("member"), among(fates.c.fate, OPEN_FATES))
    .values(member_id=p("to"), version=0)
)
_OPEN_FATE = Statement(
    sa.select(fates.c.id).where(fates.c.member_id == p("member"), among(fates.c.fate, OPEN_FATES)).limit(1)
)
_WAITING_SLOTS = Statement(
    sa.select(conversations).where(
        conversations.c.destination == p("destination"),
        conversations.c.state == "open",
        conversations.c.slot > p("now"),
    )
)
_MOVE_SLOT = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values(
        slot=p("slot_"), due_at=p("slot_"), subject=p("subject_"), token=p("token_"), episode=p("episode_")
    )
)


_OPEN_SLOTS = Statement(
    sa.select(conversations).where(conversations.c.slot.is_not(None), conversations.c.state == "open")
)
_DROP_FATES = Statement(
    sa.update(fates)
    .where(fates.c.member_id == p("member"), among(fates.c.fate, OPEN_FATES))
    .values(fate="dropped", reason="its digest is gone from the rules", updated_at=p("now"))
)


@dataclass(frozen=True, slots=True)
class Covers:
    """Whose alerts a digest reports, beside its own."""

    destinations: frozenset[str] | None = None
    """Their keys; None: everybody's."""
    machines: frozenset[str] = frozenset()
    """Those at which nobody reads: who is told there is a program."""

    def __contains__(self, destination: str) -> bool:
        return self.destinations is None or destination in self.destinations

    def reads(self, destination: str) -> bool:
        """Whether a reader of the digest has heard of what was told there."""
        return destination in self and destination not in self.machines


EVERYBODY = Covers()


def covered(destination: Destination, policy: Policy) -> Covers:
    machines = frozenset(key for key, each in policy.destinations.items() if each.machine)
    if not destination.digest or not destination.options.covers:
        return Covers(None, machines)
    keys = (each.key for name in destination.options.covers for each in policy.receivers.get(name, ()))
    return Covers(frozenset(keys) | {destination.key}, machines)


def digest_view(tx: Transaction, row: Any, policy: Policy, now: Millis, covers: Covers) -> DigestView:
    """What the digest of conversation ``row`` reports. One that comes late covers all until its latest slot."""
    since = row["since"]
    until = max(row["slot"], policy.schedules[row["destination"]].previous(now))
    firing: list[DigestLine] = []
    ended: list[DigestLine] = []
    flapping: list[DigestLine] = []
    seen: set[int] = set()
    for member in tx.all(_MEMBERS, conversation=row["id"]):
        if member["verdict"] != Verdict.DIGEST:
            continue
        seen.add(member["id"])
        times = tx.one(_FIRED, alert=member["id"], since=since)["times"]
        line = DigestLine(alert_of(member), member["level"], times, member["note"])
        kind = flapping if line.fired >= FLAPPING else firing if member["status"] == "firing" else ended
        kind.append(line)
    held = _others(tx.all(_HELD), seen, covers)
    untold = tx.all(_MOOT, since=since, until=until)
    heard = {each["change_id"] for each in untold if each["told_at"] and covers.reads(each["told_at"])}
    moot = _others([each for each in untold if each["change_id"] not in heard], seen, covers)
    return DigestView(since, until, tuple(firing), tuple(ended), tuple(flapping), held, moot)


def _others(rows: list[Any], seen: set[int], covers: Covers) -> tuple[DigestLine, ...]:
    lines = []
    for row in rows:
        if row["id"] not in seen and row["destination"] in covers:
            seen.add(row["id"])
            lines.append(DigestLine(alert_of(row), row["level"], 1, row["reason"]))
    return tuple(lines)


def advance(tx: Transaction, conversation: int, destination: str, policy: Policy, now: Millis) -> None:
    """Open the next slot; what still fires, and what came while this one was on its way, goes on there."""
    successor = open_slot(tx, policy, destination, now).id
    for member in tx.all(_MEMBERS, conversation=conversation):
        goes_on = member["status"] == "firing" and member["verdict"] in (Verdict.DIGEST, Verdict.INHIBITED)
        if goes_on or tx.one(_OPEN_FATE, member=member["member"]) is not None:
            _carry(tx, member, successor)


def report_next(tx: Transaction, member: int, destination: str, policy: Policy, now: Millis) -> None:
    """A member of a slot that is closed stands in the next one, with its open fates."""
    successor = open_slot(tx, policy, destination, now).id
    _carry(tx, tx.one(_MEMBER, member=member), successor)


def _carry(tx: Transaction, member: Any, successor: int) -> None:
    there = tx.one(FIND_MEMBER, conversation=successor, alert=member["id"])
    to = there["id"] if there is not None else tx.add(
        ADD_MEMBER, conversation_id=successor, alert_id=member["id"], status=member["status"], told="none",
        verdict=member["verdict"], at=None, rule=member["rule"], reason=member["reason"],
        inhibitor=member["inhibitor"], held_since=member["held_since"],
    )  # fmt: skip
    tx.run(_ADOPT_FATES, member=member["member"], to=to)


def close_slots(tx: Transaction, policy: Policy, now: Millis) -> None:
    """Digests that the rules name no more: nobody waits for what is in them."""
    for slot in tx.all(_OPEN_SLOTS):
        if slot["destination"] not in policy.schedules:
            for member in tx.all(_MEMBERS, conversation=slot["id"]):
                tx.run(_DROP_FATES, member=member["member"], now=now)
            close(tx, slot["id"])


def open_slots(tx: Transaction, policy: Policy, now: Millis) -> None:
    """Each digest has its next slot open, even with nothing in it; one that waits follows a changed schedule."""
    for destination in policy.schedules:
        slot = next_slot(tx, policy, destination, now)
        waiting = tx.all(_WAITING_SLOTS, destination=destination, now=now)
        if waiting and all(each["slot"] != slot for each in waiting):
            subject = f"slot:{slot}"
            token = token_of(destination, "", subject)
            # A digest that was gone for a while may have left a closed one at that very slot.
            last = tx.one(FIND_CONVERSATION, token=token)
            tx.run(
                _MOVE_SLOT, conversation=waiting[0]["id"], slot_=slot, subject_=subject, token_=token,
                episode_=1 if last is None else last["episode"] + 1,
            )  # fmt: skip
        open_slot(tx, policy, destination, now)
