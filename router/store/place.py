"""Where the rules meet the state: what a decision does to a conversation's member and to its fates.

A member is one alert in one conversation. ``told`` is what the destination knows of it: none, firing,
resolved, or maybe (an attempt is under way, or its answer was lost). A hold or an inhibition only ever
delays a first telling; an end is always told to whom the alert was told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy, decide
from router.decide.inhibition import Key
from router.model import MINUTE, Decision, Destination, Fate, Millis, Verdict
from router.store.alert import about_of, labels_of
from router.store.conversation import (
    BUMP,
    BUMP_SLOT,
    DUE,
    FIND_CONVERSATION,
    Opened,
    open_conversation,
    open_slot,
    token_of,
)
from router.store.schema import (
    OPEN_FATES,
    alerts,
    changes,
    conversations,
    deliveries,
    fates,
    groups,
    inhibitors,
    members,
)
from router.store.writer import Statement, Transaction, among, insert

FATE_OF = {
    Verdict.SEND: Fate.PENDING,
    Verdict.HOLD: Fate.HELD,
    Verdict.DIGEST: Fate.DIGEST,
    Verdict.INHIBITED: Fate.INHIBITED,
    Verdict.DROP: Fate.DROPPED,
}
NOWHERE = "none"  # the destination of a receiver that has none
ABSENT = "not in Alertmanager's last answer"
ENDED_UNTOLD = "ended before anyone was told"
UNTOLD = ("none", "resolved")  # of a firing alert: its firing has not been told
FAILOVER = "on_failure of "  # begins the rule of what is told instead of a destination that failed
LAG: Millis = MINUTE  # a telling comes some time after its change, and the next repeat is on time

ADD_FATE = Statement(insert(fates))
ADD_MEMBER = Statement(insert(members))
MOVE_FATES = Statement(
    sa.update(fates)
    .where(fates.c.member_id == p("member"), among(fates.c.fate, OPEN_FATES))
    .values(fate=p("fate_"), rule=p("rule_"), reason=p("reason_"), updated_at=p("now"))
)
ANY_VERSION = 2**62  # beyond every one
FINISH_FATES = Statement(
    sa.update(fates)
    .where(
        fates.c.member_id == p("member"), among(fates.c.fate, OPEN_FATES), fates.c.version <= p("version_")
    )
    .values(fate=p("fate_"), reason=p("reason_"), updated_at=p("now"))
)
FIND_MEMBER = Statement(
    sa.select(members).where(members.c.conversation_id == p("conversation"), members.c.alert_id == p("alert"))
)
UPDATE_MEMBER = Statement(
    sa.update(members)
    .where(members.c.id == p("member"))
    .values(
        status=p("status_"), verdict=p("verdict_"), at=p("at_"), rule=p("rule_"), reason=p("reason_"),
        inhibitor=p("inhibitor_"), held_since=p("held_since_"),
    )
)  # fmt: skip
MEMBERS_OF_ALERT = Statement(
    sa.select(
        members,
        conversations.c.destination,
        conversations.c.state,
        conversations.c.wanted,
        conversations.c.slot,
        conversations.c.subject,
        conversations.c.group_id,
    )
    .join(conversations, conversations.c.id == members.c.conversation_id)
    .where(members.c.alert_id == p("alert"))
    .order_by(members.c.id.desc())
    .limit(100)
)
FIND_INHIBITOR = Statement(
    sa.select(alerts.c.fingerprint)
    .join(inhibitors, inhibitors.c.alert_id == alerts.c.id)
    .where(inhibitors.c.key == p("key"), inhibitors.c.two_sided <= p("two_sided_up_to"))
    .order_by(inhibitors.c.alert_id)
    .limit(1)
)
LAST_CHANGE = Statement(
    sa.select(changes.c.id).where(changes.c.alert_id == p("alert")).order_by(changes.c.id.desc()).limit(1)
)
_last_change = sa.select(sa.func.max(changes.c.id)).where(changes.c.alert_id == p("alert")).scalar_subquery()
HAS_FATE = Statement(
    sa.select(fates.c.id, fates.c.fate)
    .where(fates.c.change_id == _last_change, fates.c.destination == p("destination"))
    .limit(1)
)
ANOTHER_DESTINATION = Statement(
    sa.update(changes).where(changes.c.id == p("change")).values(destinations=changes.c.destinations + 1)
)
# The rules had dropped it, and do so no longer.
REOPEN_FATE = Statement(
    sa.update(fates)
    .where(fates.c.member_id == p("member"), fates.c.fate == "dropped", fates.c.change_id == _last_change)
    .values(fate=p("fate_"), rule=p("rule_"), reason=p("reason_"), updated_at=p("now"))
)
LAST_TELLING = Statement(
    sa.select(sa.func.max(deliveries.c.finished_at).label("at")).where(
        deliveries.c.conversation_id == p("conversation"), deliveries.c.outcome == "delivered"
    )
)
ALERT = Statement(sa.select(alerts).where(alerts.c.id == p("alert")))
GROUP = Statement(sa.select(groups).where(groups.c.id == p("group")))


def judge(
    tx: Transaction, policy: Policy, labels: Mapping[str, str], about: frozenset[str] | None, now: Millis
) -> tuple[Decision, ...]:
    """As :func:`decide`, among all that fires."""

    def source(key: Key) -> str | None:
        # Two alerts that both match both sides of a rule don't mute each other.
        # https://github.com/prometheus/alertmanager/blob/main/inhibit/inhibit.go
        row = tx.one(FIND_INHIBITOR, key=key.text, two_sided_up_to=0 if key.two_sided else 1)
        return None if row is None else str(row["fingerprint"])

    return decide(labels, policy, now, source, about)


@dataclass(frozen=True, slots=True)
class Subject:
    """An alert as one group speaks of it."""

    alert: int
    source: str
    fingerprint: str
    level: str
    group: int
    receiver: str
    group_key: str

    def at(self, destination: Destination, slot: Millis | None) -> tuple[str, str]:
        """The (source, subject) that names its conversation at a destination."""
        if destination.digest:
            return "", f"slot:{slot}"
        if destination.per_alert:
            return self.source, f"alert:{self.fingerprint}"
        return self.source, f"group:{self.receiver}:{self.group_key}"


class Placing:
    """Decisions about one alert put into effect, with or without a change that brought them up.

    Without a change (the rules, an inhibitor or the hour moved on) only what nobody was told yet moves.
    """

    def __init__(
        self, tx: Transaction, policy: Policy, subject: Subject, now: Millis, note: str = ""
    ) -> None:
        """:param note: why the alert counts as ended, where nobody resolved it"""
        self._tx = tx
        self._ended_untold = f"{note}, before anyone was told" if note else ENDED_UNTOLD
        self._policy = policy
        self._subject = subject
        self._now = now
        levels = policy.severity.levels
        self._rank = levels.index(subject.level) if subject.level in levels else len(levels)

    def firing(self, decisions: tuple[Decision, ...], change: int | None) -> None:
        """With a change, each decision gets a fate; without decisions, the change gets one all the same."""
        for decision in decisions:
            self._fire(decision, change)
        if not decisions and change is not None:
            self._nowhere(change)

    def _fire(self, decision: Decision, change: int | None) -> None:
        if change is None and not self._concerned(decision):
            return
        key, fate, reason = decision.destination.key, FATE_OF[decision.verdict], decision.reason
        opened = self._open(decision, change)
        if opened is not None and opened.fresh:
            self._fate(
                change, key, self._add(opened.id, decision), fate, decision.rule, reason, opened.wanted
            )
            return
        member = None
        if opened is not None:
            member = self._tx.one(FIND_MEMBER, conversation=opened.id, alert=self._subject.alert)
        if opened is None or (member is None and decision.verdict is Verdict.DROP):
            if change is not None:
                self._fate(change, key, None, fate, decision.rule, reason, 0)
            return
        if member is None:
            member_id = self._add(opened.id, decision)
        else:
            member_id = member["id"]
            fate, reason = self._fire_again(member, decision, anew=change is not None)
        self._bump(opened.id, digest=decision.destination.digest)
        if change is not None or member is None:
            self._fate(change, key, member_id, fate, decision.rule, reason, opened.wanted + 1)

    def _fire_again(self, member: Any, decision: Decision, *, anew: bool) -> tuple[Fate, str]:
        """A member that the conversation has already: what its firing comes to. What was given up waits for
        Alertmanager to speak of it anew.
        """
        if member["told"] == "firing":
            if member["status"] == "resolved":
                self._move(member["id"], Fate.MOOT, decision.rule, "fired again before its end was told")
                self._update(member, status="firing", at=None)
            elif anew and self._tell_again(member, decision):
                self._update(member, at=self._now)
                return Fate.PENDING, "repeated, to be told again"
            return Fate.DELIVERED, "told already"
        if member["told"] == "maybe":
            if member["status"] == "resolved" or (anew and member["verdict"] == "dead"):
                self._update(member, status="firing", verdict=Verdict.SEND, at=self._now)
            return Fate.PENDING, decision.reason
        fate = FATE_OF[decision.verdict]
        if member["verdict"] != "dead" or anew:
            self._decide_anew(member, decision, fate)
        return fate, decision.reason

    def _tell_again(self, member: Any, decision: Decision) -> bool:
        if decision.verdict is not Verdict.SEND or decision.repeat is None:
            return False
        last = self._tx.one(LAST_TELLING, conversation=member["conversation_id"])["at"]
        return last is None or self._now - last >= decision.repeat - LAG

    def _bump(self, conversation: int, *, digest: bool) -> None:
        """One version on."""
        if digest:
            self._tx.run(BUMP_SLOT, conversation=conversation, rank=self._rank, group=None)
        else:
            self._tx.run(BUMP, conversation=conversation, rank=self._rank, group=self._subject.group)

    def _concerned(self, decision: Decision) -> bool:
        """Whether the alert waits there already, or the destination is new to its last change."""
        tx, destination = self._tx, decision.destination
        _, subject = self._subject.at(destination, None)
        for member in tx.all(MEMBERS_OF_ALERT, alert=self._subject.alert):
            same = member["destination"] == destination.key and member["state"] == "open"
            if same and (destination.digest or member["subject"] == subject):
                return True
        return tx.one(HAS_FATE, alert=self._subject.alert, destination=destination.key) is None

    def _open(self, decision: Decision, change: int | None) -> Opened | None:
        """The conversation that the decision concerns; None: there is none that a drop would concern."""
        tx, now, destination = self._tx, self._now, decision.destination
        if destination.digest:
            if change is None:  # it may wait in a slot that is overdue
                for member in tx.all(MEMBERS_OF_ALERT, alert=self._subject.alert):
                    if member["destination"] == destination.key and member["state"] == "open":
                        return Opened(member["conversation_id"], member["wanted"], fresh=False)
            if decision.verdict is Verdict.DROP:
                return None
            return open_slot(tx, self._policy, destination.key, now, wanted=1, urgency=self._rank)
        source, subject = self._subject.at(destination, None)
        if decision.verdict is Verdict.DROP:
            last = tx.one(FIND_CONVERSATION, token=token_of(destination.key, source, subject))
            return (
                Opened(last["id"], last["wanted"], fresh=False) if last and last["state"] == "open" else None
            )
        return open_conversation(
            tx, destination.key, source, subject, now,
            group_id=self._subject.group, wanted=1, urgency=self._rank, due_at=_due(decision),
        )  # fmt: skip

    def resolved(self, decisions: tuple[Decision, ...], change: int) -> set[str]:
        """The alert has ended: told where it was told, moot where it was not. The destinations, a fate each."""
        fated: dict[str, tuple[Any, Fate, str]] = {}
        for member in self._tx.all(MEMBERS_OF_ALERT, alert=self._subject.alert):
            key = member["destination"]
            if member["state"] == "open":
                fate, reason = self._end(member)
                bump = BUMP if member["slot"] is None else BUMP_SLOT
                self._tx.run(bump, conversation=member["conversation_id"], rank=self._rank, group=None)
            elif member["told"] == "resolved":
                fate, reason = Fate.DELIVERED, "told already"
            else:
                continue  # of a digest that went out; the next slot's has the alert again
            if key not in fated or fate is Fate.PENDING:
                fated[key] = (member, fate, reason)
        for key, (member, fate, reason) in fated.items():
            self._fate(change, key, member["id"], fate, member["rule"], reason, member["wanted"] + 1)
        named = set(fated)
        for decision in decisions:
            key = decision.destination.key
            if key not in named:
                drop = decision.verdict is Verdict.DROP
                fate, reason = (Fate.DROPPED, decision.reason) if drop else (Fate.MOOT, self._ended_untold)
                self._fate(change, key, None, fate, decision.rule, reason, 0)
                named.add(key)
        if not named:
            self._nowhere(change)
            named.add(NOWHERE)
        return named

    def drop(self, member: Any, reason: str) -> None:
        """Nobody is to be told of this member any more."""
        self._update(member, verdict="drop", at=None, inhibitor=None, reason=reason)
        self._move(member["id"], Fate.DROPPED, member["rule"], reason)
        if member["slot"] is None:
            self._tx.run(DUE, conversation=member["conversation_id"])

    def _end(self, member: Any) -> tuple[Fate, str]:
        if member["told"] in ("firing", "maybe"):
            if member["status"] == "firing":
                self._update(member, status="resolved", at=self._now)
            return Fate.PENDING, "its end is to be told"
        if member["slot"] is not None and member["verdict"] == "digest":
            self._update(member, status="resolved", at=None)
            return Fate.DIGEST, member["reason"]
        if member["told"] == "resolved" and member["status"] == "resolved":
            return Fate.DELIVERED, "told already"
        self._update(member, status="resolved", at=None, inhibitor=None)
        self._move(member["id"], Fate.MOOT, member["rule"], self._ended_untold)
        return Fate.MOOT, self._ended_untold

    def _decide_anew(self, member: Any, decision: Decision, fate: Fate) -> None:
        """A member whose firing nobody was told of: the newest decision counts."""
        waited = (
            member["status"] == "firing"
            and member["verdict"] in ("send", "hold")
            and member["at"] is not None
        )
        at = _due(decision)
        if decision.verdict is Verdict.SEND and waited and at is not None:
            at = min(at, member["at"])
        held_since = member["held_since"] if member["status"] == "firing" else None
        if held_since is None and decision.verdict in (Verdict.HOLD, Verdict.INHIBITED):
            held_since = self._now
        self._update(
            member, status="firing", verdict=decision.verdict, at=at, rule=decision.rule, reason=decision.reason,
            inhibitor=decision.inhibitor, held_since=held_since,
        )  # fmt: skip
        self._move(member["id"], fate, decision.rule, decision.reason)
        if member["verdict"] == "drop" and decision.verdict is not Verdict.DROP:
            self._tx.run(
                REOPEN_FATE, member=member["id"], alert=self._subject.alert, fate_=fate, rule_=decision.rule,
                reason_=decision.reason, now=self._now,
            )  # fmt: skip

    def _add(self, conversation: int, decision: Decision) -> int:
        held = decision.verdict in (Verdict.HOLD, Verdict.INHIBITED)
        return self._tx.add(
            ADD_MEMBER, conversation_id=conversation, alert_id=self._subject.alert, status="firing", told="none",
            verdict=decision.verdict, at=_due(decision),
            rule=decision.rule, reason=decision.reason, inhibitor=decision.inhibitor,
            held_since=self._now if held else None,
        )  # fmt: skip

    def _update(self, member: Any, **values: Any) -> None:
        fields = ("status", "verdict", "at", "rule", "reason", "inhibitor", "held_since")
        merged = {f"{name}_": values.get(name, member[name]) for name in fields}
        self._tx.run(UPDATE_MEMBER, member=member["id"], **merged)

    def _move(self, member: int, fate: Fate, rule: str, reason: str) -> None:
        self._tx.run(MOVE_FATES, member=member, fate_=fate, rule_=rule, reason_=reason, now=self._now)

    def _nowhere(self, change: int) -> None:
        """A receiver without destinations is a black hole by choice; the ledger says so."""
        self._fate(change, NOWHERE, None, Fate.DROPPED, "route", "its receiver has no destinations", 0)

    def _fate(
        self,
        change: int | None,
        destination: str,
        member: int | None,
        fate: Fate,
        rule: str,
        reason: str,
        version: int,
    ) -> None:
        if change is None:  # the rules name a destination that they did not when the change was accepted
            change = self._tx.one(LAST_CHANGE, alert=self._subject.alert)["id"]
            self._tx.run(ANOTHER_DESTINATION, change=change)
        self._tx.add(
            ADD_FATE, change_id=change, destination=destination, member_id=member, fate=fate, rule=rule,
            reason=reason, version=version, at=self._now, updated_at=self._now,
        )  # fmt: skip


def _due(decision: Decision) -> Millis | None:
    """When a member is to be told by itself; a digest's is told with its slot."""
    return decision.at if decision.verdict in (Verdict.SEND, Verdict.HOLD) else None


