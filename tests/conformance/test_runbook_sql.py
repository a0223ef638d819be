"""What runbooks tell people to run against PostgreSQL, on a real server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from router.store.postgresql import _LOCK
from tests.postgresql import Server
from tests.unit.docs.pages import text

_FIND, _END = re.findall(
    r"^ *```sql\n(.*?)^ *```", text("docs/runbooks/AlertRouterStoreUnwritable.md"), re.MULTILINE | re.DOTALL
)


@contextmanager
def holder(url: str) -> Iterator[int]:
    """Hold the lock, and stand still between two messages of one statement. Yields the process of the server."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("BEGIN")
        connection.execute(_LOCK.encode())
        pid = connection.info.backend_pid
        connection.pgconn.enter_pipeline_mode()
        connection.pgconn.send_query_params(b"SELECT 1", None)
        connection.pgconn.send_flush_request()
        connection.pgconn.flush()
        yield pid


def test_the_session_that_holds_the_lock_is_found_and_ended(postgresql: Server) -> None:
    url, other = (postgresql.url(postgresql.create()) for _ in range(2))
    with (
        holder(other) as elsewhere,
        holder(url) as pid,
        psycopg.connect(url, autocommit=True) as person,
    ):
        found = person.execute(_FIND.encode()).fetchall()
        assert [row[0] for row in found] == [pid]
        person.execute("SET lock_timeout = '50ms'")
        with pytest.raises(errors.LockNotAvailable):
            person.execute(_LOCK.encode())
        assert person.execute(_END.replace("PID", str(pid)).encode()).fetchall() == [(True,)]
        person.execute("SET lock_timeout = '60s'")
        person.execute(_LOCK.encode())
        assert person.execute(_FIND.encode()).fetchall() == []  # its own transaction has ended
        assert elsewhere != pid


def test_a_pod_can_test_its_connection_with_the_service_file(postgresql: Server, tmp_path: Path) -> None:
    (code,) = re.findall(
        r"kubectl exec POD -- python -c '([^']+)'", text("docs/runbooks/AlertRouterReplicaCutOff.md")
    )
    file = tmp_path / "postgres_service"
    name = postgresql.create()
    file.write_text(f"[router]\nhost={postgresql.socket.parent}\nuser=postgres\ndbname={name}\n")
    ran = subprocess.run(
        [sys.executable, "-c", re.sub(r"\n +", "\n", code)],
        env={**os.environ, "PGSERVICEFILE": str(file)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("(False,)\n", "")
