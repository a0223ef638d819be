"""Alerts that the router raises about itself: a destination at which no delivery succeeds is an alert like any other.

A broken destination is reported immediately. One that fails in another way is reported when nothing has succeeded for a
while. All destinations that fail for one cause (the smarthost, the Slack token) share one alert. It ends when a delivery
has succeeded at the last of them.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import structlog

from router.clock import Clock
from router.core.head import Grant, LeaseLost
from router.decide import Policy, decide
from router.deliver.own_alerts import OwnAlerts
from router.metrics import Metrics
from router.model import SECOND, Alert, Broken, Millis, Rejected, Retry, Status
from router.render.words import counted, duration
from router.store import Store, StoreUnavailable, Trouble

log = structlog.get_logger(__name__)

ALERTNAME = "AlertRouterDestinationBroken"
# The destinations that an alert names. The others are counted.
_MAX_SUMMARY_NAMES, _MAX_DESCRIPTION_NAMES = 5, 50
# How long an alert waits, by the clock, for deliveries under way at destinations that may fail for the same cause.
_WAIT_FOR_PEERS: Millis = 5 * SECOND


class Neighbours(Protocol):
    """The functions of the lanes that self-alerts use."""

    def peers(self, destination: str, /) -> frozenset[str]:
        """Return the destinations that share limits, and in most cases a smarthost or a token, with this one."""
        ...

    def resume(self, destination: str, /) -> None:
        """End the pause of a destination."""
        ...

    def wake(self, destinations: Iterable[str], /) -> None:
        """Make these lanes look for due deliveries."""
        ...


class Duty(Protocol):
    """For which destinations this process is responsible. Replicas share them: each has those whose lanes it serves."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes may be responsible for some."""
        ...

    @property
    def is_caretaker(self) -> bool:
        """Whether this process ends the alerts about which nobody else knows anything."""
        ...

    def is_responsible(self, destination: str, /) -> bool:
        """Return whether this process is responsible for a destination now."""
        ...

    def grant_for(self, destination: str, /) -> Grant | None:
        """Return the lease by which it is responsible; None: no other process serves."""
        ...


class _AllHere:
    """No other process serves."""

    is_shared = False
    is_caretaker = True

    def is_responsible(self, _destination: str, /) -> bool:
        return True

    def grant_for(self, _destination: str, /) -> Grant | None:
        return None


ALL_HERE: Duty = _AllHere()


