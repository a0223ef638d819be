"""``alert-router render``: the messages of a receiver, as text, as JSON and as a page; nothing is sent."""

import json
import webbrowser
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unit.cli.commands import RULES, run

WEBHOOK = {
    "version": "4",
    "status": "firing",
    "receiver": "alertmanager",
    "groupLabels": {"alertname": "HostDown"},
    "externalURL": "https://alertmanager.example",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "HostDown", "instance": f"db-{number}", "severity": "critical"},
            "annotations": {"summary": f"db-{number} is <down>"},
            "startsAt": "2026-11-29T05:00:00Z",
        }
        for number in (1, 2)
    ],
}
EVERY_CHANNEL = """
receivers:
  all:
    - slack: {channel: C0}
    - pagerduty: {routing_key: ${KEY}, per: alert}
    - email: {to: [a@example.com]}
    - telegram: {chat_id: 1}
    - discord: {webhook_url: ${DISCORD}}
    - teams: {webhook_url: ${TEAMS}}
    - webhook: {url: ${HOOK}}
  daily: [digest: {to: [a@example.com], at: "08:00"}]
  ends_unsent: [slack: {channel: C1, send_resolved: false}]
route: {receiver: all}
"""
AT = ("--at", "2026-11-29T06:00:00Z")


@pytest.fixture
def rules(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "routes.yaml").write_text(EVERY_CHANNEL)
    return "--config", str(tmp_path / "routes.yaml")


@pytest.fixture
def webhook(tmp_path: Path) -> str:
    (tmp_path / "webhook.json").write_text(json.dumps(WEBHOOK))
    return str(tmp_path / "webhook.json")


def heads(output: str) -> list[str]:
    """Return the destination of each message."""
    return [line.split()[1].partition(":")[0] for line in output.splitlines() if line.startswith("=== ")]


def test_every_destination_is_shown_with_what_its_reader_sees(rules: tuple[str, str], webhook: str) -> None:
    result = run("render", "all", *rules, "--alert", webhook, *AT)
    assert result.exit_code == 0, result.output
    assert heads(result.output) == [
        "slack", "pagerduty", "pagerduty", "email", "telegram", "discord", "teams", "webhook",
    ]  # fmt: skip
    slack, *others = result.output.split("=== ")[1:]
    assert slack.splitlines()[2].startswith("Notification: ")
    for text in (slack, others[2], others[3], others[4], others[5]):
        assert "db-1 is <down>" in text
        assert "db-2 is <down>" in text


def test_status_resolved_shows_the_end_after_its_beginning(rules: tuple[str, str], webhook: str) -> None:
    result = run("render", "all", *rules, "--alert", webhook, *AT, "--status", "resolved")
    assert result.exit_code == 0, result.output
    slack, page, *_ = result.output.split("=== ")[1:]
    assert "Resolved: " in slack
    assert "1 reply in the thread" in slack
    assert "[resolved] " in page
    assert "HostDown" in page


def test_a_destination_that_gets_no_ends_says_so(rules: tuple[str, str], webhook: str) -> None:
    result = run("render", "ends_unsent", *rules, "--alert", webhook, "--status", "resolved")
    assert "no message is sent when alerts end: send_resolved is off" in result.output
    assert result.exit_code == 0


def test_json_gives_the_bodies(rules: tuple[str, str], webhook: str) -> None:
    result = run("render", "all", *rules, "--alert", webhook, *AT, "--json")
    by_channel = {each["channel"]: each for each in json.loads(result.stdout)}
    assert by_channel["email"]["body"]["to"] == ["a@example.com"]
    assert by_channel["pagerduty"]["body"]["event_action"] == "trigger"
    assert not any(each["template_failed"] or each["not_sent"] for each in by_channel.values())


