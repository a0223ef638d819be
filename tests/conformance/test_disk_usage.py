"""The database on disk is measured where the router can see it."""

from random import Random

from router.store import Store


async def test_the_size_grows_with_what_is_stored(store: Store, kind: str) -> None:
    dice = Random(7)  # what repeats is compressed
    before = await store.disk_usage()
    for number in range(40):
        await store.quarantine(dice.randbytes(100_000), "prod", "no JSON", 1_795_435_200_000 + number)
    after = await store.disk_usage()
    assert sum(after.files.values()) > sum(before.files.values()) + 1_000_000
    if kind == "sqlite":
        assert set(after.files) == {"main", "wal"}
        assert after.free is not None
        assert after.free > 0
    else:
        assert set(after.files) == {"main"}
        assert after.free is None
