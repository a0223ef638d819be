"""The composition root: builds every room, starts them in order, and stops them in reverse."""

import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from router import sample
from router.channels import KINDS
from router.channels.base import Channel
from router.channels.outbox import Outbox, Preview
from router.clock import Clock, SystemClock
from router.config import Config, load
from router.deliver import Current, Lanes
from router.metrics import Metrics
from router.model import SECOND, Millis
from router.render import Templates
from router.store import Store, StoreUnavailable
from router.web import KEEPALIVE_SECONDS, Parts, make_app

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What ``serve`` is told beside routes.yaml."""

    config: Path
    listen: tuple[str, int] = ("127.0.0.1", 9099)
    database: str | None = None
    """A SQLAlchemy URL; None: ``sqlite:///state/router.db``, or a throw-away file in a preview."""
    preview: bool = False
    metrics: bool = True
    max_body: int = 16 * 2**20
    """Bytes, after decompression."""
    drain: Millis = 10 * SECOND
    """How long a stop may take to tell what is due."""


class Service:
    """One running router.

    :raises ConfigError: on :meth:`start`, with every mistake in routes.yaml
    :raises StoreUnavailable: on :meth:`start`, when the database can't be opened
    :raises OSError: on :meth:`start`, when the address is taken
    """

    def __init__(self, options: Options, environ: Mapping[str, str], clock: Clock | None = None) -> None:
        self.options = options
        self.clock: Clock = clock or SystemClock()
        self.outbox = Outbox() if options.preview else None
        self._environ = environ
        self._stopping = False
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._channels: dict[str, Channel] = {}

    async def start(self) -> None:
        options = self.options
        self.config: Config = load(options.config, environ=self._environ, preview=options.preview)
        self.metrics = Metrics(enabled=options.metrics)
        policy = self.config.policy
        self._current = Current(policy, self._templates(self.config))
        self.store = await Store.open(self._database())
        await self.store.adopt(policy, self.clock.now())
        self._channels = self._open_channels(self.config)
        self.lanes = Lanes(
            store=self.store, clock=self.clock, metrics=self.metrics, channels=self._channels,
            paces={name: (kind.per_second, kind.burst) for name, kind in KINDS.items()}, current=lambda: self._current,
        )  # fmt: skip
        self.lanes.start(policy.destinations.values())
        self._runner = web.AppRunner(
            self._web(), handle_signals=False, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS,
            handler_cancellation=False,
        )  # fmt: skip
        await self._runner.setup()
        host, port = options.listen
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        log.info("serving", address=self.url, config=str(options.config), database=self.store.location,
                 preview=options.preview)  # fmt: skip

    async def stop(self) -> None:
        """Stop taking webhooks, tell what is due within the bound, let go of everything."""
        self._stopping = True
        if hasattr(self, "lanes"):
            await self.lanes.stop(self.options.drain)
        if hasattr(self, "_runner"):
            await self._runner.cleanup()
        for channel in {id(each): each for each in self._channels.values()}.values():
            await channel.close()
        if hasattr(self, "store"):
            await self.store.close()
        if self._scratch is not None:
            self._scratch.cleanup()
        log.info("stopped")

    @property
    def url(self) -> str:
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def stopping(self) -> bool:
        return self._stopping

    def _templates(self, config: Config) -> Templates:
        return Templates(
            levels=config.policy.severity.levels, timezone=config.timezone, directory=config.templates
        )

    def _database(self) -> str:
        if self.options.database is not None:
            return self.options.database
        if self.options.preview:
            self._scratch = tempfile.TemporaryDirectory(prefix="alert-router-preview-")
            return f"sqlite:///{self._scratch.name}/router.db"
        return "sqlite:///state/router.db"

    def _open_channels(self, config: Config) -> dict[str, Channel]:
        """A channel for each kind of destination in use; in a preview, one that files messages instead."""
        channels: dict[str, Channel] = {}
        for name in {each.channel for each in config.policy.destinations.values()}:
            kind = KINDS[name]
            channel = kind.make(config.settings[kind.section])
            channels[name] = channel if self.outbox is None else Preview(channel, self.outbox, self.clock)
        return channels
