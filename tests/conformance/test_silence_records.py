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
