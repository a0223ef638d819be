"""What was last heard, and the self-alerts that fire, on both databases."""

from router.decide import Policy, Route, Severity
from router.model import MINUTE, OWN_SOURCE, Alert, LastHeard, Status, Webhook
from router.store import SilenceRecord, Store

NOW = 1_795_435_200_000
POLICY = Policy(Severity(), Route("route", "nobody"), {"nobody": ()})


async def report(store: Store, name: str, status: Status, about: frozenset[str] | None) -> None:
    alert = Alert("f", {"alertname": name}, {}, status, NOW, about=about)
    webhook = Webhook(OWN_SOURCE, name, {"alertname": name}, "", 0, (alert,))
    await store.accept(webhook, OWN_SOURCE, b"{}", POLICY, NOW, certain=True)


async def test_the_last_record_replaces_the_one_before(store: Store) -> None:
    assert await store.silence_records.load() is None
    for number in range(2):
        heard = {
            ("watchdog", "prod, with % and 'quotes'"): LastHeard(NOW, NOW + number),
            ("", "prod"): LastHeard(None, NOW),
        }
        record = SilenceRecord(NOW + number * MINUTE, heard)
        await store.silence_records.save(record)
        assert await store.silence_records.load() == record


async def test_many_sources_fit_into_one_record(store: Store) -> None:
    heard = {("watchdog", f"source-{number}"): LastHeard(NOW + number, NOW) for number in range(10_000)}
    await store.silence_records.save(SilenceRecord(NOW, heard))
    found = await store.silence_records.load()
    assert found is not None
    assert found.heard == heard


async def test_only_firing_self_alerts_of_these_names_are_found(store: Store) -> None:
    await report(store, "Silent", Status.FIRING, frozenset())
    await report(store, "Broken", Status.FIRING, frozenset({"slack:C1"}))
    await report(store, "Over", Status.FIRING, frozenset())
    await report(store, "Over", Status.RESOLVED, frozenset())
    await report(store, "Foreign", Status.FIRING, None)
    names = frozenset({"Silent", "Over", "Foreign"})
    (found,) = await store.silence_records.firing_self_alerts(names)
    assert (found.labels, found.status, found.about) == (
        {"alertname": "Silent"},
        Status.FIRING,
        frozenset(),
    )


async def test_what_replicas_heard_is_merged_and_the_latest_counts(store: Store) -> None:
    keys = [("watchdog", "a"), ("watchdog", "b"), ("", "c")]
    await store.silence_records.merge(
        SilenceRecord(NOW, {keys[0]: LastHeard(NOW - 2, NOW - 2), keys[1]: LastHeard(None, NOW)})
    )
    news = {
        keys[0]: LastHeard(NOW - 1, NOW - 1),
        keys[1]: LastHeard(NOW - 5, NOW - 5),
        keys[2]: LastHeard(NOW, NOW),
    }
    await store.silence_records.merge(SilenceRecord(NOW + MINUTE, news))
    found = await store.silence_records.load()
    assert found is not None
    assert found.saved_at == NOW  # only the one that watches says that a router ran until then
    assert found.heard == {
        keys[0]: LastHeard(NOW - 1, NOW - 1),
        keys[1]: LastHeard(NOW - 5, NOW),
        keys[2]: news[keys[2]],
    }
    await store.silence_records.merge(SilenceRecord(NOW + MINUTE, {}), only=keys[:1])
    found = await store.silence_records.load()
    assert found is not None
    assert (found.saved_at, set(found.heard)) == (NOW + MINUTE, set(keys[:1]))


async def test_times_after_a_step_back_are_not_later_than_now(store: Store) -> None:
    key = ("watchdog", "a")
    await store.silence_records.merge(SilenceRecord(NOW, {key: LastHeard(NOW, NOW)}))
    await store.silence_records.merge(SilenceRecord(NOW - MINUTE, {}))
    found = await store.silence_records.load()
    assert found is not None
    assert found.heard == {key: LastHeard(NOW - MINUTE, NOW - MINUTE)}
