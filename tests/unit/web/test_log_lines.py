"""The log lines of webhooks and of other requests."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from router.model import Source
from tests.unit.web.harness import Serve, WebHarness
from tests.world.bodies import alert, webhook


def lines(logs: list[Any], action: str) -> list[dict[str, Any]]:
    """Return the fields of all lines with an action."""
    found = [dict(each) for each in logs if each["event"] == action]
    return [each | each.pop("fields", dict)() for each in found]


def group(count: int, resolved: int = 0) -> dict[str, Any]:
    alerts = [alert(labels={"alertname": f"A{number}", "instance": str(number)}) for number in range(count)]
    for each in alerts[:resolved]:
        each["status"] = "resolved"
    return webhook(*alerts, groupLabels={"cluster": "eu", "team": 'a"b\n'}, receiver="oncall")


async def test_an_accepted_webhook_has_one_line(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    with capture_logs() as logs:
        assert (await client.post("/webhook", json=group(7, resolved=2))).status == 200
    (line,) = lines(logs, "webhook accepted")
    assert line.pop("durationMs") >= 0
    assert line == {
        "event": "webhook accepted", "log_level": "info", "status": "accepted", "tenant": "default", "source": "default",
        "alertname": "A0, A1, A2, A3, A4, and 2 more", "group": '{cluster="eu", team="a"b\n"}', "receiver": "oncall",
        "firing": 5, "resolved": 2, "webhook": 1, "peer": "127.0.0.1",
    }  # fmt: skip
    assert not lines(logs, "request")


async def test_a_large_webhook_has_the_same_line(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    with capture_logs() as logs:
        assert (await client.post("/webhook", json=group(500))).status == 200
        await harness.decided()
    (line,) = lines(logs, "webhook accepted")
    assert (line["firing"], line["webhook"]) == (500, 1)
    assert len(str(line)) < 1_000


async def test_the_line_of_a_webhook_stays_short(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    labels = {f"{number}{'n' * 5_000}": "v" * 5_000 for number in range(50)}
    alerts = [alert(labels={"alertname": f"{number}{'a' * 5_000}"}) for number in range(50)]
    with capture_logs() as logs:
        assert (await client.post("/webhook", json=webhook(*alerts, groupLabels=labels))).status == 200
    (line,) = lines(logs, "webhook accepted")
    assert len(line["group"]) < 2_500
    assert len(line["alertname"]) < 1_000
    assert line["alertname"].endswith(" and 45 more")


async def test_without_tenants_the_source_is_the_tenant(harness: WebHarness, serve: Serve) -> None:
    harness.sources = (Source("prod", bearer_token="right"),)
    client = await serve(harness)
    with capture_logs() as logs:
        for token in ("right", "wrong"):
            await client.post("/webhook", json=group(1), headers={"Authorization": f"Bearer {token}"})
    assert [each["tenant"] for each in lines(logs, "webhook accepted")] == ["prod"]
    (refused,) = lines(logs, "webhook refused")
    assert (refused["status"], refused["code"], refused["peer"]) == ("refused", 401, "127.0.0.1")
    assert "wrong" not in str(refused)


async def test_each_other_request_has_a_line(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    with capture_logs() as logs:
        for path in ("/healthz", "/metrics", "/status?token=secret", "/nothing", "/webhook"):
            await client.get(path)
        harness.stopping = True
        await client.get("/readyz")
        await client.post("/webhook", data=b"no JSON")
    found = lines(logs, "request")
    assert [(each["path"], each["code"], each["status"]) for each in found] == [
        ("/healthz", 200, "ok"), ("/metrics", 200, "ok"), ("/status", 200, "ok"), ("/nothing", 404, "refused"),
        ("/webhook", 405, "refused"), ("/readyz", 503, "failed"),
    ]  # fmt: skip
    assert all((each["method"], each["peer"]) == ("GET", "127.0.0.1") for each in found)
    assert all(each["durationMs"] >= 0 for each in found)
    assert "secret" not in str(found)


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_path_of_a_request_is_bounded(enabled: bool, harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    with capture_logs() as logs:
        await client.get("/" + "x%0a" * 1_000)
    (line,) = lines(logs, "request")
    assert len(line["path"]) == 200
