"""Three replicas under load are replaced by the next version, one after the other: nothing is lost or repeated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.package import package_version
from tests.acceptance.groups_of_alerts import CRITICAL, WARNING, Sender
from tests.acceptance.next_version import VERSION, make_next_version
from tests.acceptance.recorded_providers import recorded_providers
from tests.acceptance.replicas import LEASE_SECONDS, LONG_LEASE_SECONDS, Cluster, Replica, cluster
from tests.database import rows
from tests.postgresql import Server

_PATIENCE = 60.0
"""Seconds after which a sender gives up: it gets the replica's own answer before."""


async def replace(replica: Replica, checkout: Path, rules: str) -> None:
    assert await replica.stop() == 0
    replica.run_code_of(checkout)
    replica.config.write_text(rules)
    await replica.start()


def versions(replicas: Cluster) -> set[str]:
    return {version for (version,) in rows(replicas.url, "SELECT version FROM replicas")}


@asynccontextmanager
async def under_load(
    folder: Path, server: Server, lease_seconds: int
) -> AsyncIterator[tuple[Cluster, Sender]]:
    """Yield three replicas, and who posts to them, and check them in the end: all have the next version then."""
    async with (
        recorded_providers() as (providers, recorder),
        cluster(folder, server, providers, recorder, count=3, lease_seconds=lease_seconds) as replicas,
    ):
        await replicas.start()
        sender = Sender("upgrade", (*CRITICAL, *WARNING), replicas.urls, patience=_PATIENCE)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sender.run())
                await replicas.go_on()
                yield replicas, sender
                await replicas.go_on()
                sender.stop()
            await replicas.settle(sender.groups)
            replicas.check(sender)
            assert versions(replicas) == {VERSION}
        except BaseException as error:
            error.add_note("\n".join(replicas.story(sender.groups)))
            raise


@pytest.mark.hunt
@pytest.mark.parametrize("rules_change", [False, pytest.param(True, marks=pytest.mark.hunt_only)])
async def test_a_rolling_upgrade_loses_and_repeats_nothing(
    tmp_path: Path, own_postgresql: Server, rules_change: bool
) -> None:
    later = make_next_version(tmp_path)
    async with under_load(tmp_path, own_postgresql, LONG_LEASE_SECONDS) as (replicas, _):
        rules = replicas.replicas[0].config.read_text()
        # The new rules decide the same, so that the messages can be checked as before.
        new_rules = rules.replace("inhibit_wait: 1s", "inhibit_wait: 2s") if rules_change else rules
        for number, replica in enumerate(replicas.replicas):
            await replace(replica, later, new_rules)
            await replicas.go_on()
            if number == 0:  # an old one can start on the new tables
                old = replicas.replicas[1]
                assert await old.stop() == 0
                await old.start()
                assert versions(replicas) == {package_version(), VERSION}
                await replicas.go_on()
    assert replicas.duplicates() == {}


@pytest.mark.hunt
@pytest.mark.hunt_only
@pytest.mark.parametrize("is_new", [True, False])
async def test_a_kill_in_a_rolling_upgrade_repeats_what_was_under_way(
    tmp_path: Path, own_postgresql: Server, is_new: bool
) -> None:
    later = make_next_version(tmp_path)
    async with under_load(tmp_path, own_postgresql, LONG_LEASE_SECONDS) as (replicas, _):
        first, second, third = replicas.replicas
        rules = first.config.read_text()
        if is_new:
            await replace(first, later, rules)
            await replicas.kill(first)
            await replicas.go_on()
            await first.start()
            await replace(second, later, rules)
        else:  # an old one, while the first new one starts and changes the tables
            assert await first.stop() == 0
            first.run_code_of(later)
            await asyncio.gather(first.start(), replicas.kill(second))
            await replicas.go_on()
            second.run_code_of(later)
            await second.start()
        await replicas.go_on()
        await replace(third, later, rules)


@pytest.mark.hunt
@pytest.mark.hunt_only
async def test_a_migration_longer_than_the_term_loses_nothing(tmp_path: Path, own_postgresql: Server) -> None:
    later = make_next_version(tmp_path, seconds=6 * LEASE_SECONDS)
    async with under_load(tmp_path, own_postgresql, LEASE_SECONDS) as (replicas, sender):
        rules = replicas.replicas[0].config.read_text()
        for each in replicas.replicas:
            await replace(each, later, rules)
            await replicas.go_on()
    assert sender.answers["503"] > 0


async def test_a_version_that_breaks_older_ones_waits_for_their_end(
    tmp_path: Path, own_postgresql: Server
) -> None:
    later = make_next_version(tmp_path, older_may_serve=False)
    async with (
        recorded_providers() as (providers, recorder),
        cluster(tmp_path, own_postgresql, providers, recorder, count=2) as replicas,
    ):
        old, new = replicas.replicas
        await old.start()
        new.run_code_of(later)
        await new.spawn()
        assert await new.wait() != 0
        assert f"{old.name} (version {package_version()}) still serve from this database" in new.log
        assert await old.post(b"{}") == 202
        assert await old.stop() == 0
        await new.start()
        assert await new.post(b"{}") == 202
        await old.spawn()
        assert await old.wait() != 0
        assert f"was written by alert-router {VERSION}, which is newer than this version" in old.log
