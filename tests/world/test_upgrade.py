"""A database of the previous version: its open conversations still end, under the keys that they were opened with."""

from contextlib import closing
from typing import Any

import aiohttp

from tests.world.asking import slack_lane
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY
from tests.world.fake_slack import TOKEN
from tests.world.identities import down, per_alert, send
from tests.world.old_versions import AT, Old, labels_of, of_that_version

SLACK = "slack:C0CRITICAL"


async def an_open_incident(world: World, key: str) -> None:
    payload = {"summary": "Down", "source": "am", "severity": "critical"}
    event = {"routing_key": KEY, "event_action": "trigger", "dedup_key": key, "payload": payload}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.pagerduty.url}/v2/enqueue", json=event) as answer,
    ):
        assert answer.status == 202


async def a_message(world: World) -> dict[str, Any]:
    """Return what the conversation keeps about its Slack message."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        session.post(
            f"{world.slack.url}chat.postMessage", json={"channel": "C0CRITICAL", "text": "Down"}
        ) as answer,
    ):
        posted = await answer.json()
        assert posted["ok"]
    return {"channel": posted["channel"], "ts": posted["ts"], "shown": 1, "threaded": 1}


async def destination_keys(world: World) -> dict[str, str]:
    """Return the destination keys of criticals by channel."""
    await world.start(per_alert)
    lanes = (await world.get("/status"))["lanes"]
    await world.stop()
    for path in world.folder.glob("router.db*"):
        path.unlink()
    return {
        key.partition(":")[0]: key for key in sorted((each["destination"] for each in lanes), reverse=True)
    }


async def test_every_incident_of_the_version_before_ends(world: World) -> None:
    """Two rows of one label set are merged; a row whose fingerprint isn't the labels' hash is found by its labels."""
    keys = await destination_keys(world)
    remote = await a_message(world)
    with closing(of_that_version(world.folder / "router.db")) as connection:
        old = Old(connection)
        first, twin = (old.alert(name, labels_of("db-1")) for name in ("grafana-1", "grafana-2"))
        other = old.alert("f00d", labels_of("db-2"))
        ended = old.alert("ended", labels_of("db-2"), status="resolved")
        tokens = [
            old.notified(keys["pagerduty"], "alert:grafana-1", {}, first),
            old.notified(keys["pagerduty"], "alert:grafana-2", {}, twin),
            old.notified(keys["pagerduty"], "alert:f00d", {}, other),
        ]
        old.notified(SLACK, "group:r:g", remote, first, twin, other, ended)
    for token in tokens:
        await an_open_incident(world, token)
    await world.start(per_alert)
    ledger = await world.ledger()
    assert (ledger["firing"], ledger["changes"]["fired"]) == (2, 11)
    await send(world, down("db-1", "cafe", ended=True), status="resolved")
    await world.pagerduty.until(lambda: sum(each.open for each in world.pagerduty.incidents[KEY]) == 1)
    await send(world, down("db-2", None, ended=True), status="resolved")
    await world.pagerduty.until(lambda: not any(each.open for each in world.pagerduty.incidents[KEY]))
    await world.slack.until(lambda: "Resolved" in world.slack.only.shown)
    assert len(world.pagerduty.incidents[KEY]) == len(tokens)
    await send(world, down("db-1", "cafe", startsAt="2026-11-23T11:59:00Z"))
    await world.pagerduty.until(lambda: len(world.pagerduty.incidents[KEY]) == len(tokens) + 1)
    assert world.pagerduty.incidents[KEY][-1].dedup_key not in tokens
    await world.ledger()


async def test_the_router_s_own_alert_of_the_version_before_goes_on(world: World) -> None:
    own = {"alertname": "AlertRouterDestinationBroken", "severity": "critical", "broken_destination": SLACK}
    foreign = {"alertname": "Down", "severity": "critical", "source": "a source of this name was allowed"}
    with closing(of_that_version(world.folder / "router.db")) as connection:
        old = Old(connection)
        old.alert("own", own, source="alert-router")
        old.alert("foreign", foreign, source="alert-router")
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.start()
    assert (await slack_lane(world))["broken_since"] == AT
    assert (await world.ledger())["firing"] == 2


async def test_odd_alerts_of_the_version_before_stop_no_start(world: World) -> None:
    """Two own alerts about one destination, one without a start; one label set whose end and firing are both not sent."""
    own = {"alertname": "AlertRouterDestinationBroken", "severity": "critical", "broken_destination": SLACK}
    with closing(of_that_version(world.folder / "router.db")) as connection:
        old = Old(connection)
        old.alert("own", own, source="alert-router")
        old.alert("twin", {**own, "cluster": "eu"}, source="alert-router")
        connection.execute("UPDATE alerts SET starts_at = NULL WHERE fingerprint = 'twin'")
        ended = old.alert("f1", labels_of("db-1"), status="resolved")
        fires = old.alert("f2", labels_of("db-1"))
        old.notified(SLACK, "group:r:g", {}, ended, fires)
        connection.execute("UPDATE members SET status = 'resolved', at = 1 WHERE alert_id = ?", (ended,))
        connection.execute("UPDATE members SET told = 'none', at = 1 WHERE alert_id = ?", (fires,))
    await world.start()
    await world.at_rest()
    assert (await world.ledger())["imbalance"] == 0
    await send(world, down("db-1", ended=True), status="resolved")
    await world.slack.until(
        lambda: any("Resolved" in each.shown for each in world.slack.in_channel("C0CRITICAL"))
    )
