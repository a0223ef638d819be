"""Explanations by the rules in force: the API, and ``alert-router explain`` of a running service."""

import asyncio
import json
from datetime import datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from router.cli import explain_command, main
from router.cli.service_api import NoService, ServiceApi
from router.model import HOUR
from router.rules.explain import Explainer
from router.rules.inputs import given_alert
from router.web.api import explanations
from tests.world.conftest import MONDAY_NOON, World

HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b[2J\n",
    "\u202egnp.exe",
    "x" * 10_000,
    "' OR 1=1 --",
    "{}{{7*7}}",
    "Ä🙂",
)


async def asked(world: World, query: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the status and the answer of the API."""
    assert world.service is not None
    url = f"{world.service.url}/api/v1/explain"
    async with aiohttp.ClientSession() as session, session.post(url, json=query) as answer:
        return answer.status, json.loads(await answer.read())


async def explained(world: World, **query: Any) -> dict[str, Any]:
    status, answer = await asked(world, query)
    assert status == 200, answer
    (found,) = answer["items"]
    return dict(found)


async def run_explain(world: World, *arguments: str, given: str = "") -> Result:
    """``alert-router explain`` of the running service."""
    assert world.service is not None
    command = ["explain", "--url", world.service.url, *arguments]
    with capture_logs():  # the service, which is in this process, would log into the output
        return await asyncio.to_thread(CliRunner().invoke, main, command, given)


def some_labels(dice: Random) -> dict[str, str]:
    labels = {"alertname": dice.choice(["DiskFull", "Down", "", *HOSTILE])}
    for name, values in (
        ("severity", ["critical", "WARNING ", "info", "odd", ""]),
        ("cluster", ["eu-1", "eu-2", *HOSTILE]),
    ):
        if dice.random() < 0.8:
            labels[name] = dice.choice(values)
    return labels


async def test_the_api_explains_as_the_command_does_by_the_file(world: World) -> None:
    await world.start()
    dice, zone = Random(12), ZoneInfo("UTC")
    for _ in range(80):
        labels, now = some_labels(dice), MONDAY_NOON + dice.randrange(14 * 24) * HOUR
        others = [{"alertname": "DiskFull", "severity": "critical", "cluster": "eu-1"}] * dice.randrange(2)
        at = datetime.fromtimestamp(now / 1_000, zone).isoformat(timespec="seconds")
        firing = json.dumps(others).encode()
        by_file = Explainer.of(world.folder / "routes.yaml", {}, MONDAY_NOON, at, firing)
        (expected,) = by_file.together([given_alert(labels)])
        found = await explained(world, labels=labels, at=at, firing=others)
        assert found == {**expected.json, "text": expected.text}


async def test_the_command_asks_the_service_as_it_asks_the_file(world: World) -> None:
    await world.start()
    at, file = ["--at", "2026-11-20 22:41"], ["--config", str(world.folder / "routes.yaml")]
    lines = '{"alertname": "A", "severity": "warning"}\n{"labels": {}, "at": 5}\n{"labels": {"a": "b"}, "firing": [{"a": "c"}]}\n'
    body = json.dumps(
        {"alerts": [{"labels": {"severity": "critical", "alertname": each}} for each in HOSTILE]}
    )
    for arguments, given in (
        (["alertname=DiskFull", "severity=warning"], ""), (["severity=info", "--json"], ""), (["--jsonl"], lines),
        (["--webhook", "-"], body), (["--webhook", "-", "--json"], body), (["a!=b"], ""), (["a=b", "--at", "soon"], ""),
    ):  # fmt: skip
        by_service = await run_explain(world, *at, *arguments, given=given)
        by_file = await asyncio.to_thread(
            CliRunner().invoke, main, ["explain", *file, *at, *arguments], given
        )
        assert by_service.exit_code == by_file.exit_code
        assert by_service.stdout == by_file.stdout
        assert by_service.stderr.removeprefix("/api/v1/explain: ") == by_file.stderr


async def test_an_alert_that_fires_now_mutes_the_explained_one(world: World) -> None:
    await world.start()
    labels = {"alertname": "Down", "cluster": "eu-1", "severity": "warning"}
    assert (await explained(world, labels=labels))["decisions"][0]["decision"] == "send"
    await world.post("Down", "critical")
    found = await explained(world, labels=labels)
    assert {each["decision"] for each in found["decisions"]} == {"inhibited"}
    assert found["inhibition"][0]["inhibited_by"]["severity"] == "critical"
    other = await explained(world, labels={**labels, "cluster": "eu-2"})
    assert {each["decision"] for each in other["decisions"]} == {"send"}
    await world.post("Down", "critical", "resolved")
    assert (await explained(world, labels=labels))["inhibition"][0]["inhibited_by"] is None


async def test_an_alert_of_the_store_is_explained_with_what_was_sent(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.at_rest()
    by_name = await explained(world, name="Down", source="default")
    assert {each["notified"] for each in by_name["so_far"]} == {"firing"}
    assert by_name["source"] == "default"
    assert world.service is not None
    result = await run_explain(world, "--alert", "nothing")
    assert (result.exit_code, "the store has no alert of the fingerprint nothing" in result.stderr) == (
        1,
        True,
    )


async def test_a_changed_file_is_reported_until_it_is_in_force(world: World) -> None:
    await world.start()
    assert (await run_explain(world, "severity=info")).stderr == ""
    world.write(
        lambda rules: rules.replace("{severity: info, receiver: daily}", "{severity: info, receiver: team}")
    )
    result = await run_explain(world, "severity=info", "--json")
    assert "routes.yaml was changed, and is not in force until it is reloaded" in result.stderr
    assert json.loads(result.stdout)["receivers"] == ["daily"]
    assert world.service is not None
    await world.service.reload()
    result = await run_explain(world, "severity=info", "--json")
    assert (result.stderr, json.loads(result.stdout)["receivers"]) == ("", ["team"])


async def test_a_file_with_a_mistake_is_reported(world: World) -> None:
    await world.start()
    status, _ = await world.reload(lambda rules: rules.replace("receiver: team", "receiver: nobody"))
    assert status == 500
    result = await run_explain(world, "severity=info")
    assert "routes.yaml can't be used; the last good rules are in force" in result.stderr


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "give one of labels, alerts, fingerprint and name"),
        ({"labels": {}, "name": "A"}, "give one of labels, alerts, fingerprint and name"),
        ({"labels": {"a": 5}}, "valid string"),
        ({"labels": {"a": "b"}, "at": "soon"}, "'soon' is not a time"),
        ({"labels": {}, "lables": {}}, "this parameter is unknown"),
        ({"alerts": [{"labels": {}}] * 201}, "at most 200 items"),
        ({"labels": {}, "firing": [{}] * 2_001}, "at most 2000 items"),
        ({"name": "x" * 501}, "at most 500 characters"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    world: World, query: dict[str, Any], words: str
) -> None:
    await world.start()
    status, answer = await asked(world, query)
    assert (status, words in answer["detail"]) == (400, True), answer


def test_the_command_knows_the_bound_of_the_service() -> None:
    assert explain_command.MAX_ALERTS_EXPLAINED == explanations.MAX_ALERTS_EXPLAINED


def test_without_a_service_the_file_is_used_and_named(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    def nobody(_api: ServiceApi, _query: object) -> dict[str, Any]:
        raise NoService("it does not answer")

    monkeypatch.setattr(ServiceApi, "explain", nobody)
    monkeypatch.delenv("ALERT_ROUTER_URL", raising=False)
    file = str(world.write())
    result = CliRunner().invoke(main, ["explain", "severity=info"], env={"ALERT_ROUTER_CONFIG": file})
    assert (result.exit_code, "digest:daily" in result.stdout) == (0, True)
    assert f"No alert-router answers at http://127.0.0.1:9099: explained by the file {file}." in result.stderr
    result = CliRunner().invoke(main, ["explain", "a=b"], env={"ALERT_ROUTER_URL": "http://127.0.0.1:1"})
    assert (result.exit_code, "no alert-router answers at http://127.0.0.1:1" in result.stderr) == (1, True)
    result = CliRunner().invoke(main, ["explain", "a=b", "--url", "http://127.0.0.1:1", "--offline"])
    assert (result.exit_code, "--url asks the service" in result.stderr) == (2, True)
