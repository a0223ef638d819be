"""Tests of receivers: a self-alert marked TEST goes through the real channels, and ends as soon as it has arrived.

A test is accepted, decided, sent and recorded as every alert. Its state is stored, so that a restart ends it.

Where replicas share the database, each of them stores the tests that it is asked for. The one for which
:meth:`ReceiverTests.serve` runs sends and follows all of them, and goes on with those of its predecessor.
"""

import asyncio
import secrets
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from router.clock import Clock
from router.decide import Policy
from router.deliver.answer_reading import outcome_of, read_answers
from router.deliver.own_alerts import OwnAlerts
from router.deliver.receiver_test_alerts import (
    MAX_UNDER_WAY,
    alert_of_test,
    first_bad_words,
    labels_of_test,
    refuse_if_full,
    version_of,
)
from router.deliver.waiting_words import explained
from router.metrics import Metrics
from router.model import (
    SECOND,
    Millis,
    ReceiverTest,
    Status,
    TestedDestination,
    TestOutcome,
    TestRefused,
    TestRequest,
    identity_of,
)
from router.store import RETRY_AFTER_FAILED_WRITE, Store, StoreUnavailable
from router.store.stored_tests import DrillSlot

log = structlog.get_logger(__name__)

_LOOK_EVERY: Millis = 5 * SECOND
"""How often a test is looked at without a delivery: a reload can end it, too."""
_LOOK_EVERY_SHARED: Millis = SECOND
"""The same where another replica may record the delivery."""
_ASK_SECONDS = 1.0
"""How often the database is asked about a test that another replica follows, in case that a notice is lost."""
MAX_DESTINATIONS = 100
"""How many destinations a tested receiver may have."""
_RESTARTED = "the router was restarted during the test"
_NOT_SENT = "no replica could send it in time"
_NOT_STORED = "the test could not be stored"


