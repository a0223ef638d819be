"""Reads what ``deploy/`` has for Prometheus and Grafana: rules, dashboards, and the metrics that their expressions name."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import Counter
from ruamel.yaml import YAML

from router import metric_table
from router.histogram import Histogram

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))

_KEYWORDS = frozenset({"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "offset"})
_LISTS_OF_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:$.])[a-zA-Z_:][\w:]*(?![\w:])(?!\s*\()")


def load_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def rules() -> list[dict[str, Any]]:
    """Return all rules of all files: those with ``record`` and those with ``alert``."""
    return [rule for path in RULE_FILES for group in load_yaml(path)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, list[dict[str, Any]]]:
    """Return the alert rules, by their names. Several rules can have one name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in rules():
        if "alert" in rule:
            found.setdefault(rule["alert"], []).append(rule)
    return found


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def load_dashboard(path: Path) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(path.read_text())
    return dashboard


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the title of the panel, and the expression, of each query; also of annotations and variables."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert asked is not None
            yield variable["label"], f"count by ({asked.group(2)}) ({asked.group(1)})"


def metrics_of(expression: str) -> set[str]:
    """Return the names of metrics in an expression, without the suffixes of histograms."""
    text = re.sub(r'"[^"]*"', "", expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
    text = _LISTS_OF_LABELS.sub("", text)
    found = {name for name in _NAME.findall(text) if name not in _KEYWORDS}
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}


def counted() -> set[str]:
    """Return the names of the router's own metrics, as they stand in ``/metrics``."""
    return {
        f"{each.name}_total" if each.type is Counter else each.name for each in metric_table.ALL_METRICS
    } | {"alert_router_build_info"}


def buckets() -> set[str]:
    """Return the names of histograms."""
    return {each.name for each in metric_table.ALL_METRICS if each.type is Histogram}
