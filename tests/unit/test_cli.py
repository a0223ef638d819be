"""The command line: what it prints, and how it exits."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from router.cli import main
from router.config import load
from router.model import Alert, Status, Webhook
from router.store import Adoption, Store

ROOT = Path(__file__).parents[2]
NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
GOOD = "receivers: {nobody: []}\nroute: {receiver: nobody}\n"
TRAP = "receivers: {nobody: [], other: []}\nroute: {receiver: nobody}\n"
MISTAKE = "receivers: {team: []}\nroute: {receiver: taem}\n"


def run(*arguments: str, given: str = "", **environ: str) -> Result:
    return CliRunner().invoke(main, arguments, input=given, env=environ)


@pytest.mark.parametrize(
    ("rules", "options", "code", "words"),
    [
        (GOOD, [], 0, "routes.yaml: good"),
        (TRAP, [], 0, "routes.yaml: 1 warning"),
        (TRAP, ["--strict"], 1, "routes.yaml: 1 warning"),
        (MISTAKE, [], 1, "routes.yaml: 1 error"),
    ],
)
def test_check_fails_on_errors_and_strictly_on_warnings(
    tmp_path: Path, rules: str, options: list[str], code: int, words: str
) -> None:
    (tmp_path / "routes.yaml").write_text(rules)
    result = run("check", "--config", str(tmp_path / "routes.yaml"), *options)
    assert result.exit_code == code
    assert words in result.output


def test_check_as_json_names_the_place_and_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(TRAP)
    result = run("check", "--config", str(path), "--json")
    assert json.loads(result.stdout) == {
        "ok": True,
        "problems": [{
            "file": str(path), "line": 1, "column": 25, "severity": "warning", "kind": "unused",
            "what": "no route uses the receiver 'other'", "todo": "route something to it, or remove it",
        }],
    }  # fmt: skip


def test_check_needs_no_credentials_and_serve_does(tmp_path: Path) -> None:
    """The rules of the repository have all of theirs in the environment."""
    assert run("check", "--config", str(ROOT / "routes.yaml")).exit_code == 0
    result = run(
        "serve", "--config", str(ROOT / "routes.yaml"), "--database", f"sqlite:///{tmp_path}/router.db"
    )
    assert result.exit_code == 1
    assert "the environment variable SLACK_BOT_TOKEN is not set" in result.output
    assert "  24 |   slack: {token: ${SLACK_BOT_TOKEN}}\n     |                  ^" in result.output


@pytest.mark.parametrize(
    "line",
    [
        "channels: {slack: {tokn: secret-1}}",
        "channels: {slack: {token: [secret-1]}}",
        "channels: {slack: {token: {value: secret-1}}}",
        "channels: {slack: {token: {secret-1}}}",
        "channels: {slack: secret-1}",
        "channels: {slack: {token:\n    '@secret-1' x}}",
        "channels:\n  slack:\n    token:\n      @secret-1",
        'channels: {email: {password: "a,secret-1" x}}',
        "sources: [{name: a, basic_auth: 'me:secret-1'}]",
        "sources: [{name: a, authorization: {credentials: secret-1}}]",
        "receivers: {team: [{pagerduty: {integration_key: secret-1}}]}",
        "receivers: {team: [{slack: {api_url: 'https://hooks.slack.com/services/secret-1'}}]}",
        "receivers: {team: [{webhook: 'https://example.com/secret-1'}]}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / "routes.yaml").write_text(f"{line}\nroute: {{receiver: nobody}}\n")
    result = run("check", "--config", str(tmp_path / "routes.yaml"))
    assert " | " in result.output
    assert "secret-" not in result.output


def test_no_line_that_is_shown_has_a_secret_in_it(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        "channels:\n  slack: {token: xoxb-secret-1, chanel: x}\n  webhook: {url: https://me:secret-2@example.com}\n"
        "  email:\n    password:\n      secret-3\n    smarthost: user:secret-4@example.com\n"
        "receivers:\n  team:\n  - pagerduty: {routing_key: 'secret-5', colour: red}\n"
        "sources: [{name: a b, bearer_token: secret-6}]\nroute: {receiver: nobody}\n"
    )
    for options in ([], ["--json"]):
        result = run("check", "--config", str(path), *options)
        assert result.exit_code == 1
        assert "secret-" not in result.output.replace("secret-4", "")  # a smarthost is none


def test_explain_says_who_hears_of_an_alert_and_when() -> None:
    rules = ["--config", str(ROOT / "routes.yaml"), "--at", "2026-11-20 22:41"]
    result = run("explain", "alertname=DiskFull", "severity=warning", *rules)
    assert result.exit_code == 0
    assert "slack:C0WARNINGS        hold until Mon 23 Nov 2026 09:00" in result.stdout
    answer = json.loads(run("explain", "alertname=DiskFull", "severity=info", "--json", *rules).stdout)
    assert [each["destination"] for each in answer["decisions"]] == ["digest:daily"]


def test_explain_takes_what_else_fires_from_a_file_and_many_alerts_from_lines(tmp_path: Path) -> None:
    firing = tmp_path / "firing.json"
    firing.write_text('[{"labels": {"alertname": "A", "severity": "critical"}}]')
    lines = '{"alertname": "A", "severity": "warning"}\n{"alertname": "B", "severity": "warning"}\n'
    options = ["--config", str(ROOT / "routes.yaml"), "--firing", str(firing), "--at", "2026-11-20 10:00"]
    result = run("explain", "--jsonl", *options, given=lines)
    assert result.exit_code == 0
    decisions = [json.loads(line)["decisions"][0]["decision"] for line in result.stdout.splitlines()]
    assert decisions == ["inhibited", "send"]
    assert run("explain", "--jsonl", *options, given=lines + "{\n").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "give labels, or --webhook, or --alert, or --jsonl"),
        (["a=b", "--jsonl"], 2, "give labels, or --webhook, or --alert, or --jsonl"),
        (["a!=b"], 1, "'a!=b' is no label; an alert has a value: write a=…"),
        (["a=b", "--at", "9999-12-31"], 1, "'9999-12-31' is too far away"),
        (["a=b", "--at", "0001-01-01"], 1, "'0001-01-01' is too far away"),
        (["--alert", "f00d", "--database", "nonsense"], 1, "--database is no URL"),
        (["a=b", "--at", "soon"], 1, "'soon' is no time; write it like '2026-11-20 22:41'"),
        (
            ["--alert", "f00d", "--database", "sqlite:////nowhere/router.db"],
            1,
            "unable to open database file",
        ),
    ],
)
def test_explain_says_what_is_wrong_with_the_question(arguments: list[str], code: int, words: str) -> None:
    result = run("explain", "--config", str(ROOT / "routes.yaml"), *arguments)
    assert (result.exit_code, words in result.output) == (code, True)


async def test_explain_of_an_alert_that_the_store_knows_tells_what_became_of_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/router.db"
    policy = load(ROOT / "routes.yaml", environ={}, now=NOW, preview=True).policy
    store = await Store.open(url)
    await store.rules.adopt(Adoption(policy), NOW)
    alert = Alert("f00d", {"alertname": "Disk", "severity": "warning"}, {}, Status.FIRING)
    await store.accept(Webhook("r", "g", {}, "", 0, (alert,)), "prod", b"", policy, NOW)
    rules = ["--config", str(ROOT / "routes.yaml"), "--database", url]  # while it is open elsewhere
    result = run("explain", "--alert", "f00d", *rules)
    assert "So far\n  slack:C0WARNINGS  not told: hold, outside office" in result.stdout
    answer = json.loads(run("explain", "--alert", "f00d", "--json", *rules).stdout)
    assert (answer["source"], answer["so_far"][0]["notified"]) == ("prod", "nothing")
    assert "the store knows no alert beef" in run("explain", "--alert", "beef", *rules).output
    await store.close()


def test_explain_takes_any_json_and_keeps_the_terminal_whole(tmp_path: Path) -> None:
    firing = tmp_path / "firing.json"
    firing.write_text(json.dumps([{"alertname": "\U0001f525\x7f", "severity": "critical"}]))
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--webhook", str(firing))
    assert (result.exit_code, result.output.splitlines()[0]) == (0, '\U0001f525\\x7f{severity="critical"}')
    firing.write_text(json.dumps([{"alertname": "\x1b[2J\nDown"}]))
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--webhook", str(firing))
    assert result.output.splitlines()[0] == "\\x1b[2J\\nDown{}"


def test_explain_goes_on_after_a_line_that_is_no_alert() -> None:
    lines = ["[" * 100_000, '{"a": "\\ud800"}', '{"labels": {"a": "b"}, "at": "9999-12-31"}', '{"a": "true"}']
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--jsonl", given="\n".join(lines) + "\n")
    *bad, good = map(json.loads, result.stdout.splitlines())
    assert len(bad) == 3
    assert all("error" in each for each in bad)
    assert good["labels"] == {"a": "true"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"labels": {"a": "b"}, "at": 5}', "5 is no time; write it like"),
        ('{"labels": {"a": "b"}, "at": ""}', "'' is no time; write it like"),
        ('{"labels": {"a": "b"}, "at": ["x"]}', "a list is no time; write it like"),
        ('{"labels": {"a": "b"}, "att": "5"}', "unknown key 'att'; did you mean 'at'?"),
        ('{"labels": {"a": 5}}', "the label 'a' is 5, and not text; put it in quotes"),
        ('{"a": true}', "the label 'a' is true, and not text; put it in quotes"),
        ('{"labels": ["a"]}', "an alert is a mapping of label names to values"),
        ('{"labels": {}, "firing": 5}', "it is no list of alerts; write a list of label maps"),
        (
            '{"labels": {}, "firing": [{"labels": {}, "lables": {}}]}',
            "unknown key 'lables'; did you mean 'labels'?",
        ),
        ('["a"]', "an alert is a mapping of label names to values; write it like"),
        ("nothing", "it is not JSON: expecting value at character 1"),
    ],
)
def test_a_line_that_can_t_be_used_is_told_why_in_words(line: str, words: str) -> None:
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--jsonl", given=f"{line}\n")
    assert json.loads(result.stdout)["error"].startswith(words)


def test_labels_that_are_no_utf8_are_told_so() -> None:
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "alertname=a\udcff")
    assert "a label is no text" in result.output
    assert isinstance(result.exception, SystemExit)


def test_what_fires_is_read_as_it_is_written(tmp_path: Path) -> None:
    """YAML, and no numbers made of it: 1.10 is a label's text."""
    file = tmp_path / "firing.yaml"
    file.write_text("- {alertname: Down, version: 1.10, severity: critical, cluster: 010}\n")
    alert = ["alertname=Down", "cluster=010", "severity=warning"]
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--firing", str(file), *alert)
    assert 'Down{cluster="010", severity="critical", version="1.10"}' in result.stdout
    file.write_text("- {alertname: Down\n")
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--firing", str(file), *alert)
    assert "line 1, column 3: this { is never closed; close it" in result.output


