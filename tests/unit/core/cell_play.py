"""Plays one cell of the table of a member through the transitions."""

import json
from dataclasses import dataclass, replace
from typing import Any

from router.core import rows
from router.core.claim import begin, claim_conversation, conversation_of, work_of
from router.core.claimed_delivery import ClaimedDelivery, Notice
from router.core.conversations import open_conversation, open_slot, put_member
from router.core.dead_letter_settling import discard_dead_letter, retry_dead_letter
from router.core.digests import FIRED_SINCE
from router.core.ending import EndTransition
from router.core.fates import add
from router.core.firing import FiringTransition
from router.core.groups import complete_group
from router.core.judging import rejudge
from router.core.record import record_outcome
from router.core.release import MANY_MUTED
from router.core.rows import (
    AlertRow,
    ChangeRow,
    ConversationRow,
    DeadLetterRow,
    DestinationRow,
    FateRow,
    GroupRow,
    MemberRow,
    MetaRow,
)
from router.core.state import State
from router.core.subjects import subject_of
from router.decide import Policy, Route, Severity
from router.decide.hours import Schedule
from router.decide.inhibition import Inhibition, Rule
from router.decide.matchers import parse_matchers
from router.model import (
    Decision,
    DecisionKind,
    Delivered,
    Destination,
    DigestView,
    Fate,
    Millis,
    Outcome,
    Rejected,
    Retry,
)
from tests.unit.core.cells import DUE, JUDGED, LATER, NOW, OPEN_FATE, OPENING, PASSED, After, Cell, other

_DESTINATIONS = {
    "messages": Destination("slack:C1", "slack", None),
    "without ends": Destination("slack:C2", "slack", None, send_resolved=False),
    "digests": Destination("digest:daily", "digest", None, digest=True),
}
_POLICIES = {
    kind: Policy(
        Severity(),
        Route("route", "all"),
        {"all": (each,)},
        {"digest:daily": Schedule(8 * 60)},
        # A rule may mute the alert, so it is judged once more before its first notification.
        inhibition=Inhibition(
            (Rule(parse_matchers("a=b"), parse_matchers("severity=critical"), (), "rule"),)
        ),
        fingerprint=kind,
    )
    for kind, each in _DESTINATIONS.items()
}
_LABELS = '{"alertname": "Down", "severity": "critical"}'


def decision_of(
    kind: DecisionKind, destination: Destination | None, repeat: Millis | None = None
) -> Decision:
    at = {DecisionKind.SEND: NOW, DecisionKind.HOLD: OPENING, DecisionKind.DIGEST: LATER}.get(kind)
    return Decision(destination or _DESTINATIONS["messages"], kind, at, "route", "because", repeat=repeat)


