"""Targets of objectives and tenants: their defaults, what can be set, and that they change no rule."""

from decimal import Decimal
from typing import Any

import pytest

from router.config import ConfigError
from router.decide.matchers import parse_matchers
from router.decide.tenants import Tenants
from router.model import DAY, Objective, Targets
from tests.unit.config.test_config import BASE, read

ROUTE = BASE + "route: {receiver: team}\n"
TEAMS = "tenant_label: team\ntenants: [{name: shop, slo: {in_time: 99.95}}, {name: 'a \"b\" \\'}]\n"


def test_the_defaults_need_no_section() -> None:
    config = read(ROUTE)
    assert config.targets == Targets()
    assert config.policy.tenants == Tenants()
    assert config.policy.tenants.names == ()
    assert config.policy.tenants.of({"team": "shop"}) == ""
    assert config.targets.ratios(()) == {
        ("accepted", ""): 0.999, ("answered", ""): 0.95, ("urgent_in_time", ""): 0.95, ("in_time", ""): 0.99,
        ("delivered", ""): 0.99,
    }  # fmt: skip


def test_targets_can_be_set_also_for_one_tenant() -> None:
    targets = read(ROUTE + "slo: {window: 7d, accepted: 99.95 %, delivered: '99.5'}\n" + TEAMS).targets
    assert (targets.window, targets.ratio(Objective.ACCEPTED)) == (7 * DAY, 0.9995)
    assert targets.percent(Objective.DELIVERED) == Decimal("99.5")
    assert (targets.ratio(Objective.IN_TIME, "shop"), targets.ratio(Objective.IN_TIME, "other")) == (
        0.9995,
        0.99,
    )
    assert targets.ratio(Objective.DELIVERED, "shop") == 0.995


def test_only_listed_values_are_tenants_of_their_own() -> None:
    tenants = read(ROUTE + TEAMS).policy.tenants
    found = [
        tenants.of(labels)
        for labels in ({"team": "shop"}, {"team": "Shop"}, {"team": ""}, {}, {"team": "none"})
    ]
    assert found == ["shop", "other", "none", "none", "other"]


@pytest.mark.parametrize("value", ["shop", 'a "b" \\', "storage", "", "other", "none"])
def test_the_matchers_of_a_tenant_match_its_alerts_only(value: str) -> None:
    tenants = read(ROUTE + TEAMS).policy.tenants
    labels = {"team": value} if value else {}
    matching = [
        name
        for name in tenants.names
        if all(each.matches(labels) for each in parse_matchers(tenants.matchers(name)))
    ]
    assert matching == [tenants.of(labels)]


def test_targets_and_tenants_do_not_change_the_rules() -> None:
    plain, with_tenants = read(ROUTE), read(ROUTE + TEAMS + "slo: {accepted: 99}\n")
    assert plain.policy.fingerprint == with_tenants.policy.fingerprint


@pytest.mark.parametrize("percent", [0, -1, 100, 100.5, "nan", "inf", True, "99,9", "", None, [99]])
def test_what_leaves_no_error_budget_is_refused(percent: Any) -> None:
    with pytest.raises(ConfigError):
        read(ROUTE + f"slo: {{accepted: {percent!r}}}\n".replace("None", "null").replace("True", "true"))
