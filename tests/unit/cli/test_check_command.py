"""``alert-router check``: findings and exit codes; no output has a secret."""

import json
import re
from pathlib import Path

import pytest

from tests.unit.cli.commands import GOOD, ROOT, run

TRAP = "receivers: {nobody: [], other: []}\nroute: {receiver: nobody}\n"
MISTAKE = "receivers: {team: []}\nroute: {receiver: taem}\n"


@pytest.mark.parametrize(
    ("rules", "options", "code", "words"),
    [
        (GOOD, [], 0, "routes.yaml: good"),
        (TRAP, [], 0, "routes.yaml: 1 warning"),
        (TRAP, ["--strict"], 1, "routes.yaml: 1 warning"),
        (MISTAKE, [], 1, "routes.yaml: 1 error"),
    ],
)
def test_check_fails_on_errors_and_with_strict_on_warnings(
    tmp_path: Path, rules: str, options: list[str], code: int, words: str
) -> None:
    (tmp_path / "routes.yaml").write_text(rules)
    result = run("check", "--config", str(tmp_path / "routes.yaml"), *options)
    assert result.exit_code == code
    assert words in result.output


def test_check_as_json_has_position_and_kind(tmp_path: Path) -> None:
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
    """The rules of the repository read all their credentials from the environment."""
    assert run("check", "--config", str(ROOT / "routes.yaml")).exit_code == 0
    result = run(
        "serve", "--config", str(ROOT / "routes.yaml"), "--database", f"sqlite:///{tmp_path}/router.db"
    )
    assert result.exit_code == 1
    assert "the environment variable SLACK_BOT_TOKEN is not set" in result.output
    assert '  24 |   slack: {token: "${SLACK_BOT_TOKEN}"}\n     |                  ^' in result.output


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
def test_a_misplaced_secret_is_not_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / "routes.yaml").write_text(f"{line}\nroute: {{receiver: nobody}}\n")
    result = run("check", "--config", str(tmp_path / "routes.yaml"))
    assert " | " in result.output
    assert "secret-" not in result.output


def test_no_shown_line_has_a_secret(tmp_path: Path) -> None:
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


def test_check_finds_a_block_that_is_empty_when_all_ended(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    shipped = (ROOT / "templates" / "slack.j2").read_text()
    title = "  {% block title %}{{ title if status == 'firing' }}{% endblock %}"
    own = re.sub(r"{% block title %}.*?{% endblock %}", title, shipped, flags=re.DOTALL)
    (tmp_path / "mine" / "slack.j2").write_text(own)
    (tmp_path / "routes.yaml").write_text("templates: mine\n" + GOOD)
    result = run("check", "--config", str(tmp_path / "routes.yaml"))
    line = own[: own.index(title)].count("\n") + 1
    assert f"{tmp_path}/mine/slack.j2:{line}:3: " in result.output
    assert "the block 'title' of a message whose status is resolved is empty" in result.output
    assert result.exit_code == 1
