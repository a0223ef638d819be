"""Two routers that start at once on PostgreSQL: one migrates, the other waits. A migration that is cut off changes nothing."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from router.store.backend import Backend, open_backend
from router.store.health import StoreUnavailable
from router.store.opening import migrate, newest_revision
from tests.postgresql import Server
from tests.tcp_proxy import proxied

_OLD = "0017"


@pytest.fixture
def name(postgresql: Server) -> Iterator[str]:
    name = postgresql.create()
    yield name
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


def revision(server: Server, name: str) -> str | None:
    """Return the revision of the tables; None: there are none."""
    tables = server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name)
    return server.execute("SELECT version_num FROM alembic_version", name)[0][0] if tables else None


@pytest.mark.parametrize("old", [None, _OLD])
def test_one_of_two_routers_migrates_and_both_go_on(postgresql: Server, name: str, old: str | None) -> None:
    backends = [open_backend(postgresql.url(name)) for _ in range(2)]
    if old is not None:
        migrate(backends[0].engine, old)
    begun = threading.Barrier(2)

    def start(backend: Backend) -> bool:
        begun.wait()
        return migrate(backend.engine)

    with ThreadPoolExecutor(2) as threads:
        created = list(threads.map(start, backends))
    assert sorted(created) == [False, old is None]
    assert revision(postgresql, name) == newest_revision()
    for each in backends:
        each.close()


@pytest.mark.parametrize("old", [None, _OLD])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_a_migration_that_is_cut_off_changes_nothing(
    postgresql: Server, name: str, old: str | None, part: float
) -> None:
    if old is not None:
        backend = open_backend(postgresql.url(name))
        migrate(backend.engine, old)
        backend.close()
    with proxied(postgresql.socket) as proxy:
        backend = open_backend(postgresql.through(proxy, name))
        whole = len(statements(backend, lambda _count: None, cut_at_the_end=proxy.cut))
        assert revision(postgresql, name) == old

        def cut(count: int) -> None:
            if count == round(part * whole):
                proxy.cut()

        statements(backend, cut)
        assert revision(postgresql, name) == old
        assert migrate(backend.engine) == (old is None)
        backend.close()
    assert revision(postgresql, name) == newest_revision()


def statements(
    backend: Backend, before: Callable[[int], object], cut_at_the_end: Callable[[], object] = lambda: None
) -> list[str]:
    """Migrate, and fail. Return the statements that were run. :param before: called before each, with its number"""
    run: list[str] = []

    def note(_connection: object, _cursor: object, sql: str, *_: object) -> None:
        run.append(sql)
        before(len(run))

    sa.event.listen(backend.engine, "before_cursor_execute", note)

    def end(_connection: object) -> None:
        cut_at_the_end()

    sa.event.listen(backend.engine, "commit", end)
    with pytest.raises(sa.exc.DBAPIError):
        migrate(backend.engine)
    sa.event.remove(backend.engine, "before_cursor_execute", note)
    sa.event.remove(backend.engine, "commit", end)
    return run


def test_a_database_that_a_newer_router_has_just_migrated_is_refused(postgresql: Server, name: str) -> None:
    backend = open_backend(postgresql.url(name))
    migrate(backend.engine)
    postgresql.execute("UPDATE alembic_version SET version_num = 'f00f'", name)
    with pytest.raises(StoreUnavailable, match="is newer than this version"):
        migrate(backend.engine, name="alerts")
    backend.close()
