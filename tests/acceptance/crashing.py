"""Routers that kill themselves at a named point of their path.

``python -m tests.acceptance.crashing`` imports everything once, and forks a router for each line of its input. The code of the
router is unchanged. A point is a statement that the database is about to run, or a function of the path that is entered or
continues after an await. New statements and functions are points automatically.

SQLite itself reports its statements. Those of PostgreSQL are seen at the driver's cursors, because the store uses these, too.
"""

import asyncio
import fcntl
import json
import os
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self

import psycopg
import sqlalchemy as sa

from router import logs
from router.app import ServeOptions, Service
from router.deliver.lane_follower import LaneFollower
from router.model import MINUTE, Millis
from router.render import Templates
from router.store import Store, StoreUnavailable
from tests.clock import ManualClock

# Renewals come in real time, so they would be points that only come by chance. There is one at the start.
_TERM: Millis = 60 * MINUTE
# The modules whose functions are points.
_PATH = (
    "router.web.receiving", "router.store.database", "router.store.writer", "router.deliver.dispatcher", "router.deliver.lane",
    "router.deliver.delivery",
)  # fmt: skip
_POLL_SECONDS = 0.005
_TOKENS_COME_BACK: Millis = 100
"""How far the clock moves on between two checks (ms), so that the rates of a new holder fill up."""
"""Seconds between two checks of what is still due."""
_VALUES = re.compile(r"x'[0-9a-f]*'|'(?:[^']|'')*'|\b\d+\b", re.IGNORECASE)
_COLUMNS = re.compile(r"(?<=SELECT ).*?(?= FROM)|(?<=INTO )(\w+) .*")
_WRITES = ("INSERT", "WITH", "UPDATE", "DELETE", "RELEASE", "COMMIT")


@dataclass(frozen=True)
class Life:
    """One process of a router, from its start to its end."""

    folder: str
    control: int
    """The port of the test, which gives orders and gets reports."""
    now: Millis
    die_at: str | None = None
    database: str | None = None
    """A URL; None: a file in the folder."""
    stops: bool = False
    """It stops at its point with SIGSTOP, once, instead of dying there."""


class Points:
    """The points that the process has passed; at one of them it kills itself with SIGKILL.

    A statement that writes is a point in each phase. A statement that reads, and a function, is a point the first time only.
    """

    def __init__(self, die_at: str | None, *, stops: bool = False) -> None:
        self.phase = "start"
        self.die_at = die_at
        self._signal = signal.SIGSTOP if stops else signal.SIGKILL
        self.passed: dict[str, str] = {}
        self._last = ""

    def watch_statements(self) -> None:
        @sa.event.listens_for(sa.Engine, "connect")
        def _connected(connection: Any, _record: object) -> None:
            if isinstance(connection, sqlite3.Connection):
                connection.set_trace_callback(self._statement)
            else:
                connection.cursor_factory = partial(WatchedCursor, self._statement)

        @sa.event.listens_for(sa.Engine, "commit")
        def _commits(connection: sa.Connection) -> None:
            # The COMMIT of a batch was a statement before.
            if connection.dialect.name == "postgresql" and self._last != "COMMIT":
                self._statement("COMMIT")

    def watch_functions(self) -> None:
        """Trace the functions of this thread; the writer's thread is traced by its statements."""
        sys.settrace(self._called)

    def _statement(self, sql: str) -> None:
        if threading.current_thread().name.startswith("store-read"):
            return
        what = _COLUMNS.sub(lambda match: match[1] or "…", " ".join(_VALUES.sub("?", sql).split()))
        before, self._last = self._last, what
        if what == "COMMIT":
            what = f"COMMIT after {before}"
        self._pass(what, once=not what.startswith(_WRITES))

    def _called(self, frame: FrameType, _event: str, _argument: object) -> None:
        """A function is entered or continues. Returning None leaves its lines untraced."""
        if frame.f_globals.get("__name__") in _PATH:
            self._pass(f"{frame.f_code.co_qualname}, line {frame.f_lineno}", once=True)

    def _pass(self, what: str, *, once: bool) -> None:
        point = f"{self.phase}: {what}"
        if point == self.die_at:
            self.die_at = None
            os.kill(os.getpid(), self._signal)
        self.passed.setdefault(what if once else point, point)


