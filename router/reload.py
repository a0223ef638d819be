"""Puts configurations in force: at the start, when a person asks for a reload, and when a watched file changes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from router.active_config import ActiveConfig
from router.channels import destination_as_json, destination_from_json
from router.channels.base import Channel
from router.clock import Clock
from router.config import ConfigError
from router.config_files import ConfigFiles, FileOnDisk, LoadedConfig
from router.core.rules_in_force import Asking, Choice, SharedRules
from router.decide import Policy
from router.deliver import Lanes, RuntimeConfig
from router.load_recording import LoadRecording
from router.load_status import LoadStatus, ReloadError
from router.model import SECOND, Destination, Millis
from router.rejudging import Rejudging
from router.render import TemplateError
from router.replicas.rules_agreement import RulesAgreement
from router.store import Adoption, RulesReplaced, Store, StoreUnavailable
from router.telemetry import Telemetry

log = structlog.get_logger(__name__)

# Who asks for a load, if it is no user.
START, SIGNAL, FILE_CHANGED, SECRET_CHANGED = "start", "signal", "file changed", "secret changed"
JOINED, UNSERVED = "rules in force joined", "no replica agreed"

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
        agreement: RulesAgreement,
        replica: str = "",
    ) -> None:
        """
        :param ask_alertmanagers: compares the store with what still fires; None: there is nothing to ask
        :param replica: the name of this replica, for people
        """
        self._agreement = agreement
        self._replica = replica
        self._compared: object = None
        """The rules in force and the files that were last compared with them."""
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
        self._recording = LoadRecording(status, store, clock)
        self._unused: list[Channel] = []
        """Open channels that are no longer in force."""

    def after_loads(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` each time when another configuration is in force."""
        self._after_loads.append(notify)

    async def adopt(self) -> Policy:
        """Apply the loaded rules to the store when the service starts, and return them. They may have to wait, see
        :func:`router.core.rules_in_force.choose`. :raises StoreUnavailable:
        """
        await self._adopt(self._active.loaded, START, Asking.START)
        return self._active.policy()

    async def start(self, lanes_are_open: Callable[[], None]) -> None:
        """After :meth:`adopt`: open the lanes, and return when all firing alerts are judged by the rules.

        :param lanes_are_open: is called as soon as notifications can be sent
        """
        async with self._running:
            with suppress(RulesReplaced):
                if self._agreement.agrees:
                    await self._open_lanes(None)
            lanes_are_open()
            if self._agreement.agrees:
                await self._judging.finish()

    async def reload(self, actor: str) -> None:
        """Load the files again, and put them in force as a whole or not at all.

        :param actor: who asks for it, for the history: a user's name, or one of the constants of this module
        :raises ReloadError: they can't be used, and the last good configuration stays in force; or they are in force,
            but something failed after that, and is tried again
        """
        async with self._running, self._recording.failures_shown(actor, only_secrets=False):
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
            async with self._recording.failures_shown(SECRET_CHANGED, only_secrets=True):
                with suppress(StoreUnavailable):  # the store logs it once
                    await self._store.ready()  # before channels are made for nothing
                    await self._put_in_force(
                        lambda last_good: self._files.load_secrets(before, last_good), SECRET_CHANGED
                    )

    async def follow(self, in_force: SharedRules | None) -> None:
        """Compare the rules of this replica with those in force. Join these if they are the loaded ones again, or if the files
        on the disk have become those in force.

        :raises StoreUnavailable: the next call tries again
        """
        async with self._running:
            did_agree = self._agreement.agrees
            self._observe(in_force)
            if in_force is None or (did_agree and self._agreement.agrees):
                return
            if self._agreement.agrees:
                await self._ask(self._active.loaded, JOINED, Asking.JOINING)
                return
            files = in_force.fingerprint, await self._files.signature(self._watched_files())
            if files == self._compared:
                return
            with suppress(ConfigError, TemplateError):  # the pages show the mistakes
                loaded = await self._files.load(await self._store.fragments())
                if loaded.config.policy.fingerprint == in_force.fingerprint:
                    await self._ask(loaded, JOINED, Asking.JOINING)
            self._compared = files

    async def judge_rest(self) -> None:
        """Judge the firing alerts that are not judged yet by the rules of this replica, which are in force."""
        async with self._running:
            await self._judging.finish()

    async def take_over(self, unserved: SharedRules) -> None:
        """Put the rules of this replica in force, because no replica judges by those in force. :raises StoreUnavailable:"""
        async with self._running:
            await self._ask(self._active.loaded, UNSERVED, Asking.UNSERVED, unserved.fingerprint)

    async def files_on_disk(self) -> tuple[FileOnDisk, ...]:
        """Return how the files on the disk compare with the configuration in force."""
        return await self._files.on_disk(self._active.loaded)

    async def _put_in_force(
        self, load: Callable[[dict[str, str]], Awaitable[LoadedConfig]], actor: str
    ) -> None:
        last_good = await self._store.fragments()
        loaded = await load(last_good)
        asking = Asking.EXPLICIT
        if actor == SECRET_CHANGED:
            asking = Asking.START if self._agreement.agrees else Asking.JOINING
        await self._ask(loaded, actor, asking)

    async def _ask(self, loaded: LoadedConfig, actor: str, asking: Asking, unserved: str = "") -> None:
        """Ask to judge by rules, and begin with it if they are put in force or joined. :raises ReloadError: see :meth:`reload`"""
        before = self._active.runtime()
        if await self._adopt(loaded, actor, asking, unserved) is Choice.WAIT:
            self._close_later(before)
            return
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
        except RulesReplaced:
            pass  # another replica has put other rules in force just now
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

    def _observe(self, in_force: SharedRules | None) -> None:
        self._agreement.observe(in_force, self._active.policy().fingerprint, self._active.config.digest)
        if not self._agreement.agrees:
            self._recording.forget()

    async def _adopt(self, loaded: LoadedConfig, actor: str, asking: Asking, unserved: str = "") -> Choice:
        """Put rules in force, or join those in force; :meth:`_open_lanes` and the judging do the rest.

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
            adoption = Adoption(config.policy, destinations, parts, asking, actor, self._replica, unserved)
            adopted = await self._store.rules.ask(adoption, now)
        except BaseException:
            refused = self._active.runtime()
            self._active.restore(before, runtime_before)
            self._close_later(refused)
            raise
        is_waiting = adopted.choice is Choice.WAIT
        if is_waiting and asking is not Asking.START:
            refused = self._active.runtime()
            self._active.restore(before, runtime_before)
            self._close_later(refused)
            self._observe(adopted.rules)
            return adopted.choice
        self._observe(adopted.rules)
        self._status.loaded(config, now, only_secrets=loaded.only_secrets, by=actor)
        self._status.set_phase(adopted.left)
        for notify in self._after_loads:
            notify()
        await self._telemetry.apply(config.telemetry, config.network)
        if adopted.choice is Choice.PUT:
            await self._recording.record(actor, config)
        return adopted.choice

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
        # They may have changed since they were read at the start.
        has_changed = await self._files.changed_since_read(self._active.loaded)
        while True:
            if has_changed:
                with suppress(ReloadError):  # it is logged and shown
                    await self.reload(FILE_CHANGED)
            await self._clock.wait(asyncio.Event(), self._clock.now() + _WATCH_EVERY)
            before, seen = seen, await self._files.signature(self._watched_files())
            has_changed = seen != before

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
