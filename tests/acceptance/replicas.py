"""Several replicas of the router on one PostgreSQL, each behind a TCP proxy of its own, and what must hold in the end."""

import logging
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from router.store.backend import open_backend
from router.store.balance import recent_balance
from router.store.integrity import find_faults
from tests.acceptance.attempts import attempts_of, causes_of_duplicates, without_an_answer
from tests.acceptance.conftest import Providers
from tests.acceptance.conversation_checks import check, missing
from tests.acceptance.groups_of_alerts import Group, Sender, now_ms, severity_of
from tests.acceptance.processes import Router, until
from tests.acceptance.recorded_providers import PAGERDUTY, Recorder
from tests.database import rows
from tests.postgresql import Server
from tests.tcp_proxy import TcpProxy

log = logging.getLogger(__name__)
LEASE_SECONDS = 3
"""The shortest lease, so that takeovers do not take long."""
LONG_LEASE_SECONDS = 60
"""No lease expires because the machine is busy. A replica that stops releases its leases, and the end of a process is seen."""
_MESSAGES = 15
"""How many messages are sent between two steps."""
DESTINATIONS = {
    "critical": (PAGERDUTY, "slack:C0CRITICAL", "email:oncall@example.com"),
    "warning": ("slack:C0WARNINGS", "email:team@example.com"),
}
_OVERLAPPING = """
SELECT a.id, b.id, a.destination FROM deliveries a JOIN deliveries b ON a.conversation_id = b.conversation_id AND a.id < b.id
WHERE b.started_at < a.finished_at AND a.outcome <> 'interrupted'
"""
_SESSION = "SELECT id, expires_at FROM replicas WHERE name = :name"
_INTERRUPTED = "SELECT DISTINCT replica FROM deliveries WHERE outcome = 'interrupted'"
_STORY = """
SELECT c.id, c.webhook_id, c.kind, c.at, a.labels FROM changes c JOIN alerts a ON a.id = c.alert_id WHERE a.labels LIKE :name
ORDER BY c.id
"""
_CONVERSATIONS = """
SELECT DISTINCT c.id, c.destination, c.state, c.due_at, c.not_before, c.next_at, c.generation, c.observed_generation, c.attempts,
  c.delivery_id, d.replica, d.started_at, d.finished_at, d.outcome, d.reason, s.name
FROM conversations c JOIN groups g ON g.id = c.group_id LEFT JOIN deliveries d ON d.id = c.delivery_id
LEFT JOIN replicas s ON s.id = d.replica WHERE g.labels LIKE :name ORDER BY c.id
"""
_CHANGES = """
SELECT c.kind, count(*) FROM changes c JOIN alerts a ON a.id = c.alert_id
WHERE a.source = 'default' AND a.labels LIKE :name AND c.kind <> 'repeated' GROUP BY c.kind
"""


def rules_of(providers: Providers) -> str:
    """Return rules that send as fast as it comes, except to one channel of Slack. Nothing inhibits anything: then nothing has to wait."""
    found = re.sub(r"inhibit_rules:\n(  .*\n)+", "", providers.routes)
    found = found.replace(", active_time_intervals: [office], outside: hold", "")
    places = ("api_url: ", "events_url: ", "smarthost: ", "channel: C0CRITICAL", "routing_key: ")
    for place in places:
        found = found.replace(place, f"rate: none, {place}")
    return found.replace("rate: none, api_url: ", "rate: none, edit_rate: none, api_url: ")


