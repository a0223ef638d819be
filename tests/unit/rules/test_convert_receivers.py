"""Receivers of an alertmanager.yml: each becomes a destination, and its send_resolved is taken over."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from router.channels import REGISTRY
from router.config import Config, loads
from router.rules.convert import Converted, convert_text
from tests.unit.channels.rigs import ImportSample, rig_of

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
SMTP = {"smtp_smarthost": "localhost:25", "smtp_from": "a@example.com", "smtp_require_tls": False}


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


@pytest.fixture(params=sorted(name for name, spec in REGISTRY.items() if spec.importer is not None))
def name(request: pytest.FixtureRequest) -> str:
    """Every channel that has an importer."""
    return str(request.param)


@pytest.fixture
def sample(name: str) -> ImportSample:
    importing = rig_of(name).importing
    assert importing is not None, f"give {name}_rig.py an ImportSample: the channel has an importer"
    return importing


@pytest.fixture
def key(name: str) -> str:
    """The key of the channel's receivers in alertmanager.yml."""
    importer = REGISTRY[name].importer
    assert importer is not None
    return importer.configs_key


def test_a_receiver_becomes_a_destination(name: str, key: str, sample: ImportSample) -> None:
    result = converted({key: [sample.config]})
    (item,) = YAML(typ="safe").load(result.text)["receivers"]["team0"]
    assert item == {name: sample.options}


def test_explicit_send_resolved_false_is_taken_over(key: str, sample: ImportSample) -> None:
    result = converted({key: [{**sample.config, "send_resolved": False}]})
    assert sends_resolved(result) == [False]
    assert "send_resolved" not in str(result.notes)


def test_send_resolved_true_needs_no_note(key: str, sample: ImportSample) -> None:
    result = converted({key: [{**sample.config, "send_resolved": True}]})
    assert sends_resolved(result) == [True]
    assert "send_resolved" not in str(result.notes)


def test_absent_send_resolved_is_noted_where_it_defaults_to_false(key: str, sample: ImportSample) -> None:
    result = converted({key: [sample.config]})
    assert sends_resolved(result) == [True]
    assert ("send_resolved is absent" in str(result.notes)) is not sample.sends_resolved


@pytest.mark.parametrize("first", [True, False])
def test_a_destination_with_two_send_resolved_sends_ends(key: str, sample: ImportSample, first: bool) -> None:
    configs = ({key: [{**sample.config, "send_resolved": each}]} for each in (first, not first))
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
