"""The dead man's switch: pings a monitor outside as long as the router receives, stores and delivers.

The monitor raises the alarm when the pings stop. So somebody is notified even if the router and Prometheus fail together.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from router.channels.http import REDIRECT_REASONS, HttpTransport, StatusTable
from router.channels.provider_words import masked_outcome, secret_parts
from router.clock import Clock
from router.metrics import Metrics
from router.model import DeadmanSettings, DeadmanState, Delivered, Millis, Outcome
from router.network import Network
from router.render.words import counted, duration
from router.store import Store, StoreUnavailable

log = structlog.get_logger(__name__)

_STORE_SECONDS = 8.0
"""How long a commit may take. A webhook is refused after the same time."""
_MAX_NAMES = 3
_ANSWERS = StatusTable(reasons={404: "nothing at this address", **REDIRECT_REASONS})


class Deadman:
    """Pings the monitor outside. A failed ping is counted and logged once, and affects no delivery."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        settings: Callable[[], DeadmanSettings | None],
        network: Callable[[], Network],
        lanes: Callable[[], list[dict[str, Any]]],
        silent: Callable[[], list[str]],
        is_listening: Callable[[], bool],
    ) -> None:
        """:param settings: returns the settings in force; None: nothing is pinged
        :param lanes: describes each lane, see :meth:`router.deliver.Lanes.describe`
        :param silent: returns the heartbeats that are silent, for people
        :param is_listening: returns whether the router accepts connections
        """
        self.state = DeadmanState()
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._settings = settings
        self._network = network
        self._lanes = lanes
        self._silent = silent
        self._is_listening = is_listening
        self._since = clock.now()
        """Waiting counts from this time at the earliest (epoch ms): before it, nothing could be sent."""
        self._transport: HttpTransport | None = None
        self._transport_of: tuple[Network, float] | None = None
        self._changed = asyncio.Event()

    def look_soon(self) -> None:
        """Ping soon: another configuration is in force."""
        self._changed.set()

    def restart(self) -> None:
        """Count from now on how long something waits. Call it after a step of the clock."""
        self._since = self._clock.now()

    async def serve(self) -> None:
        """Ping at the configured interval, without end."""
        while True:
            self._changed.clear()
            settings = self._settings()
            if settings is None:
                self.state = DeadmanState()
                await self.close()
                await self._clock.wait(self._changed, None)
                continue
            began = self._clock.now()
            try:
                await self._ping_if_well(settings)
            except Exception:  # the task must go on: it tries again
                log.exception("the dead man's switch failed unexpectedly")
            await self._clock.wait(self._changed, began + settings.every)

    async def close(self) -> None:
        """Close the connection to the monitor."""
        transport, self._transport, self._transport_of = self._transport, None, None
        if transport is not None:
            await transport.close()

    async def _ping_if_well(self, settings: DeadmanSettings) -> None:
        before, now = self.state, self._clock.now()
        withheld = await self._why_withheld(settings, now)
        if withheld:
            self.state = replace(before, tried_at=now, withheld=withheld, failure="")
            self._metrics.deadman("withheld", now)
            if not before.withheld:
                log.error("the dead man's switch withholds its pings", status="withheld", reason=withheld)
            return
        outcome = await self._ping(settings)
        if isinstance(outcome, Delivered):
            self.state = DeadmanState(now, now)
            self._metrics.deadman("ok", now)
            if before.withheld or before.failure:
                log.info("the dead man's switch pings again", status="ok")
            return
        self.state = replace(before, tried_at=now, withheld="", failure=outcome.shown)
        self._metrics.deadman("failed", now)
        if not before.failure:
            log.warning("a ping of the dead man's switch failed", status="failed", reason=outcome.shown)

    async def _ping(self, settings: DeadmanSettings) -> Outcome:
        """Return the monitor's answer, without the address."""
        transport = await self._transport_for(settings)
        outcome = await transport.attempt(self._request(transport, settings))
        return masked_outcome(outcome, secret_parts(settings.url))

    async def _request(self, transport: HttpTransport, settings: DeadmanSettings) -> Outcome:
        data = settings.text.encode() if settings.method == "POST" else None
        headers = {"Content-Type": "text/plain; charset=utf-8"} if data is not None else None
        answer = await transport.request(
            settings.method, settings.url, data=data, headers=headers, body_matters=False
        )
        return _ANSWERS.outcome(answer, self._clock.now())

    async def _transport_for(self, settings: DeadmanSettings) -> HttpTransport:
        wanted = self._network(), settings.timeout
        if self._transport is None or self._transport_of != wanted:
            await self.close()
            self._transport, self._transport_of = HttpTransport(wanted[0], timeout=settings.timeout), wanted
        return self._transport

    # Whether the router works.

    async def _why_withheld(self, settings: DeadmanSettings, now: Millis) -> str:
        """Return why the router does not receive, store or deliver, for people; empty: it does."""
        if not self._is_listening():
            return "the router does not listen"
        if silent := self._silent():
            return f"{counted(silent, _MAX_NAMES)} {'is' if len(silent) == 1 else 'are'} silent"
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                await self._store.ready()
                due = await self._store.pages.lanes(now)
        except StoreUnavailable as error:
            return f"the database can't be used: {error}"
        except TimeoutError:
            return f"the database did not answer within {_STORE_SECONDS:g} s"
        lanes = self._lanes()
        if any(not lane["alive"] for lane in lanes):
            return "deliveries have ended; the log says why"
        return self._what_is_stuck(settings, lanes, due, now)

    def _what_is_stuck(
        self,
        settings: DeadmanSettings,
        lanes: list[dict[str, Any]],
        due: dict[str, dict[str, Any]],
        now: Millis,
    ) -> str:
        """Return which destinations have waited for too long, while nothing reached any destination; empty: none have.

        A single broken destination withholds nothing: the alert about it reaches another one.
        """
        succeeded_at = max((lane["succeeded_at"] or 0 for lane in lanes), default=0)
        stuck: dict[str, Millis] = {}
        for lane in lanes:
            waiting = due.get(lane["destination"])
            if lane["paused_by"] or waiting is None or not waiting["backlog"] or waiting["oldest_at"] is None:
                continue
            since = max(waiting["oldest_at"], self._since)
            if now - since >= settings.stuck_after and succeeded_at < since:
                stuck[lane["destination"]] = since
        if not stuck:
            return ""
        lasted = duration(now - min(stuck.values()))
        return f"nothing was delivered for {lasted}, although messages are due at {counted(list(stuck), _MAX_NAMES)}"