class _Answers(dict[Any, Any]):
    """The answers of a database without history."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: tuple[str, Any]) -> Any:
        return 1 if key[0] in {FIRED_SINCE, MANY_MUTED} else []


def in_memory() -> State:
    state = State(complete=True)
    state.answers = _Answers()
    state.meta.put(MetaRow("database_id", "1" * 32))
    return state


@dataclass
class Play:
    cell: Cell

    def __post_init__(self) -> None:
        self.state, self.destination = in_memory(), _DESTINATIONS[self.cell.kind]
        self.policy = _POLICIES[self.cell.kind]
        state, before = self.state, self.cell.before
        group = state.groups.put(GroupRow(state.new_id(), "s", "all", "g", "{}", "", 1))
        # An alert that fires in another group may have ended in this one.
        fires = self.cell.event in (*JUDGED, "unrouted") or before.status == rows.FIRING
        self.alert = state.alerts.put(
            AlertRow(
                id=state.new_id(), source="s", identity="i", group_id=group.id, labels=_LABELS, annotations=b"{}",
                links="{}", generator_url="", status=rows.FIRING if fires else rows.RESOLVED, level="critical",
                starts_at=0, ends_at=None, peer="", changed_at=0, seen_at=0, note="", withheld=None, absent_at=None,
                fingerprint="f", about=None, latest_start=None, doubt_until=None, doubt=None, listed_by="",
                fires_until=None, claimed_firing_at=None, last_change_id=None,
            )
        )  # fmt: skip
        state.destinations.put(DestinationRow(self.destination.key, "{}"))
        self.subject = subject_of(state, self.alert, group.id)
        if self.destination.digest:
            conversation, _ = open_slot(state, self.policy, self.destination.key, NOW, generation=5)
        else:
            source, subject = self.subject.at(self.destination)
            conversation, _ = open_conversation(
                state, self.destination.key, source, rows.OF_GROUP, subject, NOW, group_id=group.id, generation=5,
                notified_at=PASSED,
            )  # fmt: skip
        self.member = put_member(
            state,
            MemberRow(
                state.new_id(), conversation.id, self.alert.id, 1, before.status, before.notified, before.decision,
                DUE[before.due], "route", "", None, None, 0,
            ),
        )  # fmt: skip
        self.open, self.since = self._fate(OPEN_FATE, 5), self._fate(OPEN_FATE, 6)
        self.dead = self._fate(str(Fate.DEAD), 5)

    def _fate(self, fate: str, generation: int) -> FateRow:
        given_up_end = fate == Fate.DEAD and self.cell.event == "resolves: given up"
        number = self._change("resolved" if given_up_end else "fired")
        add(
            self.state,
            number,
            self.destination.key,
            self.member.id,
            (Fate(fate), "route", ""),
            generation,
            NOW,
        )
        return self.state.fates.of("change", number)[0]

    def _change(self, kind: str = "fired") -> int:
        state = self.state
        return state.changes.put(ChangeRow(state.new_id(), 0, self.alert.id, kind, "critical", NOW, 1)).id

    def run(self) -> After:
        """Apply the event; return the state after it."""
        change = 0
        event, state = self.cell.event, self.state
        if event in JUDGED or event.startswith("resolves"):
            if event == "resolves: under way":
                begin(state, self._work(rows.FIRING), NOW)
            change = self._reported()
        elif event == "unrouted":
            rejudge(
                state,
                replace(self.policy, root=Route("route", "nowhere"), receivers={"nowhere": ()}),
                self.alert.id,
                NOW,
            )
        elif event == "claimed":
            claim_conversation(state, self._conversation.id, self.policy, NOW, quiet_digest=True)
        elif self.cell.settles:
            self._settled()
        elif event == "shown whole":
            complete_group(state, self.alert.group_id, self.policy, NOW)
        else:
            self._recorded()
        member = state.members[self.member.id]
        fate = state.fates[self.dead.id if self.cell.settles else self.open.id].fate
        reported = state.fates.of("change", change)
        return After(
            member.decision, member.notified, member.status, member.at, reported[0].fate if reported else "",
            fate, state.fates[self.since.id].fate,
        )  # fmt: skip

    @property
    def _conversation(self) -> ConversationRow:
        return self.state.conversations[self.member.conversation_id]

    def _reported(self) -> int:
        how, _, kind = self.cell.event.partition(": ")
        decided = "send" if how == "resolves" else kind
        decision = decision_of(DecisionKind(decided), self.destination, 0 if how == "repeats" else None)
        change = None if how == "judged" else self._change()
        if how == "resolves":
            EndTransition(self.state, self.policy, self.subject, NOW).resolve((decision,), change or 0)
        else:
            FiringTransition(self.state, self.policy, self.subject, NOW).fire((decision,), change)
        return change or 0

    def _work(self, status: str) -> ClaimedDelivery:
        conversation = conversation_of(self._conversation, NOW, (), truncated=1)
        if self.destination.digest:
            conversation = replace(conversation, digest=DigestView(0, NOW))
        conversation = replace(conversation, version=5)
        notice = Notice(self.member.id, status, self.cell.knew or rows.NOTHING, held=False)
        return work_of(self._conversation, conversation, (notice,), NOW)

    def _recorded(self) -> None:
        event, status = self.cell.event, self.cell.before.status
        work = self._work(other(status) if event.endswith("late") else status)
        outcomes: dict[str, Outcome] = {
            "failed": Retry("http 503"),
            "in doubt": Retry("timeout", ambiguous=True),
            "delivered": Delivered({"ts": "1"}),
            "given up": Rejected("http 400"),
        }
        record_outcome(self.state, work, outcomes[event.removesuffix(" late")], self.policy, NOW, NOW)

    def _settled(self) -> None:
        status = rows.RESOLVED if self.cell.event == "again: end" else rows.FIRING
        notice = {"member": self.member.id, "status": status, "notified": self.cell.knew or rows.NOTHING}
        recipient = "bob@example.com" if self.cell.event == "again: recipient" else ""
        letter = self.state.dead_letters.put(
            DeadLetterRow(
                self.state.new_id(), self._conversation.id, self.destination.key, NOW, "http 400", "dead", None,
                json.dumps([notice]), recipient,
            )
        )  # fmt: skip
        if self.cell.event == "discarded":
            discard_dead_letter(self.state, letter.id, NOW)
        else:
            retry_dead_letter(self.state, letter.id, self.policy, NOW)
