"""``alert-router init``: every combination of its options gives a routes.yaml that passes the check."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.channels import REGISTRY
from router.cli import init_command, main
from router.rules import rules_from_answers
from router.rules.check import check_file
from tests.unit.cli.commands import run

SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-of-nobody", "PAGERDUTY_ROUTING_KEY": "fake-routing-key-of-32-character",
    "TEAMS_WEBHOOK_URL": "https://teams.example/hook", "TELEGRAM_BOT_TOKEN": "123456:AAEfake-token-of-nobody-at-all-000",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/1/fake", "HOOK_URL": "https://hook.example/x",
    "WEBHOOK_TOKEN": "token-of-nobody",
    "ADMIN_PASSWORD_HASH": "$2b$12$abcdefghijklmnopqrstuuGfV1q2q8tH0Qm8sTqL0sHhX8yV3Z0bW",
}  # fmt: skip
_WHERE = {"slack": ("--slack-channel", "C0ALERTS"), "email": ("--email-to", "ops@example.com"), "telegram": ("--telegram-chat", "-10012")}  # fmt: skip


@st.composite
def options(draw: st.DrawFn) -> list[str]:
    channels = draw(st.lists(st.sampled_from(init_command._CHANNELS), min_size=1, unique=True))
    given = [part for name in channels for part in ("--channel", name, *_WHERE.get(name, ()))]
    for option, values in (
        ("--timezone", ["UTC", "Europe/Berlin", "Asia/Kolkata"]),
        ("--hours", ["none", "08:30-17:00", "00:00-24:00"]),
        ("--digest", ["none", *(["07:15"] if "email" in channels else [])]),
        ("--source", ["prod"]),
        ("--user", ["alice@example.com", "root"]),
        ("--secrets", ["env", "files", "inline"]),
    ):
        value = draw(st.sampled_from([None, *values]))
        given += [] if value is None else [option, value]
    if "telegram" in channels and draw(st.booleans()):
        given += ["--telegram-chat", "@alerts"]
    if "email" in channels and draw(st.booleans()):
        given += [
            "--email-to",
            "b@example.com",
            "--smarthost",
            "smtp.example.com:587",
            "--email-from",
            "a@example.com",
        ]
    return given


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options())
def test_every_combination_of_options_passes_the_check(tmp_path: Path, given: list[str]) -> None:
    path = tmp_path / "routes.yaml"
    result = run("init", str(path), "--force", *given, **SECRETS)
    assert result.exit_code == 0, result.output
    checked = check_file(path, {}, 0)
    problems = [each.what for each in checked.problems]
    unset = [each for each in problems if each.endswith("is not set") or "can't be read" in each]
    assert problems == unset
    text = path.read_text()
    assert any(value in text for value in SECRETS.values()) <= ("inline" in given)
    assert not any(value in result.output for value in SECRETS.values())
    assert [each.name for each in tmp_path.iterdir()] == ["routes.yaml"]


def test_every_channel_of_the_registry_can_be_chosen() -> None:
    assert set(init_command._CHANNELS) == set(rules_from_answers.CHANNELS)
    assert set(rules_from_answers.CHANNELS) == {spec.name for spec in REGISTRY.values()} - {
        "digest",
        "slack_webhook",
    }


def test_a_file_that_exists_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("mine")
    given = ("init", str(path), "--channel", "pagerduty")
    result = run(*given)
    assert (result.exit_code, path.read_text()) == (1, "mine")
    assert "routes.yaml exists; give another FILE, or --force to replace it" in result.stderr
    assert run(*given, "--force").exit_code == 0
    assert "pagerduty" in path.read_text()


def test_secrets_in_the_file_make_it_private(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    given = ("init", str(path), "--channel", "pagerduty", "--secrets", "inline")
    refused = run(*given, PAGERDUTY_ROUTING_KEY="")
    assert refused.exit_code == 1
    assert "PAGERDUTY_ROUTING_KEY is not set" in refused.stderr
    assert run(*given, **SECRETS).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRETS["PAGERDUTY_ROUTING_KEY"] in path.read_text()


def test_what_to_do_next_names_the_secrets_and_the_receiver(tmp_path: Path) -> None:
    result = run("init", str(tmp_path / "r.yaml"), "--channel", "pagerduty", "--source", "prod")
    assert result.exit_code == 0
    for words in ("PAGERDUTY_ROUTING_KEY: the integration key", "WEBHOOK_TOKEN: ", "webhook_configs:", "credentials: …", "serve --config"):  # fmt: skip
        assert words in result.stdout


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "give at least one --channel"),
        (("--channel", "slack"), "--slack-channel is missing"),
        (("--channel", "email"), "--email-to is missing"),
        (("--channel", "pagerduty", "--digest", "08:00"), "--digest needs --channel email"),
        (("--channel", "pagerduty", "--hours", "18:00-09:00"), "is not a range of business hours"),
        (("--channel", "pagerduty", "--digest", "8 o'clock"), "--digest needs"),
        (
            ("--channel", "pagerduty", "--timezone", "Nowhere/Land"),
            "routes.yaml:5:11: timezone is not a time zone",
        ),
        (("--channel", "pagerduty", "--source", "alert-router"), "reserved"),
        (("--channel", "slack", "--slack-channel", "C\udcff"), "an answer is not UTF-8"),
        (("--channel", "slack", "--slack-channel", "C\x7f"), "the character U+007F is not allowed"),
        (("--channel", "pagerduty", "--source", 'o"r\n: x'), "name has characters that can't be used here"),
    ],
)
def test_answers_that_can_not_be_used_write_nothing(
    tmp_path: Path, given: tuple[str, ...], words: str
) -> None:
    result = run("init", str(tmp_path / "routes.yaml"), *given)
    assert result.exit_code != 0
    assert words in result.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", [".", "/", ".."])
def test_a_folder_is_no_file_to_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("init", name, "--channel", "pagerduty", "--force")
    assert (result.exit_code, result.stderr) == (1, f"{name} is a folder; give the name of a file in it\n")


def test_on_a_terminal_it_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.cli.init_command.sys", _Terminal())
    answers = [
        "slack fax",
        "slack, email",
        "Europe/Berlin",
        "none",
        "07:30",
        "",
        "",
        "C0ALERTS",
        "ops@example.com",
    ]
    result: Result = CliRunner().invoke(
        main, ["init", str(tmp_path / "r.yaml")], input="\n".join(answers) + "\n"
    )
    assert result.exit_code == 0, result.output
    assert "There is no channel 'fax'" in result.stderr
    text = (tmp_path / "r.yaml").read_text()
    for words in (
        'timezone: "Europe/Berlin"',
        'at: "07:30"',
        'channel: "C0ALERTS"',
        'to: ["ops@example.com"]',
    ):
        assert words in text
    assert "office" not in text


class _Terminal:
    class stdin:  # noqa: N801  (as in sys)
        @staticmethod
        def isatty() -> bool:
            return True
