"""When a dead letter of a removed destination is retried, what is due there is dropped."""

from dataclasses import replace

from router.core.accept import accept_webhook
from router.core.claim import claim_conversation
from router.core.dead_letter_settling import retry_dead_letter
from router.core.record import record_outcome
from router.core.rows import GIVEN_UP
from router.decide import Route
from router.model import MINUTE, Alert, Fate, Rejected, Retry, Status, Webhook
from tests.histories.policies import adoption, moment
from tests.unit.core.cell_play import in_memory

_POLICY = adoption("office").policy
_WITHOUT = replace(_POLICY, root=Route("route", "nobody"), receivers={"nobody": ()}, schedules={})


def test_nothing_stays_due_or_pending_after_the_retry() -> None:
    state, now = in_memory(), moment(12 * 3_600)
    later = now + MINUTE  # the inhibit wait is over

    def post(start: int) -> None:
        labels = {"alertname": "Down", "severity": "warning"}
        alert = Alert("f", labels, {}, Status.FIRING, now + start)
        accept_webhook(state, Webhook("hook", "g", {}, "", 0, (alert,)), "prod", b"{}", _POLICY, now)

    post(0)
    (member,) = state.members
    work = claim_conversation(state, member.conversation_id, _POLICY, later)
    assert work is not None
    record_outcome(state, work, Rejected("http 400"), _POLICY, later, later)
    assert state.members[member.id].decision == GIVEN_UP
    post(1)
    work = claim_conversation(state, member.conversation_id, _POLICY, later)
    assert work is not None
    # The rules changed during the attempt.
    record_outcome(state, work, Retry("http 503"), _WITHOUT, later, later)
    (letter,) = state.dead_letters
    retry_dead_letter(state, letter.id, _WITHOUT, later)
    assert {row.fate for row in state.fates} == {Fate.DROPPED}
    assert state.conversations[member.conversation_id].due_at is None
