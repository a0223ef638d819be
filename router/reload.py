"""Puts configurations in force: at the start, when a person asks for a reload, and when a watched file changes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

import structlog

from router.active_config import ActiveConfig
from router.channels import destination_as_json, destination_from_json
from router.channels.base import Channel
from router.clock import Clock
from router.config import Config, ConfigError
from router.config_files import ConfigFiles, FileOnDisk, LoadedConfig
from router.decide import Policy
from router.deliver import Lanes, RuntimeConfig
from router.load_status import LoadStatus, ReloadError
from router.model import SECOND, Destination, Millis
from router.rejudging import Rejudging
from router.render import TemplateError
from router.store import Adoption, Store, StoreUnavailable
from router.telemetry import Telemetry

log = structlog.get_logger(__name__)

# Who asks for a load, if it is no user.
START, SIGNAL, FILE_CHANGED, SECRET_CHANGED = "start", "signal", "file changed", "secret changed"

# How often watched files are compared with how they were.
_WATCH_EVERY: Millis = 2 * SECOND
SECRETS_EVERY: Millis = 5 * SECOND
"""How often the router checks whether a file of secrets has changed since it was read, and repeats a failed load of
secrets.
"""
FINISH_EVERY: Millis = 5 * SECOND
"""How often the rest of a load is tried again, after it failed when the new rules were already in force."""
# How long a reload waits for Alertmanager's answers. Later answers still count.
_ANSWERS_SECONDS = 1.0


class Reloader:
    """Loads a configuration, adopts it in the store, opens its lanes, and judges the firing alerts by it.

    It loads one configuration at a time: a reload waits until the reload before it, or the start, has ended.
    """

    def __init__(  # noqa: PLR0913  (each is a part of its own)
        self,
        *,
        files: ConfigFiles,
        active: ActiveConfig,
        status: LoadStatus,
        store: Store,
        clock: Clock,
        lanes: Lanes,
        judging: Rejudging,
        ask_alertmanagers: Callable[[], Coroutine[Any, Any, object]] | None,
        telemetry: Telemetry,
    ) -> None:
        """:param ask_alertmanagers: compares the store with what still fires; None: there is nothing to ask"""
        self._telemetry = telemetry
        self._files = files
        self._active = active
        self._status = status
        self._store = store
        self._clock = clock
        self._lanes = lanes
        self._judging = judging
        self._ask_alertmanagers = ask_alertmanagers
        self._after_loads: list[Callable[[], None]] = []
        self._running = asyncio.Lock()
        self._background: set[asyncio.Task[object]] = set()
        self._finishing: asyncio.Task[object] | None = None
        self._recorded: tuple[str, str] | None = None
        """The hash and the error of the last load in the history, if this process wrote it."""
        self._unused: list[Channel] = []
        """Open channels that are no longer in force."""

    def after_loads(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` each time when another configuration is in force."""
        self._after_loads.append(notify)

    async def adopt(self) -> Policy:
        """Apply the rules in force to the store when the service starts, and return them. :raises StoreUnavailable:"""
        await self._adopt(self._active.loaded, START)
        return self._active.policy()

    async def start(self, lanes_are_open: Callable[[], None]) -> None:
        """After :meth:`adopt`: open the lanes, and return when all firing alerts are judged by the rules.

        :param lanes_are_open: is called as soon as notifications can be sent
        """
        async with self._running:
            await self._open_lanes(None)
            lanes_are_open()
            await self._judging.finish()

    async def reload(self, actor: str) -> None:
        """Load the files again, and put them in force as a whole or not at all.

        :param actor: who asks for it, for the history: a user's name, or one of the constants of this module
        :raises ReloadError: they can't be used, and the last good configuration stays in force; or they are in force,
            but something failed after that, and is tried again
        """
        async with self._running, self._failures_shown(actor, only_secrets=False):
            await self._put_in_force(self._files.load, actor)

    async def reload_changed_secrets(self) -> None:
        """If a file of secrets has changed, or could not be used the last time, load the secrets and put them in force.

        While the store can't be written, it does nothing, and the next call tries again.

        :raises ReloadError: as :meth:`reload`
        """
        async with self._running:
            before = self._active.loaded
            if not self._status.has_secrets_error and not await self._files.secrets_changed(before):
                return
            async with self._failures_shown(SECRET_CHANGED, only_secrets=True):
                with suppress(StoreUnavailable):  # the store logs it once
                    await self._store.ready()  # before channels are made for nothing
                    await self._put_in_force(
                        lambda last_good: self._files.load_secrets(before, last_good), SECRET_CHANGED
                    )

    async def files_on_disk(self) -> tuple[FileOnDisk, ...]:
        """Return how the files on the disk compare with the configuration in force."""
        return await self._files.on_disk(self._active.loaded)

    async def _put_in_force(
        self, load: Callable[[dict[str, str]], Awaitable[LoadedConfig]], actor: str
    ) -> None:
        last_good = await self._store.fragments()
        loaded = await load(last_good)
        before = self._active.runtime()
        await self._adopt(loaded, actor)
        try:
            await self._finish()
        finally:
            self._close_later(before)
        destinations = len(loaded.config.policy.destinations)
        log.info("reloaded", config=str(self._files.path), destinations=destinations)

    async def _finish(self) -> None:
        """Open the lanes of the rules in force, and judge the firing alerts.

        :raises ReloadError: it failed. It is tried again until it succeeds, because the rules can't be taken back
        """
        try:
            await self._open_lanes(_ANSWERS_SECONDS)
            await self._judging.finish()
        except Exception as error:
            reason = f"internal: {type(error).__name__}; the log says more"
            shown = f"the new rules are in force, but not all of their work has begun; it is tried again: {reason}"
            if self._status.error != shown:
                log.exception("the rest of a load failed unexpectedly")
            self._status.unfinished(shown)
            if self._finishing is None or self._finishing.done():
                self._finishing = self._in_background(self._finish_later())
                self._finishing.set_name("rest of a load")
            raise ReloadError(shown) from error
        self._status.finished()

    async def _finish_later(self) -> None:
        """Try the rest of a load again until it succeeds, here or in a later load."""
        while self._status.is_unfinished:
            await self._clock.wait(asyncio.Event(), self._clock.now() + FINISH_EVERY)
            async with self._running:
                if self._status.is_unfinished:
                    with suppress(ReloadError):  # it is logged and shown
                        await self._finish()

    @asynccontextmanager
    async def _failures_shown(self, actor: str, *, only_secrets: bool) -> AsyncIterator[None]:
        """Log, show and store why a configuration can't be put in force.

        :raises ReloadError: the block raised any exception; the text says why, for people
        """
        try:
            yield
        except ReloadError:
            raise
        except (ConfigError, TemplateError, StoreUnavailable) as error:
            shown = error.shown if isinstance(error, ConfigError) else str(error)
            self._status.failed(shown, only_secrets=only_secrets)
            await self._record(actor, error=shown)
            raise ReloadError(shown) from error
        except Exception as error:
            shown = f"internal: {type(error).__name__}; the log says more"
            if not only_secrets or self._status.error != shown:  # the secrets are tried again and again
                log.exception("reload failed unexpectedly")
            self._status.failed(shown, only_secrets=only_secrets)
            await self._record(actor, error=shown)
            raise ReloadError(shown) from error

    async def _record(self, actor: str, config: Config | None = None, error: str = "") -> None:
        """Store in the history that a configuration came into force, or why none did. The history may miss a load, but no
        load fails because of it.
        """
        sha256 = "" if config is None else config.digest
        if self._recorded == (sha256, error):  # the secrets are tried again and again
            return
        files = [asdict(each) for each in (() if config is None else config.shown)]
        try:
            await self._store.loads.record(actor, sha256, files, self._clock.now(), error)
            self._recorded = (sha256, error)
        except Exception as failure:  # noqa: BLE001  (what was loaded is in force all the same)
            log.warning("the history of routes.yaml misses a load", reason=str(failure))

    async def _adopt(self, loaded: LoadedConfig, actor: str) -> None:
        """Put rules in force; :meth:`_open_lanes` and the judging do the rest.

        :raises StoreUnavailable: the configuration before stays in force
        """
        now, config, before = self._clock.now(), loaded.config, self._active.loaded
        runtime_before = self._active.runtime()
        parts = {each.name: each.loaded.kept for each in config.fragments if each.loaded is not None}
        destinations = {key: destination_as_json(each) for key, each in config.policy.destinations.items()}
        # There is no await between here and the store's queue: all that was accepted before is judged by the new rules.
        if loaded is not before:
            self._active.replace(loaded)
        try:
            left = await self._store.rules.adopt(Adoption(config.policy, destinations, parts), now)
        except BaseException:
            refused = self._active.runtime()
            self._active.restore(before, runtime_before)
            self._close_later(refused)
            raise
        self._status.loaded(config, now, only_secrets=loaded.only_secrets, by=actor)
        self._status.set_phase(left)
        for notify in self._after_loads:
            notify()
        await self._telemetry.apply(config.telemetry, config.network)
        await self._record(actor, config)

    async def _open_lanes(self, answers_seconds: float | None) -> None:
        """Open the lanes of the rules in force, as soon as the inhibit rules know all firing alerts.

        :param answers_seconds: how long to wait for Alertmanager's answers; None: until all have come
        """
        policy = self._active.policy()
        await self._judging.index()
        gone = await self._judging.until_written(lambda: self._store.rules.retire(policy, self._clock.now()))
        if self._ask_alertmanagers is not None:  # before held alerts are released
            asking = self._in_background(self._ask_alertmanagers())
            await asyncio.wait([asking], timeout=answers_seconds)
        lanes = (*policy.destinations.values(), *_retired(gone))
        await self._judging.until_written(lambda: self._lanes.serve(lanes))

    def _close_later(self, runtime: RuntimeConfig) -> None:
        """Close the channels that are no longer in force, when nothing is sent through them any more."""
        kept = set(map(id, self._active.runtime().channels.values()))
        unused = [channel for channel in runtime.channels.values() if id(channel) not in kept]
        if unused:
            self._unused += unused
            self._in_background(self._close_unused(unused))

    async def _close_unused(self, unused: list[Channel]) -> None:
        await self._lanes.settled()
        for channel in unused:
            self._unused.remove(channel)
            await channel.close()

    def _in_background(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Run some work in a task, until it ends or the service ends."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def watch_files(self) -> None:
        """Reload when a file that was read changes. Files of secrets are left to :meth:`watch_secrets`."""
        seen = await self._files.signature(self._watched_files())
        while True:
            await self._clock.wait(asyncio.Event(), self._clock.now() + _WATCH_EVERY)
            now = await self._files.signature(self._watched_files())
            if now != seen:
                # This comes before the load, so that a change during the load is noticed the next time.
                seen = now
                with suppress(ReloadError):  # it is logged and shown
                    await self.reload(FILE_CHANGED)

    def _watched_files(self) -> tuple[Any, ...]:
        config = self._active.config
        return tuple(each for each in config.files if each not in config.secret_files)

    async def watch_secrets(self) -> None:
        """Load the secrets again when one of their files changes, for example after a rotation."""
        while True:
            await self._clock.wait(asyncio.Event(), self._clock.now() + SECRETS_EVERY)
            with suppress(ReloadError):  # it is logged and shown
                await self.reload_changed_secrets()

    async def close(self) -> None:
        """End what runs in the background, and close the channels."""
        for task in list(self._background):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for channel in (*self._unused, *self._active.runtime().channels.values()):
            await channel.close()


def _retired(gone: dict[str, str]) -> list[Destination]:
    """Return the destinations that left routes.yaml while something was open there, so that its end is sent.

    :param gone: by key, as :func:`router.channels.destination_as_json` writes them
    """
    retired = []
    for key, text in gone.items():
        destination = destination_from_json(key, text)
        if destination is None:
            log.error("an end can't be sent: this version does not support the destination", destination=key)
        else:
            retired.append(destination)
    return retired
