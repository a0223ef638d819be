"""Writes the PrometheusRule objects of the component ``monitoring``: ``python -m deploy.kubernetes.prometheus_rules``, from the
root of the repository.

The Prometheus operator loads no rule files, only such objects. Change a rule in ``deploy/prometheus/rules`` and run this: a test
compares the objects with the files.
"""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

RULES = Path(__file__).parents[1] / "prometheus" / "rules"
FOLDER = Path(__file__).parent / "components" / "monitoring"
FILES = {
    "prometheusrule.yaml": ("alert-router-rules", ["alert-router.rules.yml", "replicas.rules.yml", "slo.rules.yml"]),
    "blackbox.yaml": ("alert-router-blackbox", ["blackbox.rules.yml"]),
}  # fmt: skip
LEFT_OUT = {"Watchdog", "AlertRouterReplicaMissing"}
"""The rules of kube-prometheus have a Watchdog. The component ``replicas`` has the other one, with the number of its Deployment."""
_WIDTH = 10_000  # one line for each expression: a folded one would end with spaces


def prometheus_rule(name: str, files: list[str]) -> dict[str, Any]:
    """Return the object with the rules of some files, without those that are left out."""
    groups = []
    for file in files:
        for group in YAML(typ="safe").load(RULES / file)["groups"]:
            kept = [each for each in group["rules"] if each.get("alert") not in LEFT_OUT]
            if kept:
                groups.append({**group, "rules": kept})
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "alert-router"}},
        "spec": {"groups": groups},
    }


def as_text(file: str) -> str:
    """Return the text of a file of the component."""
    name, files = FILES[file]
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    body = io.StringIO()
    yaml.dump(prometheus_rule(name, files), body)
    names = files[0] if len(files) == 1 else "{" + ",".join(files) + "}"
    return (
        f"# Made of deploy/prometheus/rules/{names}\n"
        "# by `python -m deploy.kubernetes.prometheus_rules`: change the rules there. The labels are for Prometheus' `ruleSelector`.\n"
        + body.getvalue()
    )


if __name__ == "__main__":
    for each in FILES:
        (FOLDER / each).write_text(as_text(each))
