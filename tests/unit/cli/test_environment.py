"""Environment variables, exit codes, addresses, colours, completion and help."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest
import structlog

from router import logs
from router.cli import main
from router.cli.environment import known_variables
from router.cli.reading import FATE_COLUMNS
from router.cli.running import Listen
from router.cli.shared import has_colors
from router.model import Fate
from tests.unit.cli.commands import GOOD, ROOT, RULES, run

DOCS = (ROOT / "docs" / "command-line.md").read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ALERT_ROUTER_LISTN", "did you mean ALERT_ROUTER_LISTEN?"),
        ("ALERT_ROUTER_CHECK_STRIKT", "did you mean ALERT_ROUTER_CHECK_STRICT?"),
        ("ALERT_ROUTER_DELIVERIES_RETRY_ALLL_", "did you mean ALERT_ROUTER_DELIVERIES_RETRY_ALL_?"),
        ("ALERT_ROUTER_QQQQQQQQQQQQQQQQQQQQQ", "`alert-router docs command-line` lists those it reads"),
    ],
)
@pytest.mark.parametrize("command", [["check"], ["schedule"], ["explain", "a=b"]])
def test_a_variable_that_no_option_reads_is_named(name: str, words: str, command: list[str]) -> None:
    result = run(*command, *RULES, **{name: "1"})
    assert f"warning: no option reads the environment variable {name}; {words}\n" in result.stderr
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "name",
    [
        "ALERT_ROUTER_CONFIG", "ALERT_ROUTER_SERVE_LISTEN", "ALERT_ROUTER_CHECK_CONFIG", "ALERT_ROUTERS",
        "SLACK_BOT_TOKEN", "ALERT_ROUTER_SERVICE_HOST", "ALERT_ROUTER_SERVICE_PORT_HTTP", "ALERT_ROUTER_PORT",
        "ALERT_ROUTER_PORT_9099_TCP_ADDR",
    ],
)  # fmt: skip
def test_other_variables_give_no_warning(tmp_path: Path, name: str) -> None:
    """Variables of options, of other programs, and those that Kubernetes sets for a service named alert-router."""
    (tmp_path / "routes.yaml").write_text(GOOD)
    value = str(tmp_path / "routes.yaml") if name.endswith("CONFIG") else "127.0.0.1:1"
    result = run("ledger", "--database", "nonsense", **{name: value})
    assert "warning" not in result.stderr


def test_the_variables_of_options_are_the_ones_that_click_reads() -> None:
    assert run("check", *RULES, ALERT_ROUTER_CHECK_AS_JSON="1").stdout.startswith("{")
    names = set(known_variables(main, "ALERT_ROUTER"))
    assert {"ALERT_ROUTER_CHECK_AS_JSON", "ALERT_ROUTER_LOG_LEVEL", "ALERT_ROUTER_DELIVERIES_TOKEN"} <= names


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9099", ("127.0.0.1", 9099)),
        (":9099", ("0.0.0.0", 9099)),
        ("[::1]:9099", ("::1", 9099)),
        ("[::]:9099", ("::", 9099)),
        ("router.example:80", ("router.example", 80)),
    ],
)
def test_a_port_alone_is_loopback_and_a_colon_all_interfaces(text: str, address: tuple[str, int]) -> None:
    assert Listen().convert(text, None, None) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "127.0.0.1",
        "localhost:http",
        ":65536",
        ":٣",
        "::1",
        "::1:9099",
        "[::1:80",
        "http://x:80",
        "a b:80",
    ],
)
def test_an_invalid_address_is_wrong_usage(text: str) -> None:
    result = run("serve", "--listen", text)
    assert (result.exit_code, "is not an address; write it like 127.0.0.1:9099" in result.output) == (2, True)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_a_stop_takes_a_number_of_seconds(seconds: str) -> None:
    result = run("serve", "--drain", seconds)
    assert (result.exit_code, "--drain" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("variables", "colors"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colors_are_for_terminals_unless_no_color_is_set(variables: dict[str, str], colors: bool) -> None:
    command = [sys.executable, "-m", "router", "schedule", *RULES]
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "TERM": "xterm", **variables}
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, env=environ) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert process.returncode == 0
    assert (b"\x1b[" in shown) is colors
    assert "\x1b[" not in run("schedule", *RULES, **variables).stdout


def _read(terminal: int) -> bytes:
    """Read the output of a process; Linux raises an error at its end."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def test_a_file_gets_no_colors(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        assert not has_colors(file)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_commands_and_options(shell: str) -> None:
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    command = Path(sys.executable).with_name("alert-router")
    ran = subprocess.run(
        [command],
        env={**environ, "_ALERT_ROUTER_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_ALERT_ROUTER_COMPLETE" in ran.stdout
    assert f"_ALERT_ROUTER_COMPLETE={shell}_source alert-router" in DOCS
    words = {"COMP_WORDS": "alert-router deliveries re", "COMP_CWORD": "re" if shell == "fish" else "2"}
    complete = {**environ, **words, "_ALERT_ROUTER_COMPLETE": f"{shell}_complete"}
    ran = subprocess.run([command], env=complete, capture_output=True, text=True, check=True)
    assert "retry" in ran.stdout
    assert "resume" in ran.stdout


def commands(command: click.Command, path: str = "") -> list[tuple[str, click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            found += commands(each, f"{path} {name}".strip())
    return found


def test_the_docs_name_every_command_and_option() -> None:
    for path, command in commands(main):
        assert f"alert-router {path}".strip() in DOCS
        for option in command.params:
            if isinstance(option, click.Option):
                for name in option.opts:
                    assert not name.startswith("--") or f"`{name}" in DOCS, f"{path} {name}"


def test_every_command_that_prints_data_has_json() -> None:
    without = {
        path for path, command in commands(main) if not any("--json" in each.opts for each in command.params)
    }
    # A schema is JSON anyway.
    assert without == {"", "serve", "healthcheck", "schema"}


def test_test_as_json_has_each_alert_and_the_differences(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(GOOD)
    file = tmp_path / "routes.test.yaml"
    file.write_text("tests: [{name: t, at: 2026-11-20, alerts: [{labels: {a: b}, receivers: [team]}]}]\n")
    result = run("test", str(file), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "tests": [{
            "file": str(file), "line": 1, "test": "t", "alert": '{a="b"}', "ok": False,
            "differences": ["- receivers: team", "+ receivers: nobody"], "because": [],
        }],
    }  # fmt: skip


def test_import_as_json_has_the_rules_and_the_notes(tmp_path: Path) -> None:
    source, target = tmp_path / "alertmanager.yml", tmp_path / "routes.yaml"
    source.write_text("global: {resolve_timeout: 5m}\nreceivers: [{name: team}]\nroute: {receiver: team}\n")
    answer = json.loads(run("import", str(source), "-o", str(target), "--json").stdout)
    assert (answer["output"], answer["text"]) == (str(target), target.read_text())
    (note,) = answer["notes"]
    assert (note["line"], note["column"]) == (1, 10)
    assert "resolve_timeout has no counterpart" in note["what"]
    assert json.loads(run("import", str(source), "--json").stdout)["output"] is None


def test_the_ledger_has_a_column_for_each_fate() -> None:
    assert sorted(FATE_COLUMNS) == sorted(Fate)


@pytest.mark.usefixtures("logs_restored")
@pytest.mark.parametrize("colors", [True, False])
def test_human_log_lines_have_colors_only_if_asked(capsys: pytest.CaptureFixture[str], colors: bool) -> None:
    logs.configure("human", "info", colors=colors)
    structlog.get_logger("router.test").info("serving", address="http://127.0.0.1:9099")
    logs.close()
    assert ("\x1b[" in capsys.readouterr().err) is colors
