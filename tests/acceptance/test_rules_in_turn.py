"""Three replicas under load, while two files of rules come in turn: each flips once, and nothing is lost or repeated."""

import asyncio
from itertools import groupby
from pathlib import Path

import pytest

from tests.acceptance.groups_of_alerts import CRITICAL, WARNING, Sender
from tests.acceptance.processes import until
from tests.acceptance.recorded_providers import recorded_providers
from tests.acceptance.replicas import LONG_LEASE_SECONDS, Cluster, Replica, cluster
from tests.database import rows
from tests.postgresql import Server

_FIRST_DECISIONS = """
SELECT c.sha256 FROM fates f JOIN changes h ON h.id = f.change_id JOIN alerts a ON a.id = h.alert_id
JOIN configurations c ON c.id = coalesce(
  (SELECT configuration FROM former_fates WHERE fate_id = f.id ORDER BY id LIMIT 1), f.configuration)
WHERE a.source = 'default' ORDER BY f.id
"""
"""The files by which each fate was first decided, in the order of the decisions."""


def files_in_turn(replicas: Cluster) -> list[str]:
    """Return the hashes of the files by which the alerts were decided, one for each time that they changed."""
    return [sha256 for sha256, _ in groupby(sha256 for (sha256,) in rows(replicas.url, _FIRST_DECISIONS))]


async def loaded_by(replica: Replica) -> tuple[str, bool]:
    """Return the hash of the files that a replica has loaded, and whether they are in force."""
    in_force = (await replica.status())["config"]["in_force"]
    return in_force["own_sha256"], in_force["agrees"]


async def until_loaded(replica: Replica, sha256: str, *, agrees: bool) -> None:
    async def is_loaded() -> bool:
        return await loaded_by(replica) == (sha256, agrees)

    await until(is_loaded, f"{replica.name} has loaded {sha256} and {'agrees' if agrees else 'disagrees'}")


async def start_again(replica: Replica, rules: str) -> None:
    replica.config.write_text(rules)
    await replica.start()


@pytest.mark.hunt
async def test_two_files_in_turn_under_load_flip_once_each(tmp_path: Path, own_postgresql: Server) -> None:
    async with (
        recorded_providers() as (providers, recorder),
        cluster(
            tmp_path, own_postgresql, providers, recorder, count=3, lease_seconds=LONG_LEASE_SECONDS
        ) as replicas,
    ):
        await replicas.start()
        first, second, third = replicas.replicas
        old = first.config.read_text()
        # It decides the same, so that the messages can be checked as those of one file.
        new = old.replace("inhibit_wait: 1s", "inhibit_wait: 2s")
        assert new != old
        sha_old, _ = await loaded_by(first)
        sender = Sender("rules in turn", (*CRITICAL, *WARNING), replicas.urls)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sender.run(0.3))
                await replicas.go_on()
                assert await first.stop() == 0
                await start_again(first, new)
                sha_new, agrees = await loaded_by(first)
                assert agrees
                for each in (second, third):
                    await until_loaded(each, sha_old, agrees=False)
                await replicas.go_on()
                await second.kill()  # it comes back with its old file
                await start_again(second, old)
                await until_loaded(second, sha_old, agrees=False)
                await first.kill()  # nobody agrees until it is back
                await start_again(first, new)
                await until_loaded(first, sha_new, agrees=True)
                await replicas.go_on()
                for each in (second, third):
                    assert await each.stop() == 0
                    await start_again(each, new)
                    await until_loaded(each, sha_new, agrees=True)
                    await replicas.go_on()
                for rules, sha256 in ((old, sha_old), (new, sha_new)):
                    for each in replicas.replicas:  # by a signal, without a restart
                        each.hang_up(rules)
                        await until_loaded(each, sha256, agrees=True)
                        await replicas.go_on()
                sender.stop()
            await replicas.settle(sender.groups)
            replicas.check(sender)
            assert files_in_turn(replicas) == [sha_old, sha_new] * 2
        except BaseException as error:
            error.add_note("\n".join(replicas.story(sender.groups)))
            raise
