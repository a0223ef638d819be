"""Puts configurations in force: at the start, when a person asks for a reload, and when a watched file changes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from router.active_config import ActiveConfig
from router.channels import destination_as_json, destination_from_json
from router.clock import Clock
from router.config import ConfigError
from router.config_files import ConfigFiles, LoadedConfig
from router.decide import Policy
from router.deliver import Lanes, RuntimeConfig
from router.load_status import LoadStatus, ReloadError
from router.model import SECOND, Destination, Millis
from router.rejudging import Rejudging
from router.render import TemplateError
from router.store import Adoption, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# How often watched files are compared with how they were.
_WATCH_EVERY: Millis = 2 * SECOND
SECRETS_EVERY: Millis = 5 * SECOND
"""How often the files of secrets are compared with how they were when they were read."""
# How long a reload waits for Alertmanager's answers. Later answers still count.
_ANSWERS_SECONDS = 1.0


class Reloader:
    """Loads a configuration, adopts it in the store, opens its lanes, and judges the firing alerts by it.

    One at a time: a reload waits for the one before it, or for the start.
    """

    def __init__(
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
    ) -> None:
        """:param ask_alertmanagers: compares the store with what still fires; None: there is nothing to ask"""
        self._files = files
        self._active = active
        self._status = status
        self._store = store
        self._clock = clock
        self._lanes = lanes
        self._judging = judging
        self._ask_alertmanagers = ask_alertmanagers
        self._running = asyncio.Lock()
        self._background: set[asyncio.Task[object]] = set()

    async def adopt(self) -> Policy:
        """Apply the rules in force to the store when the service starts, and return them. :raises StoreUnavailable:"""
        await self._adopt(self._active.loaded)
        return self._active.policy()

    async def start(self, lanes_are_open: Callable[[], None]) -> None:
        """After :meth:`adopt`: open the lanes, and return when all firing alerts are judged by the rules.

        :param lanes_are_open: is called as soon as notifications can be sent
        """
        async with self._running:
            await self._open_lanes(None)
            lanes_are_open()
            await self._judging.finish()

    async def reload(self) -> None:
        """Load the files again, and put them in force as a whole or not at all.

        :raises ReloadError: they can't be used, and the last good configuration stays in force
        """
        async with self._running:
            with self._failures_shown(only_secrets=False):
                await self._put_in_force(self._files.load)

    async def reload_secrets(self) -> bool:
        """Read the files of secrets again, and put the configuration in force with them.

        :returns: False: the store can't be written now, which is to be tried again
        :raises ReloadError: a secret can't be used, and the last good configuration stays in force
        """
        async with self._running:
            before = self._active.loaded
            with self._failures_shown(only_secrets=True):
                try:
                    await self._put_in_force(lambda last_good: self._files.load_secrets(before, last_good))
                except StoreUnavailable:  # the store logs it, once for all parts
                    return False
            return True

    async def _put_in_force(self, load: Callable[[dict[str, str]], Awaitable[LoadedConfig]]) -> None:
        last_good = await self._store.fragments()
        loaded = await load(last_good)
        before = self._active.runtime()
        await self._adopt(loaded)
        await self._open_lanes(_ANSWERS_SECONDS)
        await self._judging.finish()
        destinations = len(loaded.config.policy.destinations)
        log.info("reloaded", config=str(self._files.path), destinations=destinations)
        self._in_background(self._close_unused(before))

    @contextmanager
    def _failures_shown(self, *, only_secrets: bool) -> Iterator[None]:
        """Log and show why a configuration can't be put in force. :raises ReloadError: in place of what was raised"""
        try:
            yield
        except (ConfigError, TemplateError, StoreUnavailable) as error:
            shown = error.shown if isinstance(error, ConfigError) else str(error)
            self._status.failed(shown, only_secrets=only_secrets)
            raise ReloadError(shown) from error
        except Exception as error:
            log.exception("reload failed unexpectedly")
            shown = f"internal: {type(error).__name__}; the log says more"
            self._status.failed(shown, only_secrets=only_secrets)
            raise ReloadError(shown) from error

    async def _adopt(self, loaded: LoadedConfig) -> None:
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
            self._active.restore(before, runtime_before)
            raise
        self._status.loaded(config, now, only_secrets=loaded.only_secrets)
        self._status.set_phase(left)

    async def _open_lanes(self, answers_seconds: float | None) -> None:
        """Notify by the rules in force, as soon as the inhibit rules know all firing alerts.

        :param answers_seconds: how long to wait for Alertmanager's answers; None: for all of them
        """
        policy = self._active.policy()
        await self._judging.index()
        gone = await self._judging.until_written(lambda: self._store.rules.retire(policy, self._clock.now()))
        if self._ask_alertmanagers is not None:  # before held alerts are released
            asking = self._in_background(self._ask_alertmanagers())
            await asyncio.wait([asking], timeout=answers_seconds)
        lanes = (*policy.destinations.values(), *_retired(gone))
        await self._judging.until_written(lambda: self._lanes.serve(lanes))

    async def _close_unused(self, before: RuntimeConfig) -> None:
        """Close the channels that are no longer in force, when nothing is sent through them any more."""
        kept = set(map(id, self._active.runtime().channels.values()))
        unused = [channel for channel in before.channels.values() if id(channel) not in kept]
        try:
            if unused:
                await self._lanes.settled()
        finally:
            for channel in unused:
                await channel.close()

    def _in_background(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Run it until it ends or the service does."""
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
                # Noted before the load: what is written during the load is loaded the next time.
                seen = now
                with suppress(ReloadError):  # it is logged and shown
                    await self.reload()

    def _watched_files(self) -> tuple[Any, ...]:
        config = self._active.config
        return tuple(each for each in config.files if each not in config.secret_files)

    async def watch_secrets(self) -> None:
        """Load the secrets again when one of their files changes, for example after a rotation."""
        loaded = self._active.loaded
        seen = loaded.secrets_signature
        while True:
            await self._clock.wait(asyncio.Event(), self._clock.now() + SECRETS_EVERY)
            if self._active.loaded is not loaded:
                loaded = self._active.loaded
                seen = loaded.secrets_signature
            now = await self._files.signature(loaded.config.secret_files)
            if now == seen:
                continue
            with suppress(ReloadError):  # it is logged and shown
                if not await self.reload_secrets():
                    continue  # and try again
            seen = now

    async def close(self) -> None:
        """End what runs in the background, and close the channels."""
        for task in list(self._background):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for channel in self._active.runtime().channels.values():
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
