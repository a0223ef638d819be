"""What rules decided about firing alerts, and which alerts mute others, on both databases."""

from collections import Counter

from router.decide.inhibition import Rule
from router.decide.matchers import parse_matchers
from router.model import MINUTE, Delivered, Status
from router.store import Permit, Search, Store
from tests.unit.core.world import NIGHT, PAGER, POLICY, SLACK, alert, webhook


async def test_firing_members_are_counted_by_rule_and_state(store: Store) -> None:
    for number in range(3):
        report = webhook(alert(f"c{number}", "critical"), group=f"c{number}")
        await store.accept(report, "default", b"{}", POLICY, NIGHT)
        report = webhook(alert(f"w{number}", "warning"), group=f"w{number}")
        await store.accept(report, "default", b"{}", POLICY, NIGHT)
    over = webhook(alert("c0", "critical", Status.RESOLVED), group="c0")
    await store.accept(over, "default", b"{}", POLICY, NIGHT + MINUTE)
    (work,) = (await store.claim_several(Permit(SLACK, count=1), POLICY, NIGHT + MINUTE)).works
    await store.record(work, Delivered({"ts": "1"}), POLICY, NIGHT + MINUTE, NIGHT + MINUTE)
    found: Counter[tuple[str, str]] = Counter()
    for each in (await store.pages.rule_counts()).members:
        found[each.destination, f"{each.decision} {each.notified}"] += each.count
    assert found[SLACK.key, "send firing"] == 1
    assert found[SLACK.key, "send nothing"] == 1
    assert found[PAGER.key, "send nothing"] == 2
    assert sum(count for (_, state), count in found.items() if state == "hold nothing") == 3


async def test_the_source_of_an_inhibition_key_is_found(store: Store) -> None:
    assert POLICY.inhibition.rules
    critical = alert("c", "critical")
    await store.accept(webhook(critical), "default", b"{}", POLICY, NIGHT)
    keys = POLICY.inhibition.as_source(critical.labels)
    assert keys
    asked = [(keys[0].text, False), (Rule((), ()).key({}, two_sided=False).text, True)]
    assert await store.pages.firing_sources(asked) == {asked[0]: critical.labels}
    over = webhook(alert("c", "critical", Status.RESOLVED))
    await store.accept(over, "default", b"{}", POLICY, NIGHT + MINUTE)
    assert await store.pages.firing_sources(asked) == {}
    assert await store.pages.firing_sources([]) == {}


async def test_stored_alerts_are_found_with_what_was_notified(store: Store) -> None:
    for number in range(3):
        each = alert(f"c{number}", "critical")
        await store.accept(webhook(each, group=f"c{number}"), "default", b"{}", POLICY, NIGHT)
    known, more = await store.pages.known_alerts(Search(parse_matchers('severity="critical"')), 2)
    assert (len(known), more) == (2, True)
    assert {member["notified"] for each in known for member in each.members} == {"nothing"}
    assert {each.source for each in known} == {"default"}
