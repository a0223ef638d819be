"""The JSON Schema of routes.yaml accepts what the router accepts, and refuses what is wrong in form."""

import io
import json
import os
import re
import warnings
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from router.cli import main
from router.config.json_schema import DRAFT, schema_of_routes, schema_of_team
from tests.unit.docs.pages import ROOT, pages

HERE = Path(__file__).parent
SHIPPED = ROOT / "docs/routes.schema.json"
# A plain variable inside braces: the router reads it, YAML does not.
_PLAIN_VARIABLE = re.compile(r"(?<=[:,\[] )\$\{[^}\n]*\}(?=\s*[,}\]])")
# What is wrong in these files is not a matter of form: names, order, conditions between values, files, environment.
NOT_OF_FORM = {
    "bad_address",
    "bad_matcher",
    "bad_regex",
    "deadman_text",
    "drill_names",
    "empty_lists_of_a_digest",
    "heartbeats",
    "lone_surrogate",
    "missing_secret_file",
    "never_open",
    "no_credentials",
    "one_destination_with_two_rates",
    "outside_without_digest",
    "overnight",
    "password_in_clear",
    "proxy_that_lets_nobody_in",
    "reserved_source",
    "same_credentials",
    "secret_as_a_name",
    "secret_of_two_lines",
    "short_history",
    "smarthost_with_a_password",
    "unknown_country",
    "unknown_interval",
    "unknown_level",
    "unknown_receiver",
    "unknown_subdivision",
    "unknown_zone",
    "unset_variable",
    "users_who_are_the_same",
    "weekday_wrap",
    "tenants",
    "too_many_heartbeats",
}


def as_an_editor_reads_it(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an anchor that is used twice
        data = yaml.load(io.StringIO(_PLAIN_VARIABLE.sub(lambda found: f'"{found.group()}"', text)))
    return _without_dates(data)


def _without_dates(data: Any) -> Any:
    """Return data with dates as text: they are a type of YAML 1.1, and editors read YAML 1.2."""
    match data:
        case dict():
            return {key: _without_dates(value) for key, value in data.items()}
        case list():
            return [_without_dates(each) for each in data]
        case date():
            return data.isoformat()
        case _:
            return data


@cache
def schema_() -> dict[str, Any]:
    return schema_of_routes()


def errors(data: Any, schema: dict[str, Any] | None = None) -> list[str]:
    validator = jsonschema.Draft7Validator(schema or schema_())
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(data)]


def with_(**sections: Any) -> dict[str, Any]:
    """Return a small routes.yaml as an editor reads it."""
    return {"receivers": {"team": [{"slack": {"channel": "C0"}}]}, "route": {"receiver": "team"}, **sections}


def test_the_shipped_schema_is_the_one_that_the_command_prints() -> None:
    printed = CliRunner().invoke(main, ["schema"]).output
    if os.environ.get("UPDATE_GOLDEN"):
        SHIPPED.write_text(printed)
    assert SHIPPED.read_text() == printed


