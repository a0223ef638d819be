"""A reload while the service runs: as a whole or not at all, and nothing that was sent is forgotten."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from router.active_config import ActiveConfig
from router.channels.base import Channel
from router.config_files import LoadedConfig
from router.decide import Policy
from router.deliver import Lanes
from router.model import DAY, HOUR, MINUTE, SECOND, Millis
from router.reload import FINISH_EVERY
from router.store import Phase, StoreUnavailable
from router.store.rule_changes import RuleChanges
from tests import database
from tests.world.asking import metric_value, until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_pagerduty import HANG, KEY, Page
from tests.world.fake_pagerduty import http as answer
from tests.world.fake_slack import Want

HASH = "alert_router_config_hash "
SUCCESS = "alert_router_config_last_reload_successful "


def without_pagerduty(rules: str) -> str:
    return "\n".join(line for line in rules.splitlines() if "routing_key" not in line)


async def test_new_rules_hold_for_the_next_alert(world: World) -> None:
    await world.start()
    before = await metric_value(world, HASH)
    status, answer = await world.reload(lambda rules: rules.replace("C0CRITICAL", "C0WARNINGS"))
    assert (status, answer["status"]) == (200, "reloaded")
    assert await metric_value(world, HASH) != before
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Down",)))


async def test_broken_rules_change_nothing_and_are_shouted(world: World) -> None:
    await world.start()
    before = await metric_value(world, HASH)
    status, answer = await world.reload(lambda rules: rules.replace("receiver: oncall", "receiver: onclal"))
    assert status == 500
    assert "there is no receiver 'onclal'; did you mean 'oncall'?" in answer["reason"]
    assert "{severity: critical, receiver: onclal}" in answer["reason"]
    assert await metric_value(world, SUCCESS) == 0
    assert await metric_value(world, HASH) == before
    assert (await world.get("/status"))["config"]["error"] == answer["reason"]
    await world.post("Down", "critical")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    assert (await world.reload(lambda rules: rules))[0] == 200
    assert await metric_value(world, SUCCESS) == 1
    assert (await world.get("/status"))["config"]["error"] is None


async def test_what_is_held_is_judged_by_the_new_rules(world: World) -> None:
    world.clock.advance(10 * HOUR)
    await world.start()
    await world.post("Disk", "warning")
    assert await world.fates() == {"held": 2}
    await world.reload(lambda rules: rules.replace("outside: hold", "outside: drop"))
    assert await world.fates() == {"dropped": 2}
    await world.reload(lambda rules: rules.replace("outside: hold", "outside: send"))
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.smtp.until(lambda: bool(world.smtp.mails))
    await until_delivered(world, 2)
    assert await world.fates() == {"delivered": 2}


async def test_a_new_inhibit_rule_mutes_what_waits(world: World) -> None:
    await world.start(lambda rules: rules.partition("inhibit_wait")[0])
    world.clock.advance(10 * HOUR)
    await world.post("Down", "warning")
    await world.post("Down", "critical")
    await world.reload(lambda rules: rules)
    assert (await world.fates())["inhibited"] == 2


async def test_the_end_is_sent_to_a_destination_that_is_gone(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    await until_delivered(world, 3)
    await world.reload(without_pagerduty)
    await world.post("Down", "critical", "resolved")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 2)
    world.pagerduty.expect(Page("Down", open=False))
    await world.post("Disk", "critical")
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    world.pagerduty.expect(Page("Down", open=False))


async def test_the_end_is_sent_to_a_destination_that_was_gone_at_the_start(world: World) -> None:
    """Its routing key is only in the store."""
    await world.start()
    await world.post("Down", "critical")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    await until_delivered(world, 3)
    await world.stop()
    await world.start(without_pagerduty)
    await world.post("Down", "critical", "resolved")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 2)
    world.pagerduty.expect(Page("Down", open=False))
    await until_delivered(world, 6)
    await world.stop()
    await world.start(without_pagerduty)
    assert not any("pagerduty" in lane["destination"] for lane in (await world.get("/status"))["lanes"])
    kept = database.rows(world.folder / "router.db", "SELECT key FROM destinations")
    assert not any("pagerduty" in key for (key,) in kept)


async def test_a_delivery_under_way_is_not_doubled_by_reloads(world: World) -> None:
    await world.start()
    world.pagerduty.fail(HANG)
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.pagerduty.until(lambda: bool(world.pagerduty.events))
    await world.reload(without_pagerduty)
    await world.reload(lambda rules: rules)
    world.pagerduty.recover()
    await until_failed(
        world, next(key for key in (await world.ledger())["by_destination"] if "pagerduty" in key)
    )
    world.clock.advance(HOUR)
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    await until_delivered(world, 3)
    assert [event.action for event in world.pagerduty.accepted] == ["trigger"]


async def test_a_digest_that_is_gone_leaves_the_ledger_balanced(world: World) -> None:
    await world.start()
    await world.post("Slow", "info")
    assert await world.fates() == {"digest": 1}
    await world.reload(
        lambda rules: rules.replace("receiver: daily", "receiver: team").replace("daily:", "weekly:")
    )
    fates = await world.fates()
    assert fates.pop("dropped") == 1
    assert sum(fates.values()) == 2
    world.clock.advance(2 * DAY)
    await world.slack.until(lambda: bool(world.slack.messages))
    assert not any("digest@example.com" in mail.recipients for mail in world.smtp.mails)


async def until_hash_is_not(before: float, world: World) -> float:
    """Let time pass until other rules are loaded, and return their hash. The watch may begin to wait only when time passes
    already.
    """
    assert world.service is not None
    while (after := await metric_value(world, HASH)) == before:
        world.clock.advance(2 * SECOND)
        await world.service.store.ready()
    return after


async def test_a_watched_file_is_loaded_when_it_changes(world: World) -> None:
    await world.start(watch=True)
    before = await metric_value(world, HASH)
    world.write(lambda rules: rules.replace("C0CRITICAL", "C0WARNINGS"))
    await until_hash_is_not(before, world)


async def test_what_is_written_while_rules_are_loaded_is_loaded_next(world: World) -> None:
    await world.start(watch=True)
    assert world.service is not None
    world.pagerduty.fail(HANG)
    await world.post("Down", "critical")
    await world.pagerduty.until(lambda: bool(world.pagerduty.events))
    first = await metric_value(world, HASH)
    world.write(lambda rules: rules.replace("events_url", "give_up_after: 2h, events_url"))
    second = await until_hash_is_not(first, world)
    world.write(lambda rules: rules.replace("C0CRITICAL", "C0WARNINGS"))
    world.pagerduty.recover()
    await until_hash_is_not(second, world)


async def test_a_mistake_of_ours_at_a_reload_is_said_and_the_rules_before_stay(world: World) -> None:
    await world.start()
    database.change(
        world.folder / "router.db",
        "CREATE TRIGGER t BEFORE INSERT ON destinations BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    status, answer = await world.reload(lambda rules: rules.replace("C0CRITICAL", "C0NEW"))
    assert (status, answer["reason"]) == (500, "internal: IntegrityError; the log says more")
    assert await metric_value(world, SUCCESS) == 0
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0CRITICAL", ("Down",)))


async def test_a_reload_goes_on_when_the_store_can_be_written_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new rules are in force already and can't be taken back."""
    world.clock.advance(10 * HOUR)
    await world.start()
    await world.post("Disk", "warning")
    judge_some, faults = RuleChanges.judge_some, [StoreUnavailable("the disk is full")] * 3

    async def failing(rules: RuleChanges, policy: Policy, now: Millis) -> tuple[Phase | None, frozenset[str]]:
        if faults:
            raise faults.pop()
        return await judge_some(rules, policy, now)

    monkeypatch.setattr(RuleChanges, "judge_some", failing)
    reloading = asyncio.create_task(
        world.reload(lambda rules: rules.replace("outside: hold", "outside: send"))
    )
    assert world.service is not None
    while not reloading.done():
        world.clock.advance(SECOND)
        await world.service.store.ready()
    assert (await reloading)[0] == 200
    await until_delivered(world, 2)
    world.slack.expect(Want("C0WARNINGS", ("Disk",)))


