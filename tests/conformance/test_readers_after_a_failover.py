"""A failover that ends no session: readers and the listener follow the writer to the other server."""

import asyncio

import sqlalchemy as sa

from router.store import ReplicaTopic, Store, StoreUnavailable
from router.store.notices import ReplicaNotice, notify, topic_notice
from tests.postgresql import Server
from tests.quarantine import quarantined_bytes
from tests.standby import standby


async def test_readers_and_the_listener_follow_the_writer(own_postgresql: Server) -> None:
    """The old primary is made read-only, and goes on, with all its sessions."""
    name = own_postgresql.create()
    await (await Store.open(own_postgresql.url(name))).close()
    own_postgresql.execute("CHECKPOINT")
    with standby(own_postgresql) as other:
        url = f"postgresql://postgres@/{name}?host={own_postgresql.socket.parent}&host={other.socket.parent}"
        store, heard = await Store.open(url), asyncio.Queue[ReplicaNotice]()
        store.database.session = "mine"
        store.listen(heard.put_nowait)
        await heard.get()  # it is connected
        await asyncio.gather(*(store.database.read(folder) for _ in range(4)))
        other.promote()
        own_postgresql.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        own_postgresql.execute("SELECT pg_reload_conf()")
        while await writes(store):
            pass
        while not await writes(store):
            pass
        assert (
            await asyncio.gather(*(store.database.read(folder) for _ in range(4)))
            == [str(other.socket.parent)] * 4
        )
        assert await quarantined_bytes(store) == [b"x"]
        await heard.get()  # it is connected to the other server
        await store.database.write(
            lambda connection: notify(connection, topic_notice("other", ReplicaTopic.LANES))
        )
        assert (await heard.get()).topics == {ReplicaTopic.LANES}
        await store.close()


async def writes(store: Store) -> bool:
    try:
        await store.quarantine(b"x", "default", "r", 1)
    except StoreUnavailable:
        return False
    return True


def folder(connection: sa.Connection) -> str:
    return str(connection.exec_driver_sql("SELECT current_setting('data_directory')").scalar_one())