@pytest.mark.parametrize("schema", [schema_of_routes(), schema_of_team()], ids=["routes", "team"])
def test_the_schemas_are_valid_and_complete(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == DRAFT
    jsonschema.Draft7Validator.check_schema(schema)
    named = set(re.findall(r'"#/definitions/(\w+)"', json.dumps(schema)))
    assert named <= schema["definitions"].keys()


@pytest.mark.parametrize(
    "path",
    [ROOT / "routes.yaml", ROOT / "tests/gallery/routes.yaml", *sorted((HERE / "traps").glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_files_that_the_router_accepts_are_valid(path: Path) -> None:
    assert errors(as_an_editor_reads_it(path.read_text())) == []


def test_the_shipped_file_is_yaml_for_editors() -> None:
    assert YAML(typ="safe", pure=True).load(ROOT / "routes.yaml")["channels"]["slack"] == {
        "token": "${SLACK_BOT_TOKEN}"
    }


def examples() -> list[Any]:
    """Return every example of routes.yaml in the docs, or of sections of it."""
    found = []
    known = schema_()["properties"]
    for page in pages():
        for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
            data = as_an_editor_reads_it(text)
            if isinstance(data, dict) and data and data.keys() <= known.keys() and not _of_alertmanager(data):
                found.append(pytest.param(data, id=f"{page.name}-{number}"))
    return found


def _of_alertmanager(data: dict[str, Any]) -> bool:
    return isinstance(data.get("receivers"), list)


@pytest.mark.parametrize("data", examples())
def test_the_examples_of_the_docs_are_valid(data: dict[str, Any]) -> None:
    is_team = data.keys() == {"receivers", "time_intervals", "route"} and "receiver" not in data["route"]
    assert errors(data, schema_of_team() if is_team else _schema_of_a_part()) == []


def _schema_of_a_part() -> dict[str, Any]:
    """Return the schema of an example that leaves out other sections, or the receiver of the first route."""
    properties = schema_()["properties"]
    route = {key: value for key, value in properties["route"].items() if key != "required"}
    return {**schema_(), "required": [], "properties": {**properties, "route": route}}


def test_there_are_examples_in_the_docs() -> None:
    assert len(examples()) > 20


@pytest.mark.parametrize("path", sorted((HERE / "mistakes").glob("*.yaml")), ids=lambda path: path.stem)
def test_mistakes_of_form_are_refused(path: Path) -> None:
    try:
        data = as_an_editor_reads_it(path.read_bytes().decode())
    except (YAMLError, ValueError, RecursionError):
        return  # an editor shows the mistake itself
    assert bool(errors(data)) is not (path.stem in NOT_OF_FORM)


@pytest.mark.parametrize(
    "sections",
    [
        {"inhibit_wait": "1h30m", "stale_after": 0},
        {"channels": {"slack": {"token": {"file": "secrets/slack"}}, "pagerduty": None}},
        {"receivers": {"empty": None, "team": [{"slack": {"webhook_url": {"file": "x"}, "name": "a"}}]}},
        {"receivers": {"team": [{"slack": {"channel": "C0", "send_resolved": False, "rate": "5/s burst 3"}}]}},
        {"receivers": {"team": [{"telegram": {"chat_id": -1001234, "max_concurrency": 2}}]}},
        {"receivers": {"team": [{"pagerduty": {"routing_key": "${KEY}", "per": "${PER:-group}"}}]}},
        {"route": {"receiver": "team", "routes": [{"matchers": 'a="b"', "continue": True}]}},
        {"route": {"receiver": "team", "routes": [{"match": {"build": 12}, "outside": {"digest": "daily"}}]}},
        {"time_intervals": [{"name": "x", "time_intervals": [{"years": [2026], "months": ["march:5"]}]}]},
        {"retention": {"history": "${DAYS:-30d}", "quarantine_rows": 5, "quarantine_bytes": 1048576}},
    ],
)  # fmt: skip
def test_every_way_to_write_a_value_is_valid(sections: dict[str, Any]) -> None:
    assert errors(with_(**sections)) == []


@pytest.mark.parametrize(
    "sections",
    [
        {"routs": []},
        {"inhibit_wait": 5},
        {"inhibit_wait": "5 minutes"},
        {"channels": {"slak": {}}},
        {"channels": {"slack": {"tokn": "x"}}},
        {"channels": {"slack": {"token": {"path": "x"}}}},
        {"channels": {"email": {"smarthost": "h:25", "from": "a@example.com", "username": "u"}}},
        {"receivers": {"team": {"slack": {"channel": "C0"}}}},
        {"receivers": {"team": [{"slack": {"channel": "C0"}, "email": {"to": ["a@example.com"]}}]}},
        {"receivers": {"team": [{"slack": {}}]}},
        {"receivers": {"team": [{"slack": {"channel": ["C0"]}}]}},
        {"receivers": {"team": [{"slack": {"channel": "C0", "send_resolved": 3}}]}},
        {"receivers": {"team": [{"slack": {"channel": "C0", "rate": "5 a second"}}]}},
        {"receivers": {"team": [{"slack": {"webhook_url": "x", "channel": "C0", "per": "alert"}}]}},
        {"receivers": {"team": [{"pagerduty": {"routing_key": "short"}}]}},
        {"receivers": {"team": [{"digest": {"to": ["a@example.com"], "at": "8 o'clock"}}]}},
        {"receivers": {}},
        {"route": {"receiver": "team", "outside": "never"}},
        {"receivers": {"team": [{"slack": {"channel": "C0", "max_concurrency": 0}}]}},
        {"route": {"receiver": "team", "matchers": ['a="b"']}},
        {"route": {"receiver": "team", "routes": {"receiver": "team"}}},
        {"route": {}},
        {"time_intervals": [{"name": "x", "time_intervals": [{"weekdays": ["someday"]}]}]},
        {"users": [{"name": "alice", "role": "owner"}]},
        {"sources": [{"name": "a", "bearer_token": "x", "basic_auth": {"username": "u", "password": "p"}}]},
        {"severity": None},
    ],
)  # fmt: skip
def test_what_check_refuses_in_form_is_invalid(sections: dict[str, Any], tmp_path: Path) -> None:
    given = with_(**sections)
    file = tmp_path / "routes.yaml"
    file.write_text(json.dumps(given))
    assert CliRunner().invoke(main, ["check", "--config", str(file)]).exit_code == 1
    assert errors(given) != []


def test_a_key_has_its_description() -> None:
    definitions = schema_()["definitions"]
    assert "give" in definitions["SlackOptions"]["properties"]["on_failure"]["description"]
    assert (
        "`" in definitions["DigestOptions"]["properties"]["at"]["description"]
        or definitions["DigestOptions"]["properties"]["at"]["description"] == "HH:MM, local time."
    )
