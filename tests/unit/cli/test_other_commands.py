"""``alert-router test``, ``schedule`` and ``import``."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.unit.cli.commands import GOOD, ROOT, run


def test_an_expected_send_fails_if_nothing_is_sent(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(GOOD)
    file = tmp_path / "routes.test.yaml"
    file.write_text("tests: [{name: t, at: 2026-11-20 22:41, alerts: [{labels: {a: b}, decisions: send}]}]\n")
    result = run("test", str(file))
    assert (result.exit_code, "+ decisions: nothing is sent" in result.stderr) == (1, True)
    result = run("test", str(file), "--junit", str(tmp_path / "nowhere" / "x.xml"))
    assert "No such file or directory; give another path" in result.output


def test_a_failed_test_is_shown_as_a_diff(tmp_path: Path) -> None:
    assert run("test", "--config", str(ROOT / "routes.yaml")).stdout == "8 passed\n"
    text = (ROOT / "routes.test.yaml").read_text().replace("rules: routes.yaml", f"rules: {ROOT}/routes.yaml")
    file, report = tmp_path / "broken.yaml", tmp_path / "junit.xml"
    file.write_text(
        text.replace("receivers: [oncall]", "receivers: [team]").replace(
            "2026-11-23 09:00", "2026-11-23 08:00"
        )
    )
    result = run("test", str(file), "--junit", str(report))
    assert result.exit_code == 1
    assert result.stdout == "6 passed, 2 failed\n"
    assert (
        "- receivers: team\n    + receivers: oncall\n    because of route.routes[0]: to oncall"
        in result.stderr
    )
    assert "- opens: Mon 23 Nov 2026 08:00\n    + opens: Mon 23 Nov 2026 09:00" in result.stderr
    suite = ET.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("8", "2")
    assert len(suite.findall(".//testcase/failure")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tests: []", ":1:8: tests is empty"),
        (
            "tests: [{name: x, at: noon, alerts: [{labels: {a: b}, decisions: hold}]}]",
            ":1:23: at: 'noon' is not a time",
        ),
        ("tests: [{name: x, at: 2026-11-20 10:00, alerts: [{labels: {a: b}}]}]", "the test expects nothing"),
        (
            "tests: [{name: x, at: 2026-11-20 10:00, alerts: [{labels: 7, decisions: hold}]}]",
            "an alert is a mapping",
        ),
        (
            "tests: [{name: x, at: 2026-11-20 10:00, alerts: [{label: {}}]}]",
            "unknown key 'label'; did you mean 'labels'?",
        ),
        ("tests: [", "this [ is never closed"),
        (
            "tests: [{name: x, at: 2026-11-20 10:00, alerts: [{labels: {a: b}, decisions: sent}]}]",
            ":1:78: decisions is none of send, hold, digest, inhibited, drop; choose one",
        ),
        (
            "tests: [{name: x, at: 5, alerts: [{labels: {a: b}, decisions: {x: sent, y: {decision: [hold]}}}]}]",
            ":1:87: decision is none of send, hold, digest, inhibited, drop; choose one",
        ),
        (
            "tests: [{name: [x], at: [5], alerts: [{labels: {a: [b]}, opens: soon}]}]",
            ":1:25: at: a list is not a time; write it like",
        ),
        ("tests: [{name: x, at: 5, alerts: [{labels: {a: [b]}}]}]", ":1:48: a is not text; write"),
        (
            "tests: [{name: x, at: 5, firing: [{labels: {}, state: y}], alerts: []}]",
            ":1:35: firing: unknown key 'state'; did you mean 'status'?",
        ),
        ("rules: [x]", ":1:8: rules is not text; write one word or text here"),
        (
            "{rules: nowhere.yaml, tests: [{name: 1, at: soon, alerts: []}]}",
            ":1:45: at: 'soon' is not a time; write it like",
        ),
    ],
)
def test_a_mistake_in_a_file_of_tests_has_its_position(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "routes.yaml").write_text(GOOD)
    file = tmp_path / "routes.test.yaml"
    file.write_text(text)
    result = run("test", "--config", str(tmp_path / "routes.yaml"))
    assert result.exit_code == 1
    assert words in result.output
    assert f"{file}:1:" in result.output


def test_rules_without_tests_are_an_error_with_advice(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(GOOD)
    result = run("test", "--config", str(tmp_path / "routes.yaml"))
    assert (result.exit_code, "write routes.test.yaml in the same folder" in result.output) == (1, True)


def test_schedule_draws_the_days_asked_for() -> None:
    rules = ["--config", str(ROOT / "routes.yaml"), "--at", "2026-12-20 10:00"]
    assert "Fri 25 Dec" in run("schedule", *rules).stdout
    (office,) = json.loads(run("schedule", "--json", "--days", "3", *rules).stdout)
    assert [day["date"] for day in office["days"]] == ["2026-12-20", "2026-12-21", "2026-12-22"]


def test_imported_rules_pass_check(tmp_path: Path) -> None:
    source, target = tmp_path / "alertmanager.yml", tmp_path / "routes.yaml"
    source.write_text(
        "global: {resolve_timeout: 5m, slack_api_url: 'https://hooks.slack.com/services/secret'}\n"
        "receivers: [{name: team, slack_configs: [{channel: '#alerts'}]}]\nroute: {receiver: team}\n"
    )
    result = run("import", str(source), "--output", str(target))
    assert result.exit_code == 0
    assert "resolve_timeout has no counterpart" in result.stderr
    assert "secret" not in result.output + target.read_text()
    assert run("check", "--config", str(target)).exit_code == 0
    assert "File exists" in run("import", str(source), "--output", str(target)).output
    assert run("import", str(source)).stdout == target.read_text()
    assert "No such file" in run("import", str(tmp_path / "nothing.yml")).output


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--tls-cert", "c.pem"], "belong together"),
        (["--tls-key", "k.pem"], "belong together"),
        (["--tls-client-ca", "ca.pem"], "needs --tls-cert"),
        (["--preview", "--sample", "--tls-cert", "c.pem", "--tls-key", "k.pem"], "plain HTTP"),
        (["--max-connections", "0"], "max-connections"),
    ],
)
def test_options_of_connections_that_do_not_fit_are_refused(given: list[str], words: str) -> None:
    result = run("serve", *given)
    assert result.exit_code == 2
    assert words in result.output
