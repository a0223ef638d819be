"""Drills: tests of receivers by the schedule of routes.yaml, once a slot. A drill that fails is an alert like any other."""

import asyncio
import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace

import structlog

from router.clock import Clock
from router.config import Drill
from router.decide import RECEIVER_LABEL, Policy
from router.decide.hours import Schedule
from router.deliver.own_alerts import OwnAlerts
from router.deliver.receiver_tests import ReceiverTests
from router.metrics import Metrics
from router.model import (
    HOUR,
    MINUTE,
    Alert,
    Millis,
    ReceiverTest,
    Status,
    TestOutcome,
    TestRefused,
    TestRequest,
)
from router.render.words import counted
from router.store import RETRY_AFTER_FAILED_WRITE, Store, StoreUnavailable
from router.store.stored_tests import DrillSlot

log = structlog.get_logger(__name__)

ALERTNAME_OF_DRILLS = "AlertRouterDrillFailed"
_TESTED = "tested_receiver"
"""The label of the alert that names the receiver whose drill has failed."""
_LOOK_EVERY: Millis = MINUTE
"""How soon a changed schedule is noticed."""
_MAX_LATE: Millis = HOUR
"""A slot that passed longer ago, while the router did not run, is left out: nobody expects its messages any more."""
_MAX_NAMES = 5


