"""The command line: what it prints, and how it exits."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli import main

ROOT = Path(__file__).parents[2]
GOOD = "receivers: {team: []}\nroute: {receiver: team}\n"
TRAP = "receivers: {team: [], other: []}\nroute: {receiver: team}\n"
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
            "file": str(path), "line": 1, "column": 23, "severity": "warning", "kind": "unused",
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
