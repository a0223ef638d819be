"""Case tables: what matchers, routes, time intervals and inhibit rules mean in Alertmanager.

The tables of this folder are in every checkout. Alertmanager's own, as JSON, are read too where they stand beside it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

FOLDER = Path(__file__).parent
SHARED = Path(__file__).parents[4].parent / "shared" / "semantics"
NAMES = {"matcher": "matchers", "route": "routes", "timeinterval": "intervals", "inhibit": "inhibition"}
"""Alertmanager's name of a table, and ours."""
# What the tables leave out: Alertmanager's defaults of a route.
_ROUTE = {
    "group_by": [], "group_by_all": False, "group_wait_s": 30, "group_interval_s": 300, "repeat_interval_s": 14_400, "labels": {},
}  # fmt: skip

# What the items of a list are.
_ITEMS = {
    "matchers": "matcher",
    "source_matchers": "matcher",
    "target_matchers": "matcher",
    "matches": "match",
}
# Pieces of a configuration, which the tests read themselves.
_AS_IT_IS = {"route_yaml", "alertmanager_yml", "config_yaml", "labels"}


def cases(table: str, section: str) -> list[Any]:
    """Return the cases of a section as parameters of a test: ours, then Alertmanager's.

    :param table: ``matcher``, ``route``, ``timeinterval`` or ``inhibit``
    """
    rows = [_spelled_out(row) for row in read_own(table)[section]]
    if SHARED.is_dir():
        rows += json.loads((SHARED / f"{table}_cases.json").read_text())[section]
    return [
        pytest.param(row, id=f"{row.get('id', row.get('input', ''))}-{number}")
        for number, row in enumerate(rows)
    ]


def read_own(table: str) -> dict[str, list[dict[str, Any]]]:
    """Return the sections of one of our tables."""
    tables: dict[str, list[dict[str, Any]]] = YAML(typ="safe", pure=True).load(
        FOLDER / f"{NAMES[table]}.yaml"
    )
    return tables


def _spelled_out(value: Any, key: str = "") -> Any:
    """Return a case as Alertmanager's tables write it: matchers as mappings, and the routes of ``matches`` with all their
    fields.
    """
    match key, value:
        case "matcher", list():
            return dict(zip(("name", "op", "value"), value, strict=True))
        case "match", dict():
            return {**_ROUTE, **value}
        case _, list():
            return [_spelled_out(each, _ITEMS.get(key, "")) for each in value]
        case _, dict() if key not in _AS_IT_IS:
            return {name: _spelled_out(each, name) for name, each in value.items()}
    return value
