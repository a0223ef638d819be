"""Three replicas under load are replaced by the next version, one after the other: nothing is lost or repeated."""

import asyncio
from pathlib import Path

import pytest

from router.package import package_version
from tests.acceptance.groups_of_alerts import CRITICAL, WARNING, Sender
from tests.acceptance.next_version import VERSION, make_next_version
from tests.acceptance.recorded_providers import recorded_providers
from tests.acceptance.replicas import LONG_LEASE_SECONDS, Cluster, Replica, cluster
from tests.database import rows
from tests.postgresql import Server


async def replace(replica: Replica, checkout: Path, rules: str) -> None:
    assert await replica.stop() == 0
    replica.run_code_of(checkout)
    replica.config.write_text(rules)
    await replica.start()


def versions(replicas: Cluster) -> set[str]:
    return {version for (version,) in rows(replicas.url, "SELECT version FROM replicas")}


@pytest.mark.hunt
@pytest.mark.hunt_only
@pytest.mark.parametrize("rules_change", [False, True])
async def test_a_rolling_upgrade_loses_and_repeats_nothing(
    tmp_path: Path, own_postgresql: Server, rules_change: bool
) -> None:
    later = make_next_version(tmp_path)
    async with (
        recorded_providers() as (providers, recorder),
        cluster(
            tmp_path, own_postgresql, providers, recorder, count=3, lease_seconds=LONG_LEASE_SECONDS
        ) as replicas,
    ):
        await replicas.start()
        sender = Sender("upgrade", (*CRITICAL, *WARNING), replicas.urls)
        rules = replicas.replicas[0].config.read_text()
        # The new rules decide the same, so that the messages can be checked as before.
        new_rules = rules.replace("inhibit_wait: 1s", "inhibit_wait: 2s") if rules_change else rules
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sender.run())
                await replicas.go_on()
                for number, replica in enumerate(replicas.replicas):
                    await replace(replica, later, new_rules)
                    await replicas.go_on()
                    if number == 0:  # an old one can start on the new tables
                        old = replicas.replicas[1]
                        assert await old.stop() == 0
                        await old.start()
                        assert versions(replicas) == {package_version(), VERSION}
                        await replicas.go_on()
                sender.stop()
            await replicas.settle(sender.groups)
            replicas.check(sender)
            assert replicas.duplicates() == {}
            assert versions(replicas) == {VERSION}
        except BaseException as error:
            error.add_note("\n".join(replicas.story(sender.groups)))
            raise


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
