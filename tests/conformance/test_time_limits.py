"""Which time limits a session has: those of the router, unless the URL sets others, and none while whole tables are copied."""

import subprocess

import pytest
import sqlalchemy as sa

from router.store.backend import open_backend
from router.store.schema import meta
from tests.acceptance.processes import free_port
from tests.postgresql import Server, limits_transactions, made

_LIMITS = (
    "statement_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "tcp_user_timeout",
)


@pytest.fixture
def over_tcp(own_postgresql: Server) -> str:
    """The URL of a database with tables and with a limit of its own, on a server that listens on TCP."""
    name, port = own_postgresql.create(), free_port()
    made(own_postgresql.url(name)).close()
    own_postgresql.execute(f"ALTER DATABASE {name} SET transaction_timeout = '50s'")
    own_postgresql.stop()
    folder = own_postgresql.socket.parent
    subprocess.run(
        [
            own_postgresql.programs / "pg_ctl", "-w", "-D", folder, "-l", folder / "log", "-o",
            f"-h 127.0.0.1 -p {port} -k {folder}", "start",
        ],
        check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user=own_postgresql.system_user, cwd="/",
    )  # fmt: skip
    return f"postgresql://postgres@127.0.0.1:{port}/{name}"


def shown(connection: sa.Connection, *names: str) -> list[str]:
    return [connection.exec_driver_sql(f"SHOW {each}").scalar_one() for each in names]


@limits_transactions
def test_who_reads_whole_tables_can_be_as_slow_as_needed(over_tcp: str) -> None:
    backend = open_backend(over_tcp)
    with backend.open_read_only() as connection:
        assert shown(connection, *_LIMITS) == ["30s", "50s", "1min", "10000"]
        list(backend.read_rows(connection, list(meta.columns)))
        assert shown(connection, *_LIMITS) == ["0"] * 4
        connection.rollback()
        assert shown(connection, *_LIMITS) == ["30s", "50s", "1min", "10000"]
    backend.close()


@limits_transactions
def test_a_migration_takes_as_long_as_it_needs_but_waits_for_no_table(over_tcp: str) -> None:
    backend = open_backend(over_tcp)
    with backend.engine.execution_options(writes=True, unlimited=True).begin() as connection:
        assert shown(connection, "statement_timeout", "transaction_timeout", "lock_timeout") == [
            "0",
            "0",
            "2s",
        ]
    backend.close()


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ("", ["10s", "30s"]),
        ("-c deadlock_timeout=3s", ["10s", "30s"]),
        ("-c application_name=lock_timeout", ["10s", "30s"]),
        ("-c lock_timeout=7s", ["7s", "30s"]),
        ("-clock_timeout=7s --statement-timeout=8s", ["7s", "8s"]),
        ("-c LOCK_TIMEOUT=7s", ["7s", "30s"]),
    ],
)
def test_what_the_options_of_the_url_set_is_left(postgresql: Server, options: str, limits: list[str]) -> None:
    url = sa.make_url(postgresql.url("postgres")).update_query_dict({"options": options})
    backend = open_backend(url.render_as_string())
    with backend.open_read_only() as connection:
        assert shown(connection, "lock_timeout", "statement_timeout") == limits
    backend.close()
