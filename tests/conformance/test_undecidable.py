"""A webhook that fails alone is quarantined as it came. A database that fails is 503, and quarantines nothing."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from router.core.accept import accept_webhook
from router.store import Store
from router.web import make_app
from tests.database import busy_writer, fill_disk, on_writer, queued_webhooks
from tests.quarantine import quarantined as quarantined_rows
from tests.unit.web.conftest import Server
from tests.unit.web.harness import Client, WebHarness
from tests.waiting import until
from tests.world.bodies import alert, webhook

BAD = "bad"
LARGE = 201
"""Alerts of a webhook that is decided in pieces."""


def body(group: str, count: int = 1) -> bytes:
    alerts = [alert(labels={"alertname": f"{group}-{number}"}) for number in range(count)]
    return json.dumps(webhook(*alerts) | {"groupKey": group}).encode()


@pytest.fixture
def url(new_url: str) -> str:
    return new_url


@pytest.fixture
def harness(store: Store) -> WebHarness:
    return WebHarness(store)


@pytest.fixture
async def client(harness: WebHarness) -> AsyncIterator[Client]:
    async with TestClient(Server(make_app(harness.parts()))) as client:
        deciding = asyncio.create_task(harness.undecided.serve())
        yield client
        deciding.cancel()
        await asyncio.gather(deciding, return_exceptions=True)


def raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """To decide a webhook of the bad group does."""

    def broken(state: Any, body: Any, *arguments: Any, **named: Any) -> Any:
        receipt = accept_webhook(state, body, *arguments, **named)
        if body.group_key == BAD:
            raise error
        return receipt

    monkeypatch.setattr("router.store.jobs.accepting.accept_webhook", broken)


async def refuses_its_group(store: Store) -> None:
    """The database has something against rows of the bad group."""

    def mend(connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE groups ADD CONSTRAINT good CHECK (group_key <> 'bad')")
            return
        connection.exec_driver_sql(
            "CREATE TRIGGER good BEFORE INSERT ON groups WHEN new.group_key = 'bad' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )

    await on_writer(store, mend)


async def answers(client: Client, *bodies: bytes, **headers: str) -> list[tuple[int, str]]:
    """Post the bodies concurrently. Return the status and the reason of each."""

    async def post(data: bytes) -> tuple[int, str]:
        response = await client.post("/webhook", data=data, headers=headers)
        return response.status, (await response.json()).get("reason", "")

    return await asyncio.gather(*map(post, bodies))


async def in_one_batch(store: Store, client: Client, *bodies: bytes) -> list[tuple[int, str]]:
    """All of them wait when the writer takes the first."""

    async def all_wait() -> bool:
        return queued_webhooks(store) == len(bodies)

    async with busy_writer(store):
        found = asyncio.create_task(answers(client, *bodies))
        await until(all_wait, "all wait")
    return await found


def quarantined(harness: WebHarness) -> float | None:
    return harness.metrics.registry.get_sample_value("alert_router_quarantined_total")


async def assert_quarantined(harness: WebHarness, client: Client, raw: bytes, error: str) -> None:
    (kept,) = await quarantined_rows(harness.store)
    assert kept.reason == f"it can't be decided: {error}; the log says more"
    response = await client.get(f"/api/v1/quarantine/{kept.id}/body")
    assert await response.read() == raw
    assert (quarantined(harness), harness.counted("default", "quarantined")) == (1, 1)
    ledger = await harness.store.pages.status()
    assert (ledger["webhooks"]["quarantined"], ledger["imbalance"]) == (1, 0)
    assert harness.store.trouble is None


async def test_a_webhook_whose_decision_raises_is_quarantined(
    harness: WebHarness, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raises(monkeypatch, KeyError("x"))
    raw = gzip.compress(body(BAD))
    with capture_logs() as logs:
        ((status, reason),) = await answers(client, raw, **{"Content-Encoding": "gzip"})
    assert status == 202
    assert (
        reason == "it can't be decided: KeyError; the log says more; the body is kept, see /api/v1/quarantine"
    )
    await assert_quarantined(harness, client, raw, "KeyError")
    assert [each["event"] for each in logs if each["log_level"] != "info"] == [
        "a webhook can't be decided", "webhook quarantined"
    ]  # fmt: skip
    assert (await harness.store.pages.status())["webhooks"]["accepted"] == 0


@pytest.mark.parametrize("count", [1, LARGE])
async def test_a_webhook_that_cannot_be_saved_is_quarantined(
    harness: WebHarness, client: Client, count: int
) -> None:
    await refuses_its_group(harness.store)
    ((status, _),) = await answers(client, body(BAD, count))
    assert status == 202
    error = "CheckViolation" if harness.store.location.startswith("postgresql") else "IntegrityError"
    await assert_quarantined(harness, client, body(BAD, count), error)


@pytest.mark.parametrize("saved", [True, False])
async def test_the_other_webhooks_of_the_batch_are_accepted(
    harness: WebHarness, client: Client, monkeypatch: pytest.MonkeyPatch, *, saved: bool
) -> None:
    if saved:
        raises(monkeypatch, KeyError("x"))
    else:
        await refuses_its_group(harness.store)
    groups = [*"abc", BAD, *"def"]
    found = await in_one_batch(harness.store, client, *map(body, groups))
    assert {group: status for group, (status, _) in zip(groups, found, strict=True)} == {
        group: 202 if group == BAD else 200 for group in groups
    }
    assert await harness.accepted() == len(groups) - 1


async def test_a_webhook_that_fails_only_among_others_is_accepted(
    harness: WebHarness, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another job of the batch left in its rows is no fault of the webhook."""
    raised = 0

    def spoilt(state: Any, body: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal raised
        if body.group_key == BAD and state.webhooks.before:
            raised += 1
            raise KeyError("x")
        return accept_webhook(state, body, *arguments, **named)

    monkeypatch.setattr("router.store.jobs.accepting.accept_webhook", spoilt)
    found = await in_one_batch(harness.store, client, *map(body, [*"abc", BAD]))
    assert {status for status, _ in found} == {200}
    assert raised


@pytest.mark.parametrize("count", [1, LARGE])
async def test_a_database_that_cannot_be_written_is_503_and_no_quarantine(
    harness: WebHarness, client: Client, count: int
) -> None:
    await fill_disk(harness.store)
    # More than the file's last pages have room for.
    found = await answers(client, *(body(f"{group}" * 3_000, count) for group in "abc"))
    assert [status for status, _ in found] == [503] * 3
    assert harness.store.trouble is not None
    assert quarantined(harness) == 0
    assert await quarantined_rows(harness.store) == []


async def test_a_host_without_memory_is_503_and_no_quarantine(
    harness: WebHarness, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raises(monkeypatch, MemoryError())
    ((status, _),) = await answers(client, body(BAD))
    assert status == 503
    assert await quarantined_rows(harness.store) == []
