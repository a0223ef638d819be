"""Dead letters: what was given up, whom to tell instead, and what somebody makes of it later."""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import KNOWN_FIRING, KNOWN_OVER, LATE, Decision, Fate, Millis, Refusal, Verdict
from router.store.conversation import DUE, FIND_CONVERSATION, close, close_if_empty
from router.store.digests import advance, report_next
from router.store.place import (
    ANY_VERSION,
    ENDED_UNTOLD,
    FAILOVER,
    FINISH_FATES,
    HAS_FATE,
    UNTOLD,
    Placing,
    subject_of,
)
from router.store.schema import (
    alerts,
    conversations,
    dead_letters,
    deliveries,
    destinations,
    fates,
    members,
)
from router.store.work import Telling, Work
from router.store.writer import Statement, Transaction, insert

_GIVE_UP_MEMBER = Statement(
    sa.update(members)
    .where(members.c.id == p("member"))
    .values(told=p("told_"), verdict="dead", at=None, reason=p("reason_"))
)
_STILL_DUE = Statement(
    sa.update(members).where(members.c.id == p("member")).values(told=p("told_"), at=p("now"))
)
_GIVEN_UP = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values(synced=p("version_"), attempts=0, not_before=0)
)
_OPEN_LETTER = Statement(
    sa.select(dead_letters).where(
        dead_letters.c.conversation_id == p("conversation"), dead_letters.c.state == "dead",
        dead_letters.c.recipient == p("recipient"),
    )
)  # fmt: skip
_ADD_LETTER = Statement(insert(dead_letters))
_ADD_TO_LETTER = Statement(
    sa.update(dead_letters)
    .where(dead_letters.c.id == p("letter"))
    .values(at=p("now"), reason=p("reason_"), tellings=p("tellings_"))
)
_LETTER = Statement(
    sa.select(dead_letters).where(dead_letters.c.id == p("letter"), dead_letters.c.state == "dead")
)
_SETTLE = Statement(
    sa.update(dead_letters)
    .where(dead_letters.c.id == p("letter"))
    .values(state=p("state_"), settled_at=p("now"))
)
_ALERT_OF = Statement(
    sa.select(alerts).join(members, members.c.alert_id == alerts.c.id).where(members.c.id == p("member"))
)
_MEMBER = Statement(
    sa.select(members, conversations.c.state, conversations.c.slot)
    .join(conversations, conversations.c.id == members.c.conversation_id)
    .where(members.c.id == p("member"))
)
# By the rules, or because it has yet to be told of other ends.
_REACHED = Statement(sa.select(destinations.c.key).where(destinations.c.key == p("destination")))
_DROP_MEMBER = Statement(sa.update(members).where(members.c.id == p("member")).values(verdict="drop"))
_TELL_AGAIN = Statement(
    sa.update(members)
    .where(members.c.id == p("member"))
    .values(told=p("told_"), verdict="send", at=p("now"), reason="tried again by hand")
)
_RAISE_FATES = Statement(
    sa.update(fates)
    .where(fates.c.member_id == p("member"), fates.c.fate == "dead")
    .values(fate=p("fate_"), reason=p("reason_"), updated_at=p("now"))
)
_TRY_NOW = Statement(
    sa.update(conversations).where(conversations.c.id == p("conversation")).values(attempts=0, not_before=0)
)
_CONVERSATION = Statement(sa.select(conversations).where(conversations.c.id == p("conversation")))
_OPEN_AGAIN = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values(state="open", remote=p("remote_"))
)
_OPEN_ITS_MEMBERS = Statement(
    sa.update(members).where(members.c.conversation_id == p("conversation")).values(open=1)
)
_UNDER_WAY = Statement(
    sa.select(deliveries.c.id)
    .where(deliveries.c.conversation_id == p("conversation"), deliveries.c.outcome.is_(None))
    .limit(1)
)
_STILL_SHOWN = Statement(
    sa.update(members)
    .where(members.c.id == p("member"), members.c.told == "resolved")
    .values(told=p("told_"))
)


class UnderWay(Exception):  # noqa: N818  (says what is so)
    """A delivery of the conversation is being sent at this moment; its outcome would overwrite a retry."""


def bury(tx: Transaction, work: Work, reason: str, policy: Policy, now: Millis) -> frozenset[str]:
    """Give up what this work was to tell, and have the destination's ``on_failure`` receiver told instead.

    The destinations that have something to do now.
    """
    digest = work.conversation.digest is not None
    for each in work.telling:
        _finish(tx, each, Fate.DEAD, reason, now, work.conversation.version)
        if not digest:
            _give_up(tx, each, reason, now)
    tx.run(_GIVEN_UP, conversation=work.id, version_=work.conversation.version)
    _write(tx, work, reason, now)
    woken = tell_instead(tx, work, reason, policy, now)
    if digest:
        if work.conversation.destination in policy.schedules:
            advance(tx, work.id, work.conversation.destination, policy, now)
        close(tx, work.id)
    else:
        tx.run(DUE, conversation=work.id)
    return woken


