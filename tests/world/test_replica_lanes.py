"""Two replicas on one PostgreSQL: lanes pass from one to the other with their pauses, rates, storms and self-alerts."""

import asyncio
from typing import Any

import pytest

from router.app import Service
from router.core.head import LeaseLost
from router.core.rows import LARGE
from router.model import HOUR, MINUTE, SECOND, Outcome, Retry
from router.store import ClaimedDelivery, Recorded, Store, StoreUnavailable
from router.store.claiming import Claiming
from router.store.recording import Recording
from tests.waiting import until
from tests.world import bulk
from tests.world.asking import (
    OWN,
    SLACK,
    metric_value,
    run_deliveries_command,
    slack_lane,
    until_delivered,
    until_failed,
)
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_pagerduty import KEY, Page
from tests.world.fake_server import HANG
from tests.world.fake_slack import Want, rate_limited
from tests.world.replicas import PAGES, SLACK_LANES, Pair, lanes_of, replica_pair

pair = replica_pair


async def seen(pair: Pair, world: World, field: str, value: object) -> None:
    """Wait until a replica shows this state of the lane of Slack."""
    await pair.when(
        lambda: bool(lanes_of(world)[SLACK][field] == value), f"{world.replica} shows {field}: {value}"
    )


async def test_each_replica_shows_all_lanes_and_who_serves_them(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    pair.a.slack.fail(rate_limited(60))
    await pair.a.post("Down", "critical")
    await until_failed(holder, SLACK)
    await seen(pair, other, "paused_until", lanes_of(holder)[SLACK]["paused_until"])
    assert lanes_of(other)[SLACK]["paused_until"] >= MONDAY_NOON + MINUTE
    here, there = (lanes_of(each)[SLACK] for each in (holder, other))
    assert (here["is_here"], there["is_here"]) == (True, False)
    assert {here["replica"], there["replica"]} == {holder.replica}
    left = {"is_here": None}
    assert {**here, **left} == {**there, **left}
    assert {each["alive"] for world in pair.both for each in lanes_of(world).values()} == {True}
    assert lanes_of(holder).keys() == lanes_of(other).keys()


async def test_a_pause_that_slack_asked_for_holds_at_the_next_holder(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    pair.a.slack.fail(rate_limited(60))
    await pair.a.post("Down", "critical")
    await until_failed(holder, SLACK)
    await pair.end(holder)
    pair.a.clock.advance(59 * SECOND)
    await other.at_rest()
    assert len(pair.a.slack.calls) == 1
    pair.a.clock.advance(2 * SECOND)
    await until_delivered(other, 3)
    assert len(pair.a.slack.calls) == 2
    assert pair.a.slack.refused_as_too_fast == 0


async def test_the_rate_holds_over_a_handover(pair: Pair) -> None:
    slow = "{channel: C0CRITICAL, rate: 1/s}"
    await pair.start(lambda rules: rules.replace("{channel: C0CRITICAL}", slow))
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    await holder.post("First", "critical")
    await until_delivered(other, 3)
    await pair.end(holder)
    await other.post("Second", "critical")
    await until_delivered(other, 5)
    await other.at_rest()
    assert len(pair.a.slack.calls) == 1
    pair.a.clock.advance(SECOND)
    await until_delivered(other, 6)
    assert pair.a.slack.refused_as_too_fast == 0


async def test_a_pause_and_its_end_reach_the_holder_through_another(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    result = await run_deliveries_command(other, "pause", SLACK)
    assert f"{SLACK}: paused since 12:00:00. Send again" in result.output
    await other.post("Down", "critical")
    await until_delivered(other, 2)  # PagerDuty and email
    await holder.at_rest()
    assert not pair.a.slack.messages
    for each in pair.both:
        await seen(pair, each, "paused_since", MONDAY_NOON)
        assert await metric_value(each, f'alert_router_destination_paused{{destination="{SLACK}"}}') == 1
    result = await run_deliveries_command(other, "resume", SLACK)
    assert f"{SLACK}: delivered\n" in result.output
    pair.a.slack.expect(Want("C0CRITICAL", ("Down",)))
    for each in pair.both:
        await seen(pair, each, "paused_since", value=None)


async def test_a_resume_through_another_says_what_the_provider_says(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    pair.a.slack.trouble["C0CRITICAL"] = "is_archived"
    await holder.post("Down", "critical")
    await pair.a.slack.until(lambda: bool(pair.a.slack.calls))
    await seen(pair, pair.other(holder), "needs_repair", value=True)
    pair.a.clock.advance(2 * SECOND)
    result = await run_deliveries_command(pair.other(holder), "resume", SLACK)
    assert result.exit_code == 1
    assert "still broken: " in result.output
    assert "is_archived" in result.output


async def test_a_self_alert_ends_at_the_next_holder(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    pair.a.slack.trouble["C0CRITICAL"] = "is_archived"
    await holder.post("Down", "critical")
    await pair.a.pagerduty.until(lambda: OWN in str(pair.a.pagerduty.accepted))
    await seen(pair, other, "broken_since", MONDAY_NOON)
    await pair.end(holder)
    assert lanes_of(other)[SLACK]["broken_since"] == MONDAY_NOON
    del pair.a.slack.trouble["C0CRITICAL"]
    pair.a.clock.advance(HOUR)
    await other.at_rest()
    incidents = pair.a.pagerduty.incidents[KEY]
    # Whichever lane was faster comes first.
    assert {OWN in each.summary: each.open for each in incidents} == {False: True, True: False}
    assert len(incidents) == 2
    assert (await slack_lane(other))["failing_since"] is None
    assert (await other.fates()).keys() == {"delivered"}


async def test_a_storm_goes_on_in_its_message_at_the_next_holder(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    for number in range(70):
        await pair.a.post(f"Down{number}", "warning")
    pair.a.clock.advance(2 * SECOND)
    await until_storm(pair)
    await pair.end(holder)
    for number in range(70):
        await other.post(f"Down{number}", "warning", "resolved")
    for _ in range(120):
        pair.a.clock.advance(SECOND)
        await other.at_rest()
    (storm,) = [each for each in pair.a.slack.in_channel("C0WARNINGS") if "torm" in each.text]
    assert storm.text.startswith("[warning] Storm over: ")
    assert pair.a.slack.refused_as_too_fast == 0


async def until_storm(pair: Pair) -> None:
    """Wait until the message of the storm is there."""
    for _ in range(60):
        for each in pair.both:
            await each.at_rest()
        if any("torm" in each.text for each in pair.a.slack.in_channel("C0WARNINGS")):
            return
        pair.a.clock.advance(SECOND)
    raise AssertionError("there is no storm")


async def test_what_an_expelled_replica_was_sending_is_sent_by_the_other(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(PAGES)
    other = pair.other(holder)
    received = asyncio.Event()
    pair.a.pagerduty.on_step = lambda _step: received.set()
    pair.a.pagerduty.fail(HANG)
    await holder.post("Down", "critical")
    await received.wait()
    await pair.expel(holder)
    pair.a.clock.advance(SECOND)  # lanes begin without tokens
    await until_delivered(other, 3)
    pair.a.pagerduty.expect(Page("Down", open=True))
    await pair.when(lambda: len(pair_sessions(pair)) == 2, "both have a session again")
    await holder.post("Down", "critical", "resolved")
    pair.a.clock.advance(2 * SECOND)
    await until_delivered(holder, 6)
    pair.a.pagerduty.expect(Page("Down", open=False))
    ledgers = [await each.ledger() for each in pair.both]
    assert [each["fates"]["delivered"] for each in ledgers] == [6, 6]


def pair_sessions(pair: Pair) -> set[str]:
    return {each.service.membership.session for each in pair.both if each.service is not None} - {""}


async def test_what_nobody_told_of_is_found_by_asking(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "heard", lambda *_: None)
    await pair.start()
    await pair.other(pair.holder(SLACK_LANES)).post("Down", "critical")
    await pair.when(lambda: bool(pair.a.slack.messages), "the holder has found it")
    pair.a.slack.expect(Want("C0CRITICAL", ("Down",)))


async def test_a_section_with_a_hung_delivery_is_served_and_passes_on_later(pair: Pair) -> None:
    slack = pair.a.slack
    await pair.a.start()
    slack.fail(HANG)
    await pair.a.post("Hung", "critical")
    await slack.until(lambda: len(slack.calls) == 1)
    await pair.b.start()
    await pair.when(lambda: SLACK_LANES in surplus(pair.a), "the lease is to pass on")
    await pair.a.post("Disk", "warning")

    def is_sent() -> bool:
        pair.a.clock.advance(SECOND)
        return bool(slack.in_channel("C0WARNINGS"))

    await pair.when(is_sent, "the warning is sent")
    assert (await pair.a.ledger())["deliveries"][SLACK] == {"under way": 1}
    assert pair.holder(SLACK_LANES) is pair.a
    slack.recover()
    await until_failed(pair.a, SLACK)
    await pair.when(lambda: pair.holds(pair.b, SLACK_LANES), "the lease passes on")
    pair.a.clock.advance(MINUTE)
    await slack.until(lambda: bool(slack.in_channel("C0CRITICAL")))


def surplus(world: World) -> frozenset[str]:
    """Return the leases that a replica is to give up."""
    assert world.service is not None
    renewal = world.service.membership.renewal
    return frozenset() if renewal is None else renewal.surplus


async def test_a_delivery_of_a_session_that_has_vanished_is_sent_again(pair: Pair) -> None:
    await pair.start()
    received = asyncio.Event()
    pair.a.pagerduty.on_step = lambda _step: received.set()
    pair.a.pagerduty.fail(HANG)
    await pair.a.post("Down", "critical")
    await received.wait()
    await until_delivered(pair.a, 2)
    pair.server.execute("UPDATE deliveries SET replica = 'vanished' WHERE outcome IS NULL", pair.database)
    pair.a.clock.advance(SECOND)
    await pair.when(lambda: bool(pair.a.pagerduty.accepted), "it is sent again")
    await until_delivered(pair.a, 3)
    counts = (await pair.a.ledger())["deliveries"]
    assert sum(each.get("interrupted", 0) for each in counts.values()) == 1


async def test_a_claim_that_could_not_be_given_back_passes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.a.start()
    assert pair.a.service is not None
    lost, record = asyncio.Event(), Recording.record

    async def unreadable(*_: Any) -> None:
        raise StoreUnavailable("the content of a large conversation can't be read")

    async def recorded(recording: Recording, work: ClaimedDelivery, outcome: Outcome, *more: Any) -> Recorded:
        if isinstance(outcome, Retry) and outcome.reason.startswith("not read"):
            lost.set()
            raise StoreUnavailable("and nothing can be recorded")
        return await record(recording, work, outcome, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Claiming, "_build_work", unreadable)
        patch.setattr(Recording, "record", recorded)
        alerts = [
            bulk.alert("Down", "critical", cluster="eu-1", number=str(each)) for each in range(LARGE + 1)
        ]
        await bulk.post(pair.a, "Down", *alerts)
        await lost.wait()
        await pair.b.start()
        await pair.when(lambda: pair.holds(pair.b, SLACK_LANES), "the lease passes on")
    await pair.when(lambda: bool(lanes_of(pair.b)[SLACK]["is_here"]), "its lanes are open")
    pair.a.clock.advance(SECOND)
    await pair.a.slack.until(lambda: bool(pair.a.slack.in_channel("C0CRITICAL")))


async def test_an_expelled_replica_that_does_not_know_it_gives_up_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destination is broken for longer than its limit. The replica is expelled before it gives up what is overdue."""
    await pair.start(lambda rules: rules.replace("slack: {token", "slack: {give_up_after: 12h, token"))
    holder, claim, found = pair.holder(SLACK_LANES), Store.claim, asyncio.Queue[object]()
    assert holder.service is not None
    expelled = holder.service.store

    async def claimed(store: Store, *arguments: Any, **more: Any) -> Any:
        if store is expelled:
            await pair.expel(holder)
        try:
            work = await claim(store, *arguments, **more)
        except LeaseLost:
            found.put_nowait("refused")
            raise
        found.put_nowait(work)
        return work

    pair.a.slack.trouble["C0CRITICAL"] = "is_archived"
    await holder.post("Down", "critical")
    await until_failed(holder, SLACK, outcome="broken")
    monkeypatch.setattr(Store, "claim", claimed)
    pair.a.clock.advance(13 * HOUR)
    assert await found.get() == "refused"


def without_pagerduty(rules: str) -> str:
    """Return rules in which nobody is paged."""
    return "\n".join(line for line in rules.splitlines() if "- pagerduty:" not in line)


async def test_a_destination_that_is_gone_at_all_replicas_is_told_the_end(pair: Pair) -> None:
    await pair.start()
    await pair.a.post("Down", "critical")
    await until_delivered(pair.a, 3)
    await pair.when(lambda: bool(published(pair)), "the state of its lane is published")
    before = fence(pair)
    for each in pair.both:
        await each.reload(without_pagerduty)
    await pair.b.post("Down", "critical", "resolved")
    await pair.when(lambda: len(pair.a.pagerduty.accepted) == 2, "the end is sent")

    async def all_are_told() -> bool:
        pair.a.clock.advance(SECOND)  # an edit in Slack may have come too soon
        return (await pair.a.fates()) == {"delivered": 6}

    await until(all_are_told, "all are told the end", pause=0.05)
    pair.a.pagerduty.expect(Page("Down", open=False))
    for each in pair.both:
        await each.reload(without_pagerduty)
    await pair.when(lambda: not published(pair), "the state of its lane is deleted")
    await pair.when(lambda: not any(pair.holds(each, PAGES) for each in pair.both), "nobody serves it")
    for each in pair.both:
        await each.reload(lambda rules: rules)
    await pair.when(lambda: any(pair.holds(each, PAGES) for each in pair.both), "it is served again")
    assert fence(pair) > before
    assert len(pair.a.pagerduty.accepted) == 2


def published(pair: Pair) -> list[Any]:
    """Return the states of lanes of PagerDuty."""
    return pair.server.execute("SELECT name FROM lanes WHERE name LIKE 'pagerduty:%'", pair.database)


def fence(pair: Pair) -> int:
    (found,) = pair.server.execute(f"SELECT fence FROM leases WHERE name = '{PAGES}'", pair.database)
    return int(found[0])
