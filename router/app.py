"""The composition root: builds every room, starts them in order, and stops them in reverse."""

import asyncio
import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from router import sample
from router.channels import REGISTRY, read, written
from router.channels.base import Channel
from router.channels.outbox import Entry, Outbox, PreviewChannel, entry_of
from router.clock import Clock, SystemClock
from router.clock_watch import ClockWatch
from router.config import Config, ConfigError, load
from router.deliver import Lanes, RuntimeConfig
from router.judging import Judging
from router.loading import Loading, ReloadError, signature
from router.maintenance import Maintenance
from router.metrics import Metrics
from router.model import SECOND, Destination, Millis
from router.reconcile import Reconciler
from router.render import TemplateError, Templates
from router.store import Adoption, Store, StoreUnavailable
from router.threads import Threads
from router.undecided import Undecided
from router.web import AppContext, make_app, make_runner
from router.web.pages import add_pages
from router.web.preview import PreviewContext, add_preview

log = structlog.get_logger(__name__)

# How often the files are looked at, when they are watched.
_WATCH: Millis = 2 * SECOND
# Libraries look up names in the loop's default pool, and a name server that does not answer keeps a thread for 20 s
# and more. So the pool has a thread for each name that routes.yaml may give, and everything else has pools of its own.
_NAMES = 256
_FILES = 4
# Seconds that a reload waits for Alertmanager's answers; later ones count all the same.
_ANSWERS = 1.0
# What a stop keeps of its time for what comes after the lanes, and the least that the store has to close, in seconds.
_AFTERWARDS = 0.25
_LEAST = 0.5


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What ``serve`` is told beside routes.yaml."""

    config: Path
    listen: tuple[str, int] = ("127.0.0.1", 9099)
    database: str | None = None
    """A SQLAlchemy URL; None: ``sqlite:///state/router.db``, or a throw-away file in a preview."""
    preview: bool = False
    metrics: bool = True
    max_body: int = 16 * 2**20
    """Bytes, after decompression."""
    drain: Millis = 8 * SECOND
    """How long a stop may take; for three quarters of it, what is due is told."""
    sample: bool = False
    """In a preview: begin on a Friday night, for the sample incident."""
    watch: bool = False
    """Reload when routes.yaml changes, or a file that it names."""