TEAM = """
receivers:
  chat: [{slack: {channel: C0WARNINGS}}]
route:
  receiver: chat
  routes: [{matchers: ['page="yes"'], receiver: oncall}]
"""
OTHER = "receivers: {chat: [{slack: {channel: C0CRITICAL}}]}\nroute: {receiver: chat}\n"


def teams(rules: str) -> str:
    """Return the rules with the files of two teams."""
    mounts = (
        "    - {matchers: ['team=\"payments\"'], receiver: oncall, mount: payments}\n"
        "    - {matchers: ['team=\"search\"'], mount: search}\n"
    )
    return f"include: teams/*.yaml\n{rules.replace('  routes:', '  routes:' + chr(10) + mounts.rstrip(), 1)}"


def team_file(world: World, name: str) -> Path:
    path = world.folder / "teams" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    return path


async def fragment(world: World, name: str) -> dict[str, Any]:
    fragments = (await world.get("/status"))["config"]["fragments"]
    return next(dict(each) for each in fragments if each["name"] == name)


async def test_a_broken_team_file_stays_as_it_was_and_the_others_load(world: World) -> None:
    payments, search = team_file(world, "payments"), team_file(world, "search")
    payments.write_text(TEAM)
    search.write_text(OTHER)
    await world.start(teams)
    await world.post("A", "critical", team="payments")
    await world.slack.until(lambda: len(world.slack.messages) == 1)
    world.slack.expect(Want("C0WARNINGS", ("A",)))

    payments.write_text(TEAM.replace("oncall", "onclal"))
    search.write_text(OTHER.replace("C0CRITICAL", "C0WARNINGS"))
    status, answer = await world.reload(teams)
    assert status == 200
    assert (await fragment(world, "payments"))["state"] == "last good version"
    assert "did you mean 'oncall'?" in answer["fragments"][0]["problems"][0]
    assert await metric_value(world, 'alert_router_fragment_last_load_successful{fragment="payments"}') == 0
    assert await metric_value(world, 'alert_router_fragment_last_load_successful{fragment="search"}') == 1
    await world.post("B", "critical", team="payments")
    await world.post("C", "critical", team="search")
    world.clock.advance(10 * SECOND)
    await world.slack.until(lambda: len(world.slack.messages) >= 2)
    world.clock.advance(10 * SECOND)
    await world.slack.until(lambda: len(world.slack.messages) == 3)
    world.slack.expect(*(Want("C0WARNINGS", (name,)) for name in "ABC"))

    await world.stop()
    await world.start(teams)
    assert (await fragment(world, "payments"))["state"] == "last good version"
    payments.unlink()
    assert (await world.reload(teams))[0] == 200
    assert (await fragment(world, "payments"))["state"] == "last good version"
    payments.write_text(TEAM)
    await world.reload(teams)
    assert await fragment(world, "payments") == {
        "name": "payments", "file": str(payments), "state": "loaded", "problems": [],
    }  # fmt: skip


