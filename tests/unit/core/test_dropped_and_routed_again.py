"""Rules drop an alert that no destination was notified of, and then route it again: each change has a fate of its own."""

from dataclasses import replace

import pytest

from router.core.accept import accept_webhook
from router.core.judging import rejudge
from router.core.state import State
from router.decide import Route
from router.model import MINUTE, Alert, Fate, Status, Webhook
from tests.histories.policies import adoption, moment
from tests.unit.core.cell_play import in_memory

_POLICY = adoption("office").policy
_WITHOUT = replace(_POLICY, root=Route("route", "nobody"), receivers={"nobody": ()}, schedules={})
_SLACK = "slack:C0WARNINGS"
_NOW = moment(12 * 3_600)


def _post(state: State, after: int) -> None:
    labels = {"alertname": "Slow", "severity": "warning"}
    alert = Alert("f", labels, {}, Status.FIRING, _NOW)
    accept_webhook(state, Webhook("hook", "g", {}, "", 0, (alert,)), "prod", b"{}", _POLICY, _NOW + after)


def _fates(state: State) -> list[str]:
    """The fates of the changes at Slack, in their order."""
    return [row.fate for row in sorted(state.fates, key=lambda row: row.id) if row.destination == _SLACK]


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_new_report_leaves_the_fate_of_the_last_one(repeats: int) -> None:
    state = in_memory()
    for number in range(repeats):
        _post(state, number * MINUTE)
    (alert,) = state.alerts
    rejudge(state, _WITHOUT, alert.id, _NOW + 5 * MINUTE)
    assert _fates(state) == [Fate.DROPPED] * repeats
    _post(state, 10 * MINUTE)
    assert _fates(state) == [*[Fate.DROPPED] * repeats, Fate.PENDING]


def test_without_a_new_report_its_last_change_waits_again() -> None:
    state = in_memory()
    _post(state, 0)
    (alert,) = state.alerts
    rejudge(state, _WITHOUT, alert.id, _NOW + 5 * MINUTE)
    rejudge(state, _POLICY, alert.id, _NOW + 10 * MINUTE)
    assert _fates(state) == [Fate.PENDING]
