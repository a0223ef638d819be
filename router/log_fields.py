"""Texts of log lines that name a group and its alerts. They are short, whatever the labels are."""

from collections.abc import Iterable

from router.model import Labels
from router.render.words import counted

_MAX_NAMES = 5
_MAX_NAME_CHARS = 100
_MAX_LABELS = 10


def group_text(labels: Labels) -> str:
    """Return the labels of a group as Alertmanager writes them: ``{alertname="HighLoad", cluster="eu"}``."""
    pairs = [f'{name[:_MAX_NAME_CHARS]}="{value[:_MAX_NAME_CHARS]}"' for name, value in labels.items()]
    return "{" + counted(pairs, _MAX_LABELS) + "}"


def alert_names(alerts: Iterable[Labels]) -> str:
    """Return the names of alerts, each once: the first five, and how many more there are. :param alerts: their labels"""
    names = dict.fromkeys(labels.get("alertname", "") for labels in alerts)
    names.pop("", None)
    return counted([name[:_MAX_NAME_CHARS] for name in names], _MAX_NAMES)


def rule_names(rules: Iterable[str]) -> str:
    """Return the names of rules, each once: the first five, and how many more there are."""
    return counted([name for name in dict.fromkeys(rules) if name], _MAX_NAMES)