async def test_a_team_whose_secret_is_gone_is_paged_as_before(world: World) -> None:
    """This holds over a reload and a restart, and no answer shows the kept secret."""
    payments = team_file(world, "payments")
    key = payments.with_name("key")
    payments.write_text(
        "receivers: {oncall: [{pagerduty: {routing_key: {file: key}, name: pay}}]}\nroute: {receiver: oncall}\n"
    )
    key.write_text(f"{KEY}\n")
    team_file(world, "search").write_text(OTHER)
    await world.start(teams)
    key.unlink()
    assert (await world.reload(teams))[0] == 200
    await world.post("A", "critical", team="payments")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 1)
    await world.stop()
    await world.start(teams)
    await world.post("B", "critical", team="payments")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 2)
    state = await fragment(world, "payments")
    assert state["state"] == "last good version"
    assert "key can't be read: No such file or directory" in state["problems"][0]
    assert KEY not in str(await world.get("/status"))


async def test_a_file_that_was_never_good_leaves_its_alerts_to_its_mount_point(world: World) -> None:
    team_file(world, "payments").write_text("route: [")
    team_file(world, "search").write_text(OTHER)
    await world.start(teams)
    assert (await fragment(world, "payments"))["state"] == "left out"
    await world.post("A", "critical", team="payments")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))


async def test_a_digest_may_come_back_to_a_slot_that_it_left(world: World) -> None:
    def at(hour: str) -> Callable[[str], str]:
        return lambda rules: rules.replace('at: "08:00"', f'at: "{hour}:00"')

    def none(rules: str) -> str:
        return "\n".join(line for line in rules.splitlines() if "digest:" not in line)

    await world.start(at("15"))
    assert [(await world.reload(change))[0] for change in (none, at("14"), at("15"))] == [200, 200, 200]
    await world.post("Cpu", "info")
    world.clock.advance(4 * HOUR)
    await world.smtp.until(lambda: bool(world.smtp.mails))


async def test_channels_are_made_again_when_the_network_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, found = ActiveConfig.replace, list[dict[str, Channel]]()

    def noted(active: ActiveConfig, loaded: LoadedConfig) -> None:
        replace(active, loaded)
        found.append(dict(active.runtime().channels))

    monkeypatch.setattr(ActiveConfig, "replace", noted)
    await world.start()
    for head in ("", "\n", "network: {proxy_url: 'http://127.0.0.1:9'}\n"):
        assert (await world.reload(head.__add__))[0] == 200
    first, same, after = found
    assert same == first
    assert after.keys() == first.keys()
    assert all(after[name] is not first[name] for name in first)
    await world.post("Down", "critical")  # the fakes are on this machine, and so reached directly
    await world.slack.until(lambda: bool(world.slack.messages))


