"""The groups of a storm, folded: shorter, and each of them named."""

import re

from hypothesis import given
from hypothesis import strategies as st

from router.channels.slack_mrkdwn import escape
from router.model import StormLine
from router.render.folding import Fold, fold, key_of, room_of
from router.render.words import line

TIMES = "\N{MULTIPLICATION SIGN}"


def group(labels: dict[str, str], level: str = "critical", names: tuple[str, ...] = ()) -> StormLine:
    return StormLine(labels, level, 1, "", names)


def folded(*lines: StormLine) -> list[str]:
    return [each.text for each in folds(*lines)]


def folds(*lines: StormLine) -> tuple[Fold, ...]:
    return fold(lines, lambda level: int(level != "critical"), line)


def host(number: int, **more: str) -> StormLine:
    return group({"alertname": "HostDown", "instance": f"n{number}", **more})


def test_groups_of_one_name_are_listed_by_what_differs() -> None:
    assert folded(*map(host, range(3))) == [f"[critical] HostDown {TIMES} 3: n0, n1, n2"]
    assert folded(host(0, cluster="eu"), host(1, cluster="eu")) == [
        f"[critical] HostDown {TIMES} 2 (cluster=eu): n0, n1"
    ]
    assert folded(host(0, cluster="eu"), host(0, cluster="us"), host(1, cluster="us")) == [
        f"[critical] HostDown {TIMES} 3 by cluster/instance: eu/n0, us/n0, us/n1"
    ]


def test_a_group_alone_is_named_with_what_says_where() -> None:
    assert folded(host(7, cluster="eu")) == ["[critical] HostDown (cluster=eu, instance=n7)"]


def test_groups_with_a_name_alone_are_in_one_line() -> None:
    lines = [group({"alertname": name}) for name in ("Down", "Slow", "Full", "Late")]
    assert folded(*lines) == ["[critical] Down, Slow, Full, Late"]
    assert folds(*lines)[0].what == "Down, Slow, Full and 1 more"


def test_each_level_is_folded_by_itself() -> None:
    assert folded(host(0), group({"alertname": "HostDown", "instance": "n1"}, "warning")) == [
        "[critical] HostDown (instance=n0)",
        "[warning] HostDown (instance=n1)",
    ]


def test_a_group_without_a_name_is_called_by_its_alerts() -> None:
    names = ("DiskFull", "HostDown", "Late", "Slow")
    assert folded(group({"cluster": "eu"}, names=names)) == [
        "[critical] DiskFull, HostDown, Late … (cluster=eu)"
    ]
    assert folded(group({"cluster": "eu"})) == ["[critical] Alerts (cluster=eu)"]
    assert folded(group({})) == ["[critical] Unnamed group"]


def test_groups_that_nothing_tells_apart_are_counted() -> None:
    assert folded(host(1), host(1)) == [f"[critical] HostDown {TIMES} 2 (instance=n1)"]


def test_a_group_that_lacks_what_the_others_have_is_named_all_the_same() -> None:
    assert folded(group({"alertname": "HostDown"}), host(1)) == [f"[critical] HostDown {TIMES} 2: -, n1"]


_TEXT = st.text(st.sampled_from("ab &<>\"'\n\u202eü🙂"), max_size=300)
_LINES = st.lists(
    st.builds(
        StormLine,
        st.dictionaries(st.sampled_from(["alertname", "instance", "cluster"]), _TEXT, max_size=3),
        st.sampled_from(["critical", "warning"]), st.just(1), st.just(""), st.lists(_TEXT, max_size=5).map(tuple),
    ),
    max_size=12,
)  # fmt: skip


@given(_LINES)
def test_names_take_no_more_room_than_was_counted(lines: list[StormLine]) -> None:
    begun: set[tuple[str, str]] = set()
    room = 0
    for each in lines:
        room += room_of(each, begins=key_of(each) not in begun)
        begun.add(key_of(each))
    texts = [each.text for each in fold(lines, lambda _: 0, escape)]
    # Beside the names: what begins a line, once a level and name at most, and the names of labels.
    assert len("\n- ".join(texts)) <= room + 60 * len(begun)
    assert sum(each.count for each in fold(lines, lambda _: 0, escape)) == len(lines)
    assert not [text for text in texts if re.search(r"[\n\u202e]", text)]
