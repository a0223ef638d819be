"""The quarantine of a store, for tests."""

from router.store import QuarantinedBody, Store


async def quarantined(store: Store) -> list[QuarantinedBody]:
    """Return the newest bodies that are not settled."""
    return (await store.pages.quarantined())[0]


async def whole_body(store: Store, number: int) -> bytes | None:
    """Return a body as it was received; None: there is none of this id."""
    found = await store.pages.quarantined_body(number)
    return None if found is None else b"".join([each async for each in store.pages.body_pieces(found)])


async def quarantined_bytes(store: Store) -> list[bytes | None]:
    """Return the newest bodies that are not settled, as they were received."""
    return [await whole_body(store, each.id) for each in await quarantined(store)]