class Replica(Router):
    """A router with a name, which reaches the database through its own proxy, and as its own user, so that its sessions are
    known there.
    """

    def __init__(
        self, number: int, folder: Path, routes: str, server: Server, database: str, lease_seconds: int
    ) -> None:
        self.name = f"replica-{number}"
        self.user = f"replica_{number}"
        self.proxy = TcpProxy(server.socket)
        self.is_out = True
        """Whether the load balancer leaves it out."""
        place = folder / self.name
        place.mkdir()
        url = f"postgresql://{self.user}@127.0.0.1:{self.proxy.port}/{database}"
        options = ("--replica-name", self.name, "--lease-seconds", str(lease_seconds))
        super().__init__(place, routes, database=url, options=options)

    async def start(self) -> None:
        await super().start()
        self.is_out = False

    async def kill(self) -> None:
        self.is_out = True
        await super().kill()

    async def stop(self) -> int:
        self.is_out = True
        return await super().stop()

    def run_code_of(self, checkout: Path) -> None:
        """Use the code of another folder from the next start on."""
        self.checkout, self._environ = checkout, {"PYTHONPATH": str(checkout)}

    def stall(self) -> None:
        self.send_signal(signal.SIGSTOP)

    def wake_up(self) -> None:
        self.send_signal(signal.SIGCONT)

    async def is_ready(self) -> bool:
        """Return whether it answers that it can accept."""
        with suppress(aiohttp.ClientError, TimeoutError):
            timeout = aiohttp.ClientTimeout(total=2)  # real time: a load balancer does not wait for ever
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/readyz") as answer,
            ):
                return answer.status == 200
        return False


