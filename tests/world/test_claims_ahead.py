"""What a webhook makes due is claimed in the webhook's batch, at lanes where deliveries began lately."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router.channels.base import ChannelSpec
from router.deliver import dispatcher
from router.model import HOUR, SECOND, LaneLimits, Rate, Retry, SharedLimits
from router.store import Claimed, Permit
from router.store.claiming import Claiming
from router.store.jobs import Claim, ClaimAgain
from tests.database import busy_writer, empty_disk, fill_disk, queued_jobs, until_queued
from tests.world.asking import metric_value, until_delivered
from tests.world.conftest import World
from tests.world.made_up_channels import (
    NOON,
    ODD,
    POLICY,
    Fake,
    LanesHarness,
    delivered,
    kind,
    open_lanes,
    returning,
)
from tests.world.test_dispatcher import OTHERS, Batches, Held, quiet

ONLY = replace(POLICY, receivers={"all": (ODD,)})
_CLAIMS = 'alert_router_store_job_seconds_count{job="Claim"}'
MANY = kind("odd", LaneLimits(max_concurrency=8))


@pytest.fixture
def patient_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim waits for the webhook, however slow the machine is."""
    monkeypatch.setattr("router.store.writer._NEXT_JOB_SECONDS", HOUR / SECOND)


async def fire_ahead(harness: LanesHarness, name: str, count: int = 1) -> None:
    """Accept a webhook as the HTTP handler does. :param count: how many alerts it has"""
    await harness.lanes.claim_ahead()
    await harness.fire(name, count=count)


async def deliver_one(harness: LanesHarness, batches: Batches) -> None:
    """Deliver an alert, wait until nothing happens any more, and forget the batches."""
    await quiet(harness)
    await harness.fire("first")
    await harness.until("delivered", 1)
    await quiet(harness)
    batches.clear()


@pytest.mark.usefixtures("patient_claims")
async def test_the_next_webhook_is_claimed_in_its_own_batch(tmp_path: Path) -> None:
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        harness.clock.advance(SECOND)
        for number in range(2, 5):
            await fire_ahead(harness, f"alert {number}")
            await harness.until("delivered", number)
            await quiet(harness)
        found = [batch for batch in batches if "Accept" in batch or "Claim" in batch]
        assert found == [["Claim", "Accept"]] * 3


@pytest.mark.usefixtures("patient_claims")
async def test_a_claim_ahead_waits_in_the_writer_for_the_webhook(tmp_path: Path) -> None:
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await quiet(harness)
        claim = harness.store.claim_several(Permit(ODD, ahead=True), harness.policy, NOON)
        claiming = asyncio.create_task(claim)
        await asyncio.sleep(0)
        while queued_jobs(harness.store):  # noqa: ASYNC110  (the queue has no event)
            await asyncio.sleep(0)
        await harness.fire()
        assert len((await claiming).works) == 1
        assert batches[-1] == ["Claim", "Accept"]


async def test_only_the_first_look_of_a_claim_waits_for_a_webhook() -> None:
    permits = list[Permit]()
    found: list[ClaimAgain | Claimed] = [ClaimAgain(), ClaimAgain(), Claimed(())]

    class Looks:
        async def do(self, job: Claim) -> ClaimAgain | Claimed:
            permits.append(job.permit)
            return found[len(permits) - 1]

    looks: Any = Looks()
    rules: Any = SimpleNamespace(indexed=asyncio.Event())
    rules.indexed.set()
    claiming = Claiming(looks, looks)
    assert await claiming.claim(Permit(ODD, ahead=True), ONLY, NOON, rules) == Claimed(())
    assert [each.ahead for each in permits] == [True, False, False]


async def test_a_lane_at_which_nothing_began_lately_claims_when_it_is_woken(tmp_path: Path) -> None:
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        harness.clock.advance(SECOND + 1)
        await fire_ahead(harness, "second")
        await harness.until("delivered", 2)
        await quiet(harness)
        assert batches.of("Claim") == [1]
        assert ["Claim", "Accept"] not in batches


async def test_a_claim_that_no_webhook_follows_runs_alone_and_finds_nothing(tmp_path: Path) -> None:
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        await harness.lanes.claim_ahead()
        await quiet(harness)
        assert batches.of("Claim") == [1]
        await harness.fire("second")
        await harness.until("delivered", 2)


