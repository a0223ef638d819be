"""Sections that are pasted from an alertmanager.yml have the same meaning in routes.yaml: tables of cases."""

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from router.config import Config, ConfigError, loads
from router.decide import Route
from router.decide.hours import Hours
from router.decide.inhibition import Firing
from router.decide.policy import with_level
from router.model import SECOND
from tests.unit.config.semantics.tables import NAMES, SHARED, cases, read_own

ROOT = Path(__file__).parents[3]
NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC


def plain(config: Any) -> Any:
    """Return a piece of configuration as data. :param config: as YAML, or as data already"""
    return YAML(typ="safe", pure=True).load(io.StringIO(config)) if isinstance(config, str) else config


def read(**sections: Any) -> Config:
    """Return a routes.yaml of these sections (JSON is YAML)."""
    everything = {"receivers": {"team": []}, "route": {"receiver": "team"}, **sections}
    return loads(json.dumps(everything), name="routes.yaml", folder=ROOT, environ={}, now=NOW)


def hours(intervals: dict[str, Any], **route: Any) -> Hours:
    """Return the hours of a route with these intervals."""
    config = read(
        time_intervals=[{"name": name, "time_intervals": entries} for name, entries in intervals.items()],
        route={"receiver": "team", "routes": [{"outside": "drop", **route}]},
    )
    found = config.policy.root.routes[0].hours
    assert found is not None
    return found


