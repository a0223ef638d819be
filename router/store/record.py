"""What came of a delivery, put on the books."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import Broken, Delivered, Fate, Millis, Outcome, Rejected, Retry
from router.render.words import counted
from router.store.accept import complete
from router.store.conversation import DUE, close, close_if_empty, open_conversation
from router.store.dead import bury, leave_out, tell_instead
from router.store.digests import advance
from router.store.place import ANY_VERSION, ENDED_UNTOLD, FINISH_FATES, GROUP, UNTOLD
from router.store.schema import conversations, deliveries, fates, members
from router.store.work import Work
from router.store.writer import Statement, Transaction, among

# Of recipients in one line of the log of attempts; the rest is counted.
_NAMED = 5

_TELL_MEMBER = Statement(
    sa.update(members)
    .where(members.c.id == p("member"))
    .values(
        told=p("told_"),
        held_since=None,
        at=sa.case((members.c.status == p("told_"), None), else_=p("now")),
    )
)
_STATUS = Statement(sa.select(members.c.status).where(members.c.id == p("member")))
_UNCLAIM_MEMBER = Statement(
    sa.update(members).where(members.c.id == p("member"), members.c.told == "maybe").values(told=p("told_"))
)
_MOOT_MEMBER = Statement(
    sa.update(members)
    .where(members.c.id == p("member"), members.c.status == "resolved", among(members.c.told, UNTOLD))
    .values(at=None, inhibitor=None)
)
_ACCEPTED_AT = Statement(
    sa.select(sa.func.min(fates.c.at).label("at")).where(
        fates.c.member_id == p("member"), fates.c.fate == "pending", fates.c.version <= p("version_")
    )
)
_SYNCED = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values(synced=p("version_"), attempts=0, partly=0, not_before=p("not_before_"), remote=p("remote_"))
)
_FAILED = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values(attempts=p("attempts_"), partly=p("partly_"), not_before=p("not_before_"), remote=p("remote_"))
)
_VERSION = Statement(sa.select(conversations.c.wanted).where(conversations.c.id == p("conversation")))
_STILL_TOLD = Statement(
    sa.select(members.c.id)
    .where(members.c.conversation_id == p("conversation"), among(members.c.told, ("firing", "maybe")))
    .limit(1)
)
_UNTOLD_MEMBERS = Statement(
    sa.select(members).where(
        members.c.conversation_id == p("conversation"),
        members.c.status == "firing",
        among(members.c.told, UNTOLD),
    )
)
_MOVE_MEMBER = Statement(
    sa.update(members).where(members.c.id == p("member")).values(conversation_id=p("to"), told="none", open=1)
)
_FINISH_DELIVERY = Statement(
    sa.update(deliveries)
    .where(deliveries.c.id == p("delivery"))
    .values(finished_at=p("now"), outcome=p("outcome_"), reason=p("reason_"), words=p("words_"))
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of putting an outcome on the books."""

    accepted: tuple[Millis, ...] = ()
    """When the changes that were told had been accepted (not those that were held back on purpose)."""
    wake: frozenset[str] = frozenset()
    """The other destinations that have something to do now."""


def record(
    tx: Transaction, work: Work, outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
) -> Recorded:
    """Put an attempt's outcome on the books.

    :param not_before: when the conversation may be tried again, if this failed
    """
    recorded = (
        _storm(tx, work, outcome, policy, now, not_before)
        if work.conversation.storm is not None
        else effect(tx, work, outcome, policy, now, not_before)
    )
    again = "an attempt before may have arrived as well" if work.may_have_arrived else ""
    reason, words = (again, "") if isinstance(outcome, Delivered) else (outcome.reason, outcome.words)
    tx.run(
        _FINISH_DELIVERY,
        delivery=work.delivery,
        now=now,
        outcome_=type(outcome).__name__.lower(),
        reason_=reason,
        words_="; ".join(filter(None, [words, _left_out(outcome)])),
    )
    return recorded


def effect(
    tx: Transaction, work: Work, outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
) -> Recorded:
    """What an outcome does to a conversation; for the parts of a storm as well."""
    match outcome:
        case Delivered():
            accepted = _delivered(tx, work, outcome, policy, now)
            return Recorded(accepted, leave_out(tx, work, outcome.refused, policy, now))
        case Retry() | Broken():
            _retry(tx, work, outcome, now, not_before)
            if isinstance(outcome, Retry):
                return Recorded(wake=leave_out(tx, work, outcome.refused, policy, now))
        case Rejected():
            given_up = _maybe_told(work) if outcome.ambiguous else work
            return Recorded(wake=bury(tx, given_up, outcome.shown, policy, now))
    return Recorded()


def _left_out(outcome: Outcome) -> str:
    """Who was not told, though the others were."""
    refused = outcome.refused if isinstance(outcome, Delivered | Retry) else ()
    return counted([f"not to {each.recipient}: {each.shown}" for each in refused], _NAMED, "; ")


def _maybe_told(work: Work) -> Work:
    return replace(work, telling=tuple(replace(each, told_before="maybe") for each in work.telling))


def parts(
    tx: Transaction, works: Iterable[Work], outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
) -> Recorded:
    """What the outcome of a storm's message does to conversations that it took along. Who was not told of the storm
    has a letter of its message, and others are told instead of what each of them was to tell.
    """
    accepted: list[Millis] = []
    wake: set[str] = set()
    refused = outcome.refused if isinstance(outcome, Delivered) else ()
    for work in works:
        for each in refused:
            wake |= tell_instead(tx, work, each.shown, policy, now)
        own = _with_own_remote(outcome, work)
        recorded = effect(tx, work, own, policy, now, not_before)
        accepted += recorded.accepted
        wake |= recorded.wake
    return Recorded(tuple(accepted), frozenset(wake))


