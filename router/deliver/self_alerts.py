"""What the router says of itself: destinations that nothing gets through to are an alert like any other.

A destination that is broken is reported at once, one that fails in another way when nothing has got through for a
while. All that fail for one cause (the smarthost, the Slack token) are one report. It ends when something has got
through to the last of them.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from router.clock import Clock
from router.decide import Policy, decide
from router.metrics import Metrics
from router.model import OWN_SOURCE, SECOND, Alert, Broken, Millis, Rejected, Retry, Status, Webhook
from router.render.words import counted, duration
from router.store import Store, StoreUnavailable, Trouble

log = structlog.get_logger(__name__)

ALERTNAME = "AlertRouterDestinationBroken"
# Destinations that a report names in its summary and in its description; the rest is counted.
_NAMED_SHORT, _NAMED = 5, 50
# How long a report waits, by the clock, for others with the same cause that are being tried at this moment.
_GATHER: Millis = 5 * SECOND


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What reports need to know of the lanes."""

    alike: Callable[[str], frozenset[str]]
    """The destinations that are reached in the same way as this one: through the same smarthost, with the same token."""
    at_rest: Callable[[Collection[str]], Awaitable[None]]
    """Returns when no delivery is under way at these."""
    try_now: Callable[[Collection[str]], Awaitable[None]]
    """Ends the pauses of these."""
    wake: Callable[[Iterable[str]], None]