def leave_out(
    tx: Transaction, work: Work, refused: tuple[Refusal, ...], policy: Policy, now: Millis
) -> frozenset[str]:
    """Give up recipients that could not be told what the others were: a letter each, and the ``on_failure`` receiver
    is told.

    The destinations that have something to do now.
    """
    woken: set[str] = set()
    for each in refused:
        _write(tx, work, each.shown, now, each.recipient)
        woken |= tell_instead(tx, work, f"{each.recipient}: {each.shown}", policy, now)
    return frozenset(woken)


def _give_up(tx: Transaction, telling: Telling, reason: str, now: Millis) -> None:
    """What came meanwhile counts: an end, a new beginning, or the same once more."""
    status = tx.one(_MEMBER, member=telling.member)["status"]
    if status == telling.status:
        told = "resolved" if status == "resolved" else telling.told_before
        _finish(tx, telling, Fate.DEAD, reason, now)
        tx.run(_GIVE_UP_MEMBER, member=telling.member, told_=told, reason_=reason)
    elif status == "firing":
        tx.run(_STILL_DUE, member=telling.member, told_="resolved", now=now)
    elif telling.told_before in UNTOLD:
        _finish(tx, telling, Fate.MOOT, ENDED_UNTOLD, now)
        tx.run(_GIVE_UP_MEMBER, member=telling.member, told_=telling.told_before, reason_=reason)
    else:
        tx.run(_STILL_DUE, member=telling.member, told_=telling.told_before, now=now)


def _finish(
    tx: Transaction, telling: Telling, fate: Fate, reason: str, now: Millis, version: int = ANY_VERSION
) -> None:
    tx.run(FINISH_FATES, member=telling.member, version_=version, fate_=fate, reason_=reason, now=now)


def _write(tx: Transaction, work: Work, reason: str, now: Millis, recipient: str = "") -> None:
    tellings = {each.member: {"status": each.status, "told": each.told_before} for each in work.telling}
    letter = tx.one(_OPEN_LETTER, conversation=work.id, recipient=recipient)
    if letter is None:
        tx.add(
            _ADD_LETTER, conversation_id=work.id, destination=work.conversation.destination, at=now, reason=reason,
            state="dead", settled_at=None, tellings=_written(tellings), recipient=recipient,
        )  # fmt: skip
        return
    for member, telling in _tellings(letter).items():
        known = tellings.setdefault(member, telling)
        # What may be known of its firing there is known until its end is told. What the others know, one who was
        # left out before does not.
        if recipient or telling["told"] not in UNTOLD:
            known["told"] = telling["told"]
    tx.run(_ADD_TO_LETTER, letter=letter["id"], now=now, reason_=reason, tellings_=_written(tellings))


def _written(tellings: dict[int, dict[str, str]]) -> str:
    return json.dumps([{"member": member, **telling} for member, telling in tellings.items()])


def _tellings(letter: Any) -> dict[int, dict[str, str]]:
    return {each.pop("member"): each for each in json.loads(letter["tellings"])}


def tell_instead(tx: Transaction, work: Work, reason: str, policy: Policy, now: Millis) -> frozenset[str]:
    """The ``on_failure`` receiver is told what this work could not tell.

    The destinations that have something to do now.
    """
    key = work.conversation.destination
    receiver = next(
        (each.on_failure for several in policy.receivers.values() for each in several if each.key == key),
        None,
    )
    others = [each for each in policy.receivers.get(receiver or "", ()) if each.key != key]
    woken: set[str] = set()
    for telling in work.telling if others else ():
        alert = tx.one(_ALERT_OF, member=telling.member)
        if telling.status != "firing" or alert["status"] != "firing":
            continue
        decisions = []
        for other in others:
            # One that was to be told anyway is told anyway: two that stand in for each other don't go round. But
            # what is held back there waits no more.
            fate = tx.one(HAS_FATE, alert=alert["id"], destination=other.key)
            if fate is None or fate["fate"] == Fate.HELD:
                verdict, at = Verdict.SEND, now
                if other.digest:
                    verdict, at = Verdict.DIGEST, policy.schedules[other.key].next(now)
                decisions.append(Decision(other, verdict, at, f"{FAILOVER}{key}", f"{key} failed: {reason}"))
        subject = subject_of(tx, alert, work.group or alert["group_id"])
        Placing(tx, policy, subject, now).firing(tuple(decisions), None)
        woken.update(each.destination.key for each in decisions)
    return frozenset(woken)


