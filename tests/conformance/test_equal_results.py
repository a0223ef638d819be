"""The result of a history reads the same on both databases, before and after pruning."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from router.lenient_json import replace_unfit
from router.model import DAY, Retention
from router.store import ROWS_OF_LISTS, Store, StoreUnavailable, Trouble, read_ledger, read_snapshot
from tests.histories.data import History, load
from tests.histories.play import play
from tests.histories.policies import moment
from tests.postgresql import Server


def is_rich(text: str) -> bool:
    return all(each in text for each in (' dead": ', '"digest": {', ' obsolete": ', '"settled": '))


# Long histories with dead letters, digests and decisions that come later.
HISTORIES = [each for each in load(every=7) if is_rich(json.dumps(each))][:4]


async def shown(url: str, now: int) -> dict[str, Any]:
    """Return the results of all queries of the store, also of the ledger for parts of the time."""
    store = await Store.open(url)
    try:
        newest, integrity = await store.pages.decisions(), await store.integrity(now)
        assert integrity.miscounted.first == ()
        found: dict[str, Any] = {
            "status": await store.pages.status(),
            "lanes": await store.pages.lanes(now),
            "waiting": await store.pages.waiting(),
            "decided": newest,
            "attempts": (await store.pages.deliveries(limit=100)).rows,
            "quarantined": await store.pages.quarantined(),
            "dead": (await store.pages.dead_letters(limit=500)).rows,
            "totals": [await store.pages.total(each) for each in ROWS_OF_LISTS],
            "balance": asdict(await store.balance(None)),
            "balance since": asdict(await store.balance(await store.balance(None))),
            "integrity": asdict(integrity),
            "next opening": await store.presence.next_opening(now),
            "fragments": await store.fragments(),
            "troubles": repr(await store.troubles()),
        }
    finally:
        await store.close()
    for since, until in ((None, None), (None, now), (now - DAY, None), (now - 2 * DAY, now - DAY // 2)):
        found[f"account {since} {until}"] = read_ledger(url, since, until)
    fingerprints = [None, "", "f00d"]
    found["snapshots"] = [repr(read_snapshot(url, each)) for each in fingerprints]
    return found


async def pruned(url: str, now: int) -> list[int]:
    store = await Store.open(url)
    try:
        return [count async for count in store.prune(Retention(history=DAY // 4, webhooks=DAY // 8), now)]
    finally:
        await store.close()


async def after(history: History, url: str) -> list[Any]:
    now = moment(history["start"]) + 20 * DAY
    await play(history, url)
    return [await shown(url, now - 18 * DAY), await pruned(url, now), await shown(url, now)]


@pytest.mark.parametrize("history", HISTORIES, ids=lambda each: f"history {each['seed']}")
async def test_a_history_reads_the_same_on_both_databases(
    history: History, tmp_path: Path, postgresql: Server
) -> None:
    one = await after(history, f"sqlite:///{tmp_path}/router.db")
    with postgresql.database() as url:
        other = await after(history, url)
    assert sum(one[1]) > 10
    assert one[0]["decided"]
    for before, now in zip(one, other, strict=True):
        assert before == now


async def test_quarantined_bodies_are_returned_byte_by_byte(store: Store) -> None:
    bodies = [b"", b"\x00\xff\xfe", "🙂".encode(), bytes(range(256)) * 400]
    numbers = [await store.quarantine(each, "default", "r", 1, "gzip") for each in bodies]
    assert [await store.pages.quarantined_body(each) for each in numbers] == bodies
    found = await store.pages.quarantined()
    assert [each["body"] for each in reversed(found)] == [each[:20_000] for each in bodies]
    assert [each["size"] for each in reversed(found)] == [len(each) for each in bodies]
    assert await store.pages.quarantined_body(2**62) is None


@pytest.mark.parametrize(
    "odd", ["a NUL \0.", "half an emoji \ud83d.", "%s %(x)s {} \\", "'; DROP TABLE alerts; --"]
)
async def test_only_characters_that_a_database_refuses_are_lost(store: Store, odd: str) -> None:
    """For example in the answer of a provider."""
    await store.quarantine(b"x", "default", odd, 1, odd)
    await store.save_trouble(Trouble("slack:C0", 1, "slack:C0", odd))
    kept = (await store.pages.quarantined())[0]
    ((trouble,), _) = await store.troubles()
    assert (
        replace_unfit(kept["reason"])
        == replace_unfit(kept["content_encoding"])
        == trouble.reason
        == replace_unfit(odd)
    )
    assert store.trouble is None


async def test_a_second_router_on_the_same_database_is_refused(store: Store, url: str) -> None:
    with pytest.raises(StoreUnavailable, match="is in use by another alert-router; stop that one"):
        await Store.open(url)
    await store.ready()
    await store.close()
    other = await Store.open(url)  # now no router has it
    await other.ready()
    await other.close()


async def test_a_database_that_is_open_elsewhere_can_be_read(store: Store, url: str) -> None:
    await store.quarantine(b"x", "default", "r", 1)
    assert read_ledger(url, None, None)["webhooks"] == {"accepted": 0, "quarantined": 1}
    assert read_snapshot(url).firing == ()