def with_other_settings(rules: str) -> str:
    return rules.replace("slack: {token", "slack: {give_up_after: 3h, token")


def with_network(rules: str) -> str:
    return f"network: {{no_proxy: [a.example]}}\n{rules}"


@pytest.mark.parametrize("change", [with_other_settings, with_network])
@pytest.mark.parametrize("fault", ["is_archived", "fatal_error"])
async def test_a_reload_that_may_repair_a_destination_tries_it_immediately(
    world: World, change: Callable[[str], str], fault: str
) -> None:
    """Whether it is broken, or only a backoff goes on."""
    await world.start()
    world.slack.trouble["C0CRITICAL"] = fault
    await world.post("Down", "critical")
    for _ in range(8):
        await world.at_rest()
        world.clock.advance(MINUTE)
    await world.at_rest()
    del world.slack.trouble["C0CRITICAL"]
    assert (await world.reload(lambda rules: rules))[0] == 200
    await world.at_rest()
    assert not world.slack.messages
    assert (await world.reload(change))[0] == 200
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0CRITICAL", ("Down",)))


async def test_a_repaired_routing_key_is_tried_immediately(world: World) -> None:
    def named(key: str) -> Callable[[str], str]:
        return lambda rules: rules.replace(f"routing_key: {KEY}", f"routing_key: {key}, name: oncall")

    await world.start(named(f"{KEY[:-4]}beef"))
    world.pagerduty.fail(answer(403))
    await world.post("Down", "critical")
    await world.at_rest()
    world.pagerduty.recover()
    assert not world.pagerduty.accepted
    assert (await world.reload(named(KEY)))[0] == 200
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    assert world.pagerduty.accepted[0].body["routing_key"] == KEY


async def test_an_attempt_that_fails_after_a_repair_delays_nothing(world: World) -> None:
    """It began with the settings before the reload."""
    await world.start()
    world.pagerduty.fail(HANG)
    await world.post("Down", "critical")
    await world.pagerduty.until(lambda: bool(world.pagerduty.events))
    assert (await world.reload(lambda rules: rules.replace("events_url", "give_up_after: 2h, events_url")))[
        0
    ] == 200
    world.pagerduty.recover()
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))


@pytest.mark.parametrize("failing", [(Lanes, "serve"), (RuleChanges, "retire"), (RuleChanges, "judge_some")])
async def test_a_failure_after_the_adoption_is_shown_and_tried_again(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    failing: tuple[type[object], str],
) -> None:
    await world.start()
    await world.at_rest()
    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(*failing, AsyncMock(side_effect=RuntimeError("boom")))
        status, given = await world.reload(lambda rules: rules.replace("C0CRITICAL", "C0WARNINGS"))
        assert status == 500
        assert given["reason"].startswith("the new rules are in force, but ")
        assert "internal: RuntimeError; the log says more" in given["reason"]
        for _ in range(3):
            world.clock.advance(FINISH_EVERY)
            await world.at_rest()
        assert (await world.get("/status"))["config"]["error"] == given["reason"]
        assert await metric_value(world, SUCCESS) == 0
    events = [each["event"] for each in logs]
    assert sum("failed unexpectedly" in each for each in events) == 1
    assert not any("the last good config stays" in each for each in events)
    world.clock.advance(FINISH_EVERY)
    while await metric_value(world, SUCCESS) == 0:
        assert world.service is not None
        await world.service.store.ready()
    assert (await world.get("/status"))["config"]["error"] is None
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Down",)))


@pytest.mark.parametrize("ending", ["reload", "stop"])
async def test_a_later_reload_or_a_stop_ends_the_tries(
    world: World, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    await world.start()
    await world.at_rest()
    broken = AsyncMock(side_effect=RuntimeError("boom"))
    with monkeypatch.context() as patch:
        patch.setattr(Lanes, "serve", broken)
        assert (await world.reload(lambda rules: rules))[0] == 500
        if ending == "stop":
            await world.stop()
    if ending == "reload":
        assert (await world.reload(lambda rules: rules))[0] == 200
        assert (await world.get("/status"))["config"]["error"] is None
        assert await metric_value(world, SUCCESS) == 1
    world.clock.advance(FINISH_EVERY)
    assert broken.await_count == 1
    assert not any(task.get_name() == "rest of a load" for task in asyncio.all_tasks() if ending == "stop")
