"""Rules, dashboards, runbooks and the configuration of Prometheus and Alertmanager agree with each other and with the router."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.generate import DASHBOARDS as GENERATED
from deploy.grafana.generate import as_text
from router.cli import main
from tests.deployed import (
    DASHBOARDS,
    DEPLOY,
    PROMETHEUS,
    ROOT,
    RULE_FILES,
    alerts,
    counted,
    load_dashboard,
    load_yaml,
    metrics_of,
    queries,
    recorded,
    rules,
)
from tests.unit.docs.pages import headings, names, rows, section, text

RUNBOOKS = ROOT / "docs" / "runbooks"
OF_OTHERS = re.compile(r"up|ALERTS|(process|probe|node|alertmanager|prometheus)_\w+")
"""Metrics of other programs, and of the client library."""
PARTS = ["What it means", "Impact", "How to see it", "What to do", "When to escalate"]


def run(program: str, package: str, *arguments: str, cwd: Path = DEPLOY) -> str:
    """Run one of Debian's programs, and return what it prints. It has to succeed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is missing: install Debian's package {package}")
    done = subprocess.run([path, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# The rules.


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.name)
def test_promtool_accepts_the_rules(path: Path) -> None:
    assert "SUCCESS" in run(
        "promtool", "prometheus", "check", "rules", "--lint=all", "--lint-fatal", str(path)
    )


@pytest.mark.parametrize("path", sorted((PROMETHEUS / "tests").glob("*.yml")), ids=lambda path: path.name)
def test_the_rules_fire_when_they_should_and_only_then(path: Path) -> None:
    assert "SUCCESS" in run("promtool", "prometheus", "test", "rules", str(path))


def test_promtool_accepts_the_configuration_with_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, folder)
    token = tmp_path / "token"
    token.write_text("secret")
    config = folder / "prometheus.yml"
    config.write_text(config.read_text().replace("/run/secrets/alert_router_scrape_token", str(token)))
    assert "SUCCESS" in run("promtool", "prometheus", "check", "config", str(config))


def test_each_alert_has_a_test_in_which_it_fires() -> None:
    tested = "\n".join(path.read_text() for path in (PROMETHEUS / "tests").glob("*.yml"))
    fired = set(re.findall(r'\{alertname="(\w+)"', tested)) | set(re.findall(r"alertname: (\w+)", tested))
    assert set(alerts()) - fired == set()
    assert fired - set(alerts()) == set()


def test_each_alert_has_what_people_and_routes_need() -> None:
    for name, each in alerts().items():
        for rule in each:
            assert rule["labels"]["severity"] in {"critical", "warning", "none"}, name
            assert rule["labels"].get("notify", "direct") == "direct", name
            assert {"summary", "description", "runbook_url"} == set(rule["annotations"]), name
            # The address of the page in the built site, see ``use_directory_urls`` in mkdocs.yml.
            assert rule["annotations"]["runbook_url"].endswith(f"/runbooks/{name}.html"), name


def test_each_metric_of_the_rules_is_known() -> None:
    named = set().union(*(metrics_of(str(rule["expr"])) for rule in rules()))
    assert unknown(named) == set()


def unknown(names: set[str]) -> set[str]:
    known = counted() | recorded()
    return {name for name in names if name not in known and not OF_OTHERS.fullmatch(name)}


_FOUND_IN_BACKGROUND = {
    "alert_router_ledger_imbalance", "alert_router_contradicted_alerts", "alert_router_empty_conversations",
    "alert_router_miscounted_counters", "alert_router_heartbeat_silent", "alert_router_source_silent",
    "alert_router_drill_last_successful", "alert_router_drill_last_success_timestamp_seconds",
    "alert_router_database_bytes",
}  # fmt: skip
"""What the holder of the background finds, and another replica may still show from before."""


def test_what_a_former_holder_found_is_neither_shown_nor_alerted_on() -> None:
    asked = [str(rule["expr"]) for rule in rules()]
    asked += [expression for path in DASHBOARDS for _, expression in queries(load_dashboard(path))]
    seen = {name: [each for each in asked if name in metrics_of(each)] for name in _FOUND_IN_BACKGROUND}
    assert [name for name, found in seen.items() if not found] == []
    only_holder = 'unless on (job, instance) alert_router_lease_held{lease="background"} == 0'
    assert [each for found in seen.values() for each in found if only_holder not in each] == []


def test_promtool_accepts_the_example_for_the_postgresql_server(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"^```yaml\n(.*?)^```",
        section("docs/monitoring.md", "The PostgreSQL server"),
        re.MULTILINE | re.DOTALL,
    )
    file = tmp_path / "postgresql.rules.yml"
    file.write_text(example)
    checked = run("promtool", "prometheus", "check", "rules", "--lint=all", "--lint-fatal", str(file))
    assert "SUCCESS: 4 rules found" in checked


# Runbooks.


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(alerts())


