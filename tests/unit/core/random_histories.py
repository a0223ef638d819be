"""Plays histories in memory: webhooks, answers of Alertmanager, other rules, attempts and their outcomes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from router.core.accept import accept_webhook
from router.core.adopt import Adoption, adopt_rules, reindex, retire, save_cursor
from router.core.claim import claim_conversation
from router.core.claimed_delivery import ClaimedDelivery
from router.core.dead_letter_settling import DeliveryUnderWay, discard_dead_letter, retry_dead_letter
from router.core.judging import rejudge_all
from router.core.presence import Answer, Reported, confirm
from router.core.record import record_outcome
from router.core.rows import FIRING, OF_DIGEST, MemberRow
from router.core.unsent_ends import sends_ends
from router.model import (
    MINUTE,
    Alert,
    Broken,
    Delivered,
    Destination,
    Millis,
    Outcome,
    Refusal,
    Rejected,
    Retry,
    Status,
    Webhook,
)
from tests.histories.policies import NAMES, adoption, moment
from tests.unit.core.cell_play import in_memory
from tests.unit.core.cells import Cell, Member

_NAMES = "abcd"
_LEVELS = ("critical", "warning", "info", "critical")
_WAITS: tuple[Millis, ...] = (1, 10, 300, 3_600, 14 * 3_600, 24 * 3_600)
_OUTCOMES: tuple[Outcome, ...] = (
    Delivered({"ts": "1"}), Retry("http 503"), Retry("timeout", ambiguous=True), Rejected("http 400"),
    Rejected("timeout", ambiguous=True), Broken("token_revoked"), Delivered({}, refused=(Refusal("bob", "550"),)),
)  # fmt: skip
STEPS = ("post", "post", "post", "wait", "claim", "claim", "record", "record", "reload", "answer", "settle")

Step = tuple[str, int]


@cache
def _rules(number: int, *, without_ends: bool) -> Adoption:
    """Return the rules of one of the recorded histories; all its destinations may have ``send_resolved: false``."""
    rules = adoption(NAMES[number])
    if not without_ends:
        return rules
    receivers = {
        name: tuple(replace(each, send_resolved=each.digest) for each in several)
        for name, several in rules.policy.receivers.items()
    }
    policy = replace(
        rules.policy, receivers=receivers, fingerprint=f"{rules.policy.fingerprint} without ends"
    )
    return Adoption(policy, {each.key: kept(each) for each in policy.destinations.values()})


def kept(destination: Destination) -> str:
    """Return the part of a kept destination that the core reads."""
    return json.dumps({"options": {"send_resolved": destination.send_resolved}})


class RandomHistory:
    def __init__(self) -> None:
        self.state = in_memory()
        self.now = moment(17 * 3_600)
        self.policy_number = 0
        self.under_way: dict[int, ClaimedDelivery] = {}
        self.starts: dict[str, Millis] = {}
        self.reload(0)

    def do(self, step: Step) -> list[Cell]:
        """Run a step; return the cells that it met."""
        name, number = step
        met: list[Cell] = list(getattr(self, name)(number) or ())
        return met + [self.cell("", each) for each in self.state.members]

    def cell(self, event: str, member: MemberRow, knew: str = "") -> Cell:
        conversation = self.state.conversations[member.conversation_id]
        due = "none" if member.at is None else "now" if member.at <= self.now else "later"
        kind = "digests" if conversation.kind == OF_DIGEST else "messages"
        if kind == "messages" and not sends_ends(self.state, self.policy, conversation.destination):
            kind = "without ends"
        return Cell(kind, event, Member(member.decision, member.notified, member.status, due), knew)

    def reload(self, number: int) -> None:
        self.rules = _rules(number % len(NAMES), without_ends=number // len(NAMES) % 2 == 1)
        self.policy = self.rules.policy
        alerts = [row.id for row in self.state.alerts if row.status == FIRING]
        if adopt_rules(self.state, self.rules, self.now).left:
            reindex(self.state, self.policy, alerts)
            rejudge_all(self.state, self.policy, alerts, self.now)
            save_cursor(self.state, None)
        known = frozenset(row.destination for row in self.state.conversations if row.known)
        retire(self.state, self.policy, known)

    def wait(self, number: int) -> None:
        self.now += _WAITS[number % len(_WAITS)] * 1_000

    def post(self, number: int) -> Iterator[Cell]:
        """Two bits of the number say what each alert does: nothing, fire or end."""
        group, truncated = number % 2, (number // 2) % 3 // 2
        alerts = []
        for index, (name, level) in enumerate(zip(_NAMES, _LEVELS, strict=True)):
            does = number >> (3 + 2 * index) & 3
            if does:
                alerts.append(self._alert(name, level, fires=does < 3))
        before = list(self.state.members)
        webhook = Webhook("hook", f"g{group}", {}, "http://a", truncated, tuple(alerts))
        accept_webhook(self.state, webhook, "prod", b"{}", self.policy, self.now)
        for was in before:
            is_ = self.state.members[was.id]
            if (was.notified, is_.notified) != ("unknown", "unknown") and is_.notified == "unknown":
                yield self.cell(
                    "shown whole", was._replace(status=is_.status, at=None)
                )  # the alert ends before the group is shown whole

    def _alert(self, name: str, level: str, *, fires: bool) -> Alert:
        if fires:
            self.starts.setdefault(name, self.now)
        start = self.starts.get(name, self.now) if fires else self.starts.pop(name, self.now)
        status = Status.FIRING if fires else Status.RESOLVED
        labels = {"alertname": "Down", "cluster": "c1", "instance": name, "severity": level}
        return Alert(name, labels, {}, status, start, None if fires else self.now)

    def answer(self, number: int) -> None:
        """Alertmanager answers that some firing alerts are silenced."""
        firing = [row for row in self.state.alerts if row.status == FIRING]
        has = {
            row.identity: Reported(0, "silenced" if number >> index & 1 else None)
            for index, row in enumerate(firing)
        }
        self.now += 1
        asked = Answer("prod", self.now, has, MINUTE)
        confirm(self.state, asked, [row.id for row in firing], self.policy, self.now)

    def claim(self, number: int) -> None:
        due = [row.id for row in self.state.conversations if row.is_due(self.now)]
        reached = [each for each in due if self._is_reached(each)]
        if reached:
            id_ = reached[number % len(reached)]
            work = claim_conversation(self.state, id_, self.policy, self.now, quiet_digest=number % 3 == 0)
            if work is not None:
                self.under_way[id_] = work

    def _is_reached(self, conversation: int) -> bool:
        """Return whether a conversation has a lane: a digest that the rules do not name has none."""
        row = self.state.conversations[conversation]
        return row.slot is None or row.destination in self.policy.schedules

    def record(self, number: int) -> Iterator[Cell]:
        if not self.under_way:
            return
        outcome = _OUTCOMES[number % len(_OUTCOMES)]
        work = self.under_way.pop(sorted(self.under_way)[number // len(_OUTCOMES) % len(self.under_way)])
        for each in work.notices:
            member = self.state.members[each.member]
            event = {"Delivered": "delivered", "Rejected": "given up"}.get(type(outcome).__name__, "failed")
            if isinstance(outcome, Retry) and outcome.ambiguous:
                event = "in doubt"
            late = " late" if member.status != each.status and event in ("delivered", "given up") else ""
            yield self.cell(event + late, member, each.notified_before)
        record_outcome(self.state, work, outcome, self.policy, self.now, self.now)

    def settle(self, number: int) -> None:
        letters = [row.id for row in self.state.dead_letters if row.state == "dead"]
        if not letters:
            return
        letter = letters[number // 4 % len(letters)]
        if number % 4 == 0:
            discard_dead_letter(self.state, letter, self.now)
            return
        try:
            retry_dead_letter(self.state, letter, self.policy, self.now)
        except DeliveryUnderWay:
            return
