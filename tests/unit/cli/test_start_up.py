"""The modules that each command imports: imports take most of its time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.commands import ROOT

HEAVY = {
    "aiohttp", "aiosmtplib", "alembic", "asyncio", "holidays", "jinja2", "pdpyras", "prometheus_client", "psycopg",
    "pydantic", "re2", "requests", "ruamel", "slack_sdk", "sqlalchemy", "structlog", "uvloop",
}  # fmt: skip
RULES_NEED = {"asyncio", "jinja2", "pydantic", "re2", "ruamel"}
SCRIPT = """
import json, sys
from router.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("\\n" + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
PLAIN = "receivers: {nobody: []}\nroute: {receiver: nobody}\n"
WITH_SLACK = "receivers: {team: [slack: {channel: C0}]}\nroute: {receiver: team}\n"


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["serve", "--help"], set()),
        (["deliveries", "retry", "--help"], set()),
        (["check"], RULES_NEED),
        (["explain", "alertname=A", "--offline"], RULES_NEED),
        (["explain", "alertname=A", "--url", "http://127.0.0.1:1"], RULES_NEED | {"aiohttp"}),
        (["schedule"], RULES_NEED),
        (["test", "routes.test.yaml"], RULES_NEED),
        (["import", "alertmanager.yml"], RULES_NEED),
        (["render", "team", "--config", "with_slack.yaml"], RULES_NEED),
        (["deliveries", "--url", "http://127.0.0.1:1"], set()),
        (["status", "--url", "http://127.0.0.1:1"], set()),
        (["healthcheck", "--listen", "127.0.0.1:1"], set()),
        (["alerts", "--url", "http://127.0.0.1:1"], set()),
        (["show", "Down", "--url", "http://127.0.0.1:1"], set()),
        (["ledger", "--url", "http://127.0.0.1:1"], set()),
        (
            ["ledger", "--database", "sqlite:///nowhere/router.db"],
            {"asyncio", "jinja2", "re2", "sqlalchemy", "structlog"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_no_more_than_it_needs(
    tmp_path: Path, arguments: list[str], needed: set[str]
) -> None:
    (tmp_path / "routes.yaml").write_text(PLAIN)
    (tmp_path / "routes.test.yaml").write_text(
        "tests: [{name: t, at: 2026-11-20, alerts: [{labels: {a: b}, receivers: []}]}]\n"
    )
    (tmp_path / "with_slack.yaml").write_text(WITH_SLACK)
    (tmp_path / "alertmanager.yml").write_text("receivers: [{name: team}]\nroute: {receiver: team}\n")
    command = [sys.executable, "-c", SCRIPT, *arguments]
    environ = {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    imported = set(json.loads(ran.stdout.splitlines()[-1]))
    assert imported & HEAVY <= needed, ran.stderr


def test_only_rules_with_public_holidays_import_holidays(tmp_path: Path) -> None:
    """That package imports every country."""
    hours = "time_intervals: [{name: office, time_intervals: [{}], holidays: {country: DE}}]\n"
    (tmp_path / "routes.yaml").write_text(hours + PLAIN)
    command = [sys.executable, "-c", SCRIPT, "schedule", "--days", "1"]
    environ = {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert "holidays" in json.loads(ran.stdout.splitlines()[-1])
