"""``alert-router import-state`` is killed half-way: the target is as empty as before."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from router.store import Store
from tests.acceptance.processes import ROOT, until
from tests.database import rows
from tests.moving import Mover, exported, tables_of
from tests.postgresql import Server
from tests.unit.store.test_backup_file import left

_BODIES, _BYTES = 300, 20_000


async def source(url: str) -> None:
    """Create a database whose export does not fit into a pipe."""
    store = await Store.open(url)
    await store.start(1)
    for _ in range(_BODIES):
        await store.quarantine(os.urandom(_BYTES), "default", "no JSON", 1)
    await store.close()


async def run(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", *arguments, cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_killed_import_leaves_an_empty_database(
    tmp_path: Path, postgresql: Server, kind: str
) -> None:
    with Mover(tmp_path, postgresql) as mover:
        first, url, file = f"sqlite:///{tmp_path}/first.db", mover.new(kind), tmp_path / "file.gz"
        await source(first)
        exported(first, file)
        data = file.read_bytes()

        process = await run("import-state", "-", "--database", url)
        assert process.stdin is not None
        # The rest fits neither into the pipe nor into the buffers of the reader, so it has loaded rows when this is written.
        process.stdin.write(data[: len(data) * 3 // 4])
        await process.stdin.drain()
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        assert process.returncode == -signal.SIGKILL

        if kind == "sqlite":
            name = Path(url.removeprefix("sqlite:///")).name
            assert name not in left(tmp_path)
            assert any(each.startswith(f".{name}.") and each.endswith(".part") for each in left(tmp_path))
        else:
            await until(lambda: nobody_else(url), "the server ends the killed session")
            assert rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []

        again = await run("import-state", "-", "--database", url)
        output, errors = await again.communicate(data)
        assert again.returncode == 0, errors.decode()
        assert "Each row was read again, and is the same as in the file." in output.decode()
        exported(url, tmp_path / "again.gz")
        assert tables_of(tmp_path / "again.gz") == tables_of(file)


async def nobody_else(url: str) -> bool:
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return rows(url, others) == [(0,)]
