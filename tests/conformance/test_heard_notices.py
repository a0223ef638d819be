"""A replica hears others through PostgreSQL, whatever else is told there."""

import asyncio

from structlog.testing import capture_logs

from router.store import ReplicaNotice, Store
from router.store.postgresql_listener import Listener
from tests.postgresql import Server
from tests.waiting import until


async def test_odd_notices_do_not_end_the_hearing(postgresql: Server) -> None:
    database = postgresql.create()
    store = await Store.open(postgresql.url(database))
    heard: list[ReplicaNotice] = []
    came = asyncio.Event()

    def hear(notice: ReplicaNotice) -> None:
        heard.append(notice)
        came.set()

    store.database.session = "own"
    store.listen(hear)
    for text in ("", "x", '["s", [], [], "later"]', str(ReplicaNotice("other", frozenset({"slack:C1"})))):
        await came.wait()
        came.clear()
        postgresql.execute(f"NOTIFY alert_router, '{text}'", database)

    async def is_heard() -> bool:
        return heard[-1].sender == "other"

    await until(is_heard, "the notice of another replica is heard", pause=0.02)
    assert all(each.lanes is None for each in heard[:-1])
    await store.close()


async def test_an_error_while_hearing_is_logged_and_the_hearing_goes_on(postgresql: Server) -> None:
    store = await Store.open(postgresql.url(postgresql.create()))
    heard: list[str] = []

    def hear(text: str) -> None:
        heard.append(text)
        if len(heard) == 1:
            raise RuntimeError("a bug")

    async def is_heard_again() -> bool:
        return len(heard) > 1

    with capture_logs() as lines:
        listener = store.database._backend.listen(hear)
        assert isinstance(listener, Listener)
        await until(is_heard_again, "it is heard again", pause=0.05)
    await asyncio.to_thread(listener.close, 10)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("what other replicas tell could not be heard; the connection is made again", "error")
    ]
    await store.close()
