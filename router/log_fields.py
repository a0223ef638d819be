"""Texts of log lines that name a group and its alerts. They are short, whatever the labels are."""

from collections.abc import Iterable

from router.decide.tenants import Tenants
from router.model import Labels
from router.render.words import counted

_MAX_NAMES = 5
_MAX_NAME_CHARS = 100
_MAX_LABELS = _MAX_TENANTS = 10


def group_text(labels: Labels) -> str:
    """Return the labels of a group as Alertmanager writes them: ``{alertname="HighLoad", cluster="eu"}``."""
    pairs = [f'{name[:_MAX_NAME_CHARS]}="{value[:_MAX_NAME_CHARS]}"' for name, value in labels.items()]
    return "{" + counted(pairs, _MAX_LABELS) + "}"


def alert_names(alerts: Iterable[Labels]) -> str:
    """Return the names of alerts, each once: the first five, and how many more there are. :param alerts: their labels"""
    names = dict.fromkeys(labels.get("alertname", "") for labels in alerts)
    names.pop("", None)
    return counted([name[:_MAX_NAME_CHARS] for name in names], _MAX_NAMES)


def tenant_fields(source: str, alerts: Iterable[Labels], tenants: Tenants) -> dict[str, str]:
    """Return the fields ``tenant`` and ``source``. Without configured tenants, each source counts as one.

    :param alerts: their labels
    """
    found = sorted({tenants.of(labels) for labels in alerts}) if tenants.label is not None else []
    return {"tenant": counted(found, _MAX_TENANTS) or source, "source": source}


def rule_names(rules: Iterable[str]) -> str:
    """Return the names of rules, each once: the first five, and how many more there are."""
    return counted([name for name in dict.fromkeys(rules) if name], _MAX_NAMES)
