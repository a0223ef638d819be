"""What tells alerts of one name apart."""

import pytest

from router.model import Labels
from router.render.identities import identity_text, in_natural_order, labels_apart

HIDDEN = frozenset({"alertname", "severity"})


def apart(*alerts: Labels) -> tuple[str, ...]:
    return labels_apart([{"alertname": "A", "severity": "info", **each} for each in alerts], HIDDEN)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"job": "node", "instance": "db-1", "cluster": "eu"}, ("instance",)),
        ({"cluster": "eu", "team": "shop"}, ("cluster",)),
        ({"team": "shop"}, ()),
        ({"instance": ""}, ()),
        ({}, ()),
    ],
)
def test_one_alert_is_known_by_the_label_that_says_best_where(labels: Labels, names: tuple[str, ...]) -> None:
    assert apart(labels) == names


@pytest.mark.parametrize(
    ("alerts", "names"),
    [
        # The twelve jobs of a cluster: kube-state-metrics runs twice, so its address differs too.
        (
            [{"namespace": f"team-{n}", "job_name": f"nightly-{n}", "uid": f"{n:x}"} for n in range(12)],
            ("namespace", "job_name"),
        ),
        ([{"instance": f"n{n}", "job": "node"} for n in range(3)], ("instance",)),
        # A pod repeats what the instance says; a mount point does not.
        (
            [
                {"instance": f"n{n}", "pod": f"exporter-{n}", "mountpoint": ("/", "/var")[n % 2]}
                for n in range(4)
            ],
            ("instance", "mountpoint"),
        ),
        ([{"instance": f"n{n // 2}", "device": f"sd{n % 2}"} for n in range(4)], ("instance", "device")),
        ([{"team": "a"}, {"team": "b"}], ("team",)),
        ([{"instance": "n1"}, {}], ("instance",)),
        ([{"team": "a"}, {"team": "a"}], ()),
    ],
)
def test_several_alerts_are_told_apart_by_labels_that_differ(
    alerts: list[Labels], names: tuple[str, ...]
) -> None:
    assert apart(*alerts) == names


def test_at_most_four_labels_are_used() -> None:
    alerts = [{f"label{place}": str(number >> place & 1) for place in range(6)} for number in range(64)]
    assert len(apart(*alerts)) == 4


def test_a_path_brings_its_own_slash() -> None:
    labels = {"instance": "db-1", "mountpoint": "/var", "job": "a\nb"}
    assert identity_text(labels, ("instance", "mountpoint", "job", "none")) == "db-1/var/a b"


def test_numbers_in_names_are_in_their_natural_order() -> None:
    assert sorted(["n10", "n2", "n1", "2", "m"], key=in_natural_order) == ["2", "m", "n1", "n2", "n10"]
