"""The proxy in front of PostgreSQL does what a test orders."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.postgresql import Server
from tests.tcp_proxy import TcpProxy, proxied


@pytest.fixture
def proxy(postgresql: Server) -> Iterator[TcpProxy]:
    with proxied(postgresql.socket) as proxy:
        yield proxy


@pytest.fixture
def database(postgresql: Server) -> Iterator[str]:
    name = postgresql.create()
    postgresql.execute("CREATE TABLE kept (number int)", name)
    yield name
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


def insert(url: str, number: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))


@pytest.mark.parametrize(
    ("order", "kept", "error"),
    [
        ("before", [], psycopg.OperationalError),
        ("after", [(1,)], psycopg.OperationalError),
        ("ended", [(1,)], psycopg.InternalError),
    ],
)
def test_a_commit_is_lost_or_its_answer_is(
    proxy: TcpProxy,
    postgresql: Server,
    database: str,
    order: str,
    kept: list[tuple[int]],
    error: type[psycopg.Error],
) -> None:
    url = postgresql.through(proxy, database)
    proxy.on_commit = lambda number: order if number == 1 else None
    with pytest.raises(error):
        insert(url, 1)
    assert postgresql.execute("SELECT number FROM kept", database) == kept
    insert(url, 2)
    assert postgresql.execute("SELECT number FROM kept", database) == [*kept, (2,)]
    assert proxy.commits == 2


def test_a_cut_ends_connections_and_a_refusal_lasts(
    proxy: TcpProxy, postgresql: Server, database: str
) -> None:
    url = postgresql.through(proxy, database)
    connection = psycopg.connect(url)
    assert proxy.cut() == 1
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    proxy.refuse()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        insert(url, 1)
    proxy.accept_again()
    insert(url, 1)


def test_a_cut_is_possible_in_the_middle_of_an_answer(
    proxy: TcpProxy, postgresql: Server, database: str
) -> None:
    with psycopg.connect(postgresql.through(proxy, database)) as connection:
        proxy.cut_after(2_000)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT repeat('x', 100000)")


def test_bytes_that_hang_arrive_later(proxy: TcpProxy, postgresql: Server, database: str) -> None:
    proxy.hang()
    with pytest.raises(psycopg.OperationalError, match="timeout expired"):
        psycopg.connect(f"{postgresql.through(proxy, database)}&connect_timeout=1")
    proxy.flow()
    insert(postgresql.through(proxy, database), 1)
