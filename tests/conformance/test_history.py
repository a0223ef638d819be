"""The history of an alert: its story, the messages that were sent, and the search for it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.config import loads
from router.decide import Policy
from router.decide.matchers import parse_matchers
from router.deliver.kept_message import MAX_KEPT_ALERTS, packed_message
from router.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Alert,
    Delivered,
    Destination,
    Message,
    Millis,
    Outcome,
    Rejected,
    Retention,
    Retry,
    Status,
    Webhook,
)
from router.store import Adoption, ClaimedDelivery, Limits, Search, Store
from router.store.story import Event

NIGHT: Millis = 1_795_471_200_000  # Mon 23 Nov 2026 22:00 UTC
OPENING = NIGHT + 11 * HOUR
RULES = """\
channels: {slack: {token: xoxb-1}}
receivers:
  oncall: [{slack: {channel: C0CRITICAL}}]
  team: [{slack: {channel: C0TEAM}}]
time_intervals:
  - {name: office, time_intervals: [{times: [{start_time: "09:00", end_time: "18:00"}]}]}
inhibit_wait: 0s
inhibit_rules:
  - {source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [cluster]}
route:
  receiver: oncall
  routes:
    - receiver: team
      severity: warning
      active_time_intervals: [office]
    - {receiver: team, severity: info, active_time_intervals: [office], outside: drop}