@pytest.mark.parametrize("name", sorted(alerts()))
def test_a_runbook_has_all_its_parts(name: str) -> None:
    assert headings(f"docs/runbooks/{name}.md") == [name, *PARTS]


def test_runbooks_name_only_commands_that_exist() -> None:
    named = {
        command
        for path in RUNBOOKS.glob("*.md")
        for command in re.findall(r"(?:`|^ *)alert-router ([a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert "deliveries" in named
    assert isinstance(main, click.Group)
    assert named - set(main.commands) == set()


def test_the_list_of_runbooks_names_each_with_its_severity() -> None:
    text = (RUNBOOKS / "README.md").read_text()
    listed = dict(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| ([\w, ]+) \|", text, re.MULTILINE))
    expected = {
        name: ", ".join(sorted({rule["labels"]["severity"] for rule in each} | {"direct" for rule in each if "notify" in rule["labels"]}))
        for name, each in alerts().items()
    }  # fmt: skip
    assert listed == expected


# Dashboards.


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_is_what_its_generator_writes(path: Path) -> None:
    assert path.read_text() == as_text(GENERATED[path.name])


def test_no_dashboard_is_missing() -> None:
    assert {path.name for path in DASHBOARDS} == set(GENERATED)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_grafanas_own_types_know_every_key(path: Path) -> None:
    """They drop what they don't know. The keys of Prometheus' annotations and variables are the data source's, not theirs."""
    register_default_plugins()
    dashboard = load_dashboard(path)
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))
    for annotation in dashboard["annotations"]["list"]:
        for key in ("titleFormat", "textFormat", "useValueForTime"):
            del annotation[key]
    for variable in dashboard["templating"]["list"]:
        variable.pop("definition", None)
    assert list(dropped(dashboard, read)) == []


def dropped(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Return where ``theirs`` lacks something of ``ours``, or has another value. It may have more: defaults."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        lost = [f"{place}.{key}" for key in ours if key not in theirs]
        return lost + [
            each for key in ours if key in theirs for each in dropped(ours[key], theirs[key], f"{place}.{key}")
        ]  # fmt: skip
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            each
            for index, pair in enumerate(zip(ours, theirs, strict=True))
            for each in dropped(*pair, f"{place}[{index}]")
        ]
    return [] if ours == theirs else [f"{place}: {ours!r} != {theirs!r}"]


def test_dashboards_have_names_units_and_places_of_their_own() -> None:
    boards = [load_dashboard(path) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards)
    for board in boards:
        assert board["annotations"]["list"][0]["expr"].startswith("alert_router_config_last_reload_success")
        panels = board["panels"]
        assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24, panel["title"]
            taken |= cells
            if panel["type"] != "row":
                assert panel["type"] in {"timeseries", "stat", "table", "state-timeline", "bargauge"}
                assert panel["description"], panel["title"]
                assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
                assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_each_metric_of_a_dashboard_is_known(path: Path) -> None:
    named = set().union(*(metrics_of(expression) for _, expression in queries(load_dashboard(path))))
    assert unknown(named) == set()


def test_the_dashboards_show_every_metric_of_the_router() -> None:
    shown = {
        name
        for path in DASHBOARDS
        for _, expression in queries(load_dashboard(path))
        for name in metrics_of(expression)
    }
    recorded_from = {
        name for rule in rules() if rule.get("record") in shown for name in metrics_of(str(rule["expr"]))
    }
    assert counted() - shown - recorded_from == set()


def test_grafana_is_provisioned_with_the_dashboards_and_their_sources() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    (provider,) = load_yaml(folder / "dashboards" / "alert-router.yml")["providers"]
    assert provider["type"] == "file"
    sources = load_yaml(folder / "datasources" / "sources.yml")["datasources"]
    assert {(each["type"], each["uid"]) for each in sources} == {
        ("prometheus", "prometheus"),
        ("loki", "loki"),
    }
    assert [each["type"] for each in sources if each.get("isDefault")] == ["prometheus"]


# Alertmanager, blackbox_exporter and Loki.

ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"


def test_amtool_accepts_the_configuration() -> None:
    assert "SUCCESS" in run("amtool", "prometheus-alertmanager", "check-config", str(ALERTMANAGER))


def receiver_of(**labels: str) -> str:
    given = [f"{name}={value}" for name, value in labels.items()]
    command = ("config", "routes", "test", f"--config.file={ALERTMANAGER}", *given)
    return run("amtool", "prometheus-alertmanager", *command).strip()


def test_alerts_about_the_router_avoid_it_and_all_others_use_it() -> None:
    assert receiver_of(alertname="AlertRouterDown", severity="critical", notify="direct") == "last-resort"
    for other in ("AlertRouterDeadLetters", "Watchdog", "DiskFull"):
        assert receiver_of(alertname=other, severity="warning") == "alert-router"
    for name in ("AlertRouterDown", "AlertRouterStoreUnwritable", "AlertRouterHeartbeatMissing"):
        assert alerts()[name][0]["labels"]["notify"] == "direct"


def test_the_last_resort_does_not_use_the_router() -> None:
    config = load_yaml(ALERTMANAGER)
    (router,) = [each for each in config["receivers"] if each["name"] == "alert-router"]
    (last,) = [each for each in config["receivers"] if each["name"] == "last-resort"]
    assert router["webhook_configs"][0]["send_resolved"] is True
    assert "credentials_file" in router["webhook_configs"][0]["http_config"]["authorization"]
    assert "webhook_configs" not in last
    assert last["email_configs"]


def test_the_exporter_accepts_its_modules_and_targets_name_them() -> None:
    path = DEPLOY / "blackbox" / "blackbox.yml"
    run(
        "prometheus-blackbox-exporter",
        "prometheus-blackbox-exporter",
        "--config.check",
        f"--config.file={path}",
    )
    modules = set(load_yaml(path)["modules"])
    named = {
        module
        for job in load_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]
        for module in job.get("params", {}).get("module", ())
    }
    assert named
    assert named <= modules