class WatchedCursor(psycopg.Cursor[Any]):
    """Reports each statement before it is sent."""

    def __init__(
        self, report: Callable[[str], None], connection: psycopg.Connection[Any], **options: Any
    ) -> None:
        super().__init__(connection, **options)
        self._report = report

    def execute(self, query: Any, *args: Any, **options: Any) -> Self:
        self._report(query.decode() if isinstance(query, bytes) else str(query))
        return super().execute(query, *args, **options)

    def executemany(self, query: Any, *args: Any, **options: Any) -> None:
        self._report(str(query))
        super().executemany(query, *args, **options)


async def opened(options: ServeOptions, clock: ManualClock) -> Service:
    """Open the service. The session of the router that was killed before may live on in the server for a moment."""
    while True:
        try:
            return await Service.open(options, {}, clock)
        except StoreUnavailable as error:
            if "in use by another alert-router" not in str(error):
                raise


class Following:
    """Knows whether the follower of lanes has looked at all that it has heard. It looks in real time, first after the start."""

    def __init__(self) -> None:
        self._looks = asyncio.Condition()
        self._is_looking = True  # until the first look has ended
        look = LaneFollower._look

        async def watched(follower: LaneFollower, topics: frozenset[str], now: Millis) -> None:
            self._is_looking = True
            try:
                await look(follower, topics, now)
            finally:
                self._is_looking = False
                async with self._looks:
                    self._looks.notify_all()

        LaneFollower._look = watched  # type: ignore[assignment,method-assign]

    async def rest(self) -> None:
        """Return when it has looked at least once, and does not look now."""
        async with self._looks:
            await self._looks.wait_for(lambda: not self._is_looking)


async def is_due(store: Store, now: int) -> bool:
    """Anything, anywhere."""
    return any(lane["backlog"] for lane in (await store.pages.lanes(now)).values())


async def live(life: Life) -> None:
    """Serve, and follow orders: begin a phase with a point to die at, or move the clock and send everything that is due."""
    reader, writer = await asyncio.open_connection("127.0.0.1", life.control)

    def say(**words: object) -> None:
        writer.write(json.dumps(words).encode() + b"\n")

    say(pid=os.getpid())
    await writer.drain()
    points = Points(life.die_at, stops=life.stops)
    points.watch_statements()
    folder = Path(life.folder)
    moved = folder / "clock"
    """How late it was in the last life: time does not go back."""
    clock = ManualClock(max(life.now, int(moved.read_text()) if moved.exists() else 0))
    with (folder / "router.db.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the router that was killed before may still be ending
    database = life.database or f"sqlite:///{folder}/router.db"
    following = Following()
    service = await opened(
        ServeOptions(folder / "routes.yaml", ("127.0.0.1", 0), database, metrics=False, lease_term=_TERM),
        clock,
    )
    await service.start()
    points.watch_functions()
    say(url=service.url)
    while order := await reader.readline():
        given = json.loads(order)
        if "phase" in given:
            points.phase, points.die_at = given["phase"], given["die_at"]
            say(begun=True)
            continue
        clock.advance(max(0, given["now"] - clock.now()))
        while await is_due(service.store, clock.now()) and not reader.at_eof():
            failed = [
                each
                for each in (await service.store.pages.deliveries(limit=100)).rows
                if each["outcome"] == "retry"
            ]
            assert not failed, f"a delivery failed: {failed}"
            if life.database:  # after a replica that was killed, the next one begins without tokens
                moved.write_text(str(clock.now() + _TOKENS_COME_BACK))
                clock.advance(_TOKENS_COME_BACK)
            await asyncio.sleep(_POLL_SECONDS)  # real time: between two checks
        if life.database:
            await following.rest()
        for _ in range(2):  # the lanes notice that nothing is due
            await service.store.ready()
            await service.lanes.settled()
        points.die_at = None
        say(settled=True)
    say(passed=list(points.passed.values()))
    writer.close()
    await writer.wait_closed()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children need not be waited for
    logs.configure("json", "error")
    Templates(levels=("critical",), timezone="UTC")  # compiled once for all routers
    for line in sys.stdin:
        if os.fork() == 0:
            asyncio.get_event_loop_policy().new_event_loop().run_until_complete(
                live(Life(**json.loads(line)))
            )
            os._exit(0)


if __name__ == "__main__":
    main()
