"""A router that stands still in the middle of a batch does not hold up others for long: PostgreSQL ends its session."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import psycopg
import pytest

from router.model import SECOND
from router.store.backend import LONGEST_BATCH
from router.store.postgresql_session import READS, WRITES
from tests.acceptance.lives import Router, stable
from tests.acceptance.processes import Router as Process
from tests.acceptance.processes import until
from tests.acceptance.recorded_providers import recorded_providers
from tests.acceptance.replicas import cluster
from tests.acceptance.test_kill import _body
from tests.postgresql import PATIENT, Server, limits_transactions
from tests.world.conftest import MONDAY_NOON
from tests.world.fake_anything import Anything, smtp
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.rules import rules


async def post(router: Router | Process, body: bytes) -> int:
    async with aiohttp.ClientSession() as session, session.post(f"{router.url}/webhook", data=body) as answer:
        return answer.status


def state_of(pid: int) -> str:
    """Return the state of a process, as Linux shows it; ``T``: it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@limits_transactions
@pytest.mark.parametrize(
    "point", ["WITH w0 AS (INSERT INTO meta", "COMMIT after WITH w0 AS (INSERT INTO meta"]
)
async def test_a_stopped_router_frees_the_lock_and_goes_on_later(
    tmp_path: Path, postgresql: Server, point: str
) -> None:
    url = postgresql.url(postgresql.create()).replace(f"&{PATIENT}", "")
    async with FakeSlack() as slack, FakePagerDuty() as pagerduty, FakeSmtp() as mail, stable() as there:
        (tmp_path / "routes.yaml").write_text(rules(slack, pagerduty, mail))
        router = await there.start(tmp_path, MONDAY_NOON, database=url, stops=True)
        await router.settle(MONDAY_NOON)
        await router.begin("fires", f"fires: {point}")
        posting = asyncio.create_task(post(router, _body("Down", "critical", "firing")))

        async def stopped() -> bool:
            return state_of(router.pid) == "T"

        await until(stopped, "the router stops")
        with psycopg.connect(url, autocommit=True) as other:
            # As a router that waits for the lock.
            other.execute(f"SET lock_timeout = '{WRITES.settings['lock_timeout']}'".encode())
            await asyncio.to_thread(other.execute, "SELECT pg_advisory_xact_lock(x'616c65727402'::bigint)")
        os.kill(router.pid, signal.SIGCONT)
        assert await posting in {200, 503}  # the COMMIT may have left just before the stop
        while await post(router, _body("Down", "critical", "firing")) != 200:
            pass
        await router.settle(MONDAY_NOON + 10_000)
        await slack.until(lambda: len(slack.messages) == 1)
        await router.passed()
        assert len(mail.mails) == 1


async def test_a_replica_stopped_within_a_mail_does_not_finish_it_later(
    tmp_path: Path, own_postgresql: Server
) -> None:
    """It waits for the answer to DATA. When it goes on, the answer is there, and another replica has sent the mail."""
    asked, goes_on, answered, ended = asyncio.Event(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    contents: list[bytes] = []

    async def answer_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_first = not asked.is_set()
        asked.set()
        if is_first:
            await goes_on.wait()
        writer.write(b"354 go on\r\n")
        if not is_first:
            contents.append(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"250 taken\r\n")
            return
        answered.set()
        try:
            contents.append(await reader.read())
        finally:
            ended.set()

    async with (
        Anything() as smarthost,
        recorded_providers() as (providers, recorder),
    ):
        smarthost.speak = smtp("DATA", answer_data)
        providers.mail.smarthost = smarthost.address
        async with cluster(tmp_path, own_postgresql, providers, recorder, count=2) as replicas:
            await replicas.start()
            assert await post(replicas.replicas[0], _body("Down", "critical", "firing")) == 200
            await asked.wait()

            def holder() -> str | None:
                return next(name for lease, name, *_ in replicas.history_of_leases() if "email" in lease)

            (stopped,) = (each for each in replicas.replicas if each.name == holder())
            stopped.stall()

            async def is_sent() -> bool:
                return len(contents) == 1

            await until(is_sent, "the other replica sends the mail")
            assert holder() != stopped.name
            goes_on.set()
            await answered.wait()
            stopped.wake_up()
            await ended.wait()
        assert b"Subject:" in contents[0]
        assert contents[1:] == [b""]


def test_a_router_waits_for_the_lock_longer_than_a_stalled_one_holds_it() -> None:
    def seconds(value: str) -> int:
        return int(value.removesuffix("s"))

    held = seconds(WRITES.settings["idle_in_transaction_session_timeout"])
    waits = seconds(WRITES.settings["lock_timeout"])
    assert (
        held < LONGEST_BATCH / SECOND < waits < seconds(WRITES.settings["statement_timeout"]) < WRITES.seconds
    )
    assert seconds(READS.settings["statement_timeout"]) < READS.seconds
    assert int(WRITES.settings["tcp_user_timeout"]) / 1000 < WRITES.seconds
