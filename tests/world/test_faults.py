"""The store fails: webhooks get 503, the log has one line, lanes wait, and all continues by itself."""

import json
from contextlib import AbstractContextManager
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from router.model import MINUTE, SECOND
from tests import database
from tests.world.asking import until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_pagerduty import Page
from tests.world.fake_pagerduty import http as pagerduty_http
from tests.world.fake_slack import Fault, Want

UNWRITABLE = "the store can't be written; webhooks are refused, and no notification is sent"
WRITABLE = "the store can be written again"
PADDING = "x" * 100_000


async def fill(world: World) -> None:
    """Make SQLite fail as on a full disk."""
    assert world.service is not None
    await database.fill_disk(world.service.store)


async def make_room(world: World) -> None:
    assert world.service is not None
    await database.empty_disk(world.service.store)


def locked(world: World) -> AbstractContextManager[None]:
    """Lock the database, as another program would."""
    return database.locked(world.folder / "router.db")


async def ask(world: World, path: str, **given: Any) -> tuple[int, str, Any]:
    assert world.service is not None
    async with (
        aiohttp.ClientSession() as session,
        session.request("POST" if given else "GET", f"{world.service.url}{path}", **given) as answer,
    ):
        return answer.status, await answer.text(), answer.headers


def events_of(logs: list[Any]) -> list[str]:
    return [each["event"] for each in logs if each["log_level"] in {"warning", "error"}]


async def test_a_full_disk_refuses_webhooks_and_all_goes_on_when_there_is_room(world: World) -> None:
    await world.start()
    with capture_logs() as logs:
        await fill(world)
        for _ in range(3):
            assert await world.post("Down", "critical", note=PADDING) == 503
        status, text, headers = await ask(world, "/webhook", json={"alerts": [{"labels": {"a": PADDING}}]})
        assert (status, headers["Retry-After"]) == (503, "10")
        assert "the disk is full; make room" in text
        assert world.service is not None
        assert "the disk is full" in str(world.service.store.trouble)
        assert (await world.get("/status"))["store"]["trouble"] == world.service.store.trouble
        await make_room(world)
        assert await world.post("Down", "critical", note=PADDING) == 200
        await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
        for _ in range(30):  # the label is so long that Slack gets replies, each in its turn
            await world.at_rest()
            world.clock.advance(SECOND)
        await until_delivered(world, 3)
    assert events_of(logs) == [UNWRITABLE, WRITABLE]
    assert next(each for each in logs if each["event"] == WRITABLE)["refused"] == 4
    assert await world.fates() == {"delivered": 3}
    assert (await ask(world, "/readyz"))[0] == 200


async def test_a_locked_database_is_answered_in_time_and_delays_messages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.store.sqlite._BUSY_SECONDS", 0.3)
    await world.start()
    world.pagerduty.fail(pagerduty_http(503))
    assert await world.post("Down", "critical") == 200
    await world.slack.until(lambda: bool(world.slack.messages))
    await until_delivered(world, 2)
    (pagerduty,) = (key for key in (await world.ledger())["by_destination"] if key.startswith("pagerduty:"))
    await until_failed(world, pagerduty)
    with capture_logs() as logs:
        with locked(world):
            world.clock.advance(MINUTE)  # PagerDuty's second attempt is due now
            status, text, _ = await ask(world, "/webhook", json={"alerts": [{"labels": {"a": "b"}}]})
            assert (status, "another program has locked it" in text or "within 8 s" in text) == (503, True)
            status, text, _ = await ask(world, "/-/ready")
            assert (status, json.loads(text)["status"]) == (503, "not ready")
        while (await ask(world, "/-/ready"))[0] != 200:
            pass
        world.clock.advance(5 * SECOND)  # the lanes have had their rest
        await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
        world.pagerduty.expect(Page("Down", open=True))
    assert events_of(logs) == [UNWRITABLE, WRITABLE]


async def test_a_delivery_while_the_store_fails_is_recorded_later_and_sent_once(
    world: World,
) -> None:
    await world.start()
    world.slack.fail(Fault(hang=True))
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.calls))
    await until_delivered(world, 2)
    _move(world, "router.db", "away.db")
    world.slack.release()
    await world.slack.until(lambda: bool(world.slack.messages))
    assert (await ask(world, "/readyz"))[0] == 503
    assert "was moved away in use" in await trouble_of(world)
    _move(world, "away.db", "router.db")
    while (await world.ledger())["fates"]["delivered"] < 3:
        world.clock.advance(2 * SECOND)
    assert len(world.slack.calls) == 1
    world.slack.expect(Want("C0CRITICAL", ("Down",)))


async def trouble_of(world: World) -> str:
    """Return why the database can't be written, as ``/status`` says it."""
    store = (await world.get("/status"))["store"]
    return str(store.get("trouble") or store.get("error"))


def _move(world: World, name: str, to: str) -> None:
    (world.folder / name).rename(world.folder / to)


async def test_damage_found_in_use_stops_everything_but_the_process(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    # Its pages are in the WAL and in memory still: a checkpoint and another connection make SQLite read the file.
    database.change(world.folder / "router.db", "PRAGMA wal_checkpoint(TRUNCATE)")
    _spoil(world)
    with capture_logs() as logs:
        for _ in range(3):
            status, text, _ = await ask(world, "/webhook", json={"alerts": [{"labels": {"a": "b"}}]})
            assert (status, "is damaged" in text) == (503, True)
        assert (await ask(world, "/-/ready"))[0] == 503
        trouble = await trouble_of(world)
        assert ("is damaged" in trouble, "start again" in trouble) == (True, True)
        assert (await ask(world, "/healthz"))[0] == 200
        assert (await ask(world, "/metrics"))[0] == 200
    assert events_of(logs).count(UNWRITABLE) == 1


def _spoil(world: World) -> None:
    path = world.folder / "router.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
