"""Publishes the states of the lanes that this replica serves, and keeps what others have published."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from router.clock import Clock
from router.core.head import Grant
from router.core.leases import Renewal, is_of_lanes
from router.deliver.lane import Lane
from router.deliver.lane_memory import LaneReport, SharedMemory
from router.deliver.shared_limiter import SharedLimiter
from router.model import Millis
from router.store import Store, StoredLane

_NOTHING_KNOWN = LaneReport()
# A change of a pause that lasts longer than this is published now, a shorter one with the next renewal.
_LONG_PAUSE: Millis = 3_000


class Sharing(Protocol):
    """What lanes need to know of the replicas, see :class:`router.replicas.Membership`."""

    @property
    def name(self) -> str:
        """The name of this replica, for people."""
        ...

    @property
    def session(self) -> str: ...

    @property
    def renewal(self) -> Renewal | None:
        """The result of the last renewal; None: there was none yet."""
        ...

    def renew_soon(self) -> None:
        """Renew the session now, because other leases are wanted."""
        ...


@dataclass(frozen=True, slots=True)
class Holder:
    """Which replica serves the lanes of a lease."""

    name: str | None
    """For people; None: none does."""
    is_missing: bool = False
    """No replica has held the lease for longer than a term."""


class LaneNews:
    """Publishes the states of lanes, and keeps those that others have published."""

    def __init__(self, store: Store, clock: Clock, sharing: Sharing) -> None:
        self._store = store
        self._clock = clock
        self._sharing = sharing
        self._reading = asyncio.Lock()
        """Held while the database is read, so that what was read last is the newest."""
        self._texts: dict[str, str] = {}
        """What is stored, by the key of the destination or the name of the lease."""
        self._reports: dict[str, LaneReport] = {}
        """By the key of the destination."""
        self._published: dict[tuple[Grant, str], str] = {}
        """What this process has published by the leases that it holds."""

    # Of others.

    async def refresh(self) -> None:
        """Read what is published. :raises StoreUnavailable: it can't be read"""
        async with self._reading:
            before, texts = self._texts, await self._store.lanes.read()
            self._reports = {
                name: self._reports[name] if before.get(name) == text else LaneReport.read(text)
                for name, text in texts.items()
                if not is_of_lanes(name)
            }
            self._texts = texts

    def report(self, destination: str) -> LaneReport:
        """Return the last known state of a lane."""
        return self._reports.get(destination, _NOTHING_KNOWN)

    def recall_shared(self, grant: Grant, limiter: SharedLimiter[Lane]) -> bool:
        """Let the shared rates of a lease go on as its last holder has left them. Return whether what is known of its lanes is
        exact.
        """
        memory = SharedMemory.read(self._texts.get(grant.name, "{}"))
        limiter.recall(*memory.buckets(self._clock.now()), self._clock.elapsed())
        return memory.released_by >= grant.fence - 1

    def holders(self) -> dict[str, Holder]:
        """Return which replica holds each lease, by the name of the lease."""
        renewal = self._sharing.renewal
        if renewal is None:
            return {}
        names = {each.id: each.name for each in renewal.replicas}
        me = next((each for each in renewal.replicas if each.id == self._sharing.session), None)
        # Without a session nothing newer than the last renewal is known.
        missing_since = 0 if me is None else me.renewed_at - (me.expires_at - me.renewed_at)
        return {
            each.name: Holder(names[each.replica])
            if each.replica in names
            else Holder(None, is_missing=each.since < missing_since)
            for each in renewal.leases
        }

    # Own.

    def must_publish_now(self, grant: Grant, destination: str, report: LaneReport) -> bool:
        """Return whether others are to know now that a lane pauses, or does not pause any more, or that it is broken or repaired."""
        known = self._published.get((grant, destination))
        before = _NOTHING_KNOWN if known is None else LaneReport.read(known)
        if (report.needs_repair, report.broken_since) != (before.needs_repair, before.broken_since):
            return True
        horizon = self._clock.now() + _LONG_PAUSE
        changed = abs(report.memory.paused_until - before.memory.paused_until) > _LONG_PAUSE
        return changed and max(report.memory.paused_until, before.memory.paused_until) > horizon

    async def publish(
        self,
        states: Mapping[Grant, Mapping[str, str]],
        gone: Collection[str] = (),
    ) -> None:
        """Publish what has changed.

        :param states: JSON by the key of the destination or the name of the lease, by the lease; of all leases that are held
        :param gone: destinations that are not served any more
        :raises StoreUnavailable: it can't be stored
        """
        self._published = {key: text for key, text in self._published.items() if key[0] in states}
        changed = {
            grant: [
                StoredLane(name, text)
                for name, text in several.items()
                if self._published.get((grant, name)) != text
            ]
            for grant, several in states.items()
        }
        stored = [name for name in gone if name in self._texts]
        if not stored and not any(changed.values()):
            return
        held = await self._store.lanes.publish(changed, stored, self._clock.now())
        self._published |= {
            (grant, each.name): each.state
            for grant, several in changed.items()
            if grant in held
            for each in several
        }
        for name in stored:
            self._texts.pop(name, None)

    def destinations(self) -> Collection[str]:
        """Return the destinations of which a state is stored."""
        return self._reports.keys()
