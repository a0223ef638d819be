"""Heartbeats that do not come, sources that post nothing, and their return."""

import asyncio

import pytest

from router.app import ServeOptions, Service
from router.model import HOUR, MINUTE, SECOND
from router.silence_watch import SilenceWatch
from router.store import read_snapshot
from router.undecided import MAX_PIECE_ALERTS
from tests.clock import ManualClock
from tests.waiting import until
from tests.world.asking import metric_value
from tests.world.commands import run
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.heartbeats import (
    HEARTBEAT,
    WATCHERS,
    pass_time,
    post,
    said,
    sources,
    watched,
    with_heartbeat,
)
from tests.world.resting import at_rest
from tests.world.test_destinations import page, text
from tests.world.test_faults import ask


async def start(world: World, more: str = HEARTBEAT) -> None:
    world.slack.channels[WATCHERS] = "watchers"
    await world.start(with_heartbeat(more))
    await world.at_rest()


async def silent(world: World, count: int = 1) -> None:
    """Wait until the watchers have this many messages."""
    await world.slack.until(lambda: len(said(world)) == count)
    await world.at_rest()


async def over(world: World, number: int = -1) -> None:
    """Wait until a message of the watchers says that it is over."""
    await world.slack.until(lambda: "is back" in said(world)[number] or bool(replies(world)[number]))
    await world.at_rest()


def replies(world: World) -> list[list[str]]:
    return [each.replies for each in world.slack.in_channel(WATCHERS)]


async def test_a_heartbeat_notifies_nobody_and_is_in_the_ledger(world: World) -> None:
    await start(world)
    await post(world)
    await world.at_rest()
    assert await world.fates() == {"dropped": 1}
    assert not world.slack.messages
    assert not any(
        line.startswith("alert_router_unknown_severity_total{") for line in await world.get("/metrics")
    )
    (row,) = (await world.get("/api/v1/decisions"))["items"]
    assert (row["destination"], row["rule"]) == ("none", "heartbeats[0]")
    assert row["reason"] == "it is the heartbeat 'watchdog': only its silence is notified"
    found = (await watched(world))["default"]
    assert (found["state"], found["last_seen_at"]) == ("in time", world.clock.now())


async def test_a_silence_is_told_once_and_its_end_to_the_same(world: World) -> None:
    await start(world)
    await post(world)
    await pass_time(world, 10 * MINUTE - 1)
    assert said(world) == []
    await pass_time(world, 1)
    await silent(world)
    assert (
        "Heartbeat watchdog of source default has been silent since Mon 23 Nov 12:00:00 UTC" in said(world)[0]
    )
    assert (await watched(world))["default"]["state"] == "silent"
    labels = '{heartbeat="watchdog",source="default"}'
    assert await metric_value(world, f"alert_router_heartbeat_silent{labels}") == 1
    for _ in range(3):
        await pass_time(world, HOUR)
    assert len(said(world)) == 1
    await post(world)
    await over(world)
    assert "Heartbeat watchdog of source default is back, after a silence of 3 h 10 min" in "".join(
        [*said(world), *replies(world)[0]]
    )
    assert await metric_value(world, f"alert_router_heartbeat_silent{labels}") == 0
    seen = f"alert_router_heartbeat_last_seen_timestamp_seconds{labels}"
    assert await metric_value(world, seen) == world.clock.now() / SECOND
    assert {channel for channel, _ in world.slack.messages} == {WATCHERS}


async def test_beats_in_time_keep_it_quiet(world: World) -> None:
    await start(world)
    for _ in range(5):
        await post(world)
        await pass_time(world, 9 * MINUTE)
    assert said(world) == []


async def test_a_resolved_heartbeat_is_no_beat(world: World) -> None:
    await start(world)
    await post(world)
    await pass_time(world, 9 * MINUTE)
    await post(world, status="resolved")
    await pass_time(world, MINUTE)
    await silent(world)


async def test_another_alert_is_no_beat(world: World) -> None:
    await start(world)
    await pass_time(world, 9 * MINUTE)
    await post(world, name="Down", severity="info")
    await pass_time(world, MINUTE)
    await silent(world)
    assert "it has not come since the router began to watch it" in said(world)[0]


async def test_each_source_has_to_send_its_own(world: World) -> None:
    await start(world, sources() + HEARTBEAT)
    await post(world, source="am1")
    await post(world, source="am2")
    await pass_time(world, 9 * MINUTE)
    await post(world, source="am2")
    await pass_time(world, MINUTE)
    await silent(world)
    assert "Heartbeat watchdog of source am1 has been silent" in said(world)[0]
    assert {name: each["state"] for name, each in (await watched(world)).items()} == {
        "am1": "silent", "am2": "in time"
    }  # fmt: skip


