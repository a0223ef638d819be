"""Matchers, time intervals and inhibition by themselves: case tables of what they mean in Alertmanager."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from router.decide.hours import Interval
from router.decide.inhibition import Inhibition, Rule
from router.decide.matchers import (
    Matcher,
    MatcherError,
    is_label_name,
    only_matcher,
    parse_classic,
    parse_matcher,
    parse_matchers,
    parse_utf8,
)
from tests.unit.config.semantics.tables import cases


def _matchers(rows: list[dict[str, str]]) -> list[Matcher]:
    return [Matcher(row["name"], row["op"], row["value"]) for row in rows]


def _holds(case: Any, parse: Callable[[str], tuple[Matcher, ...]]) -> None:
    if "error" in case:
        with pytest.raises(MatcherError):
            parse(case["input"])
    else:
        wanted = case["matchers"] if "matchers" in case else [case["matcher"]]
        assert list(parse(case["input"])) == _matchers(wanted or [])


@pytest.mark.parametrize("case", cases("matcher", "match_value"))
def test_a_matcher_matches_a_value(case: Any) -> None:
    assert Matcher("x", case["op"], case["pattern"]).matches({"x": case["value"]}) is case["match"]


@pytest.mark.parametrize("case", cases("matcher", "parse_classic"))
def test_the_classic_grammar(case: Any) -> None:
    _holds(case, parse_classic)


@pytest.mark.parametrize("case", cases("matcher", "parse_utf8"))
def test_the_utf8_grammar(case: Any) -> None:
    _holds(case, parse_utf8)


@pytest.mark.parametrize("case", cases("matcher", "parse_fallback"))
def test_the_fallback(case: Any) -> None:
    _holds(case, parse_matchers)


@pytest.mark.parametrize("case", cases("matcher", "parse_utf8_single"))
def test_one_matcher_in_the_utf8_grammar(case: Any) -> None:
    _holds(case, lambda text: (only_matcher(parse_utf8(text)),))


@pytest.mark.parametrize("case", cases("matcher", "parse_fallback_single"))
def test_one_matcher_in_either_grammar(case: Any) -> None:
    _holds(case, lambda text: (parse_matcher(text),))


@pytest.mark.parametrize("case", cases("matcher", "label_name_classic"))
def test_a_label_name_of_the_classic_grammar(case: Any) -> None:
    text = f"{case['input']}=x"
    if case["valid"]:
        assert parse_classic(text) == (Matcher(case["input"], "=", "x"),)
    else:
        with pytest.raises(MatcherError):
            parse_classic(text)


@pytest.mark.parametrize("case", cases("matcher", "label_name_utf8"))
def test_a_label_name_of_the_utf8_grammar(case: Any) -> None:
    assert is_label_name(case["input"]) is case["valid"]


@pytest.mark.parametrize("case", cases("matcher", "classic_vs_utf8"))
def test_where_the_grammars_differ(case: Any) -> None:
    _holds({"input": case["input"], **case["classic"]}, parse_classic)
    _holds({"input": case["input"], **case["utf8"]}, parse_utf8)


@pytest.mark.parametrize("case", cases("matcher", "to_string"))
def test_a_matcher_as_text(case: Any) -> None:
    assert str(Matcher(case["name"], case["op"], case["value"])) == case["string"]


@pytest.mark.parametrize("case", cases("inhibit", "cases"))
def test_inhibition(case: Any) -> None:
    inhibition = Inhibition(
        tuple(
            Rule(
                tuple(_matchers(rule["source_matchers"])),
                tuple(_matchers(rule["target_matchers"])),
                tuple(rule["equal"] or ()),
            )
            for rule in case["rules"]
        )
    )
    known = {}
    for alert in case["alerts"]:
        ends = alert["ends_at_offset_s"]
        known[tuple(sorted(alert["labels"].items()))] = ends is None or ends > 0
    sources = {
        (key.text, key.two_sided)
        for labels, firing in known.items()
        if firing
        for key in inhibition.as_source(dict(labels))
    }
    muted = any(
        (key.text, False) in sources or (not key.two_sided and (key.text, True) in sources)
        for key in inhibition.as_target(
            case["target"]["labels"] if "labels" in case["target"] else case["target"]
        )
    )
    assert muted is case["muted"]


_WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]


def interval(row: dict[str, Any]) -> Interval:
    def pairs(name: str) -> tuple[tuple[int, int], ...] | None:
        return tuple((first, last) for first, last in row[name]) if name in row else None

    def minutes(text: str) -> int:
        hours, _, rest = text.partition(":")
        return int(hours) * 60 + int(rest)

    return Interval(
        times=tuple((minutes(each["start_time"]), minutes(each["end_time"])) for each in row["times"])
        if "times" in row
        else None,
        weekdays=pairs("weekdays"),
        days_of_month=pairs("days_of_month"),
        months=pairs("months"),
        years=pairs("years"),
        zone=ZoneInfo(row.get("location", "UTC")),
    )


def _millis(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.mark.parametrize("case", cases("timeinterval", "contains"))
def test_an_interval_contains_a_moment(case: Any) -> None:
    assert interval(case["interval"]).contains(_millis(case["time"])) is case["contains"]
