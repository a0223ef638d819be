"""A second PostgreSQL that follows the first one, and takes over when it is promoted."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.memory import MEMORY
from tests.postgresql import Server


class Standby:
    """A standby of a server. It listens on a socket in its own folder."""

    def __init__(self, primary: Server, folder: Path) -> None:
        self._primary, self._folder = primary, folder
        if primary.system_user is not None:
            shutil.chown(folder, primary.system_user)
        self._run(
            "pg_basebackup", "-h", primary.socket.parent, "-U", "postgres", "-D", folder, "-R", "-X", "stream", "-c", "fast"
        )  # fmt: skip
        (folder / ".s.PGSQL.5432.lock").unlink()  # the primary's socket is in the folder of its data
        self._run(
            "pg_ctl", "-w", "-D", folder, "-o", f"-h '' -k {folder}", "-l", folder / "log", "start"
        )  # fmt: skip

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._primary.programs / program), *map(str, arguments)]
        with tempfile.TemporaryFile() as output:  # a server would keep a pipe open
            subprocess.run(
                command, check=True, stdout=output, stderr=output, stdin=subprocess.DEVNULL, user=self._primary.system_user,
                cwd="/",
            )  # fmt: skip

    @property
    def socket(self) -> Path:
        return self._folder / ".s.PGSQL.5432"

    def promote(self) -> None:
        self._run("pg_ctl", "-w", "-D", self._folder, "promote")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-D", self._folder, "-m", "immediate", "stop")


def make_synchronous(primary: Server) -> None:
    """From now on the primary answers a commit when the standby has it on its disk."""
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.execute("SELECT pg_reload_conf()")
    while primary.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != [(1,)]:
        pass


def kill(server: Server) -> None:
    """Kill all processes of a server with SIGKILL, as a machine that loses its power."""
    children = [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if stat.read_text().rpartition(")")[2].split()[1] == str(server.pid)
    ]
    for pid in (server.pid, *children):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def standby(primary: Server) -> Iterator[Standby]:
    folder = Path(tempfile.mkdtemp(prefix="pg", dir=MEMORY))
    folder.chmod(0o700)
    running = Standby(primary, folder)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder)
