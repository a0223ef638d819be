"""A kill at every step that writes something: nothing is lost, and duplicates are rare."""

import asyncio
import json
import logging
import os
import re
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from router.model import DAY, HOUR, Millis
from tests.acceptance.lives import Died, Router, Stable, stable
from tests.postgresql import Server
from tests.world.conftest import MONDAY_NOON
from tests.world.fake_pagerduty import KEY, FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.rules import rules

log = logging.getLogger(__name__)
PHASES = ("fires", "ends", "is for the digest", "is in the digest")
_ALL = "CHAOS_SEED" in os.environ
"""`make hunt` kills at all steps in all phases, also at calls of functions and at reads."""
_WRITES_NOTHING = re.compile(r".*: (SELECT .*|[\w.<>]+, line \d+)")
_STATEMENT = re.compile(r".*: (INSERT|UPDATE|DELETE|RELEASE|COMMIT).*")
_CHAINS = 3
_MAX_TRIES = 8
"""A point that depends on when maintenance runs, or when a replica renews its session, is tried in this many rounds."""


@dataclass
class Chain:
    """One router after another on one database, each killed at a point. The sender repeats a body until it gets a 200."""

    stable: Stable
    folder: Path
    slack: FakeSlack
    pagerduty: FakePagerDuty
    mail: FakeSmtp
    database: str | None = None
    """A URL; None: a file in the folder."""
    now: Millis = MONDAY_NOON
    round: int = 0
    killed: list[str] = field(default_factory=list)
    """The points at which a router was killed."""
    duplicates: Counter[str] = field(default_factory=Counter)
    """The number of duplicates, by destination."""
    passed: dict[str, None] = field(default_factory=dict)
    """Points outside the router: at the sender and at the providers."""
    _router: Router | None = None
    _phase: str = "start"
    _point: str | None = None

    def __post_init__(self) -> None:
        (self.folder / "routes.yaml").write_text(rules(self.slack, self.pagerduty, self.mail))
        for name, fake in (("Slack", self.slack), ("PagerDuty", self.pagerduty), ("mail", self.mail)):
            fake.on_step = partial(self._provider_passes, name)

    def _provider_passes(self, name: str, step: str) -> None:
        self._pass(f"{name} {step}")

    def _pass(self, what: str) -> None:
        point = f"{self._phase}: {what}"
        self.passed.setdefault(point)
        if point == self._point and self._router is not None:
            self._point = None
            self._router.kill()

    async def router(self) -> Router:
        """Return the running router; start one if there is none."""
        if self._router is None:
            self._router = await self.stable.start(self.folder, self.now, database=self.database)
            await self._router.settle(self.now)
        return self._router

    async def dies_in_its_start(self, point: str) -> bool:
        """Return whether a router reaches the point before it first comes to rest; otherwise kill it at rest."""
        try:
            router = await self.stable.start(self.folder, self.now, point, self.database)
        except Died:
            return True
        try:
            await router.settle(self.now)
        except Died:
            return True
        else:
            return False
        finally:
            router.kill()
            await router.gone()

    async def play(self, point_of: dict[str, str]) -> None:
        """Play a round: an alert fires, it ends, a digest is sent. Kill the router at these points, by phase."""
        self.round += 1
        critical, info = f"Down{self.round}x", f"Cert{self.round}x"
        await self._step("fires", point_of, body=_body(critical, "critical", "firing"))
        await self._step("ends", point_of, body=_body(critical, "critical", "resolved"))
        await self._step("is for the digest", point_of, body=_body(info, "info", "firing"))
        slot = self.now - (self.now - 8 * HOUR) % DAY + DAY
        await self._step("is in the digest", point_of, until=slot)
        await self._step("is over", {}, body=_body(info, "info", "resolved"))
        try:
            await self._verify(critical, info)
        except AssertionError as error:
            error.add_note(f"round {self.round}, killed at {point_of}")
            raise

    async def _step(
        self, phase: str, point_of: dict[str, str], body: bytes | None = None, until: Millis | None = None
    ) -> None:
        """Play a phase. If a router dies, the next one continues, and the sender repeats a body without a 200."""
        self._phase, self._point = phase, point_of.get(phase)
        point, acknowledged = self._point, body is None
        while True:
            try:
                router = await self.router()
                await router.begin(phase, point)
                if body is not None and not acknowledged:
                    await self._post(router, body)
                    acknowledged = True
                    self._pass("the sender has its 200")
                self.now = until or self.now
                await router.settle(self.now)
                if self._point is not point:  # killed from outside, just as it was done
                    raise Died  # noqa: TRY301
            except (Died, ConnectionError, asyncio.IncompleteReadError):
                assert point is not None, f"it died by itself in round {self.round}, while an alert {phase}"
                self.killed.append(point)
                point = self._point = None
                assert self._router is not None
                await self._router.gone()
                self._router = None
            else:
                self._point = None
                return

    async def _post(self, router: Router, body: bytes) -> None:
        """Post like Alertmanager, in two pieces."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(router.url.rpartition(":")[2]))
        # The router says when it begins to read, so the second half certainly comes later.
        head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body[:50])
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            self._pass("half of the webhook is sent")
            writer.write(body[50:])
            await writer.drain()
            self._pass("the webhook is sent")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _verify(self, critical: str, info: str) -> None:
        """Check that each destination is up to date, and that interrupted attempts explain all duplicates."""
        incidents = [each for each in self.pagerduty.incidents[KEY] if critical in each.summary]
        assert [incident.open for incident in incidents] == [False]
        posted = [each for each in self.slack.messages.values() if critical in each.shown]
        assert "Resolved" in posted[-1].shown
        mails = [mail for mail in self.mail.mails if critical in mail.subject]
        assert {mail.subject.partition("]")[0] for mail in mails} == {"[FIRING:1", "[RESOLVED"}
        digests = [mail for mail in self.mail.mails if info in mail.text.partition("ENDED")[0]]
        digests = [mail for mail in digests if mail.recipients == ("digest@example.com",)]
        assert digests
        replies = [reply for each in posted for reply in each.replies]
        assert replies
        self.duplicates["slack:C0CRITICAL"] += len(posted) - 1 + len(replies) - 1
        self.duplicates["email:oncall@example.com"] += len(mails) - 2
        self.duplicates["digest:daily"] += len(digests) - 1

        ledger = await self._ledger()
        for destination, count in self.duplicates.items():
            assert count <= ledger["deliveries"][destination].get("interrupted", 0), destination
        assert ledger["imbalance"] == 0
        fates = {fate: count for fate, count in ledger["fates"].items() if count}
        assert fates.keys() == {"delivered", "digest"}
        assert fates["digest"] == 1  # the end of the info, for tomorrow's

    async def _ledger(self) -> dict[str, Any]:
        router = await self.router()
        async with aiohttp.ClientSession() as session, session.get(f"{router.url}/status") as answer:
            ledger: dict[str, Any] = (await answer.json())["ledger"]
            return ledger

    async def end(self) -> None:
        if self._router is not None:
            router, self._router = self._router, None
            router.kill()
            await router.gone()

    async def points(self) -> list[str]:
        """End the router. :returns: the points that it passed"""
        router = await self.router()
        passed = await router.passed()
        self._router = None
        return [*passed, *self.passed]


def _body(name: str, severity: str, status: str) -> bytes:
    labels = {"alertname": name, "cluster": "eu-1", "severity": severity}
    return json.dumps({
        "version": "4", "groupKey": name, "receiver": "r", "status": status, "groupLabels": {"alertname": name},
        "alerts": [{"status": status, "labels": labels, "startsAt": "2026-11-23T11:00:00Z"}],
    }).encode()  # fmt: skip


@asynccontextmanager
async def chain(there: Stable, folder: Path, server: Server | None) -> AsyncIterator[Chain]:
    await asyncio.to_thread(folder.mkdir)
    async with FakeSlack() as slack, FakePagerDuty() as pagerduty, FakeSmtp() as mail:
        database = None if server is None else server.url(server.create())
        each = Chain(there, folder, slack, pagerduty, mail, database)
        try:
            yield each
        finally:
            await each.end()


class Plan:
    """The points that are left to kill at, by phase."""

    def __init__(self, points: list[str]) -> None:
        self._left = {
            phase: deque(point for point in points if point.startswith(f"{phase}: ")) for phase in PHASES
        }
        self._tries: Counter[str] = Counter()

    def take(self) -> dict[str, str]:
        """Return the next point of each phase that has one."""
        return {phase: points.popleft() for phase, points in self._left.items() if points}

    def put_back(self, points: set[str]) -> None:
        """Try these points again; they were not reached."""
        for point in points:
            self._tries[point] += 1
            if self._tries[point] < _MAX_TRIES:
                self._left[point.partition(":")[0]].append(point)

    @property
    def missed(self) -> set[str]:
        """Return the points that were never reached again."""
        return {point for point, tries in self._tries.items() if tries == _MAX_TRIES}


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    """None: SQLite."""
    if request.param == "sqlite":
        return None
    found: Server = request.getfixturevalue("postgresql")
    return found


@pytest.mark.hunt
async def test_a_kill_at_any_step_of_the_path_loses_nothing(tmp_path: Path, server: Server | None) -> None:
    async with stable() as there:
        points = await _points(there, tmp_path, server)
        plan, chains = Plan(points), list[Chain]()

        async def work(folder: Path) -> None:
            async with chain(there, folder, server) as each:
                chains.append(each)
                while point_of := plan.take():
                    killed = len(each.killed)
                    await each.play(point_of)
                    plan.put_back(set(point_of.values()) - set(each.killed[killed:]))

        async with asyncio.TaskGroup() as group:
            for number in range(_CHAINS):
                group.create_task(work(tmp_path / str(number)))
    killed = {point for each in chains for point in each.killed}
    assert killed | plan.missed == {point for point in points if point.startswith(tuple(PHASES))}
    assert len(killed) > 20 * len(plan.missed), plan.missed
    assert len(killed) > (100 if _ALL else 20 if server is None else 10)
    log.info(
        "killed at %d points, duplicates: %s; %s",
        len(killed),
        [each.duplicates for each in chains],
        plan.missed,
    )
    assert (
        sum(each.duplicates.total() for each in chains) > 0
    )  # otherwise no kill was at a point that can cause a duplicate


@pytest.mark.hunt
async def test_kills_during_first_starts_leave_a_sound_database(
    tmp_path: Path, server: Server | None
) -> None:
    async with stable() as there:
        points = [point for point in await _points(there, tmp_path, server) if point.startswith("start: ")]
        points = points if _ALL else points[:: 3 if server is None else 9]
        assert any("CREATE TABLE" in point for point in points)
        left, missed = deque(points), list[str]()
        while left:
            async with chain(there, tmp_path / f"killed-{len(left)}", server) as each:
                while left and await each.dies_in_its_start(left[0]):
                    left.popleft()
                await each.play({})
            # A start that was not killed has completed its database, so the next point needs a new one.
            if left:
                missed.append(left.popleft())
    assert len(missed) <= len(points) // 20, missed


async def _points(there: Stable, folder: Path, server: Server | None) -> list[str]:
    """Return the points of a run without kills: in a hunt all, otherwise each step that writes, in one of its phases. Of
    PostgreSQL's statements, which come from the same code, one in four.

    Two runs have to pass them: some come in real time, such as the renewal of a session, and need not come again.
    """
    found: list[list[str]] = []
    for name in ("once", "again"):
        async with chain(there, folder / name, server) as whole:
            await whole.play({})
            await whole.play({})
            found.append(await whole.points())
    once, again = found
    points = [point for point in once if point in again]
    if _ALL:
        return points
    lasting = [point for point in points if not _WRITES_NOTHING.fullmatch(point)]
    phases: dict[str, list[str]] = {}
    for point in lasting:
        if point.startswith(tuple(PHASES)):
            phases.setdefault(point.partition(": ")[2], []).append(point)
    chosen = {each[number % len(each)] for number, each in enumerate(phases.values())}
    if server is not None:
        statements = sorted(point for point in chosen if _STATEMENT.fullmatch(point))
        chosen -= set(statements) - set(statements[::4])
    return [point for point in lasting if point in chosen or point.startswith("start: ")]