def test_the_labels_of_loki_are_bounded() -> None:
    agent = (DEPLOY / "loki" / "config.alloy").read_text()
    (labels,) = re.findall(r"stage\.labels \{\s*values = \{([^}]*)\}", agent)
    assert re.findall(r"(\w+)\s*=", labels) == ["level"]
    limits = load_yaml(DEPLOY / "loki" / "loki.yml")["limits_config"]
    assert limits["max_label_names_per_series"] <= 10
    assert limits["retention_period"] == "720h"


# The questions to Loki in docs/monitoring.md.

_QUESTIONS = re.compile(r"^(?!#|```)\S.*$", re.MULTILINE)
_TEXT = re.compile(r'"[^"]*"')
_USES = (  # filtered, unwrapped, grouped
    re.compile(r"\| (\w+) ?(?:=~|!~|!=|=)"),
    re.compile(r"\| unwrap (\w+)"),
    re.compile(r"\bby \(([^)]*)\)"),
)


def questions() -> list[str]:
    """Return the queries of the page, one a line."""
    (block,) = re.findall(
        r"^```\n(# .*?)^```", section("docs/monitoring.md", "Loki"), re.MULTILINE | re.DOTALL
    )
    return _QUESTIONS.findall(block)


def selected(question: str) -> set[str]:
    """Return the labels that the selector of a query names."""
    (selector,) = re.findall(r"\{([^{}]*)\}", question.partition(" | ")[0])
    return set(re.findall(r"(\w+) ?(?:=~|!~|!=|=)", _TEXT.sub("", selector)))


def used(question: str) -> set[str]:
    """Return the fields of the log that a query filters, shows, counts or groups by."""
    shown = re.findall(r"\{\{\.(\w+)\}\}", question)
    without_texts = _TEXT.sub("", question)
    found = [name for each in _USES for name in each.findall(without_texts)]
    return {*shown, *(name for each in found for name in re.split(r",\s*", each))}


def made_by_the_agent(stage: str) -> set[str]:
    """Return the names that a stage of config.alloy makes of fields."""
    agent = (DEPLOY / "loki" / "config.alloy").read_text()
    (values,) = re.findall(rf"stage\.{stage} \{{\s*values = \{{([^}}]*)\}}", agent)
    return set(re.findall(r"(\w+)\s*=", values))


def labels_of_loki() -> set[str]:
    agent = (DEPLOY / "loki" / "config.alloy").read_text()
    return {*re.findall(r'target_label\s*= "(\w+)"', agent), *made_by_the_agent("labels")}


def test_the_fields_of_a_question_are_read_from_it() -> None:
    question = 'sum by (rule, user) (x({service="a", level=~"b=c"} | action="d e" | json | leftOut != "" | unwrap did [1h]))'
    assert selected(question) == {"service", "level"}
    assert used(question) == {"rule", "user", "action", "leftOut", "did"}
    assert used('{a="b"} | json | line_format "{{.peer}} {{.words}}"') == {"peer", "words"}


def test_questions_select_on_labels_that_there_are() -> None:
    assert len(questions()) > 6
    assert set().union(*map(selected, questions())) == labels_of_loki() == {"service", "level"}


def test_each_field_of_a_question_is_in_the_log() -> None:
    fields = set(re.findall(r"`(\w+)`", text("docs/log.md")))
    named = set().union(*map(used, questions()))
    assert len(named) > 12
    assert named - fields == set()


def test_a_field_is_used_before_json_only_if_loki_has_it_apart() -> None:
    apart = labels_of_loki() | made_by_the_agent("structured_metadata")
    before = {name for each in questions() for name in used(each.partition("| json")[0])}
    assert before - apart == set()
    assert {
        name for row in rows(section("docs/monitoring.md", "Loki"), "") for name in names(row[1])
    } >= apart