def reconsider(tx: Transaction, policy: Policy, alert_id: int, now: Millis) -> frozenset[str]:
    """Judge a firing alert anew: its inhibitor ended, its time came, or the rules changed.

    The destinations that may have something to do now.
    """
    alert = tx.one(ALERT, alert=alert_id)
    if alert["status"] != "firing":
        return frozenset()
    decisions = judge(tx, policy, labels_of(alert), about_of(alert), now)
    if alert["withheld"] is not None:
        decisions = _withheld(decisions, alert["withheld"])
    named = {decision.destination.key for decision in decisions}
    group_ids = {alert["group_id"]}
    for member in tx.all(MEMBERS_OF_ALERT, alert=alert_id):
        if member["state"] != "open" or member["status"] != "firing" or member["told"] not in UNTOLD:
            continue
        if member["group_id"] is not None:
            group_ids.add(member["group_id"])
        if member["rule"].startswith(FAILOVER):  # no hour holds back what is told instead
            key = member["destination"]
            decisions = tuple(
                each for each in decisions if each.destination.key != key or each.verdict is not Verdict.HOLD
            )
        if member["destination"] in named or member["verdict"] in ("drop", "dead"):
            continue
        if not (member["rule"].startswith(FAILOVER) and policy.names(member["destination"])):
            Placing(tx, policy, subject_of(tx, alert, alert["group_id"]), now).drop(
                member, "not routed here any more"
            )
    for group_id in sorted(group_ids):
        Placing(tx, policy, subject_of(tx, alert, group_id), now).firing(decisions, None)
    return frozenset(named)


def _withheld(decisions: tuple[Decision, ...], why: str) -> tuple[Decision, ...]:
    """What Alertmanager itself would not tell now is no news. What it only lacks is still in the next digest."""
    stays = (Verdict.DROP, Verdict.DIGEST) if why == ABSENT else (Verdict.DROP,)
    return tuple(
        each if each.verdict in stays else Decision(each.destination, Verdict.INHIBITED, None, each.rule, why)
        for each in decisions
    )


def subject_of(tx: Transaction, alert: Any, group_id: int) -> Subject:
    group = tx.one(GROUP, group=group_id)
    return Subject(
        alert["id"], alert["source"], alert["fingerprint"], alert["level"],
        group["id"], group["receiver"], group["group_key"],
    )  # fmt: skip