@pytest.mark.usefixtures("patient_claims")
async def test_a_webhook_that_makes_nothing_due_leaves_its_lane_free(tmp_path: Path) -> None:
    batches, odd = Batches(), kind("odd", LaneLimits(max_concurrency=1))
    async with open_lanes(tmp_path, Fake(), odd_kind=odd, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        for _ in range(3):
            await fire_ahead(harness, "first")  # as it was
            await quiet(harness)
        assert batches.of("Claim") == [1, 1, 1]
        await fire_ahead(harness, "second")
        await harness.until("delivered", 2)


@pytest.mark.usefixtures("patient_claims")
async def test_while_a_claim_runs_one_more_waits_for_the_next_webhook(tmp_path: Path) -> None:
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        fires = []
        async with busy_writer(harness.store):
            for number in range(4):
                fires.append(asyncio.create_task(fire_ahead(harness, f"alert {number}")))
                await until_queued(harness.store, 2 + number + (number > 0))
        await asyncio.gather(*fires)
        await harness.until("delivered", 1 + len(fires))
        assert batches.of("Accept") == [4]
        assert next(batch.count("Claim") for batch in batches if "Accept" in batch) == 2


@pytest.mark.usefixtures("patient_claims")
async def test_a_second_claim_does_not_hide_that_attempts_fail(tmp_path: Path) -> None:
    batches, fails = Batches(), Fake(odd=[delivered, returning(Retry("HTTP 500"))])
    async with open_lanes(tmp_path, fails, odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        await harness.fire("second")
        await harness.until("retry", 1)
        await quiet(harness)
        before = await harness.store.troubles()
        assert before[0]
        batches.clear()
        async with busy_writer(harness.store):
            fires = [asyncio.create_task(fire_ahead(harness, "second")) for _ in range(2)]
            await until_queued(harness.store, 4)
        await asyncio.gather(*fires)
        await quiet(harness)
        assert batches.of("Claim") == [2]
        assert await harness.store.troubles() == before


@pytest.mark.usefixtures("patient_claims")
@pytest.mark.parametrize(
    ("odd", "under_way"),
    [
        (kind("odd", LaneLimits(max_concurrency=2)), 1),
        (kind("odd", LaneLimits(max_concurrency=8), storm_every=SECOND), 0),
    ],
    ids=["two at a time", "one at a time"],
)
async def test_two_claims_begin_no_more_than_may_be_sent(
    tmp_path: Path, odd: ChannelSpec, under_way: int
) -> None:
    held, most = Held(), under_way + 1
    async with open_lanes(tmp_path, held, odd_kind=odd, policy=ONLY) as harness:
        await quiet(harness)
        for number in range(1 + under_way):
            await harness.fire(f"early {number}")
        await held.until_tried(most)
        await quiet(harness)
        held.release_sends([min(held.sending)])
        await harness.until("delivered", 1)
        await quiet(harness)
        async with busy_writer(harness.store):
            fires = [asyncio.create_task(fire_ahead(harness, f"late {number}")) for number in range(3)]
            await until_queued(harness.store, 4)
        await asyncio.gather(*fires)
        for count in range(1 + most, 4 + most):
            sending = await held.until_tried(count)
            await quiet(harness)
            assert len(sending) == most
            held.release_sends([min(sending)])
        held.release_sends(held.sending)
        await harness.until("delivered", 3 + most)


@pytest.mark.usefixtures("patient_claims")
async def test_two_claims_begin_one_large_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("core.rows", "core.claimed_delivery"):
        monkeypatch.setattr(f"router.{module}.LARGE", 3)
    held, batches = Held(), Batches()
    async with open_lanes(tmp_path, held, odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await quiet(harness)
        await harness.fire("small")
        held.release_sends(await held.until_tried(1))
        await harness.until("delivered", 1)
        await quiet(harness)
        fires = []
        async with busy_writer(harness.store):
            for number in range(2):
                fires.append(asyncio.create_task(fire_ahead(harness, f"large {number}", count=4)))
                await until_queued(harness.store, 2 + 2 * number)
        await asyncio.gather(*fires)
        for count in (2, 3):
            sending = await held.until_tried(count)
            await quiet(harness)
            assert len(sending) == 1
            held.release_sends(sending)
        await harness.until("delivered", 3)


@pytest.mark.usefixtures("patient_claims")
async def test_a_lane_without_a_token_claims_nothing_ahead(tmp_path: Path) -> None:
    batches = Batches()
    odd = kind("odd", LaneLimits(Rate(1, SECOND, burst=1), max_concurrency=8))
    async with open_lanes(tmp_path, Fake(), odd_kind=odd, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        await harness.lanes.claim_ahead()
        await quiet(harness)
        harness.clock.advance(SECOND)
        await quiet(harness)
        assert batches.of("Claim") == []
        await fire_ahead(harness, "second")
        await harness.until("delivered", 2)


@pytest.mark.usefixtures("patient_claims")
async def test_a_claim_ahead_takes_no_shared_slot_that_another_lane_waits_for(tmp_path: Path) -> None:
    held = Held()
    odd = kind("odd", LaneLimits(max_concurrency=8), SharedLimits(max_concurrency=1))
    both = replace(POLICY, receivers={"all": (ODD, OTHERS[0])})
    async with open_lanes(tmp_path, held, odd_kind=odd, policy=both) as harness:
        await harness.fire("first")
        for count in range(1, 3):
            sending = await held.until_tried(count)
            await quiet(harness)
            held.release_sends(sending)
        for destination in (ODD, OTHERS[0]):
            await harness.until("delivered", 1, destination)
        await quiet(harness)
        for number in range(2, 5):
            await fire_ahead(harness, f"alert {number}")
        for count in range(3, 9):
            sending = await held.until_tried(count)
            await quiet(harness)
            assert len(sending) == 1
            await harness.lanes.claim_ahead()
            held.release_sends(sending)
        for destination in (ODD, OTHERS[0]):
            await harness.until("delivered", 4, destination)


@pytest.mark.usefixtures("patient_claims")
async def test_a_paused_lane_claims_nothing_ahead(tmp_path: Path) -> None:
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        await harness.lanes.pause(ODD.key, "somebody")
        await fire_ahead(harness, "second")
        await quiet(harness)
        assert batches.of("Claim") == []
        await harness.lanes.resume(ODD.key)
        await harness.until("delivered", 2)


@pytest.mark.usefixtures("patient_claims")
async def test_while_the_store_cannot_be_written_nothing_is_claimed_ahead(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    await world.at_rest()
    assert world.service is not None
    store = world.service.store
    await fill_disk(store)
    assert await world.post("Full", "critical", note="x" * 100_000) == 503
    assert store.trouble is not None
    claims = await metric_value(world, _CLAIMS)
    await world.service.lanes.claim_ahead()
    await world.at_rest()
    assert await metric_value(world, _CLAIMS) == claims
    await empty_disk(store)


@pytest.mark.usefixtures("patient_claims")
async def test_a_close_answers_a_claim_that_waits_for_a_webhook(tmp_path: Path) -> None:
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), odd_kind=MANY, policy=ONLY, observe=batches) as harness:
        await deliver_one(harness, batches)
        await harness.lanes.claim_ahead()
    assert ["Claim"] in batches


async def test_only_so_many_lanes_claim_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_MAX_RECENT", 2)
    batches, every = Batches(), (ODD, *OTHERS)
    odd = kind("odd", LaneLimits(max_concurrency=8))
    policy = replace(POLICY, receivers={"all": every})
    async with open_lanes(tmp_path, Fake(), odd_kind=odd, policy=policy, observe=batches) as harness:
        await harness.fire()
        for each in every:
            await harness.until("delivered", 1, each)
        await quiet(harness)
        batches.clear()
        async with busy_writer(harness.store):
            await harness.lanes.claim_ahead()
            await until_queued(harness.store, 2)
        await quiet(harness)
        assert sum(batches.of("Claim")) == 2


async def test_a_fault_in_a_lane_refuses_no_webhook(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)

    def fails(_lane: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("router.deliver.lane.Lane.begin_claim_ahead", fails)
    assert await world.post("Disk", "critical") == 200
    await until_delivered(world, 6)
