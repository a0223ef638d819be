"""Links lead where their words say: a silence covers the alerts that fire, and no others."""

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide.matchers import Matcher, parse_matchers
from router.model import Labels
from router.render.links import silence_of

AM = "https://am.example/x/"


def matchers(alerts: list[dict[str, str]]) -> tuple[Matcher, ...]:
    _, address = silence_of(AM, alerts)
    start, _, given_matchers = address.partition("?filter=")
    assert start == "https://am.example/x/#/silences/new"
    return parse_matchers(unquote(given_matchers))


def covers(found: tuple[Matcher, ...], labels: Labels) -> bool:
    return all(each.matches(labels) for each in found)


def test_a_silence_is_filled_in_with_every_label() -> None:
    alert = {"job": 'a "b"\\c\n', "alertname": "Up", "näme": "1"}
    words, address = silence_of(AM, [alert])
    assert words == "Silence"
    assert unquote(address.partition("?filter=")[2]) == r'{alertname="Up",job="a \"b\"\\c\n","näme"="1"}'


@pytest.mark.parametrize(("base", "labels"), [("", {"a": "b"}), ("am:9093", {"a": "b"}), ("https://am", {})])
def test_without_an_address_or_labels_there_is_nothing_to_silence(base: str, labels: dict[str, str]) -> None:
    assert silence_of(base, [labels]) == ("", "")


def test_a_silence_of_several_leaves_the_rest_of_the_namespace_alone() -> None:
    alerts = [{"alertname": name, "namespace": "shop"} for name in ("InfoA", "CritB")]
    words, _ = silence_of(AM, alerts)
    assert words == "Silence these 2"
    assert all(covers(matchers(alerts), each) for each in alerts)
    assert not covers(matchers(alerts), {"alertname": "Other", "namespace": "shop"})


def test_a_silence_that_would_be_too_long_says_that_it_covers_more() -> None:
    alerts = [
        {"alertname": "HostDown", "cluster": "eu", "instance": f"host-{number:040}"} for number in range(400)
    ]
    words, address = silence_of(AM, alerts)
    assert words == "Silence all HostDown"
    assert len(address) < 2_000
    assert covers(matchers(alerts), {"alertname": "HostDown", "cluster": "eu", "instance": "another"})
    assert not covers(matchers(alerts), {"alertname": "HostDown", "cluster": "us", "instance": "host"})


def test_a_silence_without_a_name_is_none_rather_than_one_of_everything() -> None:
    alerts = [{"severity": "critical", "instance": f"host-{number:060}"} for number in range(40)]
    assert silence_of(AM, alerts) == ("", "")
    assert silence_of(AM, [{f"label{number}": "x"} for number in range(4_000)]) == ("", "")


def test_the_words_say_if_a_silence_covers_other_combinations() -> None:
    alerts = [{"alertname": "Lag", "a": each, "b": each} for each in "12"]
    assert silence_of(AM, alerts)[0] == "Silence these 2 and the like"
    assert (
        silence_of(AM, [*alerts, *({"alertname": "Lag", "a": a, "b": b} for a, b in ("12", "21"))])[0]
        == "Silence these 4"
    )


def test_the_words_are_short_and_one_line() -> None:
    alerts = [{"alertname": f"Long\nname {number}" + "x" * 200, "i": "y" * 90} for number in range(4)]
    words, _ = silence_of(AM, alerts)
    assert len(words) < 120
    assert "\n" not in words
    few, _ = silence_of(
        AM, [{"alertname": name, "i": "y" * 90 + str(i)} for name in "ABC" for i in range(40)]
    )
    assert few == "Silence all A and 2 other names"


values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8) | st.sampled_from(
    [".*", "a|b", "[x]", "a\\b"]
)
label_sets = st.dictionaries(st.sampled_from(["alertname", "instance", "x"]), values, min_size=1)


@given(st.lists(label_sets, min_size=1, max_size=5), label_sets)
def test_a_silence_covers_its_alerts_and_no_value_that_none_of_them_has(
    alerts: list[dict[str, str]], other: dict[str, Any]
) -> None:
    found = matchers(alerts)
    assert all(covers(found, each) for each in alerts)
    names = {name for each in alerts for name in each}
    is_stranger = any(other.get(name, "") not in {each.get(name, "") for each in alerts} for name in names)
    assert covers(found, other) is not is_stranger
