"""Two and three replicas under random faults: nothing is lost, and no conversation is out of order."""

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.acceptance.balancer import Balancer
from tests.acceptance.groups_of_alerts import CRITICAL, WARNING, Group, Sender
from tests.acceptance.processes import Alertmanager, needs_alertmanager
from tests.acceptance.recorded_providers import recorded_providers
from tests.acceptance.replica_faults import Faults
from tests.acceptance.replicas import cluster
from tests.postgresql import Server
from tests.world.bodies import GO_ZERO

log = logging.getLogger(__name__)
SEED = os.environ.get("CHAOS_SEED") or "14"
FAULTS = {2: 50, 3: 50} if os.environ.get("CHAOS_SEED") else {2: 2, 3: 9}
"""How many there are, by the number of replicas. `make hunt` has time for more; nine are one of each kind."""


@pytest.mark.hunt
@pytest.mark.parametrize("count", [2, 3])
async def test_after_faults_every_provider_is_up_to_date(
    tmp_path: Path, own_postgresql: Server, count: int
) -> None:
    async with (
        recorded_providers() as (providers, recorder),
        cluster(tmp_path, own_postgresql, providers, recorder, count=count) as replicas,
    ):
        await replicas.start()
        sender, faults = Sender(SEED, (*CRITICAL, *WARNING), replicas.urls), Faults(replicas, SEED)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sender.run())
                await faults.cause(FAULTS[count])
                sender.stop()
            await replicas.settle(sender.groups)
            replicas.check(sender)
            log.info("%d replicas: %s", count, dict(faults.happened))  # pytest --log-cli-level=info shows it
        except BaseException as error:
            error.add_note(f"CHAOS_SEED={SEED} repeats this run; {dict(faults.happened)}")
            error.add_note("\n".join(replicas.story(sender.groups)))
            raise


async def change(alertmanager: Alertmanager, groups: Sequence[Group], stopping: asyncio.Event) -> None:
    """Let groups of one alert each fire and end in Alertmanager, at random."""
    dice = Random(f"{SEED} Alertmanager")
    while not stopping.is_set():
        body = json.loads(dice.choice(groups).change(dice))
        posted = [
            {name: value for name, value in each.items() if name != "status" and value != GO_ZERO}
            for each in body["alerts"]
        ]
        await alertmanager.post(posted)
        await asyncio.sleep(dice.uniform(0.1, 0.4))  # real time: at a random moment


@pytest.mark.hunt
@needs_alertmanager
async def test_alertmanager_behind_a_load_balancer_notices_no_fault(
    tmp_path: Path, own_postgresql: Server
) -> None:
    groups, stopping = [Group(name, ("1",)) for name in (*CRITICAL, *WARNING)], asyncio.Event()
    async with (
        recorded_providers() as (providers, recorder),
        cluster(tmp_path, own_postgresql, providers, recorder, count=3) as replicas,
    ):
        await replicas.start()
        faults = Faults(replicas, SEED)
        try:
            async with (
                Balancer(replicas.replicas) as balancer,
                Alertmanager(tmp_path, f"{balancer.url}/webhook") as alertmanager,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(change(alertmanager, groups, stopping))
                await faults.cause(FAULTS[2])
                stopping.set()
                await replicas.settle(groups)
                assert await alertmanager.failed() == 0
            replicas.check_messages(groups)
            replicas.check_database()
            log.info("%s", dict(faults.happened))
        except BaseException as error:
            error.add_note(f"CHAOS_SEED={SEED} repeats this run; {dict(faults.happened)}")
            error.add_note("\n".join(replicas.story(groups)))
            raise
