"""Checks the files of the rules for the pages, once for each state of the files."""

import asyncio
from collections.abc import Callable, Mapping

from router.clock import Clock
from router.config import Config
from router.config_files import ConfigFiles, Signature
from router.model import DAY
from router.rules.check import Checked, check_file
from router.threads import Threads


class FileCheck:
    """Runs what ``alert-router check`` does in a thread, and keeps the result until a file changes."""

    def __init__(
        self, files: ConfigFiles, environ: Mapping[str, str], clock: Clock, config: Callable[[], Config]
    ) -> None:
        """:param config: returns the configuration in force"""
        self._files = files
        self._environ = environ
        self._clock = clock
        self._config = config
        self._threads = Threads("check", 1)
        self._running: asyncio.Task[Checked] | None = None
        self._last: tuple[tuple[Signature, int], Checked] | None = None

    async def result(self) -> Checked:
        """Return the mistakes and the traps of the files as they are now. A caller that does not wait for the end stops
        nothing: the next one gets the result.
        """
        if self._running is None:
            self._running = asyncio.create_task(self._check())
        return await asyncio.shield(self._running)

    async def _check(self) -> Checked:
        try:
            state = await self._state()
            if self._last is not None and self._last[0] == state:
                return self._last[1]
            checked = await self._threads.run(check_file, self._files.path, self._environ, self._clock.now())
            self._last = state, checked
            # The check may have read more files than those in force. If one has changed meanwhile, it runs again.
            after = await self._state()
            if {*state[0]} <= {*after[0]}:
                self._last = after, checked
            return checked
        finally:
            self._running = None

    def close(self) -> None:
        self._threads.shutdown()

    async def _state(self) -> tuple[Signature, int]:
        """Return a value that changes with the files; and once a day, because intervals can be over."""
        read = self._last[1].files if self._last is not None else ()
        files = sorted({*self._config().files, *read, self._files.path})
        return await self._files.signature(files), self._clock.now() // DAY
