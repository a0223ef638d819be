"""Notices when a heartbeat does not come any more, when a source posts nothing, and when they come again.

Only the time in which the router could receive counts. After a restart, the silence before the stop and the time since the
start are added; the time between does not count. After a step of the clock, or a time in which the database could not be
written, the silence counts again from zero.

Where replicas share the database, one of them watches: the one for which :meth:`SilenceWatch.serve` runs. All of them hear.
What they have heard they add to the database every few seconds, and a silence is reported later by that time. The others show
what the database has. The time in which any replica ran counts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import structlog

from router.clock import Clock
from router.decide import Policy
from router.deliver.own_alerts import OwnAlerts
from router.metrics import Metrics
from router.model import MINUTE, SECOND, Alert, LastHeard, Millis, Source, Watched, WatchKey, WatchState
from router.render.words import duration
from router.silence_alerts import ALERTNAMES, end_of_silence, key_of, silence_alert, watched_by
from router.store import RETRY_AFTER_FAILED_WRITE, SilenceRecord, Store, StoreUnavailable, merged_heard

log = structlog.get_logger(__name__)

_LOOK_EVERY: Millis = MINUTE
"""How often the state is saved. A silence is noticed when its time has come."""
TELL_EVERY: Millis = 10 * SECOND
"""How often a replica adds what it has heard to the database, and reads what others have heard."""
_LAST_SAVE_SECONDS = 1.0
"""A stop waits no longer, for example for a disk that hangs."""


@dataclass(frozen=True, slots=True)
class _Silence:
    """A silence that is reported."""

    alert: Alert
    counts_from: Millis
    """When its count began (epoch ms). If the present count began at another time, something was heard meanwhile."""


class SilenceWatch:
    """Watches the heartbeats of all sources, and the sources themselves."""

    def __init__(  # noqa: PLR0913  (keyword-only: each is a part of the service that it needs)
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        policy: Callable[[], Policy],
        sources: Callable[[], Iterable[Source]],
        timezone: Callable[[], str],
        wake: Callable[[Iterable[str]], None],
        counting_since: Callable[[], Awaitable[Millis]],
        is_shared: bool = False,
    ) -> None:
        """:param is_shared: other replicas may hear, too
        :param wake: makes the lanes of these destinations look for due deliveries
        :param counting_since: returns since when time has passed without a step of the clock (epoch ms), see
            :class:`router.clock_watch.ClockWatch`
        """
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._sources = sources
        self._timezone = timezone
        self._counting_since = counting_since
        self._posting = OwnAlerts(store=store, clock=clock, metrics=metrics, policy=policy, wake=wake)
        self._heard: dict[WatchKey, LastHeard] = {}
        self._silences: dict[WatchKey, _Silence] = {}
        self._stray: list[Alert] = []
        """Self-alerts of an earlier process that are to end: a newer one is about the same."""
        self._save_at: Millis = 0
        """By the monotonic clock."""
        self._saved: dict[WatchKey, LastHeard] | None = None
        self._changed = asyncio.Event()
        self._is_shared = is_shared
        self._unsaved: dict[WatchKey, LastHeard] = {}
        """What this replica has heard and not yet added to the database, if it is shared."""
        self._is_watching = False

    async def load(self) -> None:
        """Continue where the last process stopped, or another replica. Call it before webhooks are accepted, and before
        :meth:`serve`. :raises StoreUnavailable:
        """
        now = self._clock.now()
        record = await self._store.silence_records.load()
        if record is not None and self._is_shared:
            self._hear_others(record, await self._counting_since())
        elif record is not None:
            for key, each in record.heard.items():
                silent_for = max(0, record.saved_at - each.counts_from)
                seen_at = None if each.seen_at is None else min(each.seen_at, now)
                self._heard[key] = LastHeard(seen_at, now - silent_for)
        await self._load_silences(now)
        self._refresh(now)

    def _hear_others(self, record: SilenceRecord, since: Millis) -> None:
        """Add what all replicas have heard. :param since: time has passed without a gap since then"""
        gap = max(0, since - record.saved_at)
        heard = {key: LastHeard(each.seen_at, each.counts_from + gap) for key, each in record.heard.items()}
        self._heard = merged_heard(self._heard, heard, self._clock.now())

    async def _load_silences(self, now: Millis) -> None:
        """Find the silences that are reported, by whichever process."""
        silences: dict[WatchKey, _Silence] = {}
        stray: list[Alert] = []
        within = {each.key: each.within for each in watched_by(self._policy(), self._sources())}
        for alert in await self._store.silence_records.firing_self_alerts(ALERTNAMES):
            key = key_of(alert)
            if key in silences:
                stray.append(silences[key].alert)
            heard = self._heard.setdefault(key, LastHeard(None, now))
            reported_at, counts_from = alert.starts_at or 0, heard.counts_from
            if (
                heard.seen_at is not None and heard.seen_at > reported_at
            ):  # it came again, and nobody has said so yet
                counts_from = reported_at - within.get(key, 0)
            silences[key] = _Silence(alert, counts_from)
        self._silences, self._stray = silences, stray

    def note(self, source: str, heartbeats: Iterable[str]) -> None:
        """Record that a webhook of a source was accepted. :param heartbeats: the heartbeats that it reports as firing"""
        now = self._clock.now()
        self._note(("", source), now)
        for name in heartbeats:
            self._note((name, source), now)

    def note_heartbeats(self, source: str, heartbeats: Iterable[str]) -> None:
        """Record heartbeats of a webhook that was accepted before, and is decided now."""
        for name in heartbeats:
            self._note((name, source), self._clock.now())

    def _note(self, key: WatchKey, now: Millis) -> None:
        silence = self._silences.get(key)
        # In the millisecond of a start, the silence may count from now, too.
        counts_from = now + 1 if silence is not None and silence.counts_from == now else now
        self._heard[key] = LastHeard(now, counts_from)
        if self._is_shared:
            self._unsaved[key] = self._heard[key]
        self._metrics.heard(*key, now)
        if silence is not None:
            self._changed.set()

    def look_soon(self) -> None:
        """Look at what is watched soon: another configuration is in force."""
        self._changed.set()

    def restart(self) -> None:
        """Count all silences that are not reported from now on. Call it after a step of the clock."""
        now = self._clock.now()
        for key in self._heard.keys() - self._silences.keys():
            self._heard[key] = LastHeard(self._heard[key].seen_at, now)
        self._save_at = 0
        self._changed.set()

    async def serve(self) -> None:
        """Report silences and their ends, without end."""
        self._is_watching = True
        try:
            while True:
                self._changed.clear()
                until = self._clock.now() + _LOOK_EVERY
                try:
                    until = min(until, await self._look())
                except StoreUnavailable:
                    pass  # the store logs it
                except Exception:  # the task must go on: it tries again
                    log.exception("silent sources could not be looked for")
                await self._clock.wait(self._changed, until)
        finally:
            self._is_watching = False

    async def share(self) -> None:
        """Add what this replica hears to the database, without end. While another replica watches, show what it finds."""
        never = asyncio.Event()
        while True:
            try:
                await self._save_news()
                if not self._is_watching:
                    await self._follow()
            except StoreUnavailable:
                pass  # the store logs it
            except Exception:  # the task must go on: it tries again
                log.exception("what other replicas have heard is not known")
            await self._clock.wait(never, self._clock.now() + TELL_EVERY)

    async def _save_news(self) -> None:
        """Add what this replica has heard to the database: one write, however many webhooks there were."""
        news, self._unsaved = self._unsaved, {}
        if not news:
            return
        try:
            await self._store.silence_records.merge(SilenceRecord(self._clock.now(), news))
        except BaseException:
            self._unsaved = {**news, **self._unsaved}
            raise

    async def _follow(self) -> None:
        """Show what the replica that watches has found."""
        record = await self._store.silence_records.load()
        if record is not None:
            self._hear_others(record, 0)
        if not self._is_watching:  # it may have begun meanwhile
            await self._load_silences(self._clock.now())
            self._show(self._refresh(self._clock.now()).values())

    async def close(self) -> None:
        """Save what was heard, unless it takes too long. Otherwise the silence since the last save is not counted."""
        with suppress(StoreUnavailable, TimeoutError):  # the store logs it
            async with asyncio.timeout(_LAST_SAVE_SECONDS):
                await (self._save_news() if self._is_shared else self._save(self._clock.now()))

    def describe(self) -> list[WatchState]:
        """Return the state of each heartbeat of each source, then of each source."""
        now, states = self._clock.now(), []
        for watched in watched_by(self._policy(), self._sources()):
            heard = self._heard.get(watched.key, LastHeard(None, now))
            silence = self._silences.get(watched.key)
            since = None if silence is None or not watched.within else silence.alert.starts_at
            states.append(WatchState(watched, heard, since))
        return states

    def silent(self) -> list[WatchState]:
        """Return what is reported as silent, the oldest silence first. It is quick, however many sources there are."""
        return [
            WatchState(Watched(*key, within=0), self._heard[key], silence.alert.starts_at)
            for key, silence in self._silences.items()
        ]

    def silent_heartbeats(self) -> list[str]:
        """Return the heartbeats that are reported as silent, for people."""
        return [each.watched.words for each in self.silent() if each.watched.heartbeat]

    # Looking.

    async def _look(self) -> Millis:
        """Report what is silent, and what is back. Return when to look again (epoch ms).

        :raises StoreUnavailable: whether anything is silent is not known now
        """
        await self._counting_since()  # a step of the clock is no silence
        if self._is_shared and (record := await self._store.silence_records.load()) is not None:
            self._hear_others(record, 0)
        now = self._clock.now()
        # What another replica has heard just before the end may not be known here yet.
        grace = 2 * TELL_EVERY if self._is_shared else 0
        watched = self._refresh(now)
        while self._stray and await self._posting.post(
            end_of_silence(self._stray[0], "A newer self-alert reports the same silence", now)
        ):
            self._stray.pop(0)
        for key in list(self._silences):
            await self._end_if_over(key, watched.get(key), now)
        due = []
        for key, each in watched.items():
            if not each.within or key in self._silences:
                continue
            at = self._heard[key].counts_from + each.within + grace
            if at > now:
                due.append(at)
            elif not await self._report(each, now):
                due.append(now + RETRY_AFTER_FAILED_WRITE)
        self._show(watched.values())
        if self._clock.elapsed() >= self._save_at:
            await self._save(now)
        if self._is_shared and self._silences:  # another replica may hear that they are over
            due.append(now + TELL_EVERY)
        return min(due, default=now + _LOOK_EVERY)

    def _refresh(self, now: Millis) -> dict[WatchKey, Watched]:
        """Begin to count for what is new in the configuration, and forget what is no longer in it."""
        watched = {each.key: each for each in watched_by(self._policy(), self._sources())}
        for key in self._heard.keys() - watched.keys() - self._silences.keys():
            del self._heard[key]
        for key in watched.keys() - self._heard.keys():
            self._heard[key] = LastHeard(None, now)
        return watched

    async def _report(self, watched: Watched, now: Millis) -> bool:
        """Post the alert about a silence. Return False if the store is not writable."""
        heard, policy, zone = self._heard[watched.key], self._policy(), ZoneInfo(self._timezone())
        alert = silence_alert(watched, heard, policy, zone, now)
        if await self._posting.post(alert) is None:
            return False
        self._silences[watched.key] = _Silence(alert, heard.counts_from)
        if self._heard[watched.key] is not heard:  # it was heard meanwhile
            self._changed.set()
        log.error(
            "nothing is heard", status="silent", heartbeat=watched.heartbeat or None, tenant=watched.source,
            seconds=(now - heard.counts_from) // SECOND,
        )  # fmt: skip
        return True

    async def _end_if_over(self, key: WatchKey, watched: Watched | None, now: Millis) -> None:
        """End the alert about a silence if the sender was heard again, or is not watched any more."""
        silence, heard = self._silences[key], self._heard[key]
        if watched is None or not watched.within:
            why = "is no longer watched"
        elif heard.counts_from != silence.counts_from:
            why = f"is back, after a silence of {duration(heard.counts_from - silence.counts_from)}"
        elif silence.alert.labels.get("receiver") != watched.receiver:
            why = "is still silent, and another receiver is notified of it now"
        else:
            return
        name, source = key
        words = Watched(name, source, 0, None).words
        summary = f"{words[0].upper()}{words[1:]} {why}"
        if await self._posting.post(end_of_silence(silence.alert, summary, now)) is None:
            return
        del self._silences[key]
        log.info("silence is over", status="back", heartbeat=name or None, tenant=source, reason=why)
        if watched is None:
            del self._heard[key]

    def _show(self, watched: Iterable[Watched]) -> None:
        self._metrics.watched(
            (
                each.heartbeat,
                each.source,
                self._heard[each.key].seen_at,
                each.key in self._silences,
                each.within > 0,
            )
            for each in watched
        )

    async def _save(self, now: Millis) -> None:
        heard = dict(self._heard)
        if heard != self._saved or any(each.within for each in watched_by(self._policy(), self._sources())):
            record = SilenceRecord(now, heard)
            if self._is_shared:
                await self._store.silence_records.merge(record, only=heard.keys())
            else:
                await self._store.silence_records.save(record)
        self._saved = heard
        self._save_at = self._clock.elapsed() + _LOOK_EVERY