class Service:
    """One running router.

    :raises ConfigError: on :meth:`start`, with every mistake in routes.yaml
    :raises TemplateError: on :meth:`start`, when the templates can't be used
    :raises StoreUnavailable: on :meth:`start`, when the database can't be opened
    :raises OSError: on :meth:`start`, when the address is taken
    """

    def __init__(self, options: ServeOptions, environ: Mapping[str, str], clock: Clock | None = None) -> None:
        self.options = options
        self.clock: Clock = clock or SystemClock()
        self.outbox = Outbox() if options.preview else None
        self.metrics = Metrics(enabled=options.metrics)
        self.loading = Loading(options.config, self.metrics)
        self._environ = environ
        self._stopping = False
        self._closing = AsyncExitStack()
        self._reloading = asyncio.Lock()
        self._retired: dict[str, Destination] = {}
        self._files = Threads("files", _FILES)
        self._beside: set[asyncio.Task[Any]] = set()
        """What nobody waits for."""
        self._stopped_by = math.inf

    async def start(self) -> None:
        """Each room's end is arranged as soon as it is begun; :meth:`stop` then goes backwards."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        options, closing = self.options, self._closing
        asyncio.get_running_loop().set_default_executor(Threads("names", _NAMES))
        closing.callback(self._files.shutdown)
        self.store = await Store.open(self._database(), self.metrics.batch)
        closing.push_async_callback(self._close_store)
        last_good = await self.store.start(self.clock.now())
        config, templates = self._load(last_good)
        if options.sample and isinstance(self.clock, SystemClock):
            # Before anybody has looked at it: every message and every wait is of the preview's time.
            now = self.clock.now()
            self.clock.shift(sample.friday_night(now, config.timezone) - now)
        closing.push_async_callback(self._close_channels)
        self.clock_watch = ClockWatch(
            self.store, self.clock, lambda: self._current.policy, self._restart_timers
        )
        self.lanes = Lanes(
            store=self.store, clock=self.clock, metrics=self.metrics,
            kinds=REGISTRY, current=lambda: self._current, counting_since=self.clock_watch.look,
        )  # fmt: skip
        self.judging = Judging(
            self.store, self.clock, self.loading, lambda: self._current.policy, self.lanes.wake
        )
        self.reconciler = Reconciler(
            store=self.store, clock=self.clock, metrics=self.metrics, sources=lambda: self.config.sources,
            policy=lambda: self._current.policy, wake=self.lanes.wake, counting_since=self.clock_watch.look,
            network=lambda: self.config.network, preview=options.preview,
        )  # fmt: skip
        self.undecided = Undecided(
            self.store, self.clock, self.metrics, lambda: self._current.policy, self.lanes.wake
        )
        self.maintenance = Maintenance(
            self.store, self.clock, self.metrics, lambda: self.config.retention, lambda: self._current.policy
        )
        adoption = await self._adopt(config, self._current_of(config, templates, None))
        await self.clock_watch.look()

        self._runner = make_runner(self._web())
        closing.push_async_callback(self._runner.cleanup)
        closing.push_async_callback(self.lanes.stop, round((1 - _AFTERWARDS) * options.drain))
        closing.callback(self.undecided.close)
        await self.undecided.begin()
        self._serve("undecided", self.undecided.serve())
        await self._runner.setup()
        await web.TCPSite(self._runner, *options.listen).start()
        self._serve("clock", self.clock_watch.serve())
        log.info(
            "serving", address=self.url, config=str(options.config), database=self.store.location,
            destinations=len(config.policy.destinations), preview=options.preview,
        )  # fmt: skip
        # From here on webhooks are accepted, however long it takes to judge what fires by other rules.
        async with self._reloading:
            await self._open_lanes(adoption, None)
            self._serve("truth", self.reconciler.serve())
            await self.judging.finish()
        self._serve("upkeep", self.maintenance.run())
        if options.watch:
            seen = await self._files.run(signature, config.files)
            self._serve("watch", self._watch(seen))

    def _serve(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Until the service stops."""
        self._closing.push_async_callback(_ended, asyncio.create_task(work, name=name))

    async def reload(self) -> None:
        """Load routes.yaml anew, whole or not at all; what is held and pending is judged by the new rules.

        :raises ReloadError: it can't be used, and the last good one stays in force
        """
        async with self._reloading:
            try:
                last_good = await self.store.fragments()
                config, templates = await self._files.run(self._load, last_good)
                before = self._current
                adoption = await self._adopt(config, self._current_of(config, templates, before))
                await self._open_lanes(adoption, _ANSWERS)
                await self.judging.finish()
            except (ConfigError, TemplateError, StoreUnavailable) as error:
                shown = error.shown if isinstance(error, ConfigError) else str(error)
                self.loading.failed(shown)
                raise ReloadError(shown) from error
            except Exception as error:
                log.exception("reload failed unexpectedly")
                shown = f"internal: {type(error).__name__}; the log says more"
                self.loading.failed(shown)
                raise ReloadError(shown) from error
            log.info(
                "reloaded", config=str(self.options.config), destinations=len(config.policy.destinations)
            )
            self._go_on(self._let_go(before))

    def _load(self, last_good: Mapping[str, str]) -> tuple[Config, Templates]:
        config = load(
            self.options.config, environ=self._environ, now=self.clock.now(), preview=self.options.preview,
            last_good=last_good,
        )  # fmt: skip
        return config, config.open_templates()

    async def _adopt(self, config: Config, current: RuntimeConfig) -> Adoption:
        """Put rules in force; :meth:`_open_lanes` and ``judging`` do the rest. :raises StoreUnavailable: those before stay
        so
        """
        now = self.clock.now()
        parts = {each.name: each.loaded.kept for each in config.fragments if each.loaded is not None}
        adoption = Adoption(
            config.policy, {key: written(each) for key, each in config.policy.destinations.items()}, parts
        )
        before = getattr(self, "_current", None)
        # From here to the store's queue nothing comes between: whatever is accepted before is judged anew.
        self._current = current
        try:
            left = await self.store.rules.adopt(adoption, now)
        except BaseException:
            if before is not None:
                self._current = before
            raise
        self.config = config
        self.loading.loaded(config, now)
        self.loading.applying(left)
        return adoption

    async def _open_lanes(self, adoption: Adoption, answers: float | None) -> None:
        """Notify by the rules in force, as soon as what fires is known to the inhibit rules.

        :param answers: how many seconds to wait for Alertmanager's answers; None: for all
        """
        await self.judging.index()
        gone = await self.judging.until_written(
            lambda: self.store.rules.retire(adoption.policy, self.clock.now())
        )
        retired = {key: read(key, text) for key, text in gone.items()}
        for key in (key for key, destination in retired.items() if destination is None):
            log.error("an end can't be told: this version knows no such destination", destination=key)
        self._retired = {key: each for key, each in retired.items() if each is not None}
        if not self.options.preview:  # before anything that waited is let out
            await asyncio.wait([self._go_on(self.reconciler.look())], timeout=answers)
        lanes = (*adoption.policy.destinations.values(), *self._retired.values())
        await self.judging.until_written(lambda: self.lanes.serve(lanes))

    def _current_of(
        self, config: Config, templates: Templates, before: RuntimeConfig | None
    ) -> RuntimeConfig:
        settings = {
            name: found
            for name, kind in REGISTRY.items()
            if (found := config.settings.get(kind.section)) is not None
        }
        return RuntimeConfig(
            config.policy, templates, self._open_channels(config, before),
            give_up_after={name: each.give_up_after for name, each in settings.items()},
            alert_after={name: each.alert_after for name, each in settings.items()},
            shared={
                kind.section: kind.shared_of(config.settings.get(kind.section)) for kind in REGISTRY.values()
            },
        )  # fmt: skip

    async def _let_go(self, before: RuntimeConfig) -> None:
        """Close the channels that are in force no more, once nothing is sent through them."""
        kept = set(map(id, self._current.channels.values()))
        unused = [channel for channel in before.channels.values() if id(channel) not in kept]
        try:
            if unused:
                await self.lanes.settled()
        finally:
            for channel in unused:
                await channel.close()

    async def _close_channels(self) -> None:
        for task in list(self._beside):
            await _ended(task)
        for channel in self._current.channels.values() if hasattr(self, "_current") else ():
            await channel.close()

    def _go_on(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Beside the rest, until it ends or the service does."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    async def _close_store(self) -> None:
        await self.store.close(max(_LEAST, self._stopped_by - time.monotonic()))

    async def _watch(self, seen: tuple[Any, ...]) -> None:
        """Reload when a file that was read changes. :param seen: their signature when they were loaded"""
        never = asyncio.Event()
        while True:
            await self.clock.wait(never, self.clock.now() + _WATCH)
            now = await self._files.run(signature, self.config.files)
            if now != seen:
                # Seen before it is loaded: what is written meanwhile is loaded the next time.
                seen = now
                with contextlib.suppress(ReloadError):  # said already
                    await self.reload()

    def _restart_timers(self) -> None:
        """The clock was stepped."""
        self.reconciler.restart()
        self.lanes.self_alerts.restart()
        self.lanes.wake([*self._current.policy.destinations, *self._retired])

    async def stop(self) -> None:
        """Refuse webhooks, tell what is due within the bound, let go of everything."""
        self._stopping = True
        self._stopped_by = time.monotonic() + self.options.drain / SECOND
        await self._closing.aclose()
        log.info("stopped")

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def play(self, say: Callable[[str], None]) -> None:
        """Post the sample incident to ourselves, as Alertmanager would."""
        await sample.play(f"{self.url}/webhook", self.clock, say)

    def _web(self) -> web.Application:
        parts = AppContext(
            store=self.store, clock=self.clock, metrics=self.metrics,
            sources=lambda: self.config.sources, policy=lambda: self._current.policy,
            wake=self.lanes.wake, keep=self.undecided.keep, undecided=lambda: self.undecided.alerts,
            lanes=self.lanes.describe, stopping=lambda: self._stopping,
            max_body=self.options.max_body, preview=self.options.preview, loading=self.loading.describe, reload=self.reload,
            resume=self.lanes.resume, integrity=lambda: self.maintenance.integrity,
        )  # fmt: skip
        app = make_app(parts)
        add_pages(app, home="status.html" if self.outbox is None else "preview.html")
        if self.outbox is not None:
            add_preview(
                app, PreviewContext(self.outbox, lambda: self.config.timezone, self._digests, self._jumps)
            )
        return app

    async def _digests(self) -> list[Entry]:
        """Every digest as it would go out now."""
        entries = []
        for destination in self._current.policy.destinations.values():
            if destination.digest:
                conversation = await self.store.digest(destination, self._current.policy, self.clock.now())
                channel = self._current.channels[destination.channel]
                message = channel.render(destination, conversation, self._current.templates)
                entries.append(entry_of(0, destination, conversation, message))
        return entries

    async def _jumps(self) -> list[tuple[str, Millis]]:
        """The moments at which something will happen by itself, the next one first."""
        now = self.clock.now()
        opening = await self.store.presence.next_opening(now)
        jumps = [] if opening is None else [("next opening", opening)]
        slots = [schedule.next(now) for schedule in self._current.policy.schedules.values()]
        jumps += [("next digest", at) for at in sorted(slots)[:1]]
        return sorted(jumps, key=lambda jump: jump[1])

    def _database(self) -> str:
        if self.options.database is not None:
            return self.options.database
        if self.options.preview:
            folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="alert-router-preview-"))
            return f"sqlite:///{folder}/router.db"
        return "sqlite:///state/router.db"

    def _open_channels(self, config: Config, before: RuntimeConfig | None) -> dict[str, Channel]:
        """Return a channel of each kind that there are settings for: the one before where neither its settings nor the
        network changed. In a preview, each files messages instead of sending them.
        """
        channels: dict[str, Channel] = {}
        same_network = before is not None and config.network == self.config.network
        for name, kind in REGISTRY.items():
            settings = config.settings.get(kind.section)
            if (
                before is not None
                and name in before.channels
                and (settings is None or same_network)
                and settings in {None, self.config.settings.get(kind.section)}
            ):
                channels[name] = before.channels[name]
            elif settings is not None:
                channel = kind.make(settings, config.network)
                channels[name] = channel if self.outbox is None else PreviewChannel(channel, self.outbox)
        return channels


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