"""
HELD_AT, DROPPED_AT = "routes.yaml:13", "routes.yaml:16"
TEAM = "slack:C0TEAM"
ONCALL = "slack:C0CRITICAL"
SENT = Message("slack", {"channel": "C0TEAM", "text": "🔥 Disk is full"})


class HistoryHarness:
    """A store, its rules, and the time."""

    def __init__(self, store: Store, now: Millis = NIGHT) -> None:
        self.store, self.now = store, now
        self.policy = policy_of(RULES)

    async def adopt(self, text: str = RULES) -> None:
        self.policy = policy_of(text)
        await self.store.rules.adopt(Adoption(self.policy), self.now)
        await self.store.rules.judge_all(self.policy, self.now)

    async def post(
        self, name: str, level: str, status: Status = Status.FIRING, source: str = "default", **labels: str
    ) -> None:
        everything = {"alertname": name, "severity": level, "cluster": "eu-1", **labels}
        alert = Alert(f"f-{name}", everything, {"summary": f"{name} is down"}, status, NIGHT - HOUR)
        group = Webhook("r", f"{name} {labels}", {"alertname": name}, "http://am", 0, (alert,))
        await self.store.accept(group, source, json.dumps({"of": name}).encode(), self.policy, self.now)

    def destination(self, key: str) -> Destination:
        return self.policy.destinations[key]

    async def claim(self, key: str, limits: Limits | None = None) -> ClaimedDelivery:
        found = await self.store.claim(self.destination(key), self.policy, self.now, limits=limits)
        assert isinstance(found, ClaimedDelivery), "nothing is due"
        return found

    async def deliver(self, key: str, outcome: Outcome, limits: Limits | None = None) -> ClaimedDelivery:
        work = await self.claim(key, limits)
        self.now += SECOND
        await self.store.record(work, outcome, self.policy, self.now, self.now, packed_message(SENT, 1))
        return work

    async def id_of(self, name: str) -> int:
        page = await self.store.pages.find_alerts(Search(parse_matchers(f'alertname="{name}"')))
        (found,) = page.alerts
        return int(found["id"])

    async def events(self, name: str) -> tuple[Event, ...]:
        found = await self.store.pages.story(await self.id_of(name))
        assert found is not None
        assert (found.before, found.left_out) == (None, 0)
        return found.events


def policy_of(text: str) -> Policy:
    return loads(text, name="routes.yaml", folder=Path(), environ={}, now=NIGHT).policy


@pytest.fixture
async def harness(store: Store) -> HistoryHarness:
    harness = HistoryHarness(store)
    await store.start(harness.now)
    await harness.adopt()
    return harness


_GIST = {
    "change": ("kind",),
    "decision": ("destination", "fate", "reason", "rule", "position"),
    "attempt": ("destination", "attempt", "outcome", "reason", "message"),
    "fate": ("destination", "fate", "reason"),
}


def gist(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """The gist of events, with the time since the night began."""
    return [
        (each["at"] - NIGHT, each["event"], *(each[name] for name in _GIST[each["event"]])) for each in events
    ]


async def test_a_held_alert_has_a_story_from_its_arrival_to_its_end(harness: HistoryHarness) -> None:
    await harness.post("Disk", "warning")
    harness.now = OPENING
    await harness.deliver(TEAM, Retry("http 503", words="try later"))
    await harness.deliver(TEAM, Delivered({"ts": "1"}))
    harness.now = OPENING + HOUR
    await harness.post("Disk", "warning", Status.RESOLVED)
    await harness.deliver(TEAM, Delivered({"ts": "1"}))
    events = await harness.events("Disk")
    rule, at = "route.routes[0]", 11 * HOUR
    assert gist(events) == [
        (0, "change", "fired"),
        (0, "decision", TEAM, "held", "outside office, held until Tue 09:00 UTC", rule, HELD_AT),
        (at, "decision", TEAM, "pending", "to team", rule, HELD_AT),
        (at, "attempt", TEAM, 1, "retry", "http 503", True),
        (at + SECOND, "attempt", TEAM, 2, "delivered", "", True),
        (at + 2 * SECOND, "fate", TEAM, "delivered", "notified"),
        (at + HOUR, "change", "resolved"),
        (at + HOUR, "decision", TEAM, "pending", "its end is to be sent", rule, HELD_AT),
        (at + HOUR, "attempt", TEAM, 1, "delivered", "", True),
        (at + HOUR + SECOND, "fate", TEAM, "delivered", "notified"),
    ]
    assert {each["configuration"] for each in events if "configuration" in each} == {
        harness.policy.configuration.sha256
    }
    assert [each["words"] for each in events if each["event"] == "attempt"] == ["try later", "", ""]


async def test_an_inhibited_alert_has_a_story_of_its_inhibition_and_release(harness: HistoryHarness) -> None:
    harness.now = OPENING
    await harness.post("Site", "critical")
    await harness.post("Disk", "warning")
    harness.now += MINUTE
    await harness.post("Site", "critical", Status.RESOLVED)
    await harness.deliver(TEAM, Delivered())
    decisions = [each for each in await harness.events("Disk") if each["event"] != "attempt"]
    assert [(each["at"] - OPENING, each["event"], each.get("fate")) for each in decisions] == [
        (0, "change", None), (0, "decision", "inhibited"), (MINUTE, "decision", "pending"),
        (MINUTE + SECOND, "fate", "delivered"),
    ]  # fmt: skip
    assert decisions[1]["reason"].startswith("inhibited by Site")


async def test_dropped_and_obsolete_alerts_have_a_story(harness: HistoryHarness) -> None:
    await harness.post("Cert", "info")
    assert gist(await harness.events("Cert"))[1:] == [
        (0, "decision", TEAM, "dropped", "outside office, dropped", "route.routes[1]", DROPPED_AT)
    ]
    await harness.post("Disk", "warning")
    harness.now += MINUTE
    await harness.post("Disk", "warning", Status.RESOLVED)
    events = [each for each in await harness.events("Disk") if each["event"] in {"decision", "fate"}]
    assert [(each["at"] - NIGHT, each["event"], each["fate"]) for each in events] == [
        (0, "decision", "held"), (MINUTE, "fate", "obsolete"), (MINUTE, "fate", "obsolete"),
    ]  # fmt: skip


async def test_the_story_of_a_retried_dead_letter_has_both_attempts(harness: HistoryHarness) -> None:
    await harness.post("Down", "critical")
    await harness.deliver(ONCALL, Rejected("http 400"))
    (letter,) = (await harness.store.pages.dead_letters(limit=500)).rows
    harness.now += MINUTE
    assert await harness.store.retry(letter["id"], harness.policy, harness.now)
    await harness.deliver(ONCALL, Delivered())
    events = [each for each in await harness.events("Down") if each["event"] in {"decision", "fate"}]
    assert [(each["at"] - NIGHT, each["event"], each["fate"], each["reason"]) for each in events] == [
        (0, "decision", "pending", "to oncall"), (SECOND, "fate", "dead", "http 400"),
        (MINUTE + SECOND, "decision", "pending", "tried again by hand"),
        (MINUTE + 2 * SECOND, "fate", "delivered", "notified"),
    ]  # fmt: skip


async def test_decisions_name_the_configuration_that_made_them(harness: HistoryHarness) -> None:
    before = harness.policy.configuration.sha256
    await harness.post("Disk", "warning")
    harness.now += MINUTE
    await harness.adopt(
        "# the team is always there\n" + RULES.replace("      active_time_intervals: [office]\n", "")
    )
    held, sent_now = (each for each in await harness.events("Disk") if each["event"] == "decision")
    assert (held["fate"], held["position"], held["configuration"]) == ("held", HELD_AT, before)
    after = harness.policy.configuration.sha256
    assert (sent_now["fate"], sent_now["position"], sent_now["configuration"]) == (
        "pending", "routes.yaml:14", after,
    )  # fmt: skip
    assert before != after


async def test_the_pages_of_a_story_make_the_whole(harness: HistoryHarness) -> None:
    for number in range(5):
        for status in Status:
            await harness.post("Down", "critical", status)
            harness.now += MINUTE
            await harness.deliver(ONCALL, Delivered({"ts": str(number)}))
            harness.now += 10 * MINUTE
    whole, alert = await harness.events("Down"), await harness.id_of("Down")
    assert len([each for each in whole if each["event"] == "attempt"]) == 10
    paged: list[Event] = []
    before: int | None = None
    for _ in range(4):
        page = await harness.store.pages.story(alert, before, limit=3)
        assert page is not None
        paged = [*page.events, *paged]
        before = page.before
    assert before is None
    assert paged == list(whole)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_story_says_how_many_attempts_and_decisions_it_leaves_out(
    harness: HistoryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.store.story._MAX_ATTEMPTS", 50)
    monkeypatch.setattr("router.store.story._MAX_FORMER_FATES", 50)
    await harness.post("Disk", "warning")
    for number in range(1, 71):
        harness.now += SECOND
        held = RULES.replace("name: office", f"name: office{number}").replace("[office]", f"[office{number}]")
        await harness.adopt(held)
    await harness.post("Down", "critical")
    for _ in range(60):
        await harness.deliver(ONCALL, Retry("http 503"))
    for name, event, shown, left_out in (("Disk", "decision", 51, 20), ("Down", "attempt", 50, 10)):
        found = await harness.store.pages.story(await harness.id_of(name))
        assert found is not None
        assert sum(each["event"] == event for each in found.events) == shown
        assert found.left_out == left_out


async def test_an_alert_that_is_not_there_has_no_story(harness: HistoryHarness) -> None:
    assert await harness.store.pages.story(4_711) is None


async def test_the_message_of_a_storm_is_in_the_stories_of_its_alerts(harness: HistoryHarness) -> None:
    for number in range(3):
        await harness.post(f"Down{number}", "critical")
    work = await harness.deliver(ONCALL, Delivered({"ts": "1"}), Limits(1, 5 * SECOND))
    assert work.is_storm
    (attempt,) = [each for each in await harness.events("Down2") if each["event"] == "attempt"]
    assert (attempt["storm"], attempt["delivery"], attempt["outcome"]) == (True, work.delivery, "delivered")


async def test_the_message_of_a_delivery_can_be_read(harness: HistoryHarness) -> None:
    await harness.post("Down", "critical")
    work = await harness.deliver(ONCALL, Delivered())
    assert await harness.store.pages.message(work.delivery) == {"channel": "slack", "body": SENT.body}
    await harness.post("Gone", "critical")
    unsent = await harness.claim(ONCALL)
    await harness.store.record(unsent, Retry("internal: KeyError"), harness.policy, harness.now, harness.now)
    assert await harness.store.pages.message(unsent.delivery) is None


async def test_only_the_number_of_alerts_is_kept_of_a_very_large_message(harness: HistoryHarness) -> None:
    await harness.post("Down", "critical")
    work = await harness.claim(ONCALL)
    kept = packed_message(replace(SENT, fallback=True), MAX_KEPT_ALERTS + 1)
    await harness.store.record(work, Delivered(), harness.policy, harness.now, harness.now, kept)
    assert await harness.store.pages.message(work.delivery) == {
        "channel": "slack", "fallback": True, "left_out": MAX_KEPT_ALERTS + 1,
    }  # fmt: skip


async def test_the_body_of_a_webhook_is_kept_until_it_is_pruned(harness: HistoryHarness) -> None:
    await harness.post("Down", "critical")
    (change, *_) = await harness.events("Down")
    assert await harness.store.pages.body(change["webhook"]) == b'{"of": "Down"}'
    keep = Retention(webhooks=DAY)
    [_ async for _ in harness.store.prune(keep, harness.now + 2 * DAY)]
    assert await harness.store.pages.body(change["webhook"]) is None


async def test_a_large_body_is_returned_unchanged(harness: HistoryHarness) -> None:
    body = json.dumps([str(number) for number in range(50_000)]).encode()
    alert = Alert("f", {"alertname": "Big"}, {}, Status.FIRING, NIGHT)
    webhook = Webhook("r", "g", {}, "http://am", 0, (alert,))
    await harness.store.accept(webhook, "default", body, harness.policy, harness.now)
    (change, *_) = await harness.events("Big")
    assert await harness.store.pages.body(change["webhook"]) == body


async def test_messages_are_pruned_before_their_attempts(harness: HistoryHarness) -> None:
    await harness.post("Down", "critical")
    work = await harness.deliver(ONCALL, Delivered())
    keep = Retention(messages=DAY)
    [_ async for _ in harness.store.prune(keep, harness.now + DAY - MINUTE)]
    assert await harness.store.pages.message(work.delivery) is not None
    [_ async for _ in harness.store.prune(keep, harness.now + DAY + MINUTE)]
    assert await harness.store.pages.message(work.delivery) is None
    (attempt,) = [each for each in await harness.events("Down") if each["event"] == "attempt"]
    assert (attempt["outcome"], attempt["message"]) == ("delivered", False)


async def names(harness: HistoryHarness, matchers: str = "", **given: Any) -> list[str]:
    page = await harness.store.pages.find_alerts(
        Search(parse_matchers(matchers) if matchers else (), **given)
    )
    assert page.before is None
    return [each["labels"]["alertname"] for each in page.alerts]


async def test_alerts_are_found_by_labels_fingerprint_source_and_status(harness: HistoryHarness) -> None:
    await harness.post("Disk", "warning", instance="db-1")
    await harness.post("Down", "critical", source="other", instance="db-2")
    await harness.post("Down", "critical", Status.RESOLVED, source="other", instance="db-2")
    await harness.post("Slow", "warning", instance="web-1", team="")
    assert await names(harness) == ["Slow", "Down", "Disk"]
    assert await names(harness, 'alertname="Disk"') == ["Disk"]
    assert await names(harness, 'severity="warning"') == ["Slow", "Disk"]
    assert await names(harness, 'severity="warning",instance=~"db-.*"') == ["Disk"]
    assert await names(harness, 'cluster="eu-1",severity!="warning"') == ["Down"]
    assert await names(harness, 'instance!~"db-.*"') == ["Slow"]
    assert await names(harness, 'team=""') == ["Slow", "Down", "Disk"]
    assert await names(harness, 'alertname="disk"') == []
    assert await names(harness, fingerprint="f-Down") == ["Down"]
    assert await names(harness, 'severity="warning"', fingerprint="f-Down") == []
    assert await names(harness, source="other") == ["Down"]
    assert await names(harness, status="firing") == ["Slow", "Disk"]
    assert await names(harness, 'cluster="eu-1"', status="resolved") == ["Down"]
    page = await harness.store.pages.find_alerts(Search(fingerprint="f-Down"))
    assert page.alerts[0]["annotations"] == {"summary": "Down is down"}


async def test_the_pages_of_a_search_have_each_alert_once(harness: HistoryHarness) -> None:
    for number in range(7):
        await harness.post("Down", "critical", instance=f"n{number}")
    for search in (Search(), Search(parse_matchers('alertname="Down"')), Search(fingerprint="f-Down")):
        found: list[str] = []
        before: int | None = None
        for _ in range(4):
            page = await harness.store.pages.find_alerts(search, before, limit=2)
            found += [each["labels"]["instance"] for each in page.alerts]
            before = page.before
        assert before is None
        assert found == [f"n{number}" for number in reversed(range(7))]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_search_reads_a_bounded_number_of_alerts_a_page(harness: HistoryHarness) -> None:
    alerts = tuple(
        Alert("f", {"alertname": "Down", "instance": f"n{number}"}, {}, Status.FIRING, NIGHT)
        for number in range(2_500)
    )
    webhook = Webhook("r", "g", {}, "http://am", 0, alerts)
    await harness.store.accept(webhook, "default", b"{}", harness.policy, harness.now)
    for matchers in ('instance=~"n0|n1"', 'alertname="Down",instance=~"n0|n1"'):
        search, found, pages = Search(parse_matchers(matchers)), [], 0
        page = await harness.store.pages.find_alerts(search)
        while True:
            pages += 1
            found += [each["labels"]["instance"] for each in page.alerts]
            if page.before is None:
                break
            page = await harness.store.pages.find_alerts(search, page.before)
        assert (sorted(found), pages) == (["n0", "n1"], 2)


async def test_a_pruned_alert_is_found_only_after_it_fires_again(harness: HistoryHarness) -> None:
    for status in Status:
        await harness.post("Down", "critical", status)
        await harness.post("Other", "critical")
    harness.now += 40 * DAY
    for _ in range(2):  # an alert is pruned once no row refers to it
        [_ async for _ in harness.store.prune(Retention(), harness.now)]
    assert await names(harness, 'cluster="eu-1"') == ["Other"]
    await harness.post("Down", "critical")
    assert await names(harness, 'cluster="eu-1"') == ["Down", "Other"]
