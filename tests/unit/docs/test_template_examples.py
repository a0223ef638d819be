"""The examples of docs/templates.md work: they pass ``check``, and every message is made of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.commands import run
from tests.unit.docs.pages import text

_EXAMPLE = re.compile(r"^`([\w.]+)`: .*?\n\n```jinja\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(_EXAMPLE.findall(text("docs/templates.md")))
RULES = """
receivers:
  all:
    - slack: {channel: C0}
    - pagerduty: {routing_key: ${KEY}}
    - email: {to: [a@example.com]}
    - telegram: {chat_id: 1}
    - discord: {webhook_url: ${DISCORD}}
    - teams: {webhook_url: ${TEAMS}}
  daily: [digest: {to: [a@example.com], at: "08:00"}]
route: {receiver: all, routes: [{severity: info, receiver: daily}]}
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    return messages(tmp_path_factory.mktemp("shipped"))


def messages(folder: Path) -> dict[tuple[str, str], Any]:
    """Return the bodies of all samples by destination and sample. No template may fail."""
    rules = folder / "routes.yaml"
    if not rules.exists():
        rules.write_text(RULES)
    found: dict[tuple[str, str], Any] = {}
    for receiver in ("all", "daily"):
        result = run("render", receiver, "--config", str(rules), "--json")
        assert result.exit_code == 0, result.output
        found |= {(each["channel"], each["sample"]): each["body"] for each in json.loads(result.stdout)}
    return found


def test_every_template_has_an_example() -> None:
    files = re.findall(r"^\| `([\w.]+\.j2)` \|", text("docs/templates.md"), re.MULTILINE)
    assert sorted(EXAMPLES) == sorted(files)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes_check_and_changes_its_messages(
    tmp_path: Path, shipped: dict[tuple[str, str], Any], name: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text(EXAMPLES[name])
    (tmp_path / "routes.yaml").write_text("templates: mine\n" + RULES)
    checked = run("check", "--config", str(tmp_path / "routes.yaml"), "--json")
    assert [
        each
        for each in json.loads(checked.stdout)["problems"]
        if "templates" in each["file"] or ".j2" in each["file"]
    ] == []
    kind = name.partition(".")[0]
    changed = {key for key, body in messages(tmp_path).items() if body != shipped[key]}
    assert changed
    for channel, sample in changed:
        is_storm = sample.startswith("storm")
        assert is_storm if kind == "storm" else channel == kind and not is_storm
