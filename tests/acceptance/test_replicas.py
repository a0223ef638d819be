"""Two and three replicas under random faults: nothing is lost, and no conversation is out of order."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from tests.acceptance.groups_of_alerts import CRITICAL, WARNING, Sender
from tests.acceptance.recorded_providers import recorded_providers
from tests.acceptance.replica_faults import Faults
from tests.acceptance.replicas import cluster
from tests.postgresql import Server

log = logging.getLogger(__name__)
SEED = os.environ.get("CHAOS_SEED") or "14"
FAULTS = 50 if os.environ.get("CHAOS_SEED") else 9
"""`make hunt` has time for more."""


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
                await faults.cause(FAULTS)
                sender.stop()
            await replicas.settle(sender.groups)
            replicas.check(sender)
            log.info("%d replicas: %s", count, dict(faults.happened))  # pytest --log-cli-level=info shows it
        except BaseException as error:
            error.add_note(f"CHAOS_SEED={SEED} repeats this run; {dict(faults.happened)}")
            error.add_note("\n".join(replicas.story(sender.groups)))
            raise
