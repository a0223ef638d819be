"""Rates, concurrency and storms in routes.yaml: the given limits, and the defaults."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.channels import REGISTRY, destination_as_json, destination_from_json
from router.channels.limits import parse_rate
from router.config import Config, loads
from router.model import HOUR, MINUTE, SECOND, LaneLimits, Rate, SharedLimits

ROOT = Path(__file__).parents[3]
RULES = """
channels:
  slack: {{token: t{slack}}}
  pagerduty: {{}}
  email: {{smarthost: "localhost:25", from: a@example.com, tls: none{email}}}
  webhook: {{}}
  discord: {{}}
receivers:
  all:
    - slack: {{channel: C0ONE{one}}}
    - slack: {{channel: C0TWO}}
    - pagerduty: {{routing_key: {key}, name: pd}}
    - email: {{to: [a@example.com]}}
    - webhook: {{url: "https://hooks.example.com", name: hook}}
    - discord: {{webhook_url: "https://discord.com/api/webhooks/1/t"}}
    - digest: {{to: [b@example.com], at: "08:00"}}
route: {{receiver: all}}
"""


def config(**parts: str) -> Config:
    text = RULES.format(key="k" * 32, **{"slack": "", "email": "", "one": "", **parts})
    return loads(text, name="routes.yaml", folder=ROOT, environ={}, now=0)


def limits(loaded: Config, kind: str) -> LaneLimits:
    return next(each.limits for each in loaded.policy.destinations.values() if each.channel == kind)


def shared(loaded: Config, kind: str) -> SharedLimits:
    return REGISTRY[kind].shared_of(loaded.settings[REGISTRY[kind].section])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5/s", Rate(5, SECOND, burst=5)),
        ("60/m", Rate(60, MINUTE, burst=1)),
        ("90/m", Rate(90, MINUTE, burst=1)),
        ("1000/h", Rate(1000, HOUR, burst=1)),
        ("60/m burst 10", Rate(60, MINUTE, burst=10)),
        ("60 / m  burst  10", Rate(60, MINUTE, burst=10)),
        ("10000/s", Rate(10_000, SECOND, burst=10_000)),
        ("none", "none"),
    ],
)
def test_a_rate_is_read(text: str, wanted: Any) -> None:
    assert parse_rate(text) == wanted


@given(st.integers(1, 10_000), st.sampled_from([SECOND, MINUTE, HOUR]), st.integers(1, 100_000))
def test_a_rate_is_shown_in_the_form_that_can_be_written(limit: int, per: int, burst: int) -> None:
    given = Rate(limit, per, burst)
    assert parse_rate(str(given)) == given


def test_without_settings_the_vendors_limits_apply() -> None:
    loaded = config()
    assert limits(loaded, "slack").rate == Rate(1, SECOND, burst=3)
    assert shared(loaded, "slack").rate == Rate(4, SECOND, burst=10)
    edits = shared(loaded, "slack").edit_rate
    assert edits is not None
    assert edits.a_minute == 50
    paging = limits(loaded, "pagerduty").rate
    assert paging is not None
    assert paging.a_minute == 120
    assert shared(loaded, "pagerduty") == SharedLimits()
    mail = limits(loaded, "email").rate
    assert mail is not None
    assert mail.a_minute == 120
    assert shared(loaded, "email") == shared(loaded, "digest") == SharedLimits(max_concurrency=4)
    assert limits(loaded, "webhook") == LaneLimits(rate=None, max_concurrency=16)
    assert limits(loaded, "discord") == LaneLimits(rate=None, max_concurrency=1)
    assert {each.limits.storm_above for each in loaded.policy.destinations.values()} == {60}


def test_a_destinations_own_limits_come_before_its_channels() -> None:
    loaded = config(slack=", storm_above: 20", one=", rate: 30/m burst 2, max_concurrency: 2, storm_above: 7")
    own, other = (loaded.policy.destinations[f"slack:{name}"].limits for name in ("C0ONE", "C0TWO"))
    assert own == LaneLimits(Rate(30, MINUTE, burst=2), max_concurrency=2, storm_above=7)
    assert other == LaneLimits(Rate(1, SECOND, burst=3), max_concurrency=4, storm_above=20)


def test_a_section_has_limits_for_all_its_destinations_together() -> None:
    loaded = config(slack=", rate: 10/s burst 1, edit_rate: none", email=", rate: 30/m, max_concurrency: 3")
    assert shared(loaded, "slack") == SharedLimits(Rate(10, SECOND, burst=1), edit_rate=None)
    assert shared(loaded, "digest") == SharedLimits(Rate(30, MINUTE, burst=1), max_concurrency=3)
    assert limits(loaded, "slack").rate == Rate(1, SECOND, burst=3)


def test_none_removes_a_limit() -> None:
    loaded = config(slack=", rate: none", one=", rate: none")
    assert loaded.policy.destinations["slack:C0ONE"].limits.rate is None
    assert shared(loaded, "slack").rate is None


@pytest.mark.parametrize("given", ["30/m burst 2", "none"])
def test_a_destination_keeps_its_rate_when_its_rules_are_gone(given: str) -> None:
    """It may still have to be notified of ends."""
    before = config(one=f", rate: {given}, storm_above: 5").policy.destinations["slack:C0ONE"]
    after = destination_from_json(before.key, destination_as_json(before))
    assert after is not None
    assert after.limits == before.limits


def test_the_reference_names_every_key_of_every_channel() -> None:
    text = (ROOT / "docs/channels.md").read_text()
    for kind in REGISTRY.values():
        for model in (kind.settings, kind.options):
            for name, field in model.model_fields.items():
                key = field.alias or name
                named = (f"`{key}`", f"`{kind.section}.{key}`", f"{kind.name}: {{{key}:", f"`{key}`,")
                assert any(each in text for each in named), (kind.name, key)
