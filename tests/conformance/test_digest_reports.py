"""The slots of digests, on both databases."""

from router.model import DAY, HOUR, Delivered, Rejected
from router.store import Adoption, Permit, Store
from tests.unit.core.world import DAILY, NIGHT, POLICY, alert, webhook


async def test_slots_are_listed_while_open_and_after_they_are_sent(store: Store) -> None:
    await store.rules.adopt(Adoption(POLICY), NIGHT)
    await store.rules.judge_all(POLICY, NIGHT)
    await store.accept(webhook(alert("i", "info")), "default", b"{}", POLICY, NIGHT)
    now = NIGHT
    sent: list[tuple[int, str, bool]] = []
    for outcome in (Delivered({}), Rejected("smtp 554"), Delivered({})):
        now += DAY
        slots, latest = await store.pages.open_and_latest_slots([DAILY.key], 2)
        assert [(each.destination, each.alerts, each.slot <= now) for each in slots] == [(DAILY.key, 1, True)]
        assert len(latest[DAILY.key]) == min(2, len(sent))
        (work,) = (await store.claim_several(Permit(DAILY, count=1), POLICY, now)).works
        await store.record(work, outcome, POLICY, now, now + HOUR, b'{"body": {}}')
        sent.insert(0, (slots[0].slot, type(outcome).__name__.lower(), isinstance(outcome, Rejected)))
    found, total = await store.pages.sent_slots(DAILY.key, None, 10)
    assert [(each.slot, each.outcome, each.is_dead) for each in found] == sent
    assert (total.count, total.is_exact) == (3, True)
    rest, _ = await store.pages.sent_slots(DAILY.key, found[0].delivery, 1)
    assert rest == found[1:2]
    assert await store.pages.sent_slots("digest:none", None, 10) == ([], total.__class__(0))
