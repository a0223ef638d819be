"""Builds the parts of a Grafana dashboard as JSON: panels, rows, variables, annotations.

The JSON is that of schema version 39, which Grafana 10.4 and later read. Only the keys that differ from Grafana's defaults
are written, apart from those that Grafana itself always writes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
_ROW_HEIGHT = 1
_GREEN, _YELLOW, _RED = "green", "yellow", "red"
Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from which value on, which colour. The first one has no value."""

BAD_IF_ANY: Steps = ((None, _GREEN), (1, _RED))
WARN_IF_ANY: Steps = ((None, _GREEN), (1, _YELLOW))
GOOD_IF_ONE: Steps = ((None, _RED), (1, _GREEN))


def rising(warn: float, bad: float) -> Steps:
    """Return thresholds of a value that is good while it is low."""
    return ((None, _GREEN), (warn, _YELLOW), (bad, _RED))


def falling(bad: float, warn: float) -> Steps:
    """Return thresholds of a value that is good while it is high."""
    return ((None, _RED), (bad, _YELLOW), (warn, _GREEN))


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel."""

    expr: str
    legend: str = ""
    """Grafana's legend format, such as ``{{destination}}``."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. Its place follows from the order of the panels of a row."""

    title: str
    description: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    steps: Steps = ((None, _GREEN),)
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    stacked: bool = False
    shows_thresholds: bool = False
    """Draw the thresholds of a timeseries as lines."""
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The text and the colour of a value, such as ``{"1": ("broken", "red")}``."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a table: the title of each field that is shown, in order. A value is called ``Value``, or ``Value #A`` and so on
    if there are several queries."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Of a table: the units of columns, by their titles."""


@dataclass(frozen=True, slots=True)
class Row:
    """A title, and the panels below it."""

    title: str
    panels: Sequence[Panel]


def query(expr: str, legend: str = "") -> Sequence[Query]:
    return (Query(expr, legend),)


def found_in_background(expr: str) -> str:
    """Return what the work in the background found. Only the replica that does it is asked: what others show is old."""
    return f'({expr} unless on (job, instance) alert_router_lease_held{{lease="background"}} == 0)'


def _target(number: int, each: Query, panel: Panel) -> Json:
    is_now = panel.kind in {"stat", "table", "bargauge"}
    target: Json = {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": each.expr,
        "format": "table" if panel.kind == "table" else "time_series",
        "instant": is_now,
        "range": not is_now,
        "refId": chr(ord("A") + number),
    }
    if each.legend:
        target["legendFormat"] = each.legend
    return target


def _defaults(panel: Panel) -> Json:
    steps = [{"color": color, "value": value} for value, color in panel.steps]
    found: Json = {
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "mappings": [],
        "thresholds": {"mode": "absolute", "steps": steps},
        "unit": panel.unit,
    }
    if panel.words:
        options = {
            value: {"color": color, "index": index, "text": text}
            for index, (value, (text, color)) in enumerate(panel.words.items())
        }
        found["mappings"] = [{"options": options, "type": "value"}]
    limits = {"decimals": panel.decimals, "min": panel.minimum, "max": panel.maximum}
    found |= {name: value for name, value in limits.items() if value is not None}
    custom = _custom(panel)
    return {**found, "custom": custom} if custom else found


def _custom(panel: Panel) -> Json:
    if panel.kind == "timeseries":
        return {
            "drawStyle": "line",
            "fillOpacity": 30 if panel.stacked else 5,
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "dashed" if panel.shows_thresholds else "off"},
        }
    if panel.kind == "state-timeline":
        return {"fillOpacity": 80, "lineWidth": 0}
    return {}


