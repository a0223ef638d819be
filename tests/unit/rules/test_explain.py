"""`explain` shows what the service does with an alert, and why."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import loads
from router.core.accept import accept_webhook
from router.core.digests import open_slots
from router.core.state import State
from router.decide.explanation import MatchResult
from router.decide.policy import with_level
from router.model import HOUR, MINUTE, Alert, Millis, Status, Webhook
from router.parse import fingerprint
from router.rules.explain import Explainer, explain_among
from router.rules.inputs import GivenAlert
from router.rules.moments import InputError
from tests.examples import examples
from tests.unit.core import oracle

ROOT = Path(__file__).parents[3]
UTC = ZoneInfo("UTC")
FRIDAY_NOON: Millis = 1_795_176_000_000  # 20 Nov 2026 12:00 UTC
OFFICE = {
    "name": "office",
    "time_intervals": [
        {"weekdays": ["monday:friday"], "times": [{"start_time": "09:00", "end_time": "18:00"}]}
    ],
}
NIGHT = {"name": "night", "time_intervals": [{"times": [{"start_time": "20:00", "end_time": "24:00"}]}]}
LUNCH = {"name": "lunch", "time_intervals": [{"times": [{"start_time": "12:00", "end_time": "13:00"}]}]}

_matcher = st.builds(
    lambda name, op, value: f'{name}{op}"{value}"',
    st.sampled_from(["alertname", "team", "severity"]),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.sampled_from(["", "A", "B", "A|B", ".*", ".+", "warning", "critical|info"]),
)
_active = st.sampled_from([[], ["office"], ["night"], ["office", "night"]])
_plain_route = st.fixed_dictionaries(
    {},
    optional={
        "receiver": st.sampled_from(["team", "oncall", "daily", "nobody"]),
        "severity": st.sampled_from(["critical", "warning", "info"]),
        "matchers": st.lists(_matcher, max_size=2),
        "continue": st.booleans(),
        "active_time_intervals": _active,
        "mute_time_intervals": st.sampled_from([[], ["lunch"]]),
        "outside": st.sampled_from(["hold", "drop", "send", {"digest": "daily"}]),
    },
)
_route = st.recursive(
    _plain_route,
    lambda inner: st.tuples(_plain_route, st.lists(inner, max_size=3)).map(
        lambda pair: {**pair[0], "routes": pair[1]}
    ),
    max_leaves=5,
)
_inhibit = st.fixed_dictionaries(
    {
        "source_matchers": st.lists(_matcher, min_size=1, max_size=2),
        "target_matchers": st.lists(_matcher, min_size=1, max_size=2),
        "equal": st.lists(st.sampled_from(["team", "cluster"]), max_size=2, unique=True),
    }
)
_rules = st.builds(
    lambda routes, inhibit: {
        "channels": {"slack": {"token": "t"}, "pagerduty": {},
                     "email": {"smarthost": "h:25", "from": "a@example.com", "tls": "none"}},
        "receivers": {
            "team": [{"slack": {"channel": "C1"}}, {"email": {"to": ["team@example.com"]}}],
            "oncall": [{"pagerduty": {"routing_key": "k" * 32}}, {"slack": {"channel": "C1"}}],
            "daily": [{"digest": {"to": ["team@example.com"], "at": "08:00"}}],
            "nobody": [],
        },
        "time_intervals": [OFFICE, NIGHT, LUNCH],
        "route": {"receiver": "team", "routes": routes},
        "inhibit_rules": inhibit,
    },
    st.lists(_route, max_size=4), st.lists(_inhibit, max_size=3),
)  # fmt: skip
_labels = st.fixed_dictionaries(
    {"alertname": st.sampled_from(["A", "B", "C"])},
    optional={
        "team": st.sampled_from(["", "A", "B"]),
        "severity": st.sampled_from(["critical", "warning", "info", "odd"]),
    },
)
_events = st.lists(st.tuples(_labels, st.booleans(), st.integers(0, 20 * 60)), min_size=1, max_size=8)


def placed(state: State, alert: str) -> dict[str, tuple[Any, ...]]:
    """Return the state of an alert in each open conversation."""
    found: dict[str, tuple[Any, ...]] = {}
    for member in state.members:
        conversation = state.conversations[member.conversation_id]
        known = state.alerts[member.alert_id].fingerprint
        if known == alert and conversation.state == "open" and member.decision != "drop":
            at = conversation.slot if member.decision == "digest" else member.at
            found[conversation.destination] = (member.decision, at, member.rule, member.reason)
    return found


def explained(answer: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    def millis(text: str | None) -> int | None:
        return None if text is None else int(datetime.fromisoformat(text).timestamp()) * 1_000

    return {
        each["destination"]: (each["decision"], millis(each["at"]), each["rule"], each["reason"])
        for each in answer["decisions"]
    }


@given(_rules, _events)
@examples(50)
def test_explain_matches_what_the_service_does(
    rules: dict[str, Any], events: list[tuple[dict[str, str], bool, int]]
) -> None:
    config = loads(json.dumps(rules), name="routes.yaml", folder=ROOT, environ={}, now=FRIDAY_NOON)
    policy, now = config.policy, FRIDAY_NOON
    seen: dict[str, dict[str, str]] = {}
    firing: set[str] = set()
    state = State(complete=True, oracle=oracle.answer)
    open_slots(state, policy, now)
    for number, (labels, fires, minutes) in enumerate(events):
        now += minutes * MINUTE
        name = fingerprint(labels)
        seen.setdefault(name, labels)
        others = [{"labels": seen[each]} for each in seen if each in firing]
        line = json.dumps(
            {
                "labels": labels,
                "at": datetime.fromtimestamp(now / 1_000, UTC).isoformat(),
                "firing": others,
            }
        )
        answer = Explainer(policy, UTC, 0).line(line)
        status = Status.FIRING if fires else Status.RESOLVED
        alert = Alert(name, labels, {}, status, starts_at=FRIDAY_NOON + number)
        receipt = accept_webhook(state, Webhook("r", name, {}, "", 0, (alert,)), "s", b"", policy, now)
        if fires and name not in firing:
            wanted = explained(answer)
            assert dict(receipt.decisions) == {key: each[0] for key, each in wanted.items()}
            assert placed(state, name) == {key: each for key, each in wanted.items() if each[0] != "drop"}
        firing = firing | {name} if fires else firing - {name}


@given(_rules, _labels, st.integers(0, 7 * 24 * 60))
@examples(60)
def test_the_steps_through_the_tree_end_at_the_routes_that_take_it(
    rules: dict[str, Any], labels: dict[str, str], minutes: int
) -> None:
    policy = loads(json.dumps(rules), name="routes.yaml", folder=ROOT, environ={}, now=FRIDAY_NOON).policy
    alert = GivenAlert(fingerprint(labels), labels)
    explanation = explain_among(alert, policy, FRIDAY_NOON + minutes * MINUTE)
    taking = [step.route for step in explanation.steps if step.result is MatchResult.TAKES]
    assert taking == list(policy.root.matching(with_level(labels, explanation.level)))
    paths = {key: path for path, (route, key, _) in enumerate(policy.root.walk())}
    assert len(explanation.steps) <= len(list(policy.root.walk()))
    assert all(step.key in paths for step in explanation.steps)
    assert all(bool(step.condition) is (step.result is MatchResult.REFUSES) for step in explanation.steps)


def explainer(now: Millis = FRIDAY_NOON) -> Explainer:
    config = loads(
        (ROOT / "routes.yaml").read_text(), name="routes.yaml", folder=ROOT, environ={}, now=now, preview=True
    )
    return Explainer(config.policy, ZoneInfo(config.timezone), now)


def test_an_explanation_has_routes_hours_inhibition_and_decisions() -> None:
    """The whole text, word for word."""
    text = (
        explainer(FRIDAY_NOON + 10 * HOUR)
        .labels(["alertname=DiskFull", 'cluster="eu-1"', "severity=warning"])
        .text
    )
    assert text == (Path(__file__).parent / "explain.txt").read_text().rstrip("\n")


def test_the_alerts_of_a_webhook_fire_together() -> None:
    critical = {"alertname": "A", "severity": "critical"}
    body = {"alerts": [{"status": "firing", "labels": critical},
                       {"status": "firing", "labels": {**critical, "severity": "warning"}},
                       {"status": "resolved", "labels": {"alertname": "B"}}]}  # fmt: skip
    first, second, third = explainer().webhook(json.dumps(body).encode())
    assert {each["decision"] for each in first.json["decisions"]} == {"send"}
    assert {each["decision"] for each in second.json["decisions"]} == {"inhibited"}
    assert third.json["ended"]


def test_an_unusable_line_gets_an_error_and_the_next_is_answered() -> None:
    asked = explainer()
    for line in (
        "{",
        "[]",
        '{"labels": 3}',
        '{"labels": {}, "at": "noon"}',
        '{"labels": {"a": "b"}, "firing": 3}',
        "7",
    ):
        assert asked.line(line).keys() == {"error", "line"}
    assert asked.line('{"alertname": "A", "severity": "info"}')["receivers"] == ["daily"]


@pytest.mark.parametrize("word", ["severity", "severity!=critical", "severity=~a|b", "=x", ""])
def test_a_word_that_is_not_a_label_is_refused_in_words(word: str) -> None:
    with pytest.raises(InputError, match="is not a label"):
        explainer().labels([word])
