"""The guides in docs/howto, and the commands that pages tell people to run."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from router.channels.slack_attempt import _CALL_KINDS
from router.cli import main
from tests.unit.docs.pages import ROOT, rows, text

HOWTO = ROOT / "docs/howto"
PAGES = sorted(
    [*HOWTO.glob("*.md"), *(ROOT / f"docs/{name}.md" for name in ("tutorial", "troubleshooting", "security"))]
)
# https://docs.slack.dev/reference/methods: the scopes that each method asks of a bot.
SCOPES = {
    "chat_postMessage": {"chat:write"},
    "chat_update": {"chat:write"},
    "conversations_history": {"channels:history", "groups:history"},
}


def commands_in(page: Path) -> list[str]:
    """Return the commands of a page, in blocks and in backticks."""
    prose = page.read_text().replace("\\\n", " ")
    inline = re.findall(r"`alert-router ([a-z][^`\n]*)`", prose)
    lines = re.findall(r"^ *alert-router ([a-z].*)$", prose, re.MULTILINE)
    return [each for each in (*inline, *lines) if not each.startswith(("check-", "…"))]


def problem_of(command: str) -> str:
    """Return what is wrong with the name or the options of a command; empty: nothing."""
    words = shlex.split(command.split("#", maxsplit=1)[0].split(" > ", maxsplit=1)[0])
    current: click.Command = main
    while words and isinstance(current, click.Group) and words[0] in current.commands:
        current = current.commands[words.pop(0)]
    if current is main:
        return f"there is no command {command!r}"
    known = {name for each in current.params for name in (*each.opts, *each.secondary_opts)}
    known.add("-")  # standard input or output
    unknown = [word for word in words if word.startswith("-") and word.split("=")[0] not in known]
    return f"{command!r}: {unknown}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_of_a_page_exists(page: Path) -> None:
    assert [problem for each in commands_in(page) if (problem := problem_of(each))] == []


def test_the_pages_have_commands_to_check() -> None:
    assert sum(len(commands_in(page)) for page in PAGES) > 40
    assert problem_of("chek") != ""
    assert problem_of("check --stric") != ""
    assert problem_of("deliveries retry 7") == ""


def test_troubleshooting_quotes_what_the_router_says() -> None:
    source = "".join(path.read_text() for path in sorted(ROOT.glob("router/**/*.py")))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a text that goes on in the next line
    quotes = [
        quote
        for head in ("it says", "what you see")
        for row in rows(text("docs/troubleshooting.md"), head)
        for quote in re.findall(r"`([^`]+)`", row[0])
        if " " in quote and not quote.startswith("alert-router ")
    ]
    assert len(quotes) > 8
    pieces = [piece.strip() for quote in quotes for piece in quote.split("…")]
    assert [piece for piece in pieces if piece and piece not in source] == []


def test_the_slack_app_has_exactly_the_scopes_that_the_code_needs() -> None:
    assert _CALL_KINDS.keys() == SCOPES.keys()
    needed = set().union(*SCOPES.values())
    manifest = YAML(typ="safe").load(HOWTO / "slack-manifest.yaml")
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == needed
    table = rows(text("docs/howto/slack.md").replace("\n    |", "\n|"), "scope")
    assert {scope for row in table for scope in re.findall(r"`([^`]+)`", row[0])} == needed
    calls = {call.replace(".", "_") for row in table for call in re.findall(r"`([^`]+)`", row[1])}
    assert calls == SCOPES.keys()


def examples(page: str) -> list[str]:
    """Return the examples of a page, without the indentation of the list that they stand in."""
    found = re.findall(r"^( *)```yaml\n(.*?)^ *```", (HOWTO / page).read_text(), re.MULTILINE | re.DOTALL)
    return ["".join(line[len(indent) :] for line in body.splitlines(keepends=True)) for indent, body in found]


@pytest.mark.parametrize("page", ["slack.md", "smtp.md", "teams.md"])
def test_the_example_of_a_guide_passes_check(page: str, tmp_path: Path) -> None:
    (example,) = examples(page)
    (tmp_path / "secrets").mkdir()
    for name in re.findall(r"\{file: secrets/(\w+)\}", example):
        secret = (
            "https://prod-1.westeurope.logic.azure.com/workflows/x?sig=y" if name == "teams" else "xoxb-1-2"
        )
        (tmp_path / "secrets" / name).write_text(f"{secret}\n")
    (tmp_path / "routes.yaml").write_text(example)
    checked = CliRunner().invoke(main, ["check", "--json", "--config", f"{tmp_path}/routes.yaml"])
    assert json.loads(checked.output)["ok"], checked.output


def test_the_example_of_the_move_is_imported_and_passes_check(tmp_path: Path) -> None:
    example = examples("from-alertmanager.md")[0]
    (tmp_path / "alertmanager.yml").write_text(example)
    imported = CliRunner().invoke(
        main, ["import", f"{tmp_path}/alertmanager.yml", "-o", f"{tmp_path}/routes.yaml"]
    )
    assert imported.exit_code == 0, imported.output
    written = (tmp_path / "routes.yaml").read_text()
    assert "LEFT OUT" not in written
    checked = CliRunner().invoke(main, ["check", "--json", "--config", f"{tmp_path}/routes.yaml"])
    kinds = {each["kind"] for each in json.loads(checked.output)["problems"] if each["severity"] == "error"}
    assert kinds == set(), checked.output
    explained = CliRunner().invoke(
        main,
        [
            "explain",
            "--offline",
            "--json",
            "--config",
            f"{tmp_path}/routes.yaml",
            "alertname=X",
            "severity=critical",
        ],
    )
    assert json.loads(explained.stdout)["receivers"] == ["oncall"]


def test_pages_agree_on_what_was_measured_by_hand() -> None:
    on_postgresql, of_replicas = (
        dict(rows(text(f"docs/howto/{page}"), "measured by hand"))
        for page in ("postgresql.md", "replicas.md")
    )
    shared = on_postgresql.keys() & of_replicas.keys()
    assert shared == {"bytes in the database for each webhook, with its three deliveries and all indexes"}
    (size,) = shared
    assert on_postgresql[size] == of_replicas[size]
    for page in ("capacity.md", "postgresql.md", "replicas.md"):
        others = set(re.findall(r"(\d,\d{3}) bytes|× (\d,\d{3}) ×", text(f"docs/howto/{page}")))
        assert {each for pair in others for each in pair if each} <= {on_postgresql[size], "2,855"}, page
    every = {
        found
        for page in ("capacity.md", "replicas.md")
        for found in re.findall(r"[\d.]+ KiB", text(f"docs/howto/{page}"))
    }
    assert every - {"16 KiB"} == {"2.3 KiB"}


def test_the_memory_of_an_alert_follows_from_the_measured_figures() -> None:
    measured = {row[0]: row[1] for row in rows(text("docs/performance.md"), "")}
    few, many = (float(measured[f"memory at {count} active alerts, MiB"]) for count in ("10,000", "100,000"))
    assert f"{(many - few) * 1024 / 90_000:.1f} KiB" == "2.3 KiB"


@pytest.mark.parametrize("page", ["capacity.md", "replicas.md"])
def test_the_figures_of_a_page_are_the_measured_ones(page: str) -> None:
    measured = {row[0]: row[1] for row in rows(text("docs/performance.md"), "")}
    quoted = rows(text(f"docs/howto/{page}"), "measured")
    assert len(quoted) > 4
    for what, figure in quoted:
        assert measured[what].split(" (")[0] == figure, what