def _with_own_remote(outcome: Outcome, work: Work) -> Outcome:
    """A conversation that was told by a storm's message has the remote state that it had."""
    match outcome:
        case Rejected():
            return outcome
        case Delivered():
            return Delivered(work.conversation.remote)
        case Retry():
            return replace(outcome, remote=work.conversation.remote, further=False)
    return replace(outcome, remote=work.conversation.remote)


def _storm(
    tx: Transaction, work: Work, outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
) -> Recorded:
    view = work.conversation.storm
    match outcome:
        case Delivered():
            _synced(tx, work, outcome, not_before)
            leave_out(tx, work, outcome.refused, policy, now)
        case Retry() | Broken():
            _failed(tx, work, outcome, not_before)
    if isinstance(outcome, Rejected) or (isinstance(outcome, Delivered) and view is not None and view.over):
        close(tx, work.id)
    return Recorded()


def _delivered(
    tx: Transaction, work: Work, outcome: Delivered, policy: Policy, now: Millis
) -> tuple[Millis, ...]:
    version = work.conversation.version
    accepted: list[Millis] = []
    digest = work.conversation.digest is not None
    for each in work.telling:
        if not each.held:
            at = tx.one(_ACCEPTED_AT, member=each.member, version_=version)["at"]
            if at is not None:
                accepted.append(at)
        up_to = version
        if not digest:
            tx.run(_TELL_MEMBER, member=each.member, told_=each.status, now=now)
            if tx.one(_STATUS, member=each.member)["status"] == each.status:
                up_to = ANY_VERSION  # what came meanwhile says the same: the destination knows it now
        tx.run(
            FINISH_FATES, member=each.member, version_=up_to, fate_=Fate.DELIVERED, reason_="told", now=now
        )
    _synced(tx, work, outcome, 0)
    if digest:
        _close_digest(tx, work, policy, now)
    else:
        tx.run(DUE, conversation=work.id)
        if work.conversation.over:
            _close(tx, work, now)
        elif work.conversation.truncated and work.group is not None:
            _complete_by_now(tx, work.group, now)
    return tuple(accepted)


def _complete_by_now(tx: Transaction, group: int, now: Millis) -> None:
    """While this was on its way, Alertmanager may have shown the whole group."""
    if tx.one(GROUP, group=group)["truncated"] == 0:
        complete(tx, group, now)


def _synced(tx: Transaction, work: Work, outcome: Delivered, not_before: Millis) -> None:
    """:param not_before: when there may be more to tell; 0: at once"""
    tx.run(
        _SYNCED, conversation=work.id, version_=work.conversation.version, not_before_=not_before,
        remote_=json.dumps(dict(outcome.remote)),
    )  # fmt: skip


def _failed(tx: Transaction, work: Work, outcome: Retry | Broken, not_before: Millis) -> None:
    remote = work.conversation.remote if outcome.remote is None else outcome.remote
    further, partly = (outcome.further, bool(outcome.late)) if isinstance(outcome, Retry) else (False, False)
    tx.run(
        _FAILED, conversation=work.id, attempts_=0 if further else work.conversation.attempt,
        not_before_=not_before, remote_=json.dumps(dict(remote)), partly_=int(partly),
    )  # fmt: skip


def _close(tx: Transaction, work: Work, now: Millis) -> None:
    """The conversation is over. What fires untold (held, inhibited, or anew) begins another."""
    if tx.one(_STILL_TOLD, conversation=work.id) is not None:
        return
    waiting = tx.all(_UNTOLD_MEMBERS, conversation=work.id)
    version = tx.one(_VERSION, conversation=work.id)["wanted"]
    close(tx, work.id)
    if not waiting:
        return
    successor = open_conversation(
        tx, work.conversation.destination, work.source, work.subject, now,
        group_id=work.group, wanted=version, synced=version,
    )  # fmt: skip
    for member in waiting:
        tx.run(_MOVE_MEMBER, member=member["id"], to=successor.id)
    tx.run(DUE, conversation=successor.id)


def _close_digest(tx: Transaction, work: Work, policy: Policy, now: Millis) -> None:
    if work.conversation.destination in policy.schedules:  # else it went while this was on its way
        advance(tx, work.id, work.conversation.destination, policy, now)
    close(tx, work.id)


def _retry(tx: Transaction, work: Work, outcome: Retry | Broken, now: Millis, not_before: Millis) -> None:
    _failed(tx, work, outcome, not_before)
    if work.conversation.digest is None and not outcome.ambiguous:
        for each in work.telling:
            if each.told_before == "maybe":
                continue
            tx.run(_UNCLAIM_MEMBER, member=each.member, told_=each.told_before)
            # It may have ended while the attempt was under way: then nobody was told, and nobody will be.
            if tx.run(_MOOT_MEMBER, member=each.member):
                tx.run(
                    FINISH_FATES,
                    member=each.member,
                    version_=ANY_VERSION,
                    fate_=Fate.MOOT,
                    reason_=ENDED_UNTOLD,
                    now=now,
                )
        tx.run(DUE, conversation=work.id)
        close_if_empty(tx, work.id)