async def test_a_heartbeat_of_one_source_is_an_alert_of_another(world: World) -> None:
    await start(world, sources() + HEARTBEAT.replace("within", "source: am1, within"))
    await post(world, source="am2", severity="critical")
    await world.slack.until(lambda: bool(world.slack.in_channel("C0CRITICAL")))
    await world.at_rest()
    await post(world, source="am1", severity="critical")
    await world.at_rest()
    assert len(world.slack.in_channel("C0CRITICAL")) == 1
    assert set(await watched(world)) == {"am1"}


async def test_a_source_that_posts_nothing_is_told(world: World) -> None:
    keys = "silent_after: 30m, silent_receiver: watchers"
    await start(world, sources(am1=keys))
    await post(world, "Down", severity="info", source="am1")
    await pass_time(world, 29 * MINUTE)
    await post(world, "Down", severity="info", source="am1")
    await pass_time(world, 29 * MINUTE)
    assert said(world) == []
    await pass_time(world, MINUTE)
    await silent(world)
    assert "Source am1 has been silent since Mon 23 Nov 12:29:00 UTC" in said(world)[0]
    assert await metric_value(world, 'alert_router_source_silent{source="am1"}') == 1
    await post(world, "Down", severity="info", source="am1")
    await over(world)
    assert await metric_value(world, 'alert_router_source_silent{source="am1"}') == 0
    assert not any(
        line.startswith('alert_router_source_silent{source="am2"}') for line in await world.get("/metrics")
    )
    last = 'alert_router_source_last_webhook_timestamp_seconds{source="am1"}'
    assert await metric_value(world, last) == world.clock.now() / SECOND


async def test_a_refused_webhook_is_no_sign_of_life(world: World) -> None:
    await start(world, sources(am1="silent_after: 30m, silent_receiver: watchers"))
    await pass_time(world, 29 * MINUTE)
    assert await world.post("Down", "info") == 401
    await pass_time(world, MINUTE)
    await silent(world)


async def test_time_without_the_router_is_no_silence(world: World) -> None:
    await start(world)
    await post(world)
    await pass_time(world, 6 * MINUTE)
    await world.stop()
    world.clock.advance(5 * HOUR)
    await start(world)
    assert (await watched(world))["default"]["last_seen_at"] == world.clock.now() - 5 * HOUR - 6 * MINUTE
    await pass_time(world, 4 * MINUTE - 1)
    assert said(world) == []
    await pass_time(world, 1)
    await silent(world)


async def test_silence_adds_up_over_many_restarts(world: World) -> None:
    await start(world)
    await post(world)
    for _ in range(3):
        await pass_time(world, 3 * MINUTE)
        await world.stop()
        await start(world)
    assert said(world) == []
    await pass_time(world, MINUTE)
    await silent(world)


async def test_a_restart_while_silent_tells_nothing_twice(world: World) -> None:
    await start(world)
    await post(world)
    await pass_time(world, 10 * MINUTE)
    await silent(world)
    await world.stop()
    world.clock.advance(HOUR)
    await start(world)
    await pass_time(world, HOUR)
    assert len(said(world)) == 1
    assert replies(world) == [[]]
    assert (await watched(world))["default"]["state"] == "silent"
    await post(world)
    await over(world)
    assert len(said(world)) == 1


async def test_a_first_start_counts_from_the_start(world: World) -> None:
    await start(world)
    assert (await watched(world))["default"]["state"] == "not seen yet"
    await pass_time(world, 10 * MINUTE - 1)
    assert said(world) == []
    await pass_time(world, 1)
    await silent(world)


async def test_a_removed_heartbeat_ends_its_alert(world: World) -> None:
    await start(world)
    await pass_time(world, 10 * MINUTE)
    await silent(world)
    await world.reload(with_heartbeat(""))
    await world.at_rest()
    await world.slack.until(lambda: "is no longer watched" in "".join([*said(world), *replies(world)[0]]))
    await world.at_rest()
    assert await watched(world) == {}
    assert not any(line.startswith("alert_router_heartbeat_silent{") for line in await world.get("/metrics"))
    await pass_time(world, HOUR)
    assert len(said(world)) == 1


async def test_a_new_heartbeat_counts_from_the_reload(world: World) -> None:
    await start(world, "")
    await pass_time(world, HOUR)
    await world.reload(with_heartbeat())
    await world.at_rest()
    await pass_time(world, 10 * MINUTE - 1)
    assert said(world) == []
    await pass_time(world, 1)
    await silent(world)


