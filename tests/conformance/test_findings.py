"""What the work in the background found is stored for all replicas, on both databases."""

from router.model import DeadmanState
from router.store import BackgroundFindings, Balance, Integrity, Store
from router.store.integrity import Finding
from router.store.starts import set_meta

NOW = 1_795_435_200_000


async def test_what_was_found_is_read_as_it_was_stored(store: Store) -> None:
    assert await store.findings.load() is None
    none = Finding(0, ())
    for found in (
        BackgroundFindings(DeadmanState(), None, None),
        BackgroundFindings(
            DeadmanState(NOW, NOW - 1, "the 'router' does not listen", "timeout"),
            Integrity(Finding(2, ("a", "b")), none, none), Balance(1, (7, 8), (9, 10)),
        ),
    ):  # fmt: skip
        await store.findings.save(found)
        assert await store.findings.load() == found


async def test_the_form_of_another_version_counts_as_nothing(store: Store) -> None:
    await store.database.write(lambda c: set_meta(c, "found in the background", '{"deadman": {"new": 1}}'))
    assert await store.findings.load() is None
