"""Starts the real programs: Debian's Alertmanager, and the router like its users start it."""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Any, Self

import aiohttp
import pytest

from tests import waiting
from tests.acceptance.forked import Forked

ROOT = Path(__file__).parents[2]
ALERTMANAGER = shutil.which("prometheus-alertmanager")
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)

_FAILED_WEBHOOKS = re.compile(
    r'^alertmanager_notifications_failed_total{.*integration="webhook".*} (\S+)$', re.MULTILINE
)

needs_alertmanager = pytest.mark.skipif(
    ALERTMANAGER is None, reason="needs Alertmanager: apt-get install prometheus-alertmanager"
)
needs_faketime = pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime: apt-get install faketime")


def free_port() -> int:
    """Return a port outside the ephemeral range, so that it stays free while a program that listens on it restarts.

    No other test takes it: it is locked while this process runs.
    """
    dice = SystemRandom()
    while True:
        port = dice.randrange(20_000, 32_000)
        lock = os.open(
            f"{tempfile.gettempdir()}/alert-router-port-{port}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        )
        with socket.socket() as probe, contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            probe.bind(("127.0.0.1", port))
            return port
        os.close(lock)


async def until(ready: Callable[[], Awaitable[bool]], what: str) -> None:
    """Poll another process, which can't signal the test."""
    await waiting.until(ready, what, pause=0.05)


class Alertmanager:
    """Debian's Alertmanager, which posts every group to one webhook."""

    def __init__(self, folder: Path, webhook: str, *, source: str = "am") -> None:
        self.port = free_port()
        self._folder = folder / f"alertmanager-{source}"
        self._folder.mkdir()
        self.config = self._folder / "alertmanager.yml"
        self._webhook = webhook
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        config = {
            "global": {"resolve_timeout": "1d"},  # an alert ends when the test ends it
            "route": {
                "receiver": "router",
                "group_by": ["alertname", "cluster", "severity"],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "4h",
            },
            "receivers": [
                {"name": "router", "webhook_configs": [{"url": self._webhook, "send_resolved": True}]}
            ],
        }
        self.config.write_text(json.dumps(config))  # JSON is YAML
        assert ALERTMANAGER is not None
        self._process = await asyncio.create_subprocess_exec(
            ALERTMANAGER,
            f"--config.file={self.config}",
            f"--storage.path={self._folder}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=error",
        )
        await until(self._ready, "Alertmanager starts")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()

    async def _ready(self) -> bool:
        return await answers(f"{self.url}/-/ready")

    async def restart(self) -> None:
        """Restart. It forgets its alerts, but not its notifications."""
        await self.__aexit__()
        await self.__aenter__()

    async def reload(self) -> None:
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/-/reload") as answer:
            assert answer.status == 200, await answer.text()

    async def firing(self) -> list[dict[str, str]]:
        """Return the labels of all firing alerts."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v2/alerts", params={"active": "true"}) as answer,
        ):
            return [alert["labels"] for alert in await answer.json()]

    async def fire(self, **labels: str) -> None:
        await self._post(labels, ended=False)

    async def end(self, **labels: str) -> None:
        await self._post(labels, ended=True)

    async def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Post alerts as they are."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/api/v2/alerts", json=alerts) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def failed(self) -> float:
        """Return how many notifications of webhooks it gave up. Until then it tries again what fails."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
            shown = await answer.text()
        found = _FAILED_WEBHOOKS.findall(shown)
        assert found, shown
        return sum(map(float, found))

    async def _post(self, labels: Mapping[str, str], *, ended: bool) -> None:
        alert: dict[str, Any] = {
            "labels": labels,
            "annotations": {"summary": f"{labels['alertname']} is bad"},
        }
        if ended:
            alert["endsAt"] = datetime.now(UTC).isoformat()
        await self.post([alert])


class Router:
    """The real process. It keeps its port across restarts."""

    def __init__(
        self,
        folder: Path,
        routes: str,
        *,
        faketime: bool = False,
        environ: Mapping[str, str] | None = None,
        database: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """:param environ: environment variables; None: the process is forked from one that has everything imported
        :param database: a URL; None: a file in the folder
        :param options: more options of ``serve``
        """
        self.checkout = ROOT
        """The folder with the code. If it is another one, there have to be environment variables."""
        self.port = free_port()
        self.config = folder / "routes.yaml"
        self.config.write_text(routes)
        self.database = folder / "router.db"
        self._url = database or f"sqlite:///{self.database}"
        self._log = folder / "router.log"
        self._offset = folder / "faketime"
        self._environ, self._options = environ, tuple(options)
        if faketime:
            self._offset.write_text("+0")
            self._environ = {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self._offset),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        self._process: asyncio.subprocess.Process | Forked | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def set_time(self, at: datetime) -> None:
        """Set the process's clock to ``at``; it runs on from there."""
        seconds = round(at.timestamp() - time.time())  # real time: libfaketime adds an offset to it
        beside = self._offset.with_suffix(".new")
        beside.write_text(f"{seconds:+d}")
        beside.replace(self._offset)

    async def start(self) -> None:
        await self.spawn()
        await until(self._ready, "the router starts")

    async def spawn(self) -> None:
        """Start without waiting."""
        command = (
            "serve", "--config", str(self.config), "--listen", f"127.0.0.1:{self.port}", "--database", self._url,
            "--log", "json", *self._options,
        )  # fmt: skip
        if self._environ is None:
            self._process = Forked(command, ROOT, self._log)
            return
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "router", *command, cwd=self.checkout, env=os.environ | self._environ, stdout=log, stderr=log
            )  # fmt: skip

    async def _ready(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            pytest.fail(f"the router ended:\n{self.log}")
        return await answers(f"{self.url}/readyz")

    def hang_up(self, routes: str) -> None:
        """Write other rules, and send the signal to load them."""
        assert self._process is not None
        self.config.write_text(routes)
        self._process.send_signal(signal.SIGHUP)

    def send_signal(self, number: int) -> None:
        """Send a signal, for example SIGSTOP."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill the process with SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    def terminate(self) -> None:
        """Ask the process to stop, like systemd and Kubernetes do."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def stop(self) -> int:
        """Stop the process. :returns: the exit code"""
        assert self._process is not None
        self.terminate()
        return await self._process.wait()

    async def wait(self) -> int:
        """Wait until the process ends by itself. :returns: the exit code"""
        assert self._process is not None
        return await self._process.wait()

    async def status(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/status") as answer:
            status: dict[str, Any] = await answer.json()
            return status

    async def fates(self) -> dict[str, int]:
        """Return the ledger's counts that are not zero, by fate. Wait as long as the database can't be read."""
        status = dict[str, Any]()

        async def is_readable() -> bool:
            nonlocal status
            status = await self.status()
            return "ledger" in status

        await until(is_readable, "the database can be read")
        ledger = status["ledger"]
        assert ledger["imbalance"] == 0
        return {fate: count for fate, count in ledger["fates"].items() if count}

    async def post(self, body: bytes) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/webhook", data=body) as answer,
        ):
            return answer.status


@contextlib.asynccontextmanager
async def running(router: Router) -> AsyncIterator[Router]:
    await router.start()
    try:
        yield router
    finally:
        await router.stop()


async def answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
