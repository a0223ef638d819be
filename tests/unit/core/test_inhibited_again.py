"""An inhibitor delays a first notification only. It does not delay an alert that a destination may still show."""

from router.core.accept import accept_webhook
from router.core.claim import claim_conversation
from router.core.dead_letter_settling import retry_dead_letter
from router.core.record import record_outcome
from router.core.rows import GIVEN_UP, ConversationRow
from router.core.state import State
from router.model import HOUR, Alert, Delivered, Fate, Millis, Outcome, Rejected, Status, Webhook
from tests.histories.policies import adoption, moment
from tests.unit.core.cell_play import in_memory

_POLICY = adoption("office").policy
_SLACK = "slack:C0WARNINGS"
_WARNING, _CRITICAL = "warning", "critical"


class Rigged:
    """A warning whose end was given up, which then fires again, inhibited; then the dead letter is tried again."""

    def __init__(self, given_up: Rejected) -> None:
        self.state: State = in_memory()
        self.now: Millis = moment(12 * 3_600)
        self.post(_WARNING, Status.FIRING)
        self.deliver(Delivered({"ts": "1"}))
        self.post(_WARNING, Status.RESOLVED)
        self.deliver(given_up)
        (member,) = self.state.members
        assert member.decision == GIVEN_UP
        self.post(_CRITICAL, Status.FIRING)
        self.post(_WARNING, Status.FIRING)
        (letter,) = self.state.dead_letters
        retry_dead_letter(self.state, letter.id, _POLICY, self.now)

    def post(self, level: str, status: Status) -> None:
        self.now += HOUR // 4
        labels = {"alertname": level, "cluster": "c1", "severity": level}
        ended = None if status is Status.FIRING else self.now
        alert = Alert(level, labels, {}, status, self.now, ended)
        webhook = Webhook("hook", level, {}, "", 0, (alert,))
        accept_webhook(self.state, webhook, "prod", b"{}", _POLICY, self.now)

    @property
    def conversation(self) -> ConversationRow:
        (found,) = (row for row in self.state.conversations if row.destination == _SLACK)
        return found

    def deliver(self, outcome: Outcome) -> None:
        self.now += HOUR // 4
        assert self.conversation.next_at is not None, "nothing is due"
        work = claim_conversation(self.state, self.conversation.id, _POLICY, self.now)
        assert work is not None
        record_outcome(self.state, work, outcome, _POLICY, self.now, self.now)

    @property
    def fates(self) -> set[str]:
        """The fates of the warning's last change."""
        alert = next(row for row in self.state.alerts if row.level == _WARNING)
        return {row.fate for row in self.state.fates.of("change", alert.last_change_id)}


def test_a_retry_sends_it_where_its_end_may_have_arrived() -> None:
    world = Rigged(Rejected("timeout", ambiguous=True))
    world.deliver(Delivered({"ts": "1"}))
    assert world.fates == {Fate.DELIVERED}


def test_a_retry_is_delivered_where_the_firing_is_still_shown() -> None:
    world = Rigged(Rejected("http 400"))
    assert world.fates == {Fate.DELIVERED}
    world.post(_WARNING, Status.RESOLVED)
    world.deliver(Delivered({"ts": "1"}))
    assert world.fates == {Fate.DELIVERED}