@pytest.mark.parametrize(
    "given",
    [
        json.dumps({"labels": {"alertname": "HostDown", "severity": "critical"}}),
        json.dumps([{"labels": {"alertname": "HostDown"}, "status": "firing"}]),
        "labels: {alertname: HostDown}\nannotations: {summary: As YAML}\n",
    ],
)
def test_one_alert_is_read_from_standard_input(rules: tuple[str, str], given: str) -> None:
    result = run("render", "ends_unsent", *rules, "--alert", "-", given=given)
    assert result.exit_code == 0, result.output
    assert "HostDown" in result.output


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "line 1, column"),
        ("{}", "it is not a webhook's body, and not an alert"),
        ('{"alerts": []}', "it has no alerts"),
        ('{"alerts": 5}', "its alerts are"),
        ("5", "not a webhook"),
    ],
)
def test_other_files_are_refused_with_words(rules: tuple[str, str], given: str, words: str) -> None:
    result = run("render", "all", *rules, "--alert", "-", given=given)
    assert result.exit_code == 1
    assert words in result.output


def test_without_alerts_the_samples_are_shown(rules: tuple[str, str]) -> None:
    result = run("render", "all", *rules)
    assert result.exit_code == 0, result.output
    assert "=== slack:C0 (sample: storm)" in result.output
    assert "(sample: digest)" not in result.output
    assert heads(run("render", "daily", *rules).output) == ["digest"]
    ends = run("render", "all", *rules, "--status", "resolved").output
    assert {line.rpartition("(")[2] for line in ends.splitlines() if line.startswith("=== ")} == {
        "sample: ended)", "sample: storm that is over)",
    }  # fmt: skip


def test_an_unknown_receiver_names_the_one_that_was_meant() -> None:
    result = run("render", "oncal", *RULES)
    assert result.exit_code == 1
    assert result.output == "there is no receiver 'oncal'; did you mean 'oncall'?\n"


def test_a_template_that_fails_shows_the_facts_and_is_reported(tmp_path: Path, webhook: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "telegram.j2").write_text("{% block title %}{% endblock %}")
    (tmp_path / "routes.yaml").write_text("templates: mine\n" + EVERY_CHANNEL)
    result = run("render", "all", "--config", str(tmp_path / "routes.yaml"), "--alert", webhook, *AT)
    assert result.exit_code == 1
    assert "telegram:1: the template fails, the plain facts are sent" in result.output
    assert "firing: alertname=HostDown, instance=db-2" in result.output


def test_what_an_alert_says_can_not_control_the_terminal(rules: tuple[str, str]) -> None:
    alert = {"labels": {"alertname": "A\x1b[2J\u202e\x9b"}, "annotations": {"summary": "\x1b]0;x\x07"}}
    output = run("render", "all", *rules, "--alert", "-", given=json.dumps(alert)).output
    assert not set("\x1b\x07\x9b\u202e") & set(output)


class Frames(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.documents: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "iframe":
            self.documents.append(given["srcdoc"])
        elif tag in {"link", "script", "img"}:
            self.loaded += [given.get("src", ""), given.get("href", "")]


@pytest.mark.parametrize("has_browser", [True, False])
def test_open_writes_a_page_that_needs_no_server(
    rules: tuple[str, str], webhook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_browser: bool
) -> None:
    opened: list[str] = []

    def open_(address: str) -> bool:
        opened.append(address)
        return has_browser

    monkeypatch.setattr(webbrowser, "open", open_)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = run("render", "all", *rules, "--alert", webhook, *AT, "--open")
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.glob("alert-router-*.html")
    assert str(path) in result.output
    assert ("No browser" in result.output) is not has_browser
    assert opened == [path.as_uri()]
    page = Frames()
    page.feed(path.read_text())
    assert not any(page.loaded)
    assert len(page.documents) == 1
    assert "db-1 is &lt;down&gt;" in page.documents[0]


def test_open_and_json_exclude_each_other() -> None:
    assert run("render", "oncall", *RULES, "--open", "--json").exit_code == 2