def test_a_test_that_wants_something_sent_fails_where_nobody_is_told(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(GOOD)
    file = tmp_path / "routes.test.yaml"
    file.write_text("tests: [{name: t, at: 2026-11-20 22:41, alerts: [{labels: {a: b}, decisions: send}]}]\n")
    result = run("test", str(file))
    assert (result.exit_code, "+ decisions: nobody is told of it" in result.stderr) == (1, True)
    result = run("test", str(file), "--junit", str(tmp_path / "nowhere" / "x.xml"))
    assert "No such file or directory; give another path" in result.output


def test_the_tests_of_the_repository_pass_and_a_broken_one_is_shown_as_a_diff(tmp_path: Path) -> None:
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
            ":1:23: at: 'noon' is no time",
        ),
        ("tests: [{name: x, at: 2026-11-20 10:00, alerts: [{labels: {a: b}}]}]", "nothing is wanted of it"),
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
            ":1:25: at: a list is no time; write it like",
        ),
        ("tests: [{name: x, at: 5, alerts: [{labels: {a: [b]}}]}]", ":1:48: a is not text; write"),
        (
            "tests: [{name: x, at: 5, firing: [{labels: {}, state: y}], alerts: []}]",
            ":1:35: firing: unknown key 'state'; did you mean 'status'?",
        ),
        ("rules: [x]", ":1:8: rules is not text; write one word or text here"),
        (
            "{rules: nowhere.yaml, tests: [{name: 1, at: soon, alerts: []}]}",
            ":1:45: at: 'soon' is no time; write it like",
        ),
    ],
)
def test_mistakes_in_a_file_of_tests_have_their_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "routes.yaml").write_text(GOOD)
    file = tmp_path / "routes.test.yaml"
    file.write_text(text)
    result = run("test", "--config", str(tmp_path / "routes.yaml"))
    assert result.exit_code == 1
    assert words in result.output
    assert f"{file}:1:" in result.output


def test_rules_without_tests_say_how_to_begin(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(GOOD)
    result = run("test", "--config", str(tmp_path / "routes.yaml"))
    assert (result.exit_code, "write routes.test.yaml beside it" in result.output) == (1, True)


def test_schedule_draws_and_counts_the_days_asked_for() -> None:
    rules = ["--config", str(ROOT / "routes.yaml"), "--at", "2026-12-20 10:00"]
    assert "Fri 25 Dec" in run("schedule", *rules).stdout
    (office,) = json.loads(run("schedule", "--json", "--days", "3", *rules).stdout)
    assert [day["date"] for day in office["days"]] == ["2026-12-20", "2026-12-21", "2026-12-22"]


def test_import_writes_rules_that_pass_check_and_lists_what_it_leaves_out(tmp_path: Path) -> None:
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