async def test_a_renamed_heartbeat_ends_and_begins_anew(world: World) -> None:
    await start(world)
    await pass_time(world, 10 * MINUTE)
    await silent(world)
    await world.reload(with_heartbeat(HEARTBEAT.replace("name: watchdog", "name: pulse")))
    await world.at_rest()
    await world.slack.until(lambda: "is no longer watched" in "".join([*said(world), *replies(world)[0]]))
    await pass_time(world, 10 * MINUTE)
    await silent(world, 2)
    assert "Heartbeat pulse of source default has been silent" in said(world)[1]


async def test_another_receiver_is_told_of_a_silence_that_lasts(world: World) -> None:
    await start(world)
    await pass_time(world, 10 * MINUTE)
    await silent(world)
    await world.reload(with_heartbeat(HEARTBEAT.replace("receiver: watchers", "receiver: team")))
    await world.slack.until(lambda: bool(world.slack.in_channel("C0WARNINGS")))
    await world.at_rest()
    assert "another receiver" in "".join([*said(world), *replies(world)[0]])
    assert "has been silent since" in world.slack.in_channel("C0WARNINGS")[0].shown


async def test_without_a_receiver_the_routes_decide(world: World) -> None:
    await start(world, HEARTBEAT.replace(", receiver: watchers", ""))
    await pass_time(world, 10 * MINUTE)
    await world.slack.until(lambda: bool(world.slack.in_channel("C0CRITICAL")))
    assert said(world) == []


async def test_a_clock_step_is_no_silence(world: World) -> None:
    await start(world)
    await post(world)
    await pass_time(world, 5 * MINUTE)
    world.clock.step(3 * HOUR)
    await world.at_rest()
    await pass_time(world, 10 * MINUTE - 1)
    assert said(world) == []
    await pass_time(world, 1)
    await silent(world)


async def test_a_step_back_does_not_hide_a_silence(world: World) -> None:
    await start(world)
    await post(world)
    world.clock.step_back(3 * HOUR)
    await world.at_rest()
    await pass_time(world, 10 * MINUTE)
    await silent(world)
    await post(world)
    await over(world)


async def test_an_alert_that_becomes_a_heartbeat_is_not_sent(world: World) -> None:
    await start(world, "")
    await post(world, severity="critical")
    await world.slack.until(lambda: bool(world.slack.in_channel("C0CRITICAL")))
    await world.at_rest()
    await world.reload(with_heartbeat())
    await world.at_rest()
    await post(world, severity="critical")
    await world.at_rest()
    assert len(world.slack.in_channel("C0CRITICAL")) == 1
    await post(world, status="resolved", severity="critical")  # who was notified of it is notified of its end
    await world.slack.until(lambda: bool(world.slack.in_channel("C0CRITICAL")[0].replies))


async def test_a_heartbeat_that_is_none_any_more_is_sent(world: World) -> None:
    await start(world)
    await post(world, severity="critical")
    await world.at_rest()
    await world.reload(with_heartbeat(""))
    await world.slack.until(lambda: bool(world.slack.in_channel("C0CRITICAL")))
    await world.at_rest()
    assert (await world.ledger())["imbalance"] == 0


async def test_the_trouble_names_what_is_silent(world: World) -> None:
    await start(world)
    await post(world)
    await pass_time(world, 12 * MINUTE)
    await silent(world)

    async def told() -> bool:
        found = (await world.get("/api/v1/overview"))["trouble"]
        words = "Heartbeat watchdog of source default has been silent for 12 min"
        return bool(found == [{"words": words, "page": "/heartbeats"}])

    await until(told, "the trouble names the heartbeat")
    html = text(await page(world, "/heartbeats"))
    assert "heartbeat watchdog default silent reported Mon 23 Nov 2026 12:12:00" in html
    assert "any webhook default not watched" in html
    result = await run(world, "status")
    assert "! Heartbeat watchdog of source default has been silent for 12 min" in result.output
    assert result.exit_code == 1


async def test_explain_says_that_it_is_a_heartbeat(world: World) -> None:
    await start(world)
    await post(world)
    result = await run(world, "explain", "alertname=Watchdog")
    assert "it is the heartbeat 'watchdog': only its silence is notified" in result.output
    html = await page(world, "/routes?labels=alertname%3DWatchdog")
    assert "it is the heartbeat <strong>watchdog</strong>" in html


