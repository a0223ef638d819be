"""Follows the rules in force, which another replica may have put there. Only where replicas share a database."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from router.clock import Clock, wait_elapsed
from router.load_status import ReloadError
from router.model import SECOND, Millis
from router.reload import Reloader
from router.replicas.rules_agreement import RulesAgreement
from router.store import Store, StoreUnavailable

log = structlog.get_logger(__name__)

LOOK_EVERY: Millis = 3 * SECOND
"""How often the rules in force are read, in case that a notice is lost."""
UNSERVED_WAIT: Millis = 90 * SECOND
"""How long a replica waits until it puts its own rules in force, if no replica serves those in force. A replica with the rules in
force that starts again, perhaps on another machine, is back by then: otherwise its absence would take a rolling update back.
It is shorter than the time after which AlertRouterLeaseNotHeld fires, because nothing is sent meanwhile.
"""


class RulesWatch:
    """Joins the rules in force if they become those of this replica. Judges by them what another replica has left. Puts its own
    in force if no replica agrees with those in force any more.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        reloader: Reloader,
        agreement: RulesAgreement,
        refresh: Callable[[], Awaitable[object]],
    ) -> None:
        """:param refresh: reads what other replicas have changed, each time"""
        self._store = store
        self._clock = clock
        self._reloader = reloader
        self._agreement = agreement
        self._refresh = refresh
        self._soon = asyncio.Event()
        self._unserved: tuple[str, Millis] | None = None
        """The fingerprint of rules in force by which no replica judges, and since when (by the monotonic clock)."""
        store.rules.after_others(self.look_soon)

    def look_soon(self) -> None:
        """Look now: another replica has put rules in force."""
        self._soon.set()

    async def serve(self) -> None:
        """Look again and again, without end."""
        while True:
            self._soon.clear()
            try:
                await self._look()
            except (StoreUnavailable, ReloadError):
                pass  # it is logged, and tried again
            except Exception:  # the task must go on: it tries again
                log.exception("the rules in force could not be followed")
            await wait_elapsed(self._clock, self._soon, self._clock.elapsed() + LOOK_EVERY)

    async def _look(self) -> None:
        """Look once.

        :raises StoreUnavailable: the rules in force can't be read
        :raises ReloadError: the rules can't be put in force, or joined
        """
        view = await self._store.rules.view()
        await self._reloader.follow(view.in_force)
        await self._refresh()
        if self._agreement.agrees and not view.are_applied:  # who began to judge may have ended
            await self._reloader.judge_rest()
        rules = self._agreement.in_force
        if rules is None or self._agreement.agrees or rules.fingerprint in view.served:
            self._unserved = None
            return
        now = self._clock.elapsed()
        if self._unserved is None or self._unserved[0] != rules.fingerprint:
            self._unserved = rules.fingerprint, now
        if now - self._unserved[1] >= UNSERVED_WAIT:
            await self._reloader.take_over(rules)