def _options(panel: Panel) -> Json:
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            return {
                "legend": {
                    "calcs": ["lastNotNull", "max"],
                    "displayMode": "table",
                    "placement": "bottom",
                    "showLegend": True,
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            return {
                "colorMode": "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "orientation": "auto",
                "reduceOptions": reduce,
                "textMode": "auto",
            }
        case "bargauge":
            return {
                "displayMode": "basic",
                "orientation": "horizontal",
                "reduceOptions": reduce,
                "showUnfilled": True,
            }
        case "state-timeline":
            return {
                "alignValue": "left",
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
                "mergeValues": True,
                "rowHeight": 0.8,
                "showValue": "auto",
                "tooltip": {"mode": "single", "sort": "none"},
            }
        case "table":
            return {"cellHeight": "sm", "footer": {"countRows": False, "reducer": ["sum"], "show": False}, "showHeader": True}  # fmt: skip
        case _:
            raise ValueError(panel.kind)


def _transformations(panel: Panel) -> list[Json]:
    if panel.kind != "table":
        return []
    merge: list[Json] = [{"id": "merge", "options": {}}] if len(panel.queries) > 1 else []
    filtered = {"id": "filterFieldsByName", "options": {"include": {"names": list(panel.columns)}}}
    organize = {
        "id": "organize",
        "options": {
            "excludeByName": {},
            "indexByName": {name: index for index, name in enumerate(panel.columns)},
            "renameByName": dict(panel.columns),
        },
    }
    return [*merge, filtered, organize]


def _overrides(panel: Panel) -> list[Json]:
    return [
        {
            "matcher": {"id": "byName", "options": title},
            "properties": [{"id": "unit", "value": unit}],
        }
        for title, unit in panel.units.items()
    ]


def _panel(number: int, panel: Panel, x: int, y: int) -> Json:
    built: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
        "targets": [_target(index, each, panel) for index, each in enumerate(panel.queries)],
    }
    transformations = _transformations(panel)
    return {**built, "transformations": transformations} if transformations else built


def laid_out(rows: Iterable[Row]) -> list[Json]:
    """Return the panels of all rows, from left to right and from top to bottom."""
    panels: list[Json] = []
    y = 0
    for row in rows:
        panels.append({
            "id": len(panels) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": [],
            "gridPos": {"h": _ROW_HEIGHT, "w": COLUMNS, "x": 0, "y": y},
        })  # fmt: skip
        y += _ROW_HEIGHT
        x = height = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            panels.append(_panel(len(panels) + 1, panel, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return panels


def variable(name: str, label: str, values: str) -> Json:
    """Return a variable with the values of a query, of which several can be chosen; at first all."""
    return {
        "name": name, "label": label, "type": "query", "datasource": DATASOURCE, "definition": values,
        "query": {"query": values, "refId": f"variable-{name}"}, "refresh": 2, "sort": 1, "multi": True,
        "includeAll": True, "allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0, "options": [], "regex": "", "skipUrlSync": False,
    }  # fmt: skip


def _datasource_variable() -> Json:
    return {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1,
        "current": {"selected": False, "text": "Prometheus", "value": "prometheus"}, "hide": 0, "includeAll": False, "multi": False, "options": [], "regex": "", "skipUrlSync": False,
    }  # fmt: skip


def _reloads() -> Json:
    """Return the annotations of the moments at which routes.yaml was loaded."""
    return {
        "name": "Reloads of routes.yaml", "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": "blue",
        "expr": "alert_router_config_last_reload_success_timestamp_seconds * 1000", "useValueForTime": True,
        "titleFormat": "routes.yaml was loaded", "textFormat": "{{instance}}",
    }  # fmt: skip


def dashboard(uid: str, title: str, description: str, variables: Sequence[Json], rows: Sequence[Row]) -> Json:
    """Return a dashboard. :param uid: stays the same, because links contain it"""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["alert-router"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{
            "asDropdown": False, "icon": "external link", "includeVars": False, "keepTime": True, "tags": ["alert-router"],
            "targetBlank": False, "title": "Alert router", "tooltip": "", "type": "dashboards", "url": "",
        }],
        "annotations": {"list": [_reloads()]},
        "templating": {"list": [_datasource_variable(), *variables]},
        "panels": laid_out(rows),
    }  # fmt: skip
