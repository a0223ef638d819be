"""Probes, status, quarantine and metrics."""

import asyncio
from pathlib import Path

import pytest

from router.metrics import Metrics
from router.store import Store, StoreUnavailable
from router.web.probes import prefers_text
from tests.database import change
from tests.unit.web.harness import SLACK, Serve, WebHarness
from tests.world.bodies import alert, webhook

UNWRITABLE = "the database can't be written; the log says why"


def break_tables(database: Path) -> None:
    change(
        database,
        "DROP TABLE deliveries",
        "ALTER TABLE webhooks RENAME TO gone",
        "ALTER TABLE conversations RENAME TO gone_too",
    )


@pytest.mark.parametrize("path", ["/healthz", "/-/healthy"])
async def test_alive_even_without_a_store(path: str, harness: WebHarness, serve: Serve, store: Store) -> None:
    client = await serve(harness)
    response = await client.get(path)
    shown = await response.json()
    assert (response.status, shown["status"], shown["database"]) == (200, "ok", "ok")
    assert shown["uptimeSeconds"] >= 0
    assert set(shown) == {"status", "uptimeSeconds", "database"}
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ready()
    store.refused(StoreUnavailable("the store is closed"))
    response = await client.get(path)
    shown = await response.json()
    assert (response.status, shown["status"]) == (200, "ok")
    assert shown["database"] == "unwritable"


@pytest.mark.parametrize("path", ["/readyz", "/-/ready"])
async def test_ready_until_it_can_take_no_webhook(
    path: str, harness: WebHarness, serve: Serve, store: Store
) -> None:
    client = await serve(harness)

    async def answers() -> tuple[int, str, str]:
        """Return the code, the reason in JSON, and the text."""
        response = await client.get(path)
        shown = await response.json()
        assert shown["status"] == ("ready" if response.status == 200 else "not ready")
        text = await client.get(path, headers={"Accept": "text/plain"})
        assert text.status == response.status
        return response.status, shown.get("reason", ""), await text.text()

    assert await answers() == (200, "", "ready\n")
    harness.applied = False
    code, reason, text = await answers()
    assert (code, text) == (200, f"ready: {reason}\n")
    assert reason.startswith("webhooks are accepted; notifications may wait")
    harness.lane_alive = False
    ended = f"lanes have ended: {SLACK.key}"
    assert await answers() == (503, ended, f"not ready: {ended}\n")
    harness.lane_alive, harness.stopping = True, True
    assert await answers() == (503, "stopping", "not ready: stopping\n")
    harness.stopping = False
    await store.close()
    assert await answers() == (503, UNWRITABLE, f"not ready: {UNWRITABLE}\n")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_answers_head_in_both_forms(path: str, harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    for accept, kind in (("*/*", "application/json"), ("text/plain", "text/plain")):
        response = await client.head(path, headers={"Accept": accept})
        assert (response.status, response.content_type) == (200, kind)
        assert await response.read() == b""


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", True),
        ("text/*", True),
        ("application/json", False),
        ("text/html", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/plain, application/json", False),
        ("application/json;q=0.5, text/plain", True),
        ("Text/Plain ; Q = 0.9 , application/json; q=0.8", True),
        ("text/plain;q=0.5, application/json;q=0.6", False),
        ("text/plain;q=0.5, */*;q=0.1", True),
        ("text/plain, application/json;q=0", True),
        ("text/plain;q=0", False),
        ("text/plain;format=flowed;q=0.7, */*;q=0.6", True),
        ("text/plain;q=nan", False),
        ("text/plain;q=2", False),
        ("text/plain;q=", False),
        (",,;;q=1,text/plain", True),
        ("x," * 4_000 + "text/plain", False),
    ],
)
def test_text_is_for_those_who_prefer_it_to_json(accept: str, is_text: bool) -> None:
    assert prefers_text(accept) is is_text


@pytest.mark.parametrize(
    "request_head",
    [b"GET /healthz HTTP/1.1", b"GET /nothing HTTP/1.1", b"PUT /webhook HTTP/1.1", b"POST /webhook HTTP/1.1", b"G\x01T / HTTP/1.1"],
)  # fmt: skip
async def test_no_answer_names_a_version(request_head: bytes, harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request_head + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).lower()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"http/1.")
    assert b"aiohttp" not in answer
    assert b"python" not in answer


async def test_status_has_the_exact_counts(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    await client.post("/webhook", json=webhook(alert()))
    await client.post("/webhook", data=b"no JSON")
    status = await (await client.get("/status")).json()
    assert status["store"]["available"] is True
    assert status["uptime_seconds"] >= 0
    assert status["ledger"]["webhooks"] == {"accepted": 1, "quarantined": 1}
    assert status["ledger"]["firing"] == 1
    assert [lane["destination"] for lane in status["lanes"]] == [SLACK.key]


async def test_status_answers_while_the_store_does_not(
    harness: WebHarness, serve: Serve, database: Path
) -> None:
    client = await serve(harness)
    break_tables(database)
    response = await client.get("/status")
    assert response.status == 200
    store = (await response.json())["store"]
    assert store["available"] is False
    assert "no such table" in store["error"]


async def test_metrics_count_requests_by_template_and_show_the_backlog(
    harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    await client.post("/webhook", json=webhook(alert(labels={"alertname": "A", "severity": "critical"})))
    await client.post("/webhook/unknown-source", json=webhook())
    for path in ("/nothing/here", "/nothing/there", "/webhook"):
        await client.get(path)
    response = await client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = (await response.text()).splitlines()
    assert 'http_requests_total{code="200",method="POST",path="/webhook"} 1.0' in lines
    assert 'http_requests_total{code="401",method="POST",path="/webhook/{source}"} 1.0' in lines
    assert 'http_requests_total{code="404",method="GET",path="other"} 2.0' in lines
    assert 'http_requests_total{code="405",method="GET",path="other"} 1.0' in lines
    assert f'alert_router_backlog{{destination="{SLACK.key}"}} 1.0' in lines


async def test_metrics_without_the_backlog_while_the_store_hangs(
    harness: WebHarness, serve: Serve, database: Path
) -> None:
    client = await serve(harness)
    await client.get("/metrics")
    break_tables(database)
    response = await client.get("/metrics")
    assert response.status == 200
    text = await response.text()
    assert "http_requests_total{" in text
    assert "alert_router_backlog{" not in text


async def test_without_metrics_there_is_nothing_to_scrape_and_webhooks_work(
    harness: WebHarness, serve: Serve
) -> None:
    harness.metrics = Metrics(enabled=False)
    client = await serve(harness)
    assert (await client.post("/webhook", json=webhook(alert(), 7))).status == 200
    assert (await client.post("/webhook", data=b"")).status == 202
    assert (await client.get("/metrics")).status == 404