class SelfAlerts:
    """Raises and ends self-alerts. They are accepted as webhooks are and routed as all alerts are, but they are not
    sent to the destinations that they are about.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        policy: Callable[[], Policy],
        lanes: Neighbours,
        settled: Callable[[Collection[str]], Awaitable[None]],
        duty: Duty = ALL_HERE,
    ) -> None:
        """:param settled: returns when the deliveries under way at these destinations have ended
        :param duty: for which destinations this process is responsible
        """
        self._duty = duty
        self._store = store
        self._clock = clock
        self._policy = policy
        self._lanes = lanes
        self._settled = settled
        self._posting = OwnAlerts(store=store, clock=clock, metrics=metrics, policy=policy, wake=lanes.wake)
        self._troubles: dict[str, Trouble] | None = None
        """The troubles, by destination; None: they are not loaded from the store yet."""
        self._succeeded_at: dict[str, Millis] = {}
        """The last success by destination."""
        self._labels: dict[str, Mapping[str, str]] = {}
        """The labels of the firing alert by cause. The alert ends with the same labels, even if the rules have other
        severity levels by then.
        """
        self._reporting: dict[str, asyncio.Task[None]] = {}
        """Alerts that are being made, by cause."""

    async def set_served(self, destinations: Collection[str]) -> None:
        """Load the troubles that the last process stored, or another replica that was responsible. End those of destinations
        that no longer have a lane.

        :param destinations: the keys of the destinations that have a lane, here or at another replica
        :raises StoreUnavailable: the troubles could not be read
        """
        if self._troubles is None or self._duty.is_shared:
            await self._load()
        for key in (self._troubles or {}).keys() - set(destinations):
            await self.delivery_succeeded(key)
            self._succeeded_at.pop(key, None)

    async def _load(self) -> None:
        found, firing = await self._store.troubles()
        known = self._troubles or {}
        # What is known of destinations with a lane here is newer than what was read.
        fresh = (each for each in found if not self._lanes.peers(each.destination))
        loaded = {each.destination: each for each in fresh if self._duty.is_responsible(each.destination)}
        self._troubles = {**loaded, **known}
        mine = {each.cause: each.destination for each in self._troubles.values()}
        causes = {each.cause for each in found} | mine.keys()
        for alert in (each for each in firing if each.labels.get("alertname") == ALERTNAME):
            cause = alert.labels.get("cause", "")
            if cause in mine and self._labels.setdefault(cause, alert.labels) == alert.labels:
                continue
            if cause in mine or (cause not in causes and self._duty.is_caretaker):
                ended = replace(alert, status=Status.RESOLVED, ends_at=self._clock.now())
                await self._post(ended, mine.get(cause, ""))

    def forget_others(self) -> None:
        """Forget what is known of destinations for which this process is not responsible any more."""
        known = self._troubles or {}
        self._troubles = {key: each for key, each in known.items() if self._duty.is_responsible(key)}
        for key in [key for key in self._succeeded_at if not self._duty.is_responsible(key)]:
            del self._succeeded_at[key]
        causes = {each.cause for each in self._troubles.values()}
        for cause in self._labels.keys() - causes:
            del self._labels[cause]
        for cause in self._reporting.keys() - causes:
            self._reporting[cause].cancel()

    def restart(self) -> None:
        """Count the time of unreported troubles from now on. Call it after a step of the clock."""
        now, known = self._clock.now(), self._troubles or {}
        for key, trouble in list(known.items()):
            if trouble.reported is None:
                known[key] = replace(trouble, since=now)

    async def stop(self) -> None:
        """Cancel the alerts that are being made. They are posted after the next start, when the next attempt fails."""
        tasks = list(self._reporting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What is known about destinations.

    def trouble(self, destination: str) -> Trouble | None:
        """Return the trouble of a destination; None: no delivery has failed since the last success."""
        return (self._troubles or {}).get(destination)

    def broken_since(self, destination: str) -> Millis | None:
        """Return since when no delivery succeeds at a destination that is reported; None: it is not reported."""
        trouble = self.trouble(destination)
        return None if trouble is None or trouble.reported is None else trouble.since

    def broken_reason(self, destination: str) -> str | None:
        """Return the last failure of a destination that is reported, in the provider's words."""
        trouble = self.trouble(destination)
        return None if trouble is None or trouble.reported is None else trouble.reason

    def note_success(self, destination: str, at: Millis | None) -> None:
        """Record when a delivery last succeeded, as the last holder of the lane knows it. :param at: None: it knows of none"""
        if at is not None:
            self._succeeded_at.setdefault(destination, at)

    def succeeded_at(self, destination: str) -> Millis | None:
        """Return when a delivery last succeeded at a destination (epoch ms); None: none has since this process began."""
        return self._succeeded_at.get(destination)

    def report_at(self, destination: str, alert_after: Millis) -> Millis | None:
        """Return when to report a destination if nothing succeeds before (epoch ms); None: it is reported already, or never."""
        trouble = self.trouble(destination)
        if trouble is None or trouble.reported is not None or not alert_after:
            return None
        return trouble.since + alert_after

    # Events.

    async def delivery_failed(
        self, destination: str, outcome: Retry | Broken | Rejected, alert_after: Millis
    ) -> None:
        """Record a failed attempt.

        :param alert_after: after how long without a successful delivery the failure is reported; 0: never
        """
        if self._troubles is None:
            return
        now = self._clock.now()
        before = self._troubles.get(destination)
        trouble = before or Trouble(destination, now, destination, "")
        if trouble.since > now:  # the clock was stepped back
            trouble = replace(trouble, since=now)
        cause = trouble.cause
        if trouble.reported is None:
            cause = "" if isinstance(outcome, Rejected) else outcome.cause
        trouble = replace(
            trouble, cause=cause or destination, reason=outcome.shown,
            broken=trouble.broken or isinstance(outcome, Broken),
            gave_up=trouble.gave_up or isinstance(outcome, Rejected),
        )  # fmt: skip
        self._troubles[destination] = trouble
        if before is None or replace(before, reason="") != replace(trouble, reason=""):
            await self._save(trouble)
        await self.report_if_due(destination, alert_after)

    async def report_if_due(self, destination: str, alert_after: Millis) -> None:
        """Report a destination if it is time, or if others with its cause are reported already."""
        trouble = self.trouble(destination)
        if trouble is None or trouble.reported is not None or trouble.cause in self._reporting:
            return
        at = self.report_at(destination, alert_after)
        is_overdue = at is not None and at <= self._clock.now()
        if trouble.broken or is_overdue or self._is_reported(trouble.cause):
            task = asyncio.create_task(self._report(trouble.cause), name=f"report {trouble.cause}")
            self._reporting[trouble.cause] = task
            task.add_done_callback(lambda _: self._reporting.pop(trouble.cause, None))

    async def forget_failures(self, destination: str) -> None:
        """Forget the failures of a destination at which nothing is due any more: what failed no longer has to be sent.

        Failures that are reported, or after which a delivery was given up or the destination was found broken, stay.
        """
        trouble = self.trouble(destination)
        if trouble is not None and trouble.reported is None and not (trouble.gave_up or trouble.broken):
            await self._forget(destination)

    async def delivery_succeeded(self, destination: str) -> None:
        """Record a success, or that the destination is gone. The alert ends with the last destination of its cause."""
        self._succeeded_at[destination] = self._clock.now()
        trouble = self.trouble(destination)
        if trouble is None or self._troubles is None:
            return
        del self._troubles[destination]
        others = self._troubles_of(trouble.cause)
        if trouble.reported is not None:
            log.info("destination repaired", status="repaired", destination=destination)
            if not self._is_reported(trouble.cause) and not await self._post(
                self._alert([trouble], Status.RESOLVED), destination
            ):
                self._troubles.setdefault(destination, trouble)  # the next delivery ends it
                return
        await self._forget(destination)
        for each in others:  # the shared cause has possibly been repaired
            with suppress(StoreUnavailable):  # then each waits for its own next attempt
                await self._store.resume(each.destination)
            self._lanes.resume(each.destination)

    # Reports.

    def _troubles_of(self, cause: str) -> list[Trouble]:
        found = [each for each in (self._troubles or {}).values() if each.cause == cause]
        return sorted(found, key=lambda each: (each.since, each.destination))

    def _is_reported(self, cause: str) -> bool:
        return any(each.reported is not None for each in self._troubles_of(cause))

    async def _report(self, cause: str) -> None:
        """Post the alert of a cause, or update it with more destinations. It waits a little for deliveries under way at
        other destinations, so that the first alert names these, too.
        """
        try:
            await self._wait_for_peers(cause)
            await self._post_report(cause)
        except Exception:  # the next failure tries again
            log.exception("report failed unexpectedly", cause=cause)

    async def _post_report(self, cause: str) -> None:
        while fresh := [each for each in self._troubles_of(cause) if each.reported is None]:
            for each in fresh:
                log.error(
                    "destination broken",
                    status="broken",
                    destination=each.destination,
                    cause=cause,
                    reason=each.reason,
                )
            known = [each.reported for each in self._troubles_of(cause) if each.reported is not None]
            since = min(known, default=self._clock.now())
            reported = [replace(each, reported=since) for each in self._troubles_of(cause)]
            destination = reported[0].destination
            if not await self._post(self._alert(reported, Status.FIRING), destination):
                return
            for each in reported:
                if (still := self.trouble(each.destination)) is not None and self._troubles is not None:
                    self._troubles[each.destination] = replace(still, reported=since)
            if not self._is_reported(cause):  # all were repaired meanwhile
                await self._post(self._alert(reported, Status.RESOLVED), destination)

    async def _wait_for_peers(self, cause: str) -> None:
        failing = {each.destination for each in self._troubles_of(cause)}
        peers = set().union(*map(self._lanes.peers, failing)) if failing else set()
        if cause in failing:  # a destination that fails for its own cause
            return
        settled = asyncio.ensure_future(self._settled(peers))
        late = asyncio.ensure_future(self._clock.wait(asyncio.Event(), self._clock.now() + _WAIT_FOR_PEERS))
        try:
            await asyncio.wait([settled, late], return_when=asyncio.FIRST_COMPLETED)
        finally:
            settled.cancel()
            late.cancel()

    def _alert(self, troubles: list[Trouble], status: Status) -> Alert:
        """Return the alert of one cause. :param troubles: of the cause; all are reported, the first failure comes first"""
        now, policy, first = self._clock.now(), self._policy(), troubles[0]
        keys = [each.destination for each in troubles]
        labels = self._labels.get(first.cause) or {
            "alertname": ALERTNAME, policy.severity.label: policy.severity.levels[0], "cause": first.cause,
        }  # fmt: skip
        names = counted(keys, _MAX_SUMMARY_NAMES)
        if status is Status.RESOLVED:
            subject = names if first.cause == keys[0] else f"{names} and all that failed for the same cause"
            annotations = {"summary": f"{subject} can be notified again"}
        else:
            many = f"{len(keys)} destinations " if len(keys) > 1 else ""
            lasting = "" if first.broken else f"no delivery has succeeded for {duration(now - first.since)}: "
            annotations = {
                "summary": f"{many}{names} can't be notified: {lasting}{first.reason}",
                "description": f"Not notified: {counted(keys, _MAX_DESCRIPTION_NAMES)} ({len(keys)} in all). Their messages "
                "wait, and are given up after the channel's give_up_after. After the repair, the router tries again within "
                f"half an hour. To try immediately: alert-router deliveries resume {keys[0]}",
            }
        return Alert(
            hashlib.sha256(first.cause.encode()).hexdigest()[:16],
            labels,
            annotations,
            status,
            first.reported,
            now if status is Status.RESOLVED else None,
            about=self._excluded_destinations(troubles, labels),
        )

    def _excluded_destinations(self, troubles: list[Trouble], labels: Mapping[str, str]) -> frozenset[str]:
        """Return the destinations that the alert is not sent to: those with these troubles, and those of their peers
        that had no success since the first failure. The peers are not excluded if no destination would be left.
        """
        known = frozenset(each.destination for each in troubles)
        if troubles[0].cause in known:
            return known
        since = troubles[0].since
        peers = {key for each in known for key in self._lanes.peers(each)}
        wide = known | {key for key in peers if self._succeeded_at.get(key, 0) < since}
        return wide if decide(labels, self._policy(), self._clock.now(), about=wide) else known

    async def _save(self, trouble: Trouble) -> None:
        """Save the trouble. If the store is not writable, a restart forgets when the trouble started, and nothing
        else.
        """
        try:
            await self._store.save_trouble(trouble, self._duty.grant_for(trouble.destination))
        except (
            StoreUnavailable,
            LeaseLost,
        ):  # the store logs it, once for all parts; or another replica knows better
            return

    async def _forget(self, destination: str) -> None:
        if self._troubles is not None:
            self._troubles.pop(destination, None)
        try:
            await self._store.delete_trouble(destination, self._duty.grant_for(destination))
        except (StoreUnavailable, LeaseLost):  # after a restart the next delivery forgets it
            return

    async def _post(self, alert: Alert, destination: str) -> bool:
        """Post the alert. Return False if the store is not writable; the next failure or success tries again.

        :param destination: one that the alert is about
        """
        cause = alert.labels.get("cause", "")
        if not await self._posting.post(alert, self._duty.grant_for(destination)):
            return False
        if alert.status is Status.FIRING:
            self._labels[cause] = alert.labels
        elif (
            self._labels.get(cause) == alert.labels
        ):  # not a second alert of the cause, with labels of other rules
            del self._labels[cause]
        return True
