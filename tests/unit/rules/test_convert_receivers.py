"""Receivers of an alertmanager.yml: how ``send_resolved`` is imported."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from router.config import Config, loads
from router.rules.convert import Converted, convert_text

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
SMTP = {"smtp_smarthost": "localhost:25", "smtp_from": "a@example.com", "smtp_require_tls": False}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "slack_configs": {"channel": "C012345678"},
    "email_configs": {"to": "team@example.com"},
    "pagerduty_configs": {"routing_key_file": "/run/key"},
    "webhook_configs": {"url": "https://hooks.example.com/"},
    "discord_configs": {"webhook_url": "https://discord.com/api/webhooks/1/t"},
    "telegram_configs": {"chat_id": -1001234567890, "bot_token_file": "/run/token"},
    "msteamsv2_configs": {"webhook_url": "https://prod-1.logic.azure.com/workflows/1"},
}


def converted(*configs: Mapping[str, Any]) -> Converted:
    """:param configs: receivers without their names"""
    receivers = [{"name": f"team{number}", **each} for number, each in enumerate(configs)]
    data = {"global": SMTP, "route": {"receiver": "team0"}, "receivers": receivers}
    return convert_text(json.dumps(data), now=NOW)


def loaded(result: Converted) -> Config:
    return loads(result.text, name="routes.yaml", folder=Path(), environ={}, now=NOW, preview=True)


def sends_resolved(result: Converted) -> list[bool]:
    return [
        each.options.send_resolved for found in loaded(result).policy.receivers.values() for each in found
    ]


@pytest.mark.parametrize("key", CONFIGS)
def test_an_explicit_send_resolved_false_is_imported(key: str) -> None:
    result = converted({key: [{**CONFIGS[key], "send_resolved": False}]})
    assert sends_resolved(result) == [False]
    assert "send_resolved" not in str(result.notes)


@pytest.mark.parametrize("key", CONFIGS)
def test_send_resolved_true_needs_no_note(key: str) -> None:
    result = converted({key: [{**CONFIGS[key], "send_resolved": True}]})
    assert sends_resolved(result) == [True]
    assert "send_resolved" not in str(result.notes)


@pytest.mark.parametrize(("key", "noted"), [
    ("slack_configs", True), ("email_configs", True), ("pagerduty_configs", False), ("webhook_configs", False),
    ("discord_configs", False), ("telegram_configs", False),
    ("msteamsv2_configs", False),
])  # fmt: skip
def test_absent_send_resolved_is_noted_where_it_defaults_to_false(key: str, noted: bool) -> None:
    result = converted({key: [CONFIGS[key]]})
    assert sends_resolved(result) == [True]
    assert ("send_resolved is absent" in str(result.notes)) is noted


@pytest.mark.parametrize("key", CONFIGS)
@pytest.mark.parametrize("first", [True, False])
def test_a_destination_with_two_send_resolved_sends_ends(key: str, first: bool) -> None:
    configs = ({key: [{**CONFIGS[key], "send_resolved": each}]} for each in (first, not first))
    result = converted(*configs)
    assert sends_resolved(result) == [True, True]
    assert "with and without send_resolved" in str(result.notes)


def test_two_slack_receivers_may_share_a_token_file() -> None:
    """A secret that is read from a file is a mapping."""
    several = [
        {"channel": "C0CRITICAL", "app_token_file": "/run/token"},
        {"channel": "C0WARNINGS", "app_token_file": "/run/token"},
    ]
    result = converted({"slack_configs": several})
    assert len(sends_resolved(result)) == 2
    assert "another token" not in str(result.notes)