class SelfAlerts:
    """Raises and ends these alerts. They are accepted as a webhook is, and routed as every alert is, except that
    they are not sent to the destinations that they are about.
    """

    def __init__(
        self, store: Store, clock: Clock, metrics: Metrics, policy: Callable[[], Policy], around: Surroundings
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._around = around
        self._troubles: dict[str, Trouble] | None = None
        self._through: dict[str, Millis] = {}
        """By destination: when something got through last."""
        self._labels: dict[str, Mapping[str, str]] = {}
        """By cause: those of its report. It ends by the same, though the rules may have other levels since."""
        self._reporting: dict[str, asyncio.Task[None]] = {}
        """By cause: reports that are being put together."""

    async def begin(self, served: Collection[str]) -> None:
        """Go on where the last process stopped. What is not served any more is nobody's to mend.

        :param served: the keys of the destinations that have a lane
        """
        if self._troubles is None:
            found, said = await self._store.troubles()
            self._troubles = {each.destination: each for each in found}
            causes = {each.cause for each in found}
            for alert in said:
                cause = alert.labels.get("cause", "")
                if cause in causes and cause not in self._labels:
                    self._labels[cause] = alert.labels
                else:
                    await self._post(replace(alert, status=Status.RESOLVED, ends_at=self._clock.now()))
        for key in self._troubles.keys() - set(served):
            await self.got_through(key)

    def restart(self) -> None:
        """The clock was stepped: what is not reported yet counts from now."""
        now, known = self._clock.now(), self._troubles or {}
        for key, trouble in list(known.items()):
            if trouble.reported is None:
                known[key] = replace(trouble, since=now)

    async def stop(self) -> None:
        """Reports that are not out yet are made after the next start, with the next failure."""
        tasks = list(self._reporting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def trouble(self, key: str) -> Trouble | None:
        """None: it is well."""
        return (self._troubles or {}).get(key)

    def broken_since(self, key: str) -> Millis | None:
        """Since when nothing gets through to a destination that is reported; None: it isn't."""
        trouble = self.trouble(key)
        return None if trouble is None or trouble.reported is None else trouble.since

    def broken_reason(self, key: str) -> str | None:
        """What the last attempt came to at a destination that is reported, in the provider's words."""
        trouble = self.trouble(key)
        return None if trouble is None or trouble.reported is None else trouble.reason

    def report_at(self, key: str, alert_after: Millis) -> Millis | None:
        """When a destination is to be reported if nothing gets through until then; None: it is, or never."""
        trouble = self.trouble(key)
        if trouble is None or trouble.reported is not None or not alert_after:
            return None
        return trouble.since + alert_after

    async def failed(self, key: str, outcome: Retry | Broken | Rejected, alert_after: Millis) -> None:
        """An attempt came to this. :param alert_after: how long nothing may get through; 0: any time"""
        if self._troubles is None:
            return
        now = self._clock.now()
        before = self._troubles.get(key)
        trouble = before or Trouble(key, now, key, "")
        if trouble.since > now:  # the clock was stepped back
            trouble = replace(trouble, since=now)
        cause = trouble.cause
        if trouble.reported is None:
            cause = "" if isinstance(outcome, Rejected) else outcome.cause
        broken = trouble.broken or isinstance(outcome, Broken)
        trouble = replace(
            trouble, cause=cause or key, reason=outcome.shown, broken=broken,
            gave_up=trouble.gave_up or isinstance(outcome, Rejected),
        )  # fmt: skip
        self._troubles[key] = trouble
        if before is None or replace(before, reason="") != replace(trouble, reason=""):
            await self._keep(trouble)
        await self.look(key, alert_after)

    async def look(self, key: str, alert_after: Millis) -> None:
        """Report a destination if it is time, or if others with its cause are reported already."""
        trouble = self.trouble(key)
        if trouble is None or trouble.reported is not None or trouble.cause in self._reporting:
            return
        at = self.report_at(key, alert_after)
        overdue = at is not None and at <= self._clock.now()
        if trouble.broken or overdue or self._reported(trouble.cause):
            task = asyncio.create_task(self._report(trouble.cause), name=f"report {trouble.cause}")
            self._reporting[trouble.cause] = task
            task.add_done_callback(lambda _: self._reporting.pop(trouble.cause, None))

    async def idle(self, key: str) -> None:
        """Nothing is due there any more. What failed now and then and ended meanwhile is no outage."""
        trouble = self.trouble(key)
        if trouble is not None and trouble.reported is None and not (trouble.gave_up or trouble.broken):
            await self._forget(key)

    async def got_through(self, key: str) -> None:
        """Something did, or the destination is gone. With the last one of a cause its report ends."""
        self._through[key] = self._clock.now()
        trouble = self.trouble(key)
        if trouble is None or self._troubles is None:
            return
        del self._troubles[key]
        others = self._members(trouble.cause)
        if trouble.reported is not None:
            log.info("destination mended", destination=key)
            if not self._reported(trouble.cause) and not await self._post(
                self._alert([trouble], Status.RESOLVED)
            ):
                self._troubles.setdefault(key, trouble)  # the next delivery ends it
                return
        await self._forget(key)
        if others:  # what was at fault for all of them may be mended
            await self._around.try_now([each.destination for each in others])

    def _members(self, cause: str) -> list[Trouble]:
        found = [each for each in (self._troubles or {}).values() if each.cause == cause]
        return sorted(found, key=lambda each: (each.since, each.destination))

    def _reported(self, cause: str) -> bool:
        return any(each.reported is not None for each in self._members(cause))

    async def _report(self, cause: str) -> None:
        """Say so, or that it is more destinations than before. Others that are being tried at this moment are
        waited for a little, so that the first report names them.
        """
        try:
            await self._gathered(cause)
            await self._say(cause)
        except Exception:  # the next failure tries again
            log.exception("report failed unexpectedly", cause=cause)

    async def _say(self, cause: str) -> None:
        while fresh := [each for each in self._members(cause) if each.reported is None]:
            for each in fresh:
                log.error("destination broken", destination=each.destination, cause=cause, reason=each.reason)
            known = [each.reported for each in self._members(cause) if each.reported is not None]
            since = min(known, default=self._clock.now())
            told = [replace(each, reported=since) for each in self._members(cause)]
            if not await self._post(self._alert(told, Status.FIRING)):
                return
            for each in told:
                if (still := self.trouble(each.destination)) is not None and self._troubles is not None:
                    self._troubles[each.destination] = replace(still, reported=since)
            if not self._reported(cause):  # all well again meanwhile
                await self._post(self._alert(told, Status.RESOLVED))

    async def _gathered(self, cause: str) -> None:
        members = {each.destination for each in self._members(cause)}
        alike = set().union(*map(self._around.alike, members)) if members else set()
        if cause in members:  # its own
            return
        resting = asyncio.ensure_future(self._around.at_rest(alike))
        late = asyncio.ensure_future(self._clock.wait(asyncio.Event(), self._clock.now() + _GATHER))
        try:
            await asyncio.wait([resting, late], return_when=asyncio.FIRST_COMPLETED)
        finally:
            resting.cancel()
            late.cancel()

    def _alert(self, members: list[Trouble], status: Status) -> Alert:
        """The members, all reported, of one cause."""
        now, policy, first = self._clock.now(), self._policy(), members[0]
        keys = [each.destination for each in members]
        labels = self._labels.get(first.cause) or {
            "alertname": ALERTNAME, policy.severity.label: policy.severity.levels[0], "cause": first.cause,
        }  # fmt: skip
        names, many = counted(keys, _NAMED_SHORT), f"{len(keys)} destinations " if len(keys) > 1 else ""
        if status is Status.RESOLVED:
            last = names if first.cause == keys[0] else f"{names} and all that failed for the same cause"
            annotations = {"summary": f"{last} can be told again"}
        else:
            silent = "" if first.broken else f"nothing has got through for {duration(now - first.since)}: "
            annotations = {
                "summary": f"{many}{names} can't be told: {silent}{first.reason}",
                "description": f"Not notified: {counted(keys, _NAMED)} ({len(keys)} in all). Their messages wait, and are "
                "given up after the channel's give_up_after. After the repair, the router tries again within half an "
                f"hour. To try at once: alert-router deliveries resume {keys[0]}",
            }
        ends_at = now if status is Status.RESOLVED else None
        fingerprint = hashlib.sha256(first.cause.encode()).hexdigest()[:16]
        return Alert(
            fingerprint,
            labels,
            annotations,
            status,
            first.reported,
            ends_at,
            about=self._about(members, labels),
        )

    def _about(self, members: list[Trouble], labels: Mapping[str, str]) -> frozenset[str]:
        """Whom it must not be sent to: the members; and whoever is reached in the same way, if nothing has got
        through there since and anybody else is left.
        """
        known = frozenset(each.destination for each in members)
        if members[0].cause in known:
            return known
        since = members[0].since
        alike = {key for each in known for key in self._around.alike(each)}
        wide = known | {key for key in alike if self._through.get(key, 0) < since}
        return wide if decide(labels, self._policy(), self._clock.now(), about=wide) else known

    async def _keep(self, trouble: Trouble) -> None:
        """If the store can't be written, a restart forgets since when it has been in trouble, and no more."""
        try:
            await self._store.save_trouble(trouble)
        except StoreUnavailable:  # the store has said so, once for all
            return

    async def _forget(self, key: str) -> None:
        if self._troubles is not None:
            self._troubles.pop(key, None)
        try:
            await self._store.delete_trouble(key)
        except StoreUnavailable:  # as above; after a restart the next delivery forgets it
            return

    async def _post(self, alert: Alert) -> bool:
        """False: the store can't be written; it is said with the next failure, or the next delivery."""
        policy = self._policy()
        level = policy.severity.label
        group = {name: value for name, value in alert.labels.items() if name != level}
        webhook = Webhook(OWN_SOURCE, json.dumps(group), group, "", 0, (alert,))
        body = json.dumps(
            {
                "status": alert.status,
                "labels": dict(alert.labels),
                "annotations": dict(alert.annotations),
            }
        ).encode()
        try:
            receipt = await self._store.accept(
                webhook, OWN_SOURCE, body, policy, self._clock.now(), certain=True
            )
        except StoreUnavailable:  # the store has said so, once for all
            return False
        for kind, of_level, known_level in receipt.changes:
            self._metrics.change(OWN_SOURCE, kind, of_level, known_level=known_level)
        for destination, decision in receipt.decisions:
            self._metrics.decision(destination, decision)
        cause = alert.labels.get("cause", "")
        if alert.status is Status.FIRING:
            self._labels[cause] = alert.labels
        else:
            self._labels.pop(cause, None)
        self._around.wake(receipt.wake)
        return True
