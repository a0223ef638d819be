"""What bad input gets, and good input: every row of the design's table, over real sockets."""

import asyncio
import base64
import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.decide import Policy
from router.model import Source
from router.store import Store
from router.web import KEEPALIVE_SECONDS
from tests.database import change
from tests.quarantine import quarantined, whole_body
from tests.unit.web.harness import SLACK, Serve, WebHarness
from tests.world.bodies import BODIES, Body, alert, webhook

GOOD = json.dumps(webhook(alert())).encode()
TOKEN = Source("prod", bearer_token="s3cret-tökén")
BASIC = Source("lab", username="am", password="pass:wörd")
PATHS = ["/webhook", "/webhook/", "/webhook/prod", "/webhook/prod/"]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("body", BODIES, ids=str)
async def test_each_odd_body_comes_to_what_it_should(body: Body, harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    response = await client.post("/webhook", data=body.data, headers=body.headers)
    answer = await response.json()
    assert response.status == body.status
    if body.status == 200:
        assert answer == {"status": "accepted", "alerts": body.alerts}
    else:
        assert answer["status"] == "quarantined"
        assert answer["reason"]
    await harness.decided()
    ledger = await harness.store.pages.status()
    assert ledger["webhooks"] == {"accepted": int(body.status == 200), "quarantined": int(body.quarantined)}
    assert sum(ledger["changes"].values()) == body.alerts
    assert ledger["imbalance"] == 0
    for kept in await quarantined(harness.store):
        assert kept.source == "default"
        assert await whole_body(harness.store, kept.id) == body.data
    assert harness.metrics.registry.get_sample_value("alert_router_quarantined_total") == int(
        body.quarantined
    )
    outcome = "accepted" if body.status == 200 else "quarantined"
    assert harness.counted("default", outcome) == 1


async def test_a_webhook_is_decided_by_rules_that_come_in_force_meanwhile(
    harness: WebHarness, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload judges all that was accepted before by its rules, so nothing may be decided by older rules afterwards."""

    rules = [harness.policy()]

    async def reloads(_harness: WebHarness) -> None:
        rules.append(replace(rules[0], receivers={"team": ()}))

    monkeypatch.setattr(WebHarness, "claim_ahead", reloads)
    harness.policy = lambda: rules[-1]
    client = await serve(harness)
    assert (await client.post("/webhook", data=GOOD)).status == 200
    assert harness.woken == set()


async def test_an_accepted_webhook_is_stored_counted_and_wakes_lanes(
    harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    assert (await client.post("/webhook", data=GOOD)).status == 200
    assert await harness.accepted() == 1
    assert harness.woken == {SLACK.key}
    value = harness.metrics.registry.get_sample_value
    change = {"source": "default", "kind": "fired", "level": "warning"}
    assert value("alert_router_changes_total", change) == 1
    assert value("alert_router_decisions_total", {"destination": SLACK.key, "decision": "send"}) == 1
    assert value("alert_router_unknown_severity_total", {"source": "default"}) is None


async def test_an_unknown_severity_is_accepted_and_counted(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    body = webhook(alert(labels={"alertname": "A", "severity": "page"}))
    assert (await client.post("/webhook", json=body)).status == 200
    assert (
        harness.metrics.registry.get_sample_value(
            "alert_router_unknown_severity_total", {"source": "default"}
        )
        == 1
    )


@pytest.mark.parametrize("path", PATHS)
async def test_every_address_answers_itself_and_never_redirects(
    path: str, harness: WebHarness, serve: Serve
) -> None:
    harness.sources = (TOKEN,)
    client = await serve(harness)
    response = await client.post(path, data=GOOD, headers=bearer("s3cret-tökén"), allow_redirects=False)
    assert response.status == 200
    refused = await client.post(path, data=GOOD, allow_redirects=False)
    assert refused.status == 401
    assert await harness.accepted() == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"), bearer(""), bearer("s3cret-tökén2"), bearer("pass:wörd"),
        {"Authorization": "Bearer"}, {"Authorization": "s3cret-tökén"}, {"Authorization": "Digest x"},
        basic("am", "wrong"), basic("other", "pass:wörd"), basic("", ""), basic("am", ""),
        {"Authorization": "Basic"}, {"Authorization": "Basic !!!"}, {"Authorization": "Basic ä"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode()},
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("path", ["/webhook", "/webhook/prod", "/webhook/lab/"])
async def test_wrong_or_no_credentials_are_refused_and_nothing_is_stored(
    path: str, headers: dict[str, str], harness: WebHarness, serve: Serve
) -> None:
    harness.sources = (TOKEN, BASIC)
    client = await serve(harness)
    response = await client.post(path, data=GOOD, headers=headers)
    assert response.status == 401
    assert "Bearer" in response.headers["WWW-Authenticate"]
    reason = (await response.json())["reason"]
    assert "alertmanager.yml" in reason
    assert "s3cret" not in reason
    assert (await harness.store.pages.status())["webhooks"] == {"accepted": 0, "quarantined": 0}
    assert harness.counted("unknown", "unauthorized") == 1


@pytest.mark.parametrize(
    ("path", "headers", "source"),
    [
        ("/webhook", bearer("s3cret-tökén"), "prod"),
        ("/webhook/prod", bearer("s3cret-tökén"), "prod"),
        ("/webhook", {"Authorization": "bearer  s3cret-tökén "}, "prod"),
        ("/webhook", basic("am", "pass:wörd"), "lab"),
        ("/webhook/lab", basic("am", "pass:wörd"), "lab"),
    ],
)
async def test_credentials_identify_the_source(
    path: str, headers: dict[str, str], source: str, harness: WebHarness, serve: Serve
) -> None:
    harness.sources = (TOKEN, BASIC)
    client = await serve(harness)
    assert (await client.post(path, data=GOOD, headers=headers)).status == 200
    assert harness.counted(source, "accepted") == 1


async def test_one_sources_credentials_do_not_open_another(harness: WebHarness, serve: Serve) -> None:
    harness.sources = (TOKEN, BASIC)
    client = await serve(harness)
    assert (await client.post("/webhook/lab", data=GOOD, headers=bearer("s3cret-tökén"))).status == 401
    assert (await client.post("/webhook/nobody", data=GOOD, headers=bearer("s3cret-tökén"))).status == 401


async def test_an_empty_token_opens_nothing(harness: WebHarness, serve: Serve) -> None:
    harness.sources = (Source("prod", bearer_token=""), Source("lab", username="", password=""))
    client = await serve(harness)
    for headers in ({}, bearer(""), {"Authorization": "Bearer "}, basic("", "")):
        assert (await client.post("/webhook", data=GOOD, headers=headers)).status == 401


async def test_without_sources_this_machine_may_post_whatever_its_credentials(
    harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    assert (await client.post("/webhook", data=GOOD)).status == 200
    assert (await client.post("/webhook", data=GOOD, headers=bearer("any"))).status == 200
    assert (await client.post("/webhook/default", data=GOOD)).status == 200
    assert (await client.post("/webhook/other", data=GOOD)).status == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Origin"])
async def test_what_comes_through_a_proxy_or_a_browser_is_not_this_machines(
    header: str, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    response = await client.post("/webhook", data=GOOD, headers={header: "127.0.0.1"})
    assert response.status == 401
    assert "only this machine may post" in (await response.json())["reason"]


async def test_a_source_without_credentials_accepts_only_this_machine(
    harness: WebHarness, serve: Serve
) -> None:
    harness.sources = (TOKEN, Source("local"))
    client = await serve(harness)
    assert (await client.post("/webhook", data=GOOD)).status == 200
    assert (await client.post("/webhook", data=GOOD, headers=bearer("wrong"))).status == 401
    assert (await client.post("/webhook/prod", data=GOOD)).status == 401
    assert harness.counted("local", "accepted") == 1


async def test_credentials_are_judged_before_the_body_comes(harness: WebHarness, serve: Serve) -> None:
    harness.sources = (TOKEN,)
    client = await serve(harness)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    await writer.wait_closed()


async def test_a_secret_that_is_no_utf8_is_compared_byte_by_byte(harness: WebHarness, serve: Serve) -> None:
    """Both the environment and a header keep such bytes as lone surrogates."""
    harness.sources = (Source("prod", bearer_token="s\udcff"),)
    client = await serve(harness)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s\xff\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(GOOD) + GOOD)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_body_over_the_limit_is_refused_and_counted(
    compressed: bool, harness: WebHarness, serve: Serve
) -> None:
    harness.max_body = 10_000
    client = await serve(harness)
    large = json.dumps(webhook(alert(annotations={"x": "x" * 10_000}))).encode()
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    response = await client.post(
        "/webhook", data=gzip.compress(large) if compressed else large, headers=headers
    )
    assert response.status == 413
    assert "10000 bytes" in (await response.json())["reason"]
    assert harness.counted("default", "too_large") == 1
    assert (await harness.store.pages.status())["webhooks"] == {"accepted": 0, "quarantined": 0}


async def test_a_body_at_the_limit_is_taken(harness: WebHarness, serve: Serve) -> None:
    harness.max_body = len(GOOD)
    client = await serve(harness)
    assert (await client.post("/webhook", data=GOOD)).status == 200


async def test_while_the_store_is_closed_alertmanager_is_to_try_again(
    harness: WebHarness, serve: Serve, store: Store
) -> None:
    client = await serve(harness)
    await store.close()
    for body in (GOOD, b"no JSON", json.dumps(webhook(alert(), 7)).encode()):
        response = await client.post("/webhook", data=body)
        assert response.status == 503
        assert (await response.json()) == {"status": "unavailable", "reason": "the store is closed"}
    assert harness.counted("default", "unavailable") == 3
    assert harness.woken == set()


async def test_when_a_write_fails_alertmanager_is_to_try_again(
    harness: WebHarness, serve: Serve, database: Path
) -> None:
    client = await serve(harness)
    change(database, "ALTER TABLE changes RENAME TO gone")
    assert (await client.post("/webhook", data=GOOD)).status == 503
    change(database, "ALTER TABLE gone RENAME TO changes")
    assert await harness.accepted() == 0
    assert (await client.post("/webhook", data=GOOD)).status == 200
    assert await harness.accepted() == 1


async def test_while_stopping_alertmanager_is_to_try_again(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    harness.stopping = True
    response = await client.post("/webhook", data=GOOD)
    assert response.status == 503
    assert "stopping" in (await response.json())["reason"]
    assert await harness.accepted() == 0


async def test_a_bug_is_logged_and_alertmanager_is_to_try_again(harness: WebHarness, serve: Serve) -> None:
    def broken() -> Policy:
        raise KeyError("secret detail")

    harness.policy = broken
    client = await serve(harness)
    with capture_logs() as logs:
        response = await client.post("/webhook", data=GOOD)
    assert response.status == 503
    assert "secret detail" not in await response.text()
    assert [each["event"] for each in logs if each.get("exc_info")] == ["webhook failed unexpectedly"]
    assert harness.counted("default", "unavailable") == 1


async def test_a_body_that_does_not_come_is_given_up(harness: WebHarness, serve: Serve) -> None:
    harness.read_seconds = 0.05
    client = await serve(harness)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 503")
    writer.close()
    await writer.wait_closed()


async def test_a_sender_that_hangs_up_in_the_middle_leaves_nothing_behind(
    harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    _, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + GOOD[:200])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.post("/webhook", data=GOOD)).status == 200
    await client.close()  # waits for every handler
    assert (await harness.store.pages.status())["webhooks"] == {"accepted": 1, "quarantined": 0}
    assert harness.counted("default", "unavailable") == 1


def test_idle_connections_outlive_alertmanagers_five_minutes() -> None:
    assert KEEPALIVE_SECONDS > 300


async def test_a_connection_serves_many_webhooks(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    request = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD)
    for _ in range(3):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    assert await harness.accepted() == 3
