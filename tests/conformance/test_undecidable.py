"""A webhook that fails alone is quarantined as it came. If the database fails, the answer is 503 and nothing is quarantined."""

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
from tests.database import busy_writer, fill_disk, on_writer, queued_jobs
from tests.unit.web.conftest import Server
from tests.unit.web.room import Client, Web
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
def web(store: Store) -> Web:
    return Web(store)


@pytest.fixture
async def client(web: Web) -> AsyncIterator[Client]:
    async with TestClient(Server(make_app(web.parts()))) as client:
        deciding = asyncio.create_task(web.undecided.serve())
        yield client
        deciding.cancel()
        await asyncio.gather(deciding, return_exceptions=True)


def raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Make the decision of a webhook of the bad group raise this error."""

    def broken(state: Any, body: Any, *arguments: Any, **named: Any) -> Any:
        receipt = accept_webhook(state, body, *arguments, **named)
        if body.group_key == BAD:
            raise error
        return receipt

    monkeypatch.setattr("router.store.jobs.accepting.accept_webhook", broken)


async def refuses_its_group(store: Store) -> None:
    """Make the database refuse rows of the bad group."""

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
    """Let all jobs wait before the writer takes the first one."""

    async def all_wait() -> bool:
        return queued_jobs(store) == len(bodies)

    async with busy_writer(store):
        found = asyncio.create_task(answers(client, *bodies))
        await until(all_wait, "all wait")
    return await found


def quarantined(web: Web) -> float | None:
    return web.metrics.registry.get_sample_value("alert_router_quarantined_total")


async def assert_quarantined(web: Web, client: Client, raw: bytes, error: str) -> None:
    (kept,) = await web.store.pages.quarantined()
    assert kept["reason"] == f"it can't be decided: {error}; the log says more"
    response = await client.get(f"/api/v1/quarantine/{kept['id']}")
    assert await response.read() == raw
    assert (quarantined(web), web.counted("default", "quarantined")) == (1, 1)
    ledger = await web.store.pages.status()
    assert (ledger["webhooks"]["quarantined"], ledger["imbalance"]) == (1, 0)
    assert web.store.trouble is None


async def test_a_webhook_whose_decision_raises_is_quarantined(
    web: Web, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raises(monkeypatch, KeyError("x"))
    raw = gzip.compress(body(BAD))
    with capture_logs() as logs:
        ((status, reason),) = await answers(client, raw, **{"Content-Encoding": "gzip"})
    assert status == 202
    assert (
        reason == "it can't be decided: KeyError; the log says more; the body is kept, see /api/v1/quarantine"
    )
    await assert_quarantined(web, client, raw, "KeyError")
    assert [each["event"] for each in logs if each["log_level"] != "info"] == [
        "a webhook can't be decided", "webhook quarantined"
    ]  # fmt: skip
    assert (await web.store.pages.status())["webhooks"]["accepted"] == 0


@pytest.mark.parametrize("count", [1, LARGE])
async def test_a_webhook_that_cannot_be_saved_is_quarantined(web: Web, client: Client, count: int) -> None:
    await refuses_its_group(web.store)
    ((status, _),) = await answers(client, body(BAD, count))
    assert status == 202
    error = "CheckViolation" if web.store.location.startswith("postgresql") else "IntegrityError"
    await assert_quarantined(web, client, body(BAD, count), error)


@pytest.mark.parametrize("saved", [True, False])
async def test_the_other_webhooks_of_the_batch_are_accepted(
    web: Web, client: Client, monkeypatch: pytest.MonkeyPatch, *, saved: bool
) -> None:
    if saved:
        raises(monkeypatch, KeyError("x"))
    else:
        await refuses_its_group(web.store)
    groups = [*"abc", BAD, *"def"]
    found = await in_one_batch(web.store, client, *map(body, groups))
    assert {group: status for group, (status, _) in zip(groups, found, strict=True)} == {
        group: 202 if group == BAD else 200 for group in groups
    }
    assert await web.accepted() == len(groups) - 1


async def test_a_webhook_that_fails_only_beside_others_is_accepted(
    web: Web, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault that another job of the batch left in the rows does not count against the webhook."""
    raised = 0

    def spoilt(state: Any, body: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal raised
        if body.group_key == BAD and state.webhooks.before:
            raised += 1
            raise KeyError("x")
        return accept_webhook(state, body, *arguments, **named)

    monkeypatch.setattr("router.store.jobs.accepting.accept_webhook", spoilt)
    found = await in_one_batch(web.store, client, *map(body, [*"abc", BAD]))
    assert {status for status, _ in found} == {200}
    assert raised


@pytest.mark.parametrize("count", [1, LARGE])
async def test_a_database_that_cannot_be_written_is_503_and_no_quarantine(
    web: Web, client: Client, count: int
) -> None:
    await fill_disk(web.store)
    # More than the file's last pages have web for.
    found = await answers(client, *(body(f"{group}" * 3_000, count) for group in "abc"))
    assert [status for status, _ in found] == [503] * 3
    assert web.store.trouble is not None
    assert quarantined(web) == 0
    assert await web.store.pages.quarantined() == []


async def test_a_host_without_memory_is_503_and_no_quarantine(
    web: Web, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raises(monkeypatch, MemoryError())
    ((status, _),) = await answers(client, body(BAD))
    assert status == 503
    assert await web.store.pages.quarantined() == []