class Cluster:
    """Replicas on one database, a sender, and providers that record."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        providers: Providers,
        recorder: Recorder,
        *,
        count: int,
        lease_seconds: int,
    ) -> None:
        self.server, self.providers, self.recorder = server, providers, recorder
        server.execute("CREATE ROLE router")
        self.database = server.create(more="OWNER router")
        self.url = server.url(self.database)
        self.replicas: list[Replica] = []
        for number in range(count):
            server.execute(f"CREATE ROLE replica_{number} LOGIN IN ROLE router")
            # It owns the tables, whoever makes them.
            server.execute(f"ALTER ROLE replica_{number} SET role = router")
            routes = rules_of(providers)
            self.replicas.append(Replica(number, folder, routes, server, self.database, lease_seconds))

    def urls(self) -> list[str]:
        """Return the addresses of the replicas that the load balancer uses."""
        return [each.url for each in self.replicas if not each.is_out]

    async def start(self) -> None:
        for each in self.replicas:
            await each.start()

    async def go_on(self) -> None:
        """Return when some more messages have been sent."""
        wanted = len(self.recorder.messages) + _MESSAGES

        async def is_sent() -> bool:
            return len(self.recorder.messages) >= wanted

        await until(is_sent, f"{_MESSAGES} more messages")

    async def close(self) -> None:
        for each in self.replicas:
            each.proxy.flow()
            each.wake_up()
            await each.kill()
            each.proxy.close()

    async def settle(self, groups: Sequence[Group]) -> None:
        """Wait until every replica shows that nothing is left to send, and every destination knows the last states."""

        async def is_settled() -> bool:
            for each in self.replicas:
                if not (await each.fates()).keys() <= {"delivered", "obsolete"}:
                    return False
            return not self.behind(groups)

        await until(is_settled, "every destination knows the last state of each group")

    def behind(self, groups: Sequence[Group]) -> list[str]:
        """Return what destinations do not know yet, and what is wrong with what they know."""
        histories = {each.name: each.states for each in groups}
        destinations = {name: DESTINATIONS[severity_of(name)] for name in histories}
        messages = self.recorder.messages
        return check(histories, messages, PAGERDUTY).problems + missing(histories, messages, destinations)

    def check(self, sender: Sender) -> None:
        """Check everything that must hold once it has settled."""
        log.info("answers %s", dict(sender.answers))
        self.check_messages(sender.groups)
        self.check_database()
        for group in sender.groups:
            stored = Counter(dict(rows(self.url, _CHANGES, name=f'%"{group.name}"%')))
            posted = Counter(fired=group.fired, resolved=group.resolved)
            assert stored == posted, f"{group.name}: {stored} were stored, {posted} were posted"

    def check_database(self) -> None:
        """Check that the ledger is balanced, and that no conversation was sent by two at a time."""
        assert rows(self.url, _OVERLAPPING) == []
        backend = open_backend(self.url)
        try:
            with backend.open_read_only() as connection:
                assert recent_balance(connection).off == 0
                found = find_faults(connection, now_ms())
        finally:
            backend.close()
        assert [found.contradicted.count, found.empty.count, found.miscounted.count] == [0, 0, 0], found

    def check_messages(self, groups: Sequence[Group]) -> None:
        """Check that every destination knows everything, and gets a repeat only after an attempt without an answer.

        At PagerDuty, a repeat never opens a second incident: that would be a second conversation of an episode.

        ``alert_router_possible_duplicates_total`` says nothing here: it counts in memory, and a replica that is killed
        forgets it.
        """
        assert self.behind(groups) == []
        causes = self.duplicates()
        histories = {each.name: each.states for each in groups}
        repeats = check(histories, self.recorder.messages, PAGERDUTY).repeats
        allowed = without_an_answer(attempts_of(self.url))
        log.info(
            "%d states; %d messages; of attempts without a record: %s; repeats: %s; allowed: %s",
            sum(map(len, histories.values())), len(self.recorder.messages), dict(causes), dict(repeats), dict(allowed),
        )  # fmt: skip
        assert not repeats - allowed, f"repeats: {repeats}, attempts without an answer: {allowed}"

    def duplicates(self) -> dict[str, int]:
        """Return the messages of attempts that were not recorded as delivered, by cause. :raises AssertionError: see there"""
        return dict(causes_of_duplicates(self.recorder.taken, attempts_of(self.url, may_wake_up=True)))

    async def kill(self, replica: Replica) -> None:
        """Kill a replica, and return when the others have expelled it. With a long lease they do so before its session expires,
        because they see that its process has ended; and nobody else leaves anything under way.
        """
        ((session, expires_at),) = rows(self.url, _SESSION, name=replica.name)
        await replica.kill()

        async def is_gone() -> bool:
            return not rows(self.url, "SELECT FROM replicas WHERE id = :id", id=session)

        await until(is_gone, f"{replica.name} is expelled")
        ((now,),) = rows(self.url, "SELECT extract(epoch FROM clock_timestamp()) * 1000")
        assert now < expires_at, f"{replica.name} was expelled only when its session had expired"
        assert set(rows(self.url, _INTERRUPTED)) <= {(session,)}

    def story(self, groups: Sequence[Group]) -> list[str]:
        """Return what is known about the groups that destinations are wrong about, for the message of a failure."""
        behind = self.behind(groups)
        return [
            *behind,
            *(
                line
                for group in groups
                if any(f", {group.name}: " in each for each in behind)
                for line in [
                    *map(str, group.states),
                    *(str(each) for each in self.recorder.messages if each.group == group.name),
                    *map(str, rows(self.url, _CONVERSATIONS, name=f'%"{group.name}"%')),
                    *map(str, rows(self.url, _STORY, name=f'%"{group.name}"%')),
                ]
            ),
        ]

    def history_of_leases(self) -> list[tuple[str, str | None, int, str]]:
        """Return each lease with the name of its holder, its fence, and how it passed on."""
        query = """
            SELECT l.name, r.name, l.fence, l.passed_on FROM leases l LEFT JOIN replicas r ON r.id = l.replica ORDER BY 1
        """
        return [(lease, holder, fence, passed) for lease, holder, fence, passed in rows(self.url, query)]


@asynccontextmanager
async def cluster(
    folder: Path,
    server: Server,
    providers: Providers,
    recorder: Recorder,
    *,
    count: int,
    lease_seconds: int = LEASE_SECONDS,
) -> AsyncIterator[Cluster]:
    there = Cluster(folder, server, providers, recorder, count=count, lease_seconds=lease_seconds)
    try:
        yield there
    except BaseException as error:
        with suppress(Exception):  # the database may be down, and the error is another one
            error.add_note(f"leases: {there.history_of_leases()}")
        for each in there.replicas:
            error.add_note(f"{each.name}:\n{each.log[-3000:]}")
        raise
    finally:
        await there.close()
