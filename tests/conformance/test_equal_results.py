"""The result of a history reads the same on both databases, before and after pruning."""

import gzip
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from router.lenient_json import replace_unfit
from router.model import DAY, Retention
from router.store import (
    ROWS_OF_LISTS,
    Store,
    Total,
    Trouble,
    quarantined_bodies,
    read_ledger,
    read_snapshot,
)
from tests.histories.data import History, load
from tests.histories.play import play
from tests.histories.policies import moment
from tests.postgresql import Server
from tests.quarantine import quarantined, whole_body


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
            "quarantined": [asdict(each) for each in await quarantined(store)],
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
    assert [await whole_body(store, each) for each in numbers] == bodies
    found = await quarantined(store)
    assert [each.size for each in reversed(found)] == [len(each) for each in bodies]
    begins = [await store.pages.body_begin(each) for each in numbers]
    assert [each and each.begin for each in begins] == [each[:20_000] for each in bodies]
    assert await whole_body(store, 2**62) is None
    assert await store.pages.body_begin(2**62) is None


async def test_a_body_is_read_in_pieces(store: Store) -> None:
    size = 2 * quarantined_bodies.PIECE_BYTES + 1
    number = await store.quarantine(bytes(range(256)) * (size // 256) + b"x", "default", "r", 1)
    found = await store.pages.quarantined_body(number)
    assert found is not None
    pieces = [each async for each in store.pages.body_pieces(found)]
    assert [len(each) for each in pieces] == [quarantined_bodies.PIECE_BYTES] * 2 + [1]
    assert await whole_body(store, number) == b"".join(pieces)


async def test_settled_bodies_leave_the_list_and_stay_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantined_bodies, "BODIES_PER_TRANSACTION", 2)
    numbers = [await store.quarantine(b"x", f"s{each % 2}", "r", 1) for each in range(10)]
    assert await store.settle_body(numbers[9], 5)
    assert await store.settle_body(numbers[9], 6)
    assert not await store.settle_body(2**62, 5)
    settled = await store.pages.quarantined_body(numbers[9])
    assert settled is not None
    assert settled.settled_at == 5
    rows, total = await store.pages.quarantined("s1", limit=3)
    assert [each.id for each in rows] == [numbers[each] for each in (7, 5, 3)]
    assert total == Total(4)
    rows, total = await store.pages.quarantined("s1", before=numbers[5])
    assert [each.id for each in rows] == [numbers[each] for each in (3, 1)]
    assert await store.settle_bodies("s1", numbers[5], 7) == 3
    assert await store.settle_bodies("none", 2**62, 7) == 0
    assert [each.id for each in await quarantined(store)] == [numbers[each] for each in (8, 7, 6, 4, 2, 0)]
    assert (await store.pages.status())["webhooks"]["quarantined"] == 10
    assert (await store.integrity(10)).miscounted.count == 0


@pytest.mark.parametrize(
    ("encoding", "raw", "begin", "is_inflated", "is_cut"),
    [
        ("gzip", gzip.compress(b"short", mtime=0), b"short", True, False),
        ("gzip", gzip.compress(bytes(10_000_000), mtime=0), bytes(20_000), True, True),
        ("gzip", gzip.compress(b"short", mtime=0)[:-9], b"short", True, True),
        ("gzip", gzip.compress(b"a", mtime=0) * 2, b"a", True, True),
        ("deflate", zlib.compress(b"short"), b"short", True, False),
        ("deflate", zlib.compress(b"short")[2:-4], b"short", True, False),
        ("gzip", b"no gzip", b"no gzip", False, False),
        ("br", b"x" * 30_000, b"x" * 20_000, False, True),
        (None, b"", b"", False, False),
    ],
)
async def test_a_compressed_body_is_shown_inflated(
    store: Store, encoding: str | None, raw: bytes, begin: bytes, is_inflated: bool, is_cut: bool
) -> None:
    found = await store.pages.body_begin(await store.quarantine(raw, "default", "r", 1, encoding))
    assert found is not None
    assert (found.begin, found.is_inflated, found.is_cut) == (begin, is_inflated, is_cut)


@pytest.mark.parametrize(
    "odd", ["a NUL \0.", "half an emoji \ud83d.", "%s %(x)s {} \\", "'; DROP TABLE alerts; --"]
)
async def test_only_characters_that_a_database_refuses_are_lost(store: Store, odd: str) -> None:
    """For example in the answer of a provider."""
    await store.quarantine(b"x", "default", odd, 1, odd)
    await store.save_trouble(Trouble("slack:C0", 1, "slack:C0", odd))
    kept = (await quarantined(store))[0]
    ((trouble,), _) = await store.troubles()
    assert (
        replace_unfit(kept.reason)
        == replace_unfit(kept.encoding or "")
        == trouble.reason
        == replace_unfit(odd)
    )
    assert store.trouble is None


async def test_a_database_that_is_open_elsewhere_can_be_read(store: Store, url: str) -> None:
    await store.quarantine(b"x", "default", "r", 1)
    assert read_ledger(url, None, None)["webhooks"] == {"accepted": 0, "quarantined": 1}
    assert read_snapshot(url).firing == ()