def millis(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.mark.parametrize("case", cases("timeinterval", "contains"))
def test_alertmanagers_intervals_can_be_pasted(case: Any) -> None:
    if case.get("config_rejected"):
        with pytest.raises(ConfigError):
            hours({"it": case["config"]}, active_time_intervals=["it"])
    else:
        office = hours({"it": case["config"]}, active_time_intervals=["it"])
        assert office.is_open(millis(case["time"])) is case["contains"]


@pytest.mark.parametrize("case", cases("timeinterval", "intervals_parse"))
def test_intervals_are_accepted_and_refused_as_by_alertmanager(case: Any) -> None:
    entries = plain(case["yaml"])
    if not case["ok"]:
        with pytest.raises(ConfigError):
            hours({"it": entries}, active_time_intervals=["it"])
        return
    office = hours({"it": entries}, active_time_intervals=["it"])
    assert all(office.is_open(millis(moment)) for moment in case.get("contains") or ())
    assert not any(office.is_open(millis(moment)) for moment in case.get("excludes") or ())


@pytest.mark.parametrize("case", cases("timeinterval", "complete"))
def test_an_interval_of_every_field(case: Any) -> None:
    office = hours({"it": [plain(case["yaml_single_interval"])]}, active_time_intervals=["it"])
    assert all(office.is_open(millis(moment)) for moment in case["contains"])
    assert not any(office.is_open(millis(moment)) for moment in case["excludes"])


@pytest.mark.parametrize("case", cases("timeinterval", "time_range_parse"))
def test_a_range_of_times(case: Any) -> None:
    times = plain(case["yaml"])
    if not case["ok"]:
        with pytest.raises(ConfigError):
            hours({"it": [{"times": [times]}]}, active_time_intervals=["it"])
        return
    office = hours({"it": [{"times": [times]}]}, active_time_intervals=["it"])
    assert office.active[0].intervals[0].times == ((case["start_minute"], case["end_minute"]),)


@pytest.mark.parametrize("case", cases("timeinterval", "intervener"))
def test_intervals_mute_as_in_alertmanager(case: Any) -> None:
    intervals = case["time_intervals"]
    muted_by = [
        name
        for name in intervals
        if not hours(intervals, mute_time_intervals=[name]).is_open(millis(case["now"]))
    ]
    assert muted_by == (case["muted_by"] or [])


@pytest.mark.parametrize("case", cases("timeinterval", "stages"))
def test_a_route_is_muted_by_mute_and_by_active_intervals(case: Any) -> None:
    if not case["route"]:  # and so no hours at all
        assert not case["muted"]
        return
    assert hours(case["time_intervals"], **case["route"]).is_open(millis(case["now"])) is not case["muted"]


def receivers(route: dict[str, Any]) -> set[str]:
    inner = (receivers(child) for child in route.get("routes", ()))
    return set().union({route["receiver"]} if route.get("receiver") else set(), *inner)


def tree(route: dict[str, Any]) -> Route:
    # The router requires a receiver of the root route; Alertmanager's tables don't always have one.
    route = {"receiver": "nobody", **route}
    return read(receivers={name: [] for name in receivers(route)}, route=route).policy.root


def matching(root: Route, labels: dict[str, str]) -> list[tuple[Route, str]]:
    """Return the routes that take an alert, each with Alertmanager's key for it."""
    keys = {id(route): key for route, key, _ in root.walk()}
    return [(route, keys[id(route)]) for route in root.matching(with_level(labels, "warning"))]


@pytest.mark.parametrize("case", cases("route", "match"))
def test_the_route_tree(case: Any) -> None:
    matched = matching(tree(plain(case["route_yaml"])), case["labels"])
    assert [key for _, key in matched] == case["route_keys"]
    assert [
        {
            "receiver": route.receiver,
            "group_by": list(route.grouping.by),
            "group_by_all": route.grouping.by_all,
            "group_wait_s": route.grouping.wait // SECOND,
            "group_interval_s": route.grouping.interval // SECOND,
            "repeat_interval_s": route.grouping.repeat // SECOND,
            "labels": route.grouping.labels,
        }
        for route, _ in matched
    ] == case["matches"]


@pytest.mark.parametrize("case", cases("route", "route_labels"))
def test_labels_of_routes(case: Any) -> None:
    matched = matching(tree(plain(case["route_yaml"])), case["labels"])
    assert [route.receiver for route, _ in matched] == case["receivers"]
    assert [route.grouping.labels for route, _ in matched] == [case["route_labels"]]


@pytest.mark.parametrize("case", cases("route", "alertmanager_yml_routing"))
def test_the_route_tree_of_a_whole_alertmanager_yml(case: Any) -> None:
    matched = matching(tree(plain(case["alertmanager_yml"])["route"]), case["labels"])
    assert [route.receiver for route, _ in matched] == case["receivers"]


@pytest.mark.parametrize("case", cases("route", "walk"))
def test_the_routes_in_order(case: Any) -> None:
    walked = tree(plain(case["route_yaml"])).walk()
    assert [route.receiver for route, _, _ in walked] == case["receivers_depth_first"]


@pytest.mark.parametrize("case", cases("route", "route_ids"))
def test_the_ids_of_routes(case: Any) -> None:
    walked = tree(plain(case["route_yaml"])).walk()
    assert sorted(name for _, _, name in walked) == sorted(case["ids_any_order"])


@pytest.mark.parametrize("case", cases("route", "group_by_all_inheritance"))
def test_grouping_by_all_is_inherited(case: Any) -> None:
    found = {route.path: route for route, _, _ in tree(plain(case["route_yaml"])).walk()}
    assert [found[f"route.{path}"].grouping.by_all for path in case["nodes"]] == case["group_by_all"]


@pytest.mark.parametrize("case", cases("inhibit", "timelines"))
def test_inhibition_over_time(case: Any) -> None:
    """At each moment of the table, the alerts that are not muted are compared: those that fire, and those that have ended."""
    rules = plain(case["config_yaml"]).get("inhibit_rules")
    policy = read(inhibit_rules=rules).policy
    for want in case["want"]:
        now = want["between"][0]  # Alertmanager notifies of a group each second from then on
        known = {
            json.dumps(push["labels"], sort_keys=True): push for push in case["push"] if push["at"] <= now
        }
        firing = Firing(policy.inhibition)
        for name, push in known.items():
            if push["active"] is None:
                firing.add(name, push["labels"])
        unmuted = [
            push["labels"]
            for push in known.values()
            if not any(firing.source(key) is not None for key in policy.inhibition.as_target(push["labels"]))
        ]
        names = [json.dumps(each, sort_keys=True) for each in unmuted]
        assert sorted(names) == sorted(json.dumps(each["labels"], sort_keys=True) for each in want["alerts"])


def test_every_section_has_cases_of_our_own() -> None:
    """The repository has cases for each section of Alertmanager's tables, so it covers the same behaviours without them."""
    assert {table: sorted(read_own(table)) for table in NAMES} == {
        "matcher": [
            "classic_vs_utf8", "label_name_classic", "label_name_utf8", "match_value", "parse_classic", "parse_fallback",
            "parse_fallback_single", "parse_utf8", "parse_utf8_single", "to_string",
        ],
        "route": ["alertmanager_yml_routing", "group_by_all_inheritance", "match", "route_ids", "route_labels", "walk"],
        "timeinterval": ["complete", "contains", "intervals_parse", "intervener", "stages", "time_range_parse"],
        "inhibit": ["cases", "timelines"],
    }  # fmt: skip


def test_alertmanagers_tables_are_run_whole() -> None:
    """If Alertmanager's tables are available, they have the expected numbers of cases. All of them run here or in the tests of
    ``decide``.
    """
    found = {
        f"{path.stem.removesuffix('_cases')}.{section}": len(rows)
        for path in SHARED.glob("*_cases.json")
        for section, rows in json.loads(path.read_text()).items()
        if isinstance(rows, list)
    }
    assert not SHARED.is_dir() or found == {
        "inhibit.cases": 26, "inhibit.timelines": 3,
        "matcher.match_value": 17, "matcher.parse_classic": 53, "matcher.parse_utf8": 45,
        "matcher.parse_utf8_single": 31, "matcher.parse_fallback": 5, "matcher.parse_fallback_single": 5,
        "matcher.classic_vs_utf8": 54, "matcher.to_string": 12, "matcher.label_name_classic": 5,
        "matcher.label_name_utf8": 5,
        "route.match": 24, "route.route_labels": 4, "route.alertmanager_yml_routing": 4, "route.walk": 1,
        "route.route_ids": 1, "route.group_by_all_inheritance": 1,
        "timeinterval.contains": 40, "timeinterval.time_range_parse": 8, "timeinterval.intervals_parse": 21,
        "timeinterval.complete": 2, "timeinterval.intervener": 6, "timeinterval.stages": 9,
    }  # fmt: skip
