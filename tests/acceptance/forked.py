"""Runs the router's command in a forked process that has everything imported: the imports take a second."""

import asyncio
import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import alembic.command  # noqa: F401  (`serve` imports these when it runs: here they are imported once for all processes)

import router.cli.serving  # noqa: F401
from router.cli import main

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([__name__])


class Forked:
    """The part of :class:`asyncio.subprocess.Process` that the tests need."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, log: Path) -> None:
        """:param arguments: the arguments of ``alert-router``
        :param folder: the working directory of the process
        :param log: the file to which its output is appended
        """
        self._process: ForkServerProcess = _SERVER.Process(target=_run, args=(arguments, folder, log))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        await ended.wait()
        loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self.returncode is not None
        return self.returncode


def _run(arguments: tuple[str, ...], folder: Path, log: Path) -> None:
    os.chdir(folder)
    with log.open("ab") as shown:
        os.dup2(shown.fileno(), 1)
        os.dup2(shown.fileno(), 2)
    main(arguments)
