"""Webhooks with more alerts than one unit of work decides: kept and answered first, decided in pieces."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
import pytest

from router.config import load
from router.core.undecided_count import UNDECIDED
from router.model import DAY, MINUTE, Webhook
from router.parse import parse_webhook
from router.store import Receipt, Store
from router.store.starts import set_meta
from router.undecided import MAX_PIECE_ALERTS
from tests.waiting import until
from tests.world.bodies import alert, webhook
from tests.world.conftest import World

MANY = 3 * MAX_PIECE_ALERTS + 1


def group(*, firing: int, ended: int = 0, key: str = "many", severity: str = "critical") -> bytes:
    """Return a webhook with so many alerts of one group."""
    started = datetime(2026, 11, 23, 11, tzinfo=UTC).isoformat()
    alerts = [
        alert(
            "Down", status="firing" if number < firing else "resolved", startsAt=started,
            labels={"alertname": "Down", "n": str(number), "severity": severity},
        )
        for number in range(firing + ended)
    ]  # fmt: skip
    return json.dumps({**webhook(*alerts), "groupKey": key}).encode()


async def post(world: World, **given: Any) -> int:
    """Post a group, see :func:`group`, and return the status of the answer."""
    assert world.service is not None
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/webhook", data=group(**given)) as answer,
    ):
        return answer.status


async def decided(world: World) -> None:
    assert world.service is not None
    undecided = world.service.undecided

    async def none_waits() -> bool:
        return undecided.alerts == 0

    await until(none_waits, "all are decided")


async def assert_all_is_sent(world: World) -> None:
    """Check that one message has all alerts."""
    await world.slack.until(lambda: bool(world.slack.messages))
    await decided(world)
    await world.at_rest()
    (message,) = world.slack.messages.values()
    assert f"{MANY} firing" in message.shown
    assert (await world.ledger())["changes"]["fired"] == MANY


async def test_a_large_group_is_one_message_with_all_its_alerts(world: World) -> None:
    await world.start()
    assert await post(world, firing=MANY) == 200
    await assert_all_is_sent(world)


async def test_a_large_groups_end_is_sent_when_all_of_it_has_ended(world: World) -> None:
    await world.start()
    await post(world, firing=MANY)
    await world.slack.until(lambda: bool(world.slack.messages))
    assert await post(world, firing=0, ended=MANY) == 200
    (message,) = world.slack.messages.values()
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: "Resolved" in message.shown)
    await decided(world)
    assert (await world.ledger())["changes"]["resolved"] == MANY


async def test_a_digest_of_very_many_is_one_mail(world: World) -> None:
    await world.start()
    assert await post(world, firing=MANY, severity="info") == 200
    await decided(world)
    world.clock.advance(DAY)
    await world.smtp.until(lambda: bool(world.smtp.mails))

    async def recorded() -> bool:
        return await world.fates() == {"delivered": MANY}

    await until(recorded, "all pieces of its outcome are recorded")
    assert f"{MANY} info firing" in world.smtp.only.subject


@pytest.mark.parametrize("pieces", [0, 1])
async def test_what_was_kept_is_decided_by_the_next_process(world: World, pieces: int) -> None:
    """The first process died right after its 200, or in the middle of deciding."""
    policy = load(world.write(), environ={}, now=world.clock.now(), preview=False).policy
    body = group(firing=MANY)
    kept = parse_webhook(body, world.clock.now(), "127.0.0.1")
    store = await Store.open(f"sqlite:///{world.folder / 'router.db'}")
    number = await store.undecided.keep(kept, "default", body, world.clock.now())
    for first in range(0, pieces * MAX_PIECE_ALERTS, MAX_PIECE_ALERTS):
        some = replace(kept, alerts=kept.alerts[first : first + MAX_PIECE_ALERTS])
        await store.undecided.accept_some(number, some, "default", policy, world.clock.now())
    assert await store.undecided.numbers() == [(number, MANY)]
    await store.close()
    await world.start()
    await assert_all_is_sent(world)


async def test_alerts_that_wait_to_be_decided_are_counted_and_bounded(world: World) -> None:
    await world.start()
    assert world.service is not None
    store = world.service.store
    await store.database.write(
        partial(set_meta, key=UNDECIDED, value="1 0")
    )  # as if another replica had kept it
    world.service.undecided.max_alerts = MANY
    assert await post(world, firing=MANY) == 503
    await world.service.undecided.refresh()
    assert (await world.get("/status"))["undecided_alerts"] == 1
    await store.undecided.recount()
    await world.service.undecided.refresh()
    assert await post(world, firing=MANY) == 200
    await decided(world)
    assert "alert_router_undecided_alerts 0.0" in await world.get("/metrics")


async def test_an_undecidable_webhook_is_quarantined_and_the_next_decided(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    assert world.service is not None
    accept_some = world.service.store.undecided.accept_some

    async def raises(number: int, webhook: Webhook, *given: Any) -> Receipt:
        if webhook.group_key == "odd":
            raise KeyError("a bug")
        return await accept_some(number, webhook, *given)

    monkeypatch.setattr(world.service.store.undecided, "accept_some", raises)
    assert await post(world, firing=MANY, key="odd") == 200
    assert await post(world, firing=MANY) == 200
    await world.slack.until(lambda: bool(world.slack.messages))
    await decided(world)
    assert (await world.ledger())["webhooks"] == {"accepted": 1, "quarantined": 1}
    ((reason, raw),) = [
        (each["reason"], each["size"]) for each in (await world.get("/api/v1/quarantine"))["items"]
    ]
    assert "KeyError" in reason
    assert raw == len(group(firing=MANY, key="odd"))