@dataclass
class _Running:
    """A test under way."""

    test: ReceiverTest
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set and replaced at each change."""
    look_at: Millis = 0
    """When to look at it at the latest (epoch ms); 0: now."""
    is_starting: bool = False
    """:meth:`ReceiverTests.start` sends it just now, so nobody else does."""
    next_at: dict[str, Millis | None] = field(default_factory=dict)
    """When each destination may be tried next, by key; None: an attempt is under way, or it has no news."""


class ReceiverTests:
    """Starts tests, follows and ends them."""

    def __init__(
        self, *, store: Store, clock: Clock, metrics: Metrics, policy: Callable[[], Policy], posting: OwnAlerts,
        lanes: Callable[[], list[dict[str, Any]]],
    ) -> None:  # fmt: skip
        """:param lanes: see :meth:`router.deliver.Lanes.describe`"""
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._posting = posting
        self._lanes = lanes
        self._under_way: dict[str, _Running] = {}
        self._woken = asyncio.Event()
        self._is_closed = False
        self._finished: list[Callable[[ReceiverTest], None]] = []
        self._is_shared = store.replicas.are_possible
        self._look_every = _LOOK_EVERY_SHARED if self._is_shared else _LOOK_EVERY
        self._news = asyncio.Event()
        """Set and replaced when another replica has begun or changed a test."""

    def after_each(self, call: Callable[[ReceiverTest], None]) -> None:
        """Call a function with each test that has finished."""
        self._finished.append(call)

    @property
    def receivers(self) -> frozenset[str]:
        """The receivers of which a test is under way."""
        return frozenset(each.test.receiver for each in self._under_way.values())

    async def start(self, request: TestRequest) -> ReceiverTest:
        """Start a test that an operator asks for. The receiver is one of the rules in force.

        :raises TestRefused: it can't begin now
        :raises StoreUnavailable: nothing is sent
        """
        if self._is_shared:
            return await self._start_stored(request)
        refuse_if_full(request, [each.test for each in self._under_way.values()])
        test = self.plan(request)
        running = self._under_way[test.id] = _Running(test, is_starting=True)
        try:
            await self._store.tests.save([test])
        except BaseException:
            del self._under_way[test.id]
            raise
        try:
            await self._send(running)
        except StoreUnavailable:
            running.test = replace(running.test, interrupted=_NOT_STORED)
            raise
        finally:
            running.is_starting = False
            self._woken.set()
        _log_start(test)
        return running.test

    async def _start_stored(self, request: TestRequest) -> ReceiverTest:
        """Store a test. The replica that follows all tests sends it."""
        test = self.plan(request)
        if others := await self._store.tests.begin(test, MAX_UNDER_WAY):
            refuse_if_full(request, others)
        _log_start(test)
        self.look_soon()
        return test

    def look_soon(self) -> None:
        """Look soon for tests that were begun or changed by another replica."""
        self._woken.set()
        self._news.set()
        self._news = asyncio.Event()

    def plan(self, request: TestRequest, slot: Millis | None = None) -> ReceiverTest:
        """Return a test that is to be sent now. :raises TestRefused: the receiver has too many destinations, or none"""
        now, known = self._clock.now(), self._policy().receivers.get(request.receiver, ())
        if not known:
            raise TestRefused(f"the receiver {request.receiver} has no destinations")
        if len(known) > MAX_DESTINATIONS:
            raise TestRefused(
                f"the receiver {request.receiver} has more than {MAX_DESTINATIONS} destinations; test others that have "
                "some of them"
            )
        keys = dict.fromkeys(each.key for each in known)
        return ReceiverTest(
            f"{now:011x}-{secrets.token_hex(3)}", request.receiver, request.by, request.severity,
            self._policy().severity.label, request.timeout, now, tuple(TestedDestination(key) for key in keys), slot,
        )  # fmt: skip

    async def begin_drill(self, tests: Sequence[ReceiverTest], slot: DrillSlot) -> None:
        """Store the tests of a slot of the drill, and send them. :raises StoreUnavailable: none is sent"""
        await self._store.tests.save(tests, slot)
        for test in tests:
            self._under_way[test.id] = _Running(test)
        self._woken.set()

    async def follow(self, id_: str, unlike: str, seconds: float) -> tuple[ReceiverTest, str] | None:
        """Return a test and its version, as soon as it has another version, or has finished, or the time is over.

        :param unlike: the version that is known already; empty: none is
        :param seconds: by the real clock
        :returns: None: there is no such test
        """
        running = self._under_way.get(id_)
        if running is None:
            return await self._follow_stored(id_, unlike, seconds if self._is_shared else 0)
        if unlike == version_of(running.test) and not self._is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await running.changed.wait()
        return self._explained(running, running.test), version_of(running.test)

    async def _follow_stored(self, id_: str, unlike: str, seconds: float) -> tuple[ReceiverTest, str] | None:
        """Do the same with a test that another replica follows, or that has finished."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            news, found = self._news, await self._store.tests.one(id_)
            if found is None:
                return None
            left = end - loop.time()
            if unlike != version_of(found) or found.is_finished or left <= 0 or self._is_closed:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _ASK_SECONDS)):
                    await news.wait()
        if found.is_finished:
            return found, version_of(found)
        progress = await self._store.tests.progress(found, identity_of(labels_of_test(found)))
        waits = {key: each.next_at for key, each in progress.items()}
        return explained(found, self._lanes(), waits, self._clock.now()), version_of(found)

    def close(self) -> None:
        """Answer those who follow a test, because the service stops."""
        self._is_closed = True
        self.look_soon()
        for running in self._under_way.values():
            running.changed.set()

    def delivery_recorded(self, destination: str) -> None:
        """Look at the tests that this destination may have answered."""
        for running in self._under_way.values():
            if any(each.key == destination for each in running.test.destinations):
                running.look_at = 0
                self._woken.set()

    def restart(self) -> None:
        """Look at all tests. Call it after a step of the clock: it has moved the next look."""
        for running in self._under_way.values():
            running.look_at = 0
        self._woken.set()

    def _explained(self, running: _Running, test: ReceiverTest) -> ReceiverTest:
        """Return a test with words that say why it waits where it waits."""
        return (
            test if test.is_finished else explained(test, self._lanes(), running.next_at, self._clock.now())
        )

    async def serve(self) -> None:
        """Follow the tests until the service stops. First take over those that the last process left under way."""
        try:
            await self._take_over()
            while True:
                self._woken.clear()
                if self._is_shared:
                    await self._take_over()  # those that other replicas have begun
                at = await self._look_at_all()
                if self._is_shared:
                    at = min(at or sys.maxsize, self._clock.now() + _LOOK_EVERY)
                await self._clock.wait(self._woken, at)
        finally:
            if self._is_shared:  # another replica goes on with them
                for running in self._under_way.values():
                    running.changed.set()
                self._under_way.clear()

    async def _look_at_all(self) -> Millis | None:
        """Look at the tests for which it is time. Return when to look again; None: no test is under way."""
        now = self._clock.now()
        for running in list(self._under_way.values()):
            if running.is_starting or now < running.look_at:
                continue
            running.look_at = now + self._look_every
            try:
                await self._look(running)
                if now < running.test.deadline < running.look_at:
                    running.look_at = running.test.deadline
            except StoreUnavailable:  # the store logs it, once for all parts
                running.look_at = now + RETRY_AFTER_FAILED_WRITE
            except Exception:
                log.exception("receiver test failed unexpectedly", id=running.test.id)
        looks = (each.look_at for each in self._under_way.values() if not each.is_starting)
        return min(looks, default=None)

    async def _take_over(self) -> None:
        """Take over what the last process left: a drill that is not sent yet is sent; all others are ended. Where replicas share
        the database, the tests of others go on.
        """
        while True:
            try:
                tests = await self._store.tests.under_way()
                break
            except StoreUnavailable:
                await self._clock.wait(asyncio.Event(), self._clock.now() + RETRY_AFTER_FAILED_WRITE)
        for test in reversed(tests):
            if test.id in self._under_way:
                continue
            is_unsent = test.sent_at is None
            is_in_time = self._clock.now() <= test.started_at + test.timeout
            if self._is_shared:
                left = replace(test, interrupted=_NOT_SENT) if is_unsent and not is_in_time else test
            else:
                is_to_be_sent = test.slot is not None and is_unsent and is_in_time
                left = test if is_to_be_sent else replace(test, interrupted=_RESTARTED)
            self._under_way[test.id] = _Running(left)

    async def _look(self, running: _Running) -> None:
        """Bring a test up to date. :raises StoreUnavailable: look again later"""
        test, now = running.test, self._clock.now()
        if test.sent_at is None and not test.interrupted:
            await self._send(running)
            test = running.test
        test = await self._with_answers(running, test)
        is_answered = all(each.firing.is_final for each in test.destinations)
        if test.ended_at is None and (is_answered or test.interrupted or test.is_over(now)):
            await self._post(test, Status.RESOLVED)
            test = await self._with_answers(running, replace(self._explained(running, test), ended_at=now))
        if test.ended_at is not None and (
            all(each.end.is_final for each in test.destinations) or test.is_over(now)
        ):
            test = replace(self._explained(running, test), finished_at=now, outcome=outcome_of(test))
        if test == running.test:
            return
        await self._store.tests.save([test])
        running.test = test
        if test.is_finished:
            del self._under_way[test.id]
            self._report(test)
        running.changed.set()
        running.changed = asyncio.Event()

    async def _with_answers(self, running: _Running, test: ReceiverTest) -> ReceiverTest:
        progress = await self._store.tests.progress(test, identity_of(labels_of_test(test)))
        running.next_at = {key: each.next_at for key, each in progress.items()}
        return read_answers(test, progress)

    async def _send(self, running: _Running) -> None:
        """Post the firing alert. :raises StoreUnavailable: it is not posted"""
        await self._post(running.test, Status.FIRING)
        running.test = replace(running.test, sent_at=self._clock.now())

    async def _post(self, test: ReceiverTest, status: Status) -> None:
        receipt = await self._posting.post(alert_of_test(test, status, self._clock.now()))
        if receipt is None:
            raise StoreUnavailable(self._store.trouble or "the store is not writable")

    def _report(self, test: ReceiverTest) -> None:
        for each in test.destinations:
            self._metrics.receiver_tested(test.receiver, each.key, each.outcome)
        is_good = test.outcome is TestOutcome.DELIVERED
        (log.info if is_good else log.warning)(
            "receiver test", status=str(test.outcome), receiver=test.receiver, id=test.id, user=test.by,
            reason=test.interrupted or first_bad_words(test),
        )  # fmt: skip
        for call in self._finished:
            call(test)


def _log_start(test: ReceiverTest) -> None:
    log.info("receiver test started", status="started", receiver=test.receiver, id=test.id, user=test.by)
