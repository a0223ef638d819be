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
from tests.acceptance.processes import until
from tests.acceptance.test_kill import _body
from tests.postgresql import PATIENT, Server, limits_transactions
from tests.world.conftest import MONDAY_NOON
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.rules import rules


async def post(router: Router, body: bytes) -> int:
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