async def test_an_answer_of_alertmanager_is_no_beat(world: World) -> None:
    async with FakeAlertmanager() as alertmanager:
        alertmanager.has("Watchdog", "none")
        prod = f'sources: [{{name: prod, alertmanager_url: "{alertmanager.url}"}}]\n'
        await start(world, prod + HEARTBEAT)
        await post(world)
        for _ in range(9):
            await pass_time(world, MINUTE)
        assert alertmanager.asked >= 9
        assert said(world) == []
        await pass_time(world, MINUTE)
        await silent(world)


async def test_a_large_webhook_has_beats_too(world: World) -> None:
    await start(world)
    await pass_time(world, 9 * MINUTE)
    alerts = [
        {"status": "firing", "labels": {"alertname": name, "number": str(number), "severity": "info"}}
        for number, name in enumerate(["Watchdog", *["Down"] * MAX_PIECE_ALERTS])
    ]
    body = {"version": "4", "groupKey": "{}:{}", "receiver": "r", "status": "firing", "alerts": alerts}
    status, answer, _ = await ask(world, "/webhook", json=body)
    assert status == 200, answer
    await world.at_rest()

    async def seen() -> bool:
        return bool((await watched(world))["default"]["last_seen_at"] == world.clock.now())

    await until(seen, "the heartbeat is decided")
    await pass_time(world, 9 * MINUTE)
    assert said(world) == []


async def test_a_crash_loses_a_minute_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await start(world)
    await post(world)
    for _ in range(5):
        await pass_time(world, MINUTE)
    monkeypatch.setattr(SilenceWatch, "close", _nothing)
    await pass_time(world, MINUTE - 1)
    await world.stop()
    await start(world)
    await pass_time(world, 4 * MINUTE)
    assert said(world) == []
    await pass_time(world, MINUTE)
    await silent(world)


async def _nothing(_watch: SilenceWatch) -> None:
    pass


async def test_time_without_a_writable_store_is_no_silence(world: World) -> None:
    await start(world)
    await post(world)
    await pass_time(world, 5 * MINUTE)
    database, away = world.folder / "router.db", world.folder / "away.db"
    database.rename(away)
    for _ in range(10):
        world.clock.advance(MINUTE)
        assert (await ask(world, "/webhook", json={"alerts": [{"labels": {"alertname": "Watchdog"}}]}))[
            0
        ] == 503
    away.rename(database)
    while (await ask(world, "/readyz"))[0] != 200:
        pass
    await pass_time(world, 5 * MINUTE)
    assert said(world) == []
    await post(world)
    await pass_time(world, 9 * MINUTE)
    assert said(world) == []
    await pass_time(world, MINUTE)
    await silent(world)


async def test_it_is_not_mixed_up_with_a_broken_destination(world: World) -> None:
    await start(world, HEARTBEAT + "operators: team\n")
    del world.slack.channels["C0CRITICAL"]
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.in_channel("C0WARNINGS")))
    await pass_time(world, 10 * MINUTE)
    await silent(world)
    await world.stop()
    await start(world, HEARTBEAT + "operators: team\n")
    await pass_time(world, MINUTE)
    names = await firing_names(world)
    assert names == {"AlertRouterDestinationBroken", "AlertRouterHeartbeatSilent", "Down"}
    await post(world)
    await over(world)
    assert await firing_names(world) == {"AlertRouterDestinationBroken", "Down", "Watchdog"}


async def firing_names(world: World) -> set[str]:
    firing = read_snapshot(f"sqlite:///{world.folder}/router.db").firing
    return {labels["alertname"] for labels in firing}


async def test_a_preview_reports_no_silence(world: World) -> None:
    path = world.write(with_heartbeat())
    clock = ManualClock(MONDAY_NOON)
    service = await Service.open(ServeOptions(path, ("127.0.0.1", 0), preview=True), {}, clock)
    await service.start()
    try:
        clock.advance(HOUR)
        await at_rest(service, clock)
        assert service.outbox is not None
        assert service.silence_watch.silent() == []
        assert (await service.store.pages.status())["changes"]["fired"] == 0
    finally:
        await service.stop()


async def test_a_store_that_hangs_does_not_hold_up_a_stop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(world)
    assert world.service is not None

    async def hang(_record: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(world.service.store.silence_records, "save", hang)
    await world.stop()


@pytest.mark.parametrize("more", [HEARTBEAT, sources(am2="silent_after: 30m, silent_receiver: watchers")])
async def test_a_receiver_of_silence_is_not_without_a_route(world: World, more: str) -> None:
    await start(world, more)
    found = {each["key"]: each["words"] for each in (await world.get("/api/v1/destinations"))["items"]}
    assert found[f"slack:{WATCHERS}"] == "unused: nothing was sent to it yet"
