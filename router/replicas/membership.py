"""The session of this process among the replicas. It is renewed at an interval; leases are taken, released and lost.

A lease is trusted until the session could expire, counted from *before* the last renewal was sent, less a margin. Then it is
lost: what is under way by it is cut off, and the session ends. So two replicas never work by the same lease, whatever
hangs: the process, the network or the database.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from router.clock import Clock, wait_elapsed
from router.core.head import Grant
from router.core.leases import Renewal, RenewalRequest
from router.metrics import Metrics
from router.model import SECOND, Millis
from router.package import package_version
from router.replicas.lease_user import Held, JudgedBy, LeaseUser
from router.replicas.process_mark import has_ended, own_mark
from router.store import LONGEST_BATCH, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# A session is renewed four times in its term. A fifth of the term is the margin: for a clock that runs faster than the
# database's, and for the moment between a check of the lease and the call that it allows.
_RENEWALS_PER_TERM, _MARGINS_PER_TERM = 4, 5
_RETRY_AFTER: Millis = SECOND // 2
_OTHER_BATCHES: Millis = SECOND
"""The batches that run before a renewal, once the lock is free."""
_TOO_LATE = "the session could not be renewed in time"


def shortest_trust(term: Millis) -> Millis:
    """Return how long leases are trusted at least after no renewal succeeds any more (ms). The next one is just due then."""
    return term - term // _MARGINS_PER_TERM - term // _RENEWALS_PER_TERM


def bears_stall(term: Millis) -> bool:
    """Return whether a replica keeps its leases while another one stands still in a batch, until the server ends that batch."""
    return shortest_trust(term) >= LONGEST_BATCH + _OTHER_BATCHES


class Membership:
    """Keeps the session of this process. On a database that no other process can share, there is none, and no lease."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        name: str,
        term: Millis,
        rules: Callable[[], JudgedBy],
    ) -> None:
        """:param clock: real time, also where tests move the service's clock: the database's sessions expire in real time
        :param name: of this replica, for people
        :param term: how long the session lasts without a renewal (ms)
        :param rules: returns the rules by which this process judges
        """
        self.name = name
        self.session = ""
        self.term = term
        self.renewal: Renewal | None = None
        """The result of the last renewal; None: there was none, or the database can't be shared."""
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._rules = rules
        self._mark = own_mark()
        self._users: list[LeaseUser] = []
        self._after_renewals: list[Callable[[], None]] = []
        self._held: dict[str, Held] = {}
        self._releasing: dict[str, asyncio.Task[None]] = {}
        self._beginning: dict[str, asyncio.Task[None]] = {}
        self._trusted_until: Millis = 0
        """Until when the leases may be used, by the monotonic clock (ms)."""
        self._renew_at: Millis = 0
        """When to renew the session, by the monotonic clock (ms)."""
        self._soon = asyncio.Event()
        self._renewed = asyncio.Event()
        self._former = ""
        """A session that has ended here, and perhaps not yet in the database."""
        self._ended: frozenset[str] = frozenset()
        """Sessions of processes of this machine that have ended."""
        self._is_stopping = False

    def add(self, user: LeaseUser) -> None:
        """Let a part of the service work by leases."""
        self._users.append(user)
        self.renew_soon()

    def after_renewals(self, call: Callable[[], None]) -> None:
        """Call a function after each renewal that succeeds."""
        self._after_renewals.append(call)

    @property
    def is_alone(self) -> bool:
        """Whether no other process can serve from the database."""
        return not self._store.replicas.are_possible

    @property
    def is_trusted(self) -> bool:
        """Whether the leases that are held may be used at this moment. Once they may not, they never may again in this session."""
        return self.is_alone or self._clock.elapsed() < self._trusted_until

    def may_use(self, grant: Grant | None) -> bool:
        """Return whether this process may still work by a grant; None: it was begun without one. Any thread may ask."""
        if grant is None:
            return self.is_alone
        held = self._held.get(grant.name)
        return held is not None and held.grant == grant and self.is_trusted

    @property
    def held(self) -> frozenset[str]:
        """The names of the leases that this process holds."""
        return frozenset(self._held)

    @property
    def judged_by(self) -> JudgedBy:
        """The rules by which this process judges."""
        return self._rules()

    def renew_soon(self) -> None:
        """Renew the session now: the rules or the wanted leases have changed, or another replica has released a lease."""
        self._soon.set()

    # The session.

    async def join(self) -> None:
        """Begin the session. :raises StoreUnavailable: it could not begin"""
        if self.is_alone:
            return
        if not bears_stall(self.term):
            log.warning(
                "the leases are short; if one replica stands still, the others may lose theirs",
                seconds=self.term / SECOND,
            )
        seen = (await self._store.replicas.view()).replicas
        self._ended = frozenset(each.id for each in seen if has_ended(each.process))
        await self._begin_session()

    async def _begin_session(self) -> None:
        """Begin a session, and end the one before, if there was one."""
        if self._former:
            await self._store.replicas.leave(self._former, is_urgent=True)
        session, began = secrets.token_hex(8), self._clock.elapsed()
        self._former = session  # if no answer comes, it may have begun all the same
        request = replace(self._request(), session=session)
        renewal = await self._store.replicas.join(request)
        self.session, self._former = session, ""
        self._apply(renewal, request, began)

    async def serve(self) -> None:
        """Keep the session, without end."""
        if self.is_alone:
            return
        guard = asyncio.create_task(self._guard(), name="lease guard")
        try:
            while True:
                self._soon.clear()  # before: what is wished for while the renewal is under way needs another one
                await self._renew()
                await wait_elapsed(self._clock, self._soon, self._renew_at)
        finally:
            guard.cancel()

    def stop_taking(self) -> None:
        """Keep the leases that are held, and take no others: the service stops."""
        self._is_stopping = True
        self.renew_soon()  # so that others give up no lease for this replica

    async def leave(self) -> None:
        """End the session, so that others take over at once. What is still under way is due again."""
        for task in (*self._releasing.values(), *self._beginning.values()):
            task.cancel()
        for session in filter(None, (self._former, self.session)):
            with suppress(StoreUnavailable):  # then it expires
                await self._store.replicas.leave(session)

    @property
    def wanted(self) -> frozenset[str]:
        """The names of the leases that the rules of this process need."""
        return frozenset(name for user in self._users for name in user.wants())

    def _request(self) -> RenewalRequest:
        rules = self._rules()
        wanted = self.wanted & self.held if self._is_stopping else self.wanted
        return RenewalRequest(
            self.session, self.name, package_version(), self._mark, rules.fingerprint, rules.sha256, self.term,
            wanted, takes_leases=bool(wanted) and not self._is_stopping, ended=self._ended,
        )  # fmt: skip

    async def _renew(self) -> None:
        began = self._clock.elapsed()
        self._renew_at = began + self.term // _RENEWALS_PER_TERM
        try:
            if not self.session:
                await self._begin_session()
                return
            session, seen = self.session, () if self.renewal is None else self.renewal.replicas
            self._ended = frozenset(
                each.id for each in seen if each.id != session and has_ended(each.process)
            )
            request = self._request()
            renewal = await self._store.replicas.renew(request)
            if session != self.session:  # it was lost meanwhile
                return
            if renewal is None:
                self._lose(
                    "the session had expired, and another replica has expelled it; check the network and the database"
                )
            elif not self.is_trusted:  # an attempt may have been cut off already
                self._lose(_TOO_LATE)
            else:
                self._apply(renewal, request, began)
        except StoreUnavailable:  # the store logs it
            self._renew_at = self._clock.elapsed() + _RETRY_AFTER
        except Exception:  # the session has to go on
            log.exception("the session could not be renewed")
            self._renew_at = self._clock.elapsed() + _RETRY_AFTER

    def _apply(self, renewal: Renewal, request: RenewalRequest, began: Millis) -> None:
        """:param began: the time of the monotonic clock before the renewal was sent"""
        self._trusted_until = began + self.term - self.term // _MARGINS_PER_TERM
        self._renewed.set()
        self.renewal = renewal
        if not self.is_trusted:  # the answer took too long
            return
        for each in renewal.expelled:
            log.warning(
                "the session of a replica has ended without a stop; its leases are free",
                replica=each.name,
                session=each.id,
            )
        mine = {each.name: each for each in renewal.leases if each.replica == self.session}
        for name in self._held.keys() - mine.keys():
            self._drop(name)
        self._take(
            Held(name, Grant(name, each.fence), each.passed_on) for name, each in mine.items() if name not in self._held
        )  # fmt: skip
        surplus = renewal.surplus
        if (
            request.rules != self._rules().fingerprint
        ):  # they changed meanwhile, so others may be in force in the same batch
            surplus = frozenset()
            self.renew_soon()
        if self._store.replicas.has_more_to_interrupt:
            self.renew_soon()
        for name in surplus - self._releasing.keys():
            self._releasing[name] = task = asyncio.create_task(self._release(name), name=f"release {name}")
            task.add_done_callback(partial(_remove, self._releasing, name))
        self._metrics.replicas(len(renewal.replicas))
        self._metrics.leases(self.wanted, self._held)
        for call in self._after_renewals:
            call()

    # The leases.

    def _take(self, several: Iterable[Held]) -> None:
        for held in sorted(several, key=lambda each: each.name):
            self._held[held.name] = held
            log.info("lease taken", lease=held.name, fence=held.grant.fence)
            self._metrics.lease_held(held.name, is_held=True)
            if held.passed_on:
                self._metrics.lease_taken_over(held.name)
            self._beginning[held.name] = task = asyncio.create_task(
                self._begin(held), name=f"begin {held.name}"
            )
            task.add_done_callback(partial(_remove, self._beginning, held.name))

    async def _begin(self, held: Held) -> None:
        """Let the user of a lease begin. It is tried again if it fails, because nobody else does that work meanwhile."""
        while self._held.get(held.name) is held:
            try:
                for user in self._users_of(held.name):
                    await user.gained(held)
            except StoreUnavailable:
                pass  # the store logs it
            except Exception:
                log.exception("the work of a lease could not begin", lease=held.name)
            else:
                return
            await wait_elapsed(self._clock, asyncio.Event(), self._clock.elapsed() + _RETRY_AFTER)

    async def _release(self, name: str) -> None:
        """Finish what is under way by a lease, and release it. If that takes too long, keep it."""
        held = self._held.get(name)
        await self._stop_beginning(name)
        has_ended = [await user.release(name) for user in self._users_of(name)]
        if held is None or self._held.get(name) is not held or not all(has_ended):
            return
        with suppress(StoreUnavailable):  # then the next renewal releases it again
            await self._store.replicas.release(self.session, (name,))
            log.info("lease released", lease=name)
        self._forget(name)

    def _users_of(self, name: str) -> list[LeaseUser]:
        return [user for user in self._users if name in user.wants()] or self._users

    async def _stop_beginning(self, name: str) -> None:
        if (beginning := self._beginning.get(name)) is not None:
            beginning.cancel()
            await asyncio.wait({beginning})

    def _drop(self, name: str) -> None:
        if (beginning := self._beginning.get(name)) is not None:
            beginning.cancel()
        for user in self._users:
            user.lost(name)
        log.info("lease lost", lease=name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        if self._held.pop(name, None) is not None:
            self._metrics.lease_held(name, is_held=False)

    def _lose(self, reason: str) -> None:
        """End the session in this process: its leases are not to be trusted."""
        self._trusted_until = 0
        self._former, self.session = self.session, ""
        names = sorted(self._held)
        log.error("the leases are lost; what is under way is cut off", reason=reason, leases=names)
        for task in self._releasing.values():
            task.cancel()
        for name in names:
            self._drop(name)
        self._metrics.leases_lost()
        self.renew_soon()

    async def _guard(self) -> None:
        """When the leases are not to be trusted any more, end the session. A new one begins once the database answers."""
        while True:
            self._renewed.clear()
            if self.session and self.is_trusted:
                await wait_elapsed(self._clock, self._renewed, self._trusted_until)
            if self.session and not self.is_trusted:
                self._lose(_TOO_LATE)
            if not self.session:
                await self._renewed.wait()


def _remove(tasks: dict[str, asyncio.Task[None]], name: str, task: asyncio.Task[None]) -> None:
    """Forget a task that has ended."""
    if tasks.get(name) is task:
        del tasks[name]
