"""``alert-router explain``: its sources of alerts, its output, and its errors."""

import json
from pathlib import Path

import pytest

from router.config import load
from router.model import Alert, Status, Webhook
from router.store import Adoption, Store
from tests.unit.cli.commands import ROOT, run

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC


def test_explain_names_destinations_and_times() -> None:
    rules = ["--config", str(ROOT / "routes.yaml"), "--at", "2026-11-20 22:41"]
    result = run("explain", "alertname=DiskFull", "severity=warning", *rules)
    assert result.exit_code == 0
    assert "slack:C0WARNINGS        hold until Mon 23 Nov 2026 09:00" in result.stdout
    answer = json.loads(run("explain", "alertname=DiskFull", "severity=info", "--json", *rules).stdout)
    assert [each["destination"] for each in answer["decisions"]] == ["digest:daily"]


def test_explain_reads_firing_alerts_and_lines(tmp_path: Path) -> None:
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
        (["a!=b"], 1, "'a!=b' is not a label; an alert has a value: write a=…"),
        (["a=b", "--at", "9999-12-31"], 1, "'9999-12-31' is too far away"),
        (["a=b", "--at", "0001-01-01"], 1, "'0001-01-01' is too far away"),
        (["--alert", "f00d", "--database", "nonsense"], 1, "--database is no URL"),
        (["a=b", "--at", "soon"], 1, "'soon' is not a time; write it like '2026-11-20 22:41'"),
        (
            ["--alert", "f00d", "--database", "sqlite:////nowhere/router.db"],
            1,
            "unable to open database file",
        ),
    ],
)
def test_explain_names_what_is_wrong_with_its_input(arguments: list[str], code: int, words: str) -> None:
    result = run("explain", "--config", str(ROOT / "routes.yaml"), *arguments)
    assert (result.exit_code, words in result.output) == (code, True)


async def test_explain_of_a_stored_alert_has_what_was_notified(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/router.db"
    policy = load(ROOT / "routes.yaml", environ={}, now=NOW, preview=True).policy
    store = await Store.open(url)
    await store.rules.adopt(Adoption(policy), NOW)
    alert = Alert("f00d", {"alertname": "Disk", "severity": "warning"}, {}, Status.FIRING)
    await store.accept(Webhook("r", "g", {}, "", 0, (alert,)), "prod", b"", policy, NOW)
    rules = ["--config", str(ROOT / "routes.yaml"), "--database", url]  # while it is open elsewhere
    result = run("explain", "--alert", "f00d", *rules)
    assert "Notified so far\n  slack:C0WARNINGS  not notified: hold, outside office" in result.stdout
    answer = json.loads(run("explain", "--alert", "f00d", "--json", *rules).stdout)
    assert (answer["source"], answer["so_far"][0]["notified"]) == ("prod", "nothing")
    assert "the database has no alert beef" in run("explain", "--alert", "beef", *rules).output
    await store.close()


def test_explain_escapes_control_characters(tmp_path: Path) -> None:
    firing = tmp_path / "firing.json"
    firing.write_text(json.dumps([{"alertname": "\U0001f525\x7f", "severity": "critical"}]))
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--webhook", str(firing))
    assert (result.exit_code, result.output.splitlines()[0]) == (0, '\U0001f525\\x7f{severity="critical"}')
    firing.write_text(json.dumps([{"alertname": "\x1b[2J\nDown"}]))
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--webhook", str(firing))
    assert result.output.splitlines()[0] == "\\x1b[2J\\nDown{}"


def test_explain_continues_after_a_line_that_is_not_an_alert() -> None:
    lines = ["[" * 100_000, '{"a": "\\ud800"}', '{"labels": {"a": "b"}, "at": "9999-12-31"}', '{"a": "true"}']
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--jsonl", given="\n".join(lines) + "\n")
    *bad, good = map(json.loads, result.stdout.splitlines())
    assert len(bad) == 3
    assert all("error" in each for each in bad)
    assert good["labels"] == {"a": "true"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"labels": {"a": "b"}, "at": 5}', "5 is not a time; write it like"),
        ('{"labels": {"a": "b"}, "at": ""}', "'' is not a time; write it like"),
        ('{"labels": {"a": "b"}, "at": ["x"]}', "a list is not a time; write it like"),
        ('{"labels": {"a": "b"}, "att": "5"}', "unknown key 'att'; did you mean 'at'?"),
        ('{"labels": {"a": 5}}', "the label 'a' is 5, not text; put it in quotes"),
        ('{"a": true}', "the label 'a' is true, not text; put it in quotes"),
        ('{"labels": ["a"]}', "an alert is a mapping of label names to values"),
        ('{"labels": {}, "firing": 5}', "it is not a list of alerts; write a list of label maps"),
        (
            '{"labels": {}, "firing": [{"labels": {}, "lables": {}}]}',
            "unknown key 'lables'; did you mean 'labels'?",
        ),
        ('["a"]', "an alert is a mapping of label names to values; write it like"),
        ("nothing", "it is not JSON: expecting value at character 1"),
    ],
)
def test_a_line_that_is_not_an_alert_gets_an_error_in_words(line: str, words: str) -> None:
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--jsonl", given=f"{line}\n")
    assert json.loads(result.stdout)["error"].startswith(words)


def test_a_label_that_is_not_utf8_is_an_error() -> None:
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "alertname=a\udcff")
    assert "a label is not text" in result.output
    assert isinstance(result.exception, SystemExit)


def test_firing_alerts_are_read_as_text(tmp_path: Path) -> None:
    """They are YAML, but numbers stay text: a label may be 1.10."""
    file = tmp_path / "firing.yaml"
    file.write_text("- {alertname: Down, version: 1.10, severity: critical, cluster: 010}\n")
    alert = ["alertname=Down", "cluster=010", "severity=warning"]
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--firing", str(file), *alert)
    assert 'Down{cluster="010", severity="critical", version="1.10"}' in result.stdout
    file.write_text("- {alertname: Down\n")
    result = run("explain", "--config", str(ROOT / "routes.yaml"), "--firing", str(file), *alert)
    assert "line 1, column 3: this { is never closed; close it" in result.output
