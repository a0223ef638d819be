"""The real router on PostgreSQL, behind the real Alertmanager: the policy, a kill, and the command line."""

import asyncio
import json
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import make_url

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import (
    ROOT,
    Alertmanager,
    Router,
    answers,
    needs_alertmanager,
    running,
    until,
)
from tests.acceptance.test_policy import MONDAY_NIGHT, TUESDAY_MORNING
from tests.database import rows
from tests.postgresql import PASSWORD, Server
from tests.unit.cli.commands import GOOD
from tests.world.bodies import alert, webhook
from tests.world.fake_pagerduty import Page
from tests.world.fake_slack import Want


@pytest.fixture
def url(postgresql: Server) -> Iterator[str]:
    """Yield the URL of a new database, with a password."""
    name = postgresql.create()
    postgresql.execute("GRANT ALL ON SCHEMA public TO locked", name)
    yield postgresql.url(name, f"locked:{PASSWORD}")
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


class ServerTime:
    """The time of a database, which the routers follow. In its sessions, another function takes the place of
    ``clock_timestamp()``.
    """

    def __init__(self, postgresql: Server, url: str) -> None:
        self._execute = partial(postgresql.execute, database=str(make_url(url).database))
        self.url = f"{url}%20-c%20search_path%3Dmoved,pg_catalog"
        for statement in (
            "CREATE SCHEMA moved", "CREATE SCHEMA moving", "GRANT ALL ON SCHEMA moved, moving TO public",
            "CREATE TABLE moving.by (span interval)", "INSERT INTO moving.by VALUES ('0')", "GRANT ALL ON moving.by TO public",
            ("CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql "
             "AS 'SELECT pg_catalog.clock_timestamp() + span FROM moving.by'"),
        ):  # fmt: skip
            self._execute(statement)

    def set(self, at: datetime) -> None:
        """Set the clock to ``at``; it runs on from there."""
        self._execute(f"UPDATE moving.by SET span = '{at.isoformat()}' - pg_catalog.clock_timestamp()")


@needs_alertmanager
async def test_a_night_on_postgresql_with_a_kill(
    providers: Providers, folder: Path, url: str, postgresql: Server
) -> None:
    time = ServerTime(postgresql, url)
    url = time.url
    router = Router(folder, providers.routes, database=url)
    time.set(MONDAY_NIGHT)
    slack, mail = providers.slack, providers.mail
    async with running(router), Alertmanager(folder, f"{router.url}/webhook") as alertmanager:
        await alertmanager.fire(alertname="Down", cluster="eu-1", severity="critical")
        await alertmanager.fire(alertname="Disk", cluster="eu-2", severity="warning")
        await alertmanager.fire(alertname="Cert", cluster="eu-3", severity="info")
        waiting = {"delivered": 3, "held": 2, "digest": 1}

        async def is_settled() -> bool:
            return await router.fates() == waiting

        await until(is_settled, "the critical is sent, the others wait")
        providers.pagerduty.expect(Page("Down", open=True))
        await router.kill()
        await router.start()
        assert await router.fates() == waiting
        time.set(TUESDAY_MORNING)
        await slack.until(lambda: len(slack.messages) == 2)
        await mail.until(lambda: len(mail.mails) == 3)
        waiting = {"delivered": 6}
        await until(is_settled, "the warning is sent at opening, the info in the digest")
        slack.expect(Want("C0CRITICAL", ("Down",)), Want("C0WARNINGS", ("Disk", "held since")))
        await asks_the_database(router, alertmanager, url)
    assert PASSWORD not in router.log


async def test_a_service_file_names_the_database_and_its_password(folder: Path, url: str) -> None:
    """deploy/compose has such a file as a secret."""
    named = make_url(url)
    service = folder / "service"
    service.write_text(
        f"[router]\nhost={named.query['host']}\ndbname={named.database}\nuser={named.username}\npassword={PASSWORD}\n"
    )
    service.chmod(0o644)
    router = Router(
        folder, GOOD, environ={"PGSERVICEFILE": str(service)}, database="postgresql:///?service=router"
    )
    async with running(router):
        assert await router.post(b"{}") == 202
    assert PASSWORD not in router.log


