"""From the title alone one knows what fires and where: the most urgent first, what tells it apart, and how many."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import Alert, ShownAlert, Status
from router.render.titles import Title, title_of

LEVELS = ("critical", "warning", "info")
START = 1_763_762_400_000


def shown(name: str, level: str = "critical", *, resolved: bool = False, **labels: str) -> ShownAlert:
    status = Status.RESOLVED if resolved else Status.FIRING
    alert = Alert("0" * 16, {"alertname": name, "severity": level, **labels}, {}, status, START)
    return ShownAlert(alert, level, news=True)


def title(*alerts: ShownAlert, **more: Any) -> Title:
    def rank(level: str) -> int:
        return LEVELS.index(level) if level in LEVELS else len(LEVELS) - 1

    return title_of(alerts, more.pop("group", {}), LEVELS, rank, frozenset({"severity"}), **more)


def hosts(count: int, **more: Any) -> list[ShownAlert]:
    return [shown("HostDown", instance=f"n{number}", **more) for number in range(count)]


@pytest.mark.parametrize(
    ("alerts", "more", "text"),
    [
        ([shown("ShopDown", instance="web-1")], {}, "ShopDown on web-1"),
        ([shown("HostDown", instance="db1:9100", job="node", pod="p")], {}, "HostDown on db1:9100"),
        ([shown("PodCrashLooping", namespace="shop", pod="cart-7d9", container="cart")], {}, "PodCrashLooping on cart-7d9"),
        ([shown("KubeJobFailed", namespace="shop", job_name="nightly")], {}, "KubeJobFailed on nightly"),
        ([shown("Watchdog")], {}, "Watchdog"),
        ([shown("Slow", cluster="eu")], {}, "Slow on eu"),
        ([shown("Slow", cluster="eu")], {"group": {"cluster": "eu"}}, "Slow"),
        ([shown("Slow", service="cart")], {"group": {"service": "cart"}}, "Slow on cart"),
        ([shown("Watchdog", team="a")], {}, "Watchdog"),
        (
            [shown("ShopDown", instance="web-1"), *(shown("Slow", "warning", instance=f"w{i}") for i in range(3))],
            {},
            "ShopDown on web-1 (+3 warnings)",
        ),
        (
            [shown("Slow", "warning"), shown("ShopDown", instance="web-1"), shown("Odd", "unheard-of")],
            {},
            "ShopDown on web-1 (+1 warning, +1 unheard-of)",
        ),
        (hosts(12), {}, "HostDown × 12: n0, n1, n2, …"),
        (hosts(3), {}, "HostDown × 3: n0, n1, n2"),
        (hosts(2, job="node"), {"ended": 2}, "HostDown × 2: n0, n1 (2 resolved)"),
        (
            [shown("DiskFull", instance="db1", mountpoint=each) for each in ("/var", "/data")],
            {},
            "DiskFull × 2 on db1: /var, /data",
        ),
        (
            [shown("Lag", instance=f"n{i // 2}", device=f"sd{i % 2}") for i in range(4)],
            {},
            "Lag × 4: n0/sd0, n0/sd1, n1/sd0, …",
        ),
        ([shown("ShopDown", instance="web-1")], {"inhibited": 3}, "ShopDown on web-1 (+3 inhibited)"),
        (hosts(2), {"truncated": 5}, "HostDown × 2+: n0, n1"),
        ([shown("HostDown", instance="n0")], {"truncated": 5}, "HostDown × 1+ on n0"),
        ([shown("HostDown", instance="n0", resolved=True)], {"ended": 1}, "HostDown on n0"),
        (hosts(2, resolved=True), {"ended": 7}, "HostDown × 2: n0, n1"),
        ([shown("", instance="n0")], {}, "Unnamed alert on n0"),
        ([shown("a\nb")], {}, "a b"),
        ([], {}, "Unnamed alert"),
    ],
)  # fmt: skip
def test_what_fires_and_where(alerts: list[ShownAlert], more: dict[str, Any], text: str) -> None:
    assert title(*alerts, **more).text == text


def test_what_ended_is_counted_and_not_named_while_something_fires() -> None:
    """Three lesser alerts end, which come first by their names; then the title is about the one that is left."""
    names = ["AAA", "BBB", "CCC"]
    before = [shown(name, "info", instance="1") for name in names]
    after = [shown(name, "info", instance="1", resolved=True) for name in names]
    assert title(*before, shown("ZZZdown", instance="9")).text == "ZZZdown on 9 (+3 info)"
    assert title(*after, shown("ZZZdown", "info", instance="9"), ended=3).text == "ZZZdown on 9 (3 resolved)"


def test_of_names_of_one_level_the_one_with_the_most_alerts_leads() -> None:
    assert title(shown("A", instance="1"), *hosts(2)).text == "HostDown × 2: n0, n1 (+1 critical)"


def test_a_label_that_the_title_gives_need_not_stand_beside_it() -> None:
    assert title(shown("Down", instance="n0", cluster="eu")).labels == {"instance"}
    assert title(*hosts(2, cluster="eu")).labels == frozenset()


words = st.text(max_size=300)
alerts = st.builds(
    lambda name, level, resolved, labels: shown(name, level, resolved=resolved, **labels),
    words, st.sampled_from([*LEVELS, "odd"]), st.booleans(),
    st.dictionaries(st.sampled_from(["instance", "pod", "job", "x"]), words, max_size=4),
)  # fmt: skip


@given(st.lists(alerts, max_size=9), st.integers(0, 9), st.integers(0, 9))
def test_it_is_one_short_line_and_counts_every_firing_alert(
    several: list[ShownAlert], ended: int, inhibited: int
) -> None:
    text = title(*several, ended=ended, inhibited=inhibited).text
    assert text
    assert text == " ".join(text.split())
    assert len(text) < 700


simple = st.builds(
    lambda name, level, resolved, host: shown(name, level, resolved=resolved, instance=host),
    st.sampled_from("AB"), st.sampled_from(LEVELS), st.booleans(), st.sampled_from(["n0", "n1"]),
)  # fmt: skip


@given(st.lists(simple, min_size=1, max_size=9))
def test_its_numbers_add_up_to_what_fires(several: list[ShownAlert]) -> None:
    firing = [each for each in several if each.alert.status is Status.FIRING]
    text = title(*several).text
    times = re.search(r" × (\d+)", text)
    counted = (int(times[1]) if times else 1) + sum(map(int, re.findall(r"\+(\d+)", text)))
    assert counted == len(firing or several)
