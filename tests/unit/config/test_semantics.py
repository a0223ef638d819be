"""What is pasted from an alertmanager.yml means the same: Alertmanager's own tables, through routes.yaml.

They stand beside the checkout and are read from there.
"""

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
from router.decide.policy import with_level

ROOT = Path(__file__).parents[3]
TABLES = ROOT.parent / "shared" / "semantics"
pytestmark = pytest.mark.skipif(
    not TABLES.is_dir(), reason="Alertmanager's case tables are not beside this checkout"
)
NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC


def cases(table: str, section: str) -> list[Any]:
    if not TABLES.is_dir():
        return []
    rows: list[Any] = json.loads((TABLES / f"{table}_cases.json").read_text())[section]
    return [pytest.param(row, id=str(row.get("id", number))) for number, row in enumerate(rows)]


def plain(text: str) -> Any:
    """YAML as Alertmanager reads it, so that it can be put together with the rest of a file."""
    yaml = YAML(typ="safe", pure=True)
    return yaml.load(io.StringIO(text))


def read(**sections: Any) -> Config:
    """A routes.yaml of these sections (JSON is YAML)."""
    everything = {"receivers": {"team": []}, "route": {"receiver": "team"}, **sections}
    return loads(json.dumps(everything), name="routes.yaml", folder=ROOT, environ={}, now=NOW)


def hours(intervals: dict[str, Any], **route: Any) -> Hours:
    """Of a route with these intervals."""
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
def test_an_interval_in_alertmanagers_words(case: Any) -> None:
    if case.get("config_rejected"):
        with pytest.raises(ConfigError):
            hours({"it": case["config"]}, active_time_intervals=["it"])
    else:
        office = hours({"it": case["config"]}, active_time_intervals=["it"])
        assert office.open(millis(case["time"])) is case["contains"]


@pytest.mark.parametrize("case", cases("timeinterval", "intervals_parse"))
def test_intervals_are_taken_and_refused_as_alertmanager_does(case: Any) -> None:
    entries = plain(case["yaml"])
    if not case["ok"]:
        with pytest.raises(ConfigError):
            hours({"it": entries}, active_time_intervals=["it"])
        return
    office = hours({"it": entries}, active_time_intervals=["it"])
    assert all(office.open(millis(moment)) for moment in case.get("contains") or ())
    assert not any(office.open(millis(moment)) for moment in case.get("excludes") or ())


@pytest.mark.parametrize("case", cases("timeinterval", "complete"))
def test_an_interval_of_every_field(case: Any) -> None:
    office = hours({"it": [plain(case["yaml_single_interval"])]}, active_time_intervals=["it"])
    assert all(office.open(millis(moment)) for moment in case["contains"])
    assert not any(office.open(millis(moment)) for moment in case["excludes"])


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
def test_which_intervals_mute(case: Any) -> None:
    intervals = case["time_intervals"]
    muted_by = [
        name
        for name in intervals
        if not hours(intervals, mute_time_intervals=[name]).open(millis(case["now"]))
    ]
    assert muted_by == (case["muted_by"] or [])


@pytest.mark.parametrize("case", cases("timeinterval", "stages"))
def test_a_route_is_muted_by_mute_and_by_active_intervals(case: Any) -> None:
    if not case["time_intervals"]:
        return
    assert hours(case["time_intervals"], **case["route"]).open(millis(case["now"])) is not case["muted"]


def receivers(route: dict[str, Any]) -> set[str]:
    inner = (receivers(child) for child in route.get("routes", ()))
    return set().union({route["receiver"]} if route.get("receiver") else set(), *inner)


def tree(route: dict[str, Any]) -> Route:
    return read(receivers={name: [] for name in receivers(route)}, route=route).policy.root


@pytest.mark.parametrize("case", cases("route", "match"))
def test_the_route_tree(case: Any) -> None:
    root = tree(plain(case["route_yaml"]))
    matched = [route.receiver for route in root.matching(with_level(case["labels"], "warning"))]
    assert matched == [match["receiver"] for match in case["matches"]]


@pytest.mark.parametrize("case", cases("route", "alertmanager_yml_routing"))
def test_the_route_tree_of_a_whole_alertmanager_yml(case: Any) -> None:
    root = tree(plain(case["alertmanager_yml"])["route"])
    assert [route.receiver for route in root.matching(with_level(case["labels"], "warning"))] == case[
        "receivers"
    ]
