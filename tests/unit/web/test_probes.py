"""Probes, status, quarantine and metrics."""

from pathlib import Path

import pytest

from router.metrics import Metrics
from router.store import Store, totals
from tests.database import change
from tests.unit.web.harness import SLACK, Serve, WebHarness
from tests.world.bodies import alert, webhook


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
    await store.close()
    assert (await client.get(path)).status == 200


@pytest.mark.parametrize("path", ["/readyz", "/-/ready"])
async def test_ready_until_it_can_take_no_webhook(
    path: str, harness: WebHarness, serve: Serve, store: Store
) -> None:
    client = await serve(harness)
    assert (await client.get(path)).status == 200
    harness.lane_alive = False
    response = await client.get(path)
    assert (response.status, await response.text()) == (503, f"not ready: lanes have ended: {SLACK.key}\n")
    harness.lane_alive, harness.stopping = True, True
    response = await client.get(path)
    assert (response.status, await response.text()) == (503, "not ready: stopping\n")
    harness.stopping = False
    await store.close()
    response = await client.get(path)
    assert (response.status, await response.text()) == (503, "not ready: the store is closed\n")


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


async def test_what_is_quarantined_is_shown_newest_first(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    for body in (b"one", b"two", b"three"):
        assert (await client.post("/webhook", data=body)).status == 202
    rows = await (await client.get("/api/v1/quarantine?limit=2")).json()
    assert [row["body"] for row in rows] == ["three", "two"]
    assert all(row["source"] == "default" and "not JSON" in row["reason"] for row in rows)


async def test_a_list_says_how_many_rows_there_are_up_to_a_bound(
    harness: WebHarness, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await serve(harness)
    monkeypatch.setattr(totals, "MAX_COUNTED", 3)
    for total in ("1", "2", "3", "3+", "3+"):
        await client.post("/webhook", data=b"no JSON")
        answer = await client.get("/api/v1/quarantine?limit=1")
        assert (len(await answer.json()), answer.headers["X-Total-Count"]) == (1, total)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "9" * 5_000, "²"])
async def test_a_limit_out_of_bounds_is_refused(limit: str, harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    assert (await client.get("/api/v1/quarantine", params={"limit": limit})).status == 400


async def test_the_quarantine_says_when_the_store_can_not_be_read(
    harness: WebHarness, serve: Serve, database: Path
) -> None:
    client = await serve(harness)
    break_tables(database)
    async with client.get("/api/v1/quarantine") as answer:
        body = await answer.json()
    assert (answer.status, body["status"]) == (503, "unavailable")
    assert body["reason"].startswith("the store can't be read: ")


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