async def asks_the_database(router: Router, alertmanager: Alertmanager, url: str) -> None:
    """The command line reads the database that the router has open."""
    ledger = json.loads(await output("ledger", "--json", "--database", url))
    assert ledger["fates"]["delivered"] == 6
    assert ledger["imbalance"] == 0
    async with aiohttp.ClientSession() as session, session.get(f"{alertmanager.url}/api/v2/alerts") as answer:
        fingerprint = next(
            each["fingerprint"] for each in await answer.json() if each["labels"]["cluster"] == "eu-1"
        )
    config = str(router.config)
    explained = await output("explain", "--config", config, "--database", url, "--alert", fingerprint)
    assert explained.startswith('Down{cluster="eu-1", severity="critical"}')


async def output(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_a_role_that_may_not_change_tables_serves(
    providers: Providers, folder: Path, postgresql: Server
) -> None:
    """The tables belong to another role, with which the first start made them."""
    name = postgresql.create()
    own = postgresql.url(name, f"locked:{PASSWORD}")
    async with running(Router(folder, providers.routes, database=postgresql.url(name))):
        pass
    postgresql.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO locked", name)
    router = Router(folder, providers.routes, database=own)
    async with running(router):
        body = json.dumps(webhook(alert(labels={"alertname": "Down", "severity": "critical"}))).encode()
        assert await router.post(body) == 200

        async def is_delivered() -> bool:
            return (await router.fates()).keys() == {"delivered"}

        await until(is_delivered, "it is delivered")
    # A migration needs the owner of the tables. The start waits for that, as the message says.
    postgresql.execute("UPDATE alembic_version SET version_num = '0021'", name)
    await router.spawn()

    async def says_why() -> bool:
        return "must be owner of table" in router.log or "permission denied" in router.log

    await until(says_why, "the log says what is missing")
    assert not await answers(f"{router.url}/readyz")
    assert await router.stop() == 0


async def test_a_dump_is_restored_for_another_role_into_an_empty_database(
    providers: Providers, folder: Path, postgresql: Server
) -> None:
    """The command of docs/backup.md."""
    name, copy = postgresql.create(), postgresql.create()
    router = Router(folder, providers.routes, database=postgresql.url(name))
    async with running(router):
        body = json.dumps(webhook(alert(labels={"alertname": "Down", "severity": "info"}))).encode()
        assert await router.post(body) == 200
    postgresql.execute(f"ALTER DATABASE {copy} OWNER TO locked")
    postgresql.execute("ALTER SCHEMA public OWNER TO locked", copy)
    (command,) = {
        words for words in re.findall(r"^ *(pg_restore .*)$", (ROOT / "docs/backup.md").read_text(), re.MULTILINE)
        if "--clean" not in words
    }  # fmt: skip
    own = postgresql.url(copy, f"locked:{PASSWORD}")
    dump = folder / "router.dump"
    for words in (
        ["pg_dump", "--format=custom", f"--file={dump}", postgresql.url(name)],
        [each.replace("postgresql://router@db/router", own).replace("router.dump", str(dump)) for each in shlex.split(command)],
    ):  # fmt: skip
        ran = await asyncio.create_subprocess_exec(
            postgresql.programs / words[0], *words[1:], stderr=asyncio.subprocess.PIPE
        )
        _, said = await ran.communicate()
        assert ran.returncode == 0, said.decode()
    assert rows(postgresql.url(copy), "SELECT count(*) FROM changes") == [(1,)]
    router = Router(folder, providers.routes, database=own)
    async with running(router):
        assert router.log.count("the database is new and empty") == 1  # only at the first start
        assert await router.fates() != {}