class Drills:
    """Begins drills, and raises and ends the alerts about those that failed."""

    def __init__(
        self, *, store: Store, clock: Clock, metrics: Metrics, policy: Callable[[], Policy], drill: Callable[[], Drill | None],
        tests: ReceiverTests, posting: OwnAlerts,
    ) -> None:  # fmt: skip
        """:param drill: returns the drill of the configuration in force; None: it has none"""
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._drill = drill
        self._tests = tests
        self._posting = posting
        self._results: dict[str, tuple[Millis, bool | None]] = {}
        """By receiver: when the last success began, and whether the last drill succeeded."""
        self._failed: dict[str, Alert] = {}
        """The firing alerts, by the receiver that they are about."""
        self._unreported: dict[str, ReceiverTest] = {}
        """Finished drills that are not reported yet, by receiver."""
        self._woken = asyncio.Event()
        self._is_loaded = False
        tests.after_each(self._test_finished)

    def _test_finished(self, test: ReceiverTest) -> None:
        if test.slot is not None:
            self._unreported[test.receiver] = test
            self._woken.set()

    async def serve(self) -> None:
        """Begin the drills at their slots, and report them, until the service stops."""
        self._is_loaded = False  # another replica may have begun and reported drills meanwhile
        while True:
            self._woken.clear()
            drill, now = self._drill(), self._clock.now()
            at = now + _LOOK_EVERY
            try:
                await self._look(drill, now)
                at = at if drill is None else min(at, drill.schedule.next(now))
            except StoreUnavailable:  # the store logs it, once for all parts
                at = now + RETRY_AFTER_FAILED_WRITE
            except Exception:
                log.exception("drill failed unexpectedly")
            await self._clock.wait(self._woken, at)

    async def _look(self, drill: Drill | None, now: Millis) -> None:
        if not self._is_loaded:
            await self._load(() if drill is None else drill.receivers)
        receivers = () if drill is None else drill.receivers
        for receiver in list(self._unreported):
            await self._report(self._unreported[receiver], drill)
            del self._unreported[receiver]
        for receiver in self._failed.keys() - set(receivers):
            await self._end(receiver, f"The drill no longer tests the receiver {receiver}.")
        self._metrics.drills({each: self._results.get(each, (0, None)) for each in receivers})
        if drill is not None:
            await self._begin_if_due(drill, now)

    async def _load(self, receivers: Collection[str]) -> None:
        """Load what the last process knew, or another replica, and report what it has not reported.

        :param receivers: those that drills test
        """
        tests = [
            each for each in await self._store.tests.all() if each.slot is not None and _says_something(each)
        ]
        _, firing = await self._store.troubles()
        self._results.clear()
        self._failed.clear()
        for test in reversed(tests):
            self._note(test)
        for alert in firing:
            if alert.labels.get("alertname") == ALERTNAME_OF_DRILLS:
                self._failed[alert.labels.get(_TESTED, "")] = alert
        for receiver, test in {each.receiver: each for each in reversed(tests)}.items():
            if receiver in receivers and (test.outcome is not TestOutcome.DELIVERED) != (
                receiver in self._failed
            ):
                self._unreported.setdefault(receiver, test)
        self._is_loaded = True

    def _note(self, test: ReceiverTest) -> None:
        """Keep the result of a drill. One that was interrupted says nothing about its receiver."""
        if test.slot is None or not _says_something(test):
            return
        is_good = test.outcome is TestOutcome.DELIVERED
        last, _ = self._results.get(test.receiver, (0, None))
        self._results[test.receiver] = (test.started_at if is_good else last, is_good)

    # Slots.

    async def _begin_if_due(self, drill: Drill, now: Millis) -> None:
        """Begin the drill of the last slot, unless it was begun already. :raises StoreUnavailable: look again later"""
        slot, schedule = drill.schedule.previous(now), _text(drill.schedule)
        last = await self._store.tests.last_slot()
        if last is None or last.schedule != schedule:  # the first slot is the next one
            await self._store.tests.save([], DrillSlot(now, schedule))
            return
        if slot <= last.slot:
            return
        if now - slot > _MAX_LATE:
            log.warning("drill", status="missed", slot=slot, reason="the router did not run at that time")
            await self._store.tests.save([], DrillSlot(slot, schedule))
            return
        tests = []
        for receiver in drill.receivers:
            try:
                request = TestRequest(receiver, "", drill.severity, drill.timeout)
                tests.append(self._tests.plan(request, slot))
            except TestRefused as error:
                log.warning("drill", status="refused", slot=slot, receiver=receiver, reason=str(error))
        await self._tests.begin_drill(tests, DrillSlot(slot, schedule))
        log.info("drill", status="started", slot=slot, receivers=[each.receiver for each in tests])

    # Reports.

    async def _report(self, test: ReceiverTest, drill: Drill | None) -> None:
        """Raise the alert about a drill that failed, or end it after a good one. :raises StoreUnavailable: try again later"""
        self._note(test)
        if test.outcome is TestOutcome.DELIVERED:
            await self._end(test.receiver, f"The receiver {test.receiver} passed a drill.")
        elif test.outcome is not TestOutcome.INTERRUPTED:
            await self._raise(test, None if drill is None else drill.report_to)

    async def _raise(self, test: ReceiverTest, report_to: str | None) -> None:
        severity, known = self._policy().severity, self._failed.get(test.receiver)
        labels = {
            "alertname": ALERTNAME_OF_DRILLS, severity.label: severity.levels[0], _TESTED: test.receiver,
            **({} if report_to is None else {RECEIVER_LABEL: report_to}),
        } if known is None else known.labels  # fmt: skip
        bad = [each for each in test.destinations if each.outcome is not TestOutcome.DELIVERED]
        lines = [f"{each.key}: {each.firing.words or each.end.words or each.outcome}" for each in bad]
        alert = Alert(
            hashlib.sha256(test.receiver.encode()).hexdigest()[:16], labels,
            {
                "summary": f"The drill of the receiver {test.receiver} failed: {counted(lines, 1, '; ')}",
                "description": f"{len(bad)} of {len(test.destinations)} destinations did not accept a test or its end. "
                f"{counted(lines, _MAX_NAMES, '; ')}. After the repair: alert-router send-test {test.receiver}. This alert "
                "ends with the next good drill.",
            },
            Status.FIRING, known.starts_at if known is not None else self._clock.now(),
            about=frozenset(each.key for each in bad),
        )  # fmt: skip
        await self._post(alert)
        self._failed[test.receiver] = alert

    async def _end(self, receiver: str, summary: str) -> None:
        if (alert := self._failed.get(receiver)) is not None:
            now = self._clock.now()
            await self._post(
                replace(alert, status=Status.RESOLVED, ends_at=now, annotations={"summary": summary})
            )
            del self._failed[receiver]

    async def _post(self, alert: Alert) -> None:
        if await self._posting.post(alert) is None:
            raise StoreUnavailable(self._store.trouble or "the store is not writable")


def _says_something(test: ReceiverTest) -> bool:
    """Return whether a test says whether its receiver works: it has finished, and was not interrupted."""
    return test.is_finished and test.outcome is not TestOutcome.INTERRUPTED


def _text(schedule: Schedule) -> str:
    return f"{schedule.minute} {schedule.weekdays} {schedule.zone.key}"
