"""Tests of receivers: a self-alert marked TEST goes through the real channels, and ends as soon as it has arrived.

A test is accepted, decided, sent and recorded as every alert. Its state is stored, so that a restart ends it.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from router.clock import Clock
from router.decide import RECEIVER_LABEL, TEST_ALERTNAME, Policy
from router.deliver.answer_reading import outcome_of, read_answers
from router.deliver.own_alerts import OwnAlerts
from router.deliver.waiting_words import explained
from router.metrics import Metrics
from router.model import (
    SECOND,
    Alert,
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
MAX_UNDER_WAY = 20
"""How many tests of operators may be under way."""
MAX_DESTINATIONS = 100
"""How many destinations a tested receiver may have."""
_RESTARTED = "the router was restarted during the test"
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
        for each in self._under_way.values():
            if each.test.receiver == request.receiver:
                by = each.test.by or "the drill"
                raise TestRefused(
                    f"a test of {request.receiver} is under way already, by {by}: wait until it has finished; its "
                    f"id is {each.test.id}"
                )
        if len(self._under_way) >= MAX_UNDER_WAY:
            raise TestRefused(f"{MAX_UNDER_WAY} tests are under way; try again when one has finished")
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
        log.info("receiver test started", status="started", receiver=test.receiver, id=test.id, user=test.by)
        return running.test

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
            found = await self._store.tests.one(id_)
            return None if found is None else (found, _version(found))
        if unlike == _version(running.test) and not self._is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await running.changed.wait()
        return self._explained(running, running.test), _version(running.test)

    def close(self) -> None:
        """Answer those who follow a test, because the service stops."""
        self._is_closed = True
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
        await self._take_over()
        while True:
            self._woken.clear()
            at = await self._look_at_all()
            await self._clock.wait(self._woken, at)

    async def _look_at_all(self) -> Millis | None:
        """Look at the tests for which it is time. Return when to look again; None: no test is under way."""
        now = self._clock.now()
        for running in list(self._under_way.values()):
            if running.is_starting or now < running.look_at:
                continue
            running.look_at = now + _LOOK_EVERY
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
        """Take over what the last process left: a drill that is not sent yet is sent; all others are ended."""
        while True:
            try:
                tests = await self._store.tests.all()
                break
            except StoreUnavailable:
                await self._clock.wait(asyncio.Event(), self._clock.now() + RETRY_AFTER_FAILED_WRITE)
        for test in reversed(tests):
            if test.is_finished or test.id in self._under_way:
                continue
            is_unsent_drill = test.slot is not None and test.sent_at is None
            is_in_time = self._clock.now() <= test.started_at + test.timeout
            left = test if is_unsent_drill and is_in_time else replace(test, interrupted=_RESTARTED)
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
        progress = await self._store.tests.progress(test, identity_of(_labels(test)))
        running.next_at = {key: each.next_at for key, each in progress.items()}
        return read_answers(test, progress)

    async def _send(self, running: _Running) -> None:
        """Post the firing alert. :raises StoreUnavailable: it is not posted"""
        await self._post(running.test, Status.FIRING)
        running.test = replace(running.test, sent_at=self._clock.now())

    async def _post(self, test: ReceiverTest, status: Status) -> None:
        receipt = await self._posting.post(_alert(test, status, self._clock.now()))
        if receipt is None:
            raise StoreUnavailable(self._store.trouble or "the store is not writable")

    def _report(self, test: ReceiverTest) -> None:
        for each in test.destinations:
            self._metrics.receiver_tested(test.receiver, each.key, each.outcome)
        is_good = test.outcome is TestOutcome.DELIVERED
        (log.info if is_good else log.warning)(
            "receiver test", status=str(test.outcome), receiver=test.receiver, id=test.id, user=test.by,
            reason=test.interrupted or _first_words(test),
        )  # fmt: skip
        for call in self._finished:
            call(test)


def _version(test: ReceiverTest) -> str:
    return hashlib.sha256(repr(test).encode()).hexdigest()[:12]


def _first_words(test: ReceiverTest) -> str:
    """Return what the first destination that did not take both messages answered; empty: all did."""
    for each in test.destinations:
        bad = next((answer for answer in (each.firing, each.end) if not answer.is_good), None)
        if bad is not None:
            return f"{each.key}: {bad.words or bad.state}"
    return ""


def _labels(test: ReceiverTest) -> dict[str, str]:
    return {
        "alertname": TEST_ALERTNAME, test.severity_label: test.severity, RECEIVER_LABEL: test.receiver, "test": test.id,
    }  # fmt: skip


def _alert(test: ReceiverTest, status: Status, now: Millis) -> Alert:
    by = f"{test.by} has sent it" if test.by else "The drill of routes.yaml has sent it"
    firing = {
        "summary": f"This is a TEST of the receiver {test.receiver}. Nothing is wrong. You need not do anything.",
        "description": f"{by} to see whether messages arrive. The end of the test follows when all destinations have "
        "answered.",
    }
    ended = {"summary": f"The TEST of the receiver {test.receiver} has ended. You need not do anything."}
    is_firing = status is Status.FIRING
    return Alert(
        hashlib.sha256(test.id.encode()).hexdigest()[:16], _labels(test), firing if is_firing else ended, status,
        test.started_at, None if is_firing else now, about=frozenset(),
    )  # fmt: skip
