"""Inhibition does not depend on the order in which sources and targets arrive."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.decide.inhibition import Inhibition, Rule
from router.decide.matchers import parse_matchers
from router.model import SECOND, Alert, Status, identity_of
from tests.examples import examples
from tests.unit.core.world import MONDAY, POLICY, World

# Targets never have the most urgent level: alerts of that level do not wait for a source.
_sides = st.sampled_from(
    [
        'severity="critical"',
        'severity="warning"',
        'alertname="A"',
        'alertname=~"A|B"',
        'cluster=""',
        'cluster="x"',
    ]
)
_rules = st.lists(
    st.builds(
        lambda source, target, equal: Rule(
            parse_matchers(source), parse_matchers(f'severity!="critical", {target}'), tuple(equal), "r"
        ),
        _sides, _sides, st.lists(st.sampled_from(["alertname", "cluster"]), max_size=2, unique=True),
    ),
    min_size=1, max_size=3,
)  # fmt: skip
_labels = st.fixed_dictionaries(
    {"alertname": st.sampled_from("AB"), "severity": st.sampled_from(["critical", "warning", "info"])},
    optional={"cluster": st.sampled_from(["", "x", "y"])},
)
_alerts = st.lists(_labels, min_size=2, max_size=4, unique_by=identity_of)


def received(rules: tuple[Rule, ...], arriving: tuple[Alert, ...]) -> dict[str, list[tuple[str, str]]]:
    """What each destination has received once the wait for sources is over."""
    policy = replace(POLICY, inhibition=Inhibition(rules))
    world = World(policy=policy)
    for alert in arriving:
        world.post(alert, group=alert.fingerprint)
    world.deliver()
    world.now += 5 * SECOND
    world.deliver()
    world.assert_balanced()
    return {key: sorted(provider.received) for key, provider in world.providers.items()}


@given(_rules, _alerts)
@examples(20)
def test_the_order_of_webhooks_does_not_matter(rules: list[Rule], labels: list[dict[str, str]]) -> None:
    alerts = [
        Alert("-".join(f"{k}={v}" for k, v in sorted(each.items())), each, {}, Status.FIRING, MONDAY)
        for each in labels
    ]
    first, *others = (received(tuple(rules), order) for order in itertools.permutations(alerts))
    assert all(other == first for other in others)