def retry(tx: Transaction, letter: int, policy: Policy, now: Millis) -> frozenset[str] | None:
    """Try a dead letter again: what of it is still so becomes due, the rest is moot.

    The destinations that have something to do now; None: there is no such letter, or it is settled.

    :raises UnderWay: of a letter of one recipient; nothing was changed
    """
    row = tx.one(_LETTER, letter=letter)
    if row is None:
        return None
    if row["recipient"]:
        if tx.one(_UNDER_WAY, conversation=row["conversation_id"]) is not None:
            raise UnderWay
        _again_alone(tx, row, now)
    else:
        for member, telling in _tellings(row).items():
            _again(tx, row, member, telling, policy, now)
    tx.run(_TRY_NOW, conversation=row["conversation_id"])
    tx.run(_SETTLE, letter=letter, state_="retried", now=now)
    close_if_empty(tx, row["conversation_id"])
    return frozenset({row["destination"]})


def _in_the_next_digest(tx: Transaction, destination: str, member: int, policy: Policy, now: Millis) -> None:
    there = destination in policy.schedules
    fate, reason = (Fate.DIGEST, "tried again by hand") if there else (Fate.DROPPED, "its digest is gone")
    tx.run(_RAISE_FATES, member=member, fate_=fate, reason_=reason, now=now)
    if there:
        report_next(tx, member, destination, policy, now)


def _again(
    tx: Transaction, letter: Any, member_id: int, telling: dict[str, str], policy: Policy, now: Millis
) -> None:
    member = tx.one(_MEMBER, member=member_id)
    if member is None:  # over for so long that it was pruned
        return
    if member["slot"] is not None:
        _in_the_next_digest(tx, letter["destination"], member_id, policy, now)
        return
    fate, reason = Fate.MOOT, ENDED_UNTOLD
    firing, there = member["status"] == "firing", letter["destination"]
    if not policy.names(there) and tx.one(_REACHED, destination=there) is None:
        fate, reason = Fate.DROPPED, "its destination is gone from the rules"
        tx.run(_DROP_MEMBER, member=member_id)  # rules that name it again judge it anew
    elif member["state"] != "open" or (firing and telling["status"] == "resolved"):
        reason = "told otherwise since"
        if (
            member["state"] == "open" and telling["told"] not in UNTOLD
        ):  # it still shows the firing that ended
            tx.run(_STILL_SHOWN, member=member_id, told_=telling["told"])
    elif firing and member["told"] not in UNTOLD and member["told"] != "maybe":
        fate, reason = Fate.DELIVERED, "told already"
    elif firing or (telling["told"] not in UNTOLD and member["told"] == "resolved"):
        fate, reason = Fate.PENDING, "tried again by hand"
        told = "maybe" if member["told"] == "maybe" else telling["told"]
        tx.run(_TELL_AGAIN, member=member_id, told_=told, now=now)
        tx.run(DUE, conversation=member["conversation_id"])
    tx.run(_RAISE_FATES, member=member_id, fate_=fate, reason_=reason, now=now)


def _again_alone(tx: Transaction, letter: Any, now: Millis) -> None:
    """One recipient is told what the others know of what still fires, or of an end whose beginning it was told."""
    conversation = tx.one(_CONVERSATION, conversation=letter["conversation_id"])
    if conversation["slot"] is not None:  # its next digest goes to everybody
        return
    remote = json.loads(conversation["remote"])
    late = remote.get(LATE, {"to": []})
    if conversation["partly"]:  # others are asked once more already
        late["to"].append(letter["recipient"])
        tx.run(_OPEN_AGAIN, conversation=conversation["id"], remote_=json.dumps(remote))
        return
    over = conversation["state"] != "open"
    if over and tx.one(FIND_CONVERSATION, token=conversation["token"])["id"] != conversation["id"]:
        return  # it fires anew, and the recipient is told of that
    known = "resolved" if over else "firing"
    found = False
    for id_, telling in _tellings(letter).items():
        member = tx.one(_MEMBER, member=id_)
        if member is None or (member["status"], member["told"]) != (known, known):
            continue
        if not over or telling["told"] not in UNTOLD:
            # An end was told to all others: what fires anew is news to everybody, so this is no mere "firing".
            tx.run(_STILL_DUE, member=id_, told_="maybe" if over else "firing", now=now)
            found = True
    if found:
        everybody = [*late["to"], letter["recipient"]]
        remote[LATE] = {"to": everybody, "state": KNOWN_OVER if over else KNOWN_FIRING}
        tx.run(_OPEN_AGAIN, conversation=conversation["id"], remote_=json.dumps(remote))
        tx.run(_OPEN_ITS_MEMBERS, conversation=conversation["id"])
        tx.run(DUE, conversation=conversation["id"])


def discard(tx: Transaction, letter: int, now: Millis) -> bool:
    """Somebody has seen it, and nobody is to be told. False: there is no such letter, or it is settled."""
    row = tx.one(_LETTER, letter=letter)
    if row is None:
        return False
    for member in _tellings(row):
        tx.run(_RAISE_FATES, member=member, fate_=Fate.DROPPED, reason_="discarded by hand", now=now)
    tx.run(_SETTLE, letter=letter, state_="discarded", now=now)
    close_if_empty(tx, row["conversation_id"])
    return True
