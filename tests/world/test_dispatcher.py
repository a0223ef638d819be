"""The dispatcher: what may begin, what waits its turn, what is recorded together, and what a stop leaves."""

import asyncio
import gc
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from router.clock import SystemClock
from router.model import (
    HOUR,
    MINUTE,
    SECOND,
    Broken,
    Call,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Millis,
    Outcome,
    Rate,
    SharedLimits,
    Status,
)
from router.store import Permit
from tests.clock import ManualClock
from tests.database import busy_writer, until_queued
from tests.waiting import seconds_pass
from tests.world.conftest import World
from tests.world.made_up_channels import (
    CALM,
    NOON,
    ODD,
    POLICY,
    Fake,
    LanesHarness,
    kind,
    open_lanes,
    returning,
)
from tests.world.slack_limits import posted

OTHERS = tuple(Destination(f"odd:{number}", "odd", None) for number in range(2, 6))
MANY = replace(POLICY, receivers={"all": (ODD, *OTHERS)})
NAMES = [f"Down-{number}" for number in range(8)]


@dataclass
class Held(Fake):
    """Each of its sends lasts until the test releases it."""

    ends: dict[str, asyncio.Event] = field(default_factory=dict)
    sending: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, destination: Destination, conversation: Any, message: Message) -> Outcome:
        name = f"{destination.key} {conversation.alerts[0].alert.labels['alertname']}"
        self.tries += 1
        assert name not in self.sending, "a conversation is sent twice at a time"
        self.sending.add(name)
        self._changed.set()
        await self.ends.setdefault(name, asyncio.Event()).wait()
        self.delivered.append(tuple(each.alert.status for each in conversation.alerts))
        return Delivered({"ts": "1"})

    def release_sends(self, names: Iterable[str]) -> None:
        for name in list(names):
            self.sending.discard(name)
            self.ends.pop(name, asyncio.Event()).set()

    async def until_tried(self, count: int) -> set[str]:
        """Wait until so many sends have begun, and return those that are held."""
        while self.tries < count:
            self._changed.clear()
            await self._changed.wait()
        assert self.tries == count
        return set(self.sending)


async def quiet(harness: LanesHarness) -> None:
    """Wait until nothing happens before the clock moves, apart from the sends that are held, and all outcomes are recorded."""
    while not (is_idle(harness.clock) and await _recorded(harness)):
        await harness.store.ready()


def is_idle(clock: ManualClock) -> bool:
    """Return whether nothing is claimed, and the dispatcher waits."""
    tasks = asyncio.all_tasks()
    claims = [each for each in tasks if each.get_name().startswith("claim")]
    return not claims and all(clock.is_asleep(each) for each in tasks if each.get_name() == "dispatcher")


async def _recorded(harness: LanesHarness) -> bool:
    held = len(harness.odd.sending) if isinstance(harness.odd, Held) else 0
    own = [
        each
        for each in (await harness.store.pages.deliveries(limit=100)).rows
        if each["destination"].startswith("odd")
    ]
    return sum(each["outcome"] is not None for each in own) >= harness.odd.tries - held


async def under_way(harness: LanesHarness) -> int:
    """Return how many deliveries are claimed and have no outcome."""
    own = (
        each
        for each in (await harness.store.pages.deliveries(limit=100)).rows
        if each["destination"].startswith("odd")
    )
    return sum(each["outcome"] is None for each in own)


async def fire_all(harness: LanesHarness, names: Iterable[str] = NAMES) -> None:
    for name in names:
        await harness.fire(name)


class Batches(list[list[str]]):
    """Notes the kinds of jobs in each batch of the writer."""

    def __call__(self, _seconds: float, jobs: Iterable[tuple[str, float]]) -> None:
        self.append([name for name, _ in jobs])

    def of(self, name: str) -> list[int]:
        """Return how many jobs of this kind each batch had, without the batches that had none."""
        return [batch.count(name) for batch in self if name in batch]


# Never more than can start together.


async def test_a_lane_claims_no_more_than_it_may_send_together(tmp_path: Path) -> None:
    held = Held()
    async with open_lanes(tmp_path, held, odd_kind=kind("odd", LaneLimits(max_concurrency=3))) as harness:
        await fire_all(harness)
        await harness.until("delivered", len(NAMES), CALM)
        for count in range(3, len(NAMES) + 1):
            sending = await held.until_tried(count)
            await quiet(harness)
            assert await under_way(harness) == len(sending) == 3
            held.release_sends([min(sending)])
        held.release_sends(held.sending)
        await harness.until("delivered", len(NAMES))


async def test_a_lane_sends_one_large_message_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("core.rows", "core.claimed_delivery"):
        monkeypatch.setattr(f"router.{module}.LARGE", 3)
    held = Held()
    async with open_lanes(tmp_path, held, odd_kind=kind("odd", LaneLimits(max_concurrency=3))) as harness:
        for name in ("large-1", "large-2", "large-3"):
            await harness.fire(name, count=4)
        await held.until_tried(1)
        await fire_all(harness, ["small-1", "small-2"])
        sending = await held.until_tried(3)
        assert sending == {f"{ODD.key} {name}" for name in ("large-1", "small-1", "small-2")}
        held.release_sends([f"{ODD.key} large-1", f"{ODD.key} small-1"])
        sending = await held.until_tried(4)
        await quiet(harness)
        assert sending == {f"{ODD.key} {name}" for name in ("large-2", "small-2")}
        held.release_sends(held.sending)
        assert await held.until_tried(5) == {f"{ODD.key} large-3"}
        held.release_sends(held.sending)
        await harness.until("delivered", 5)


async def test_the_lanes_of_a_section_claim_no_more_than_it_may_send(tmp_path: Path) -> None:
    held, limits = Held(), SharedLimits(max_concurrency=2)
    odd = kind("odd", LaneLimits(max_concurrency=8), limits)
    async with open_lanes(tmp_path, held, odd_kind=odd, policy=MANY) as harness:
        await harness.fire()
        for count in range(2, 6):
            sending = await held.until_tried(count)
            await quiet(harness)
            assert await under_way(harness) == len(sending) == 2
            held.release_sends([min(sending)])
        held.release_sends(held.sending)
        for destination in (ODD, *OTHERS):
            await harness.until("delivered", 1, destination)


async def test_the_lanes_of_a_section_claim_no_more_than_its_rate_allows(tmp_path: Path) -> None:
    odd = kind("odd", LaneLimits(max_concurrency=8), SharedLimits(Rate(1, SECOND, burst=2)))
    async with open_lanes(tmp_path, Fake(), odd_kind=odd, policy=MANY) as harness:
        await harness.fire()
        for count in range(2, 6):
            while len(harness.odd.delivered) < count:
                await harness.store.ready()
            await quiet(harness)
            assert len((await harness.store.pages.deliveries(limit=100)).rows) == count
            harness.clock.advance(SECOND - 1)
            await quiet(harness)
            assert len((await harness.store.pages.deliveries(limit=100)).rows) == count
            harness.clock.advance(1)


async def test_the_lanes_of_a_section_take_turns(tmp_path: Path) -> None:
    held = Held()
    odd = kind("odd", LaneLimits(max_concurrency=8), SharedLimits(max_concurrency=1))
    async with open_lanes(tmp_path, held, odd_kind=odd, policy=MANY) as harness:
        order = []
        await fire_all(harness, ["A", "B"])
        for count in range(1, 11):
            (sending,) = await held.until_tried(count)
            order.append(sending.partition(" ")[0])
            held.release_sends([sending])
        assert len(set(order[:5])) == len(set(order[5:])) == 5


async def test_a_reload_lowers_the_concurrency(tmp_path: Path) -> None:
    held = Held()
    async with open_lanes(tmp_path, held, odd_kind=kind("odd", LaneLimits(max_concurrency=4))) as harness:
        await fire_all(harness)
        sending = await held.until_tried(4)
        await harness.lanes.serve((replace(ODD, limits=LaneLimits(max_concurrency=2)), CALM))
        held.release_sends(sorted(sending)[:3])
        await harness.until("delivered", 3)
        for count in range(5, len(NAMES) + 1):
            sending = await held.until_tried(count)
            await quiet(harness)
            assert await under_way(harness) == len(sending) == 2
            held.release_sends([min(sending)])
        held.release_sends(held.sending)
        await harness.until("delivered", len(NAMES))


# Sends run concurrently, one a conversation at a time.


async def test_news_of_a_conversation_wait_for_its_send_and_others_do_not(tmp_path: Path) -> None:
    held = Held()
    async with open_lanes(tmp_path, held, odd_kind=kind("odd", LaneLimits(max_concurrency=4))) as harness:
        await harness.fire("Down")
        await held.until_tried(1)
        await harness.fire("Down", Status.RESOLVED)
        await harness.fire("Disk")
        sending = await held.until_tried(2)
        await quiet(harness)
        assert sending == {"odd:one Down", "odd:one Disk"}
        assert held.tries == 2
        held.release_sends(sending)
        held.release_sends(await held.until_tried(3))
        await harness.until("delivered", 3)
        assert sorted(held.delivered) == [("firing",), ("firing",), ("resolved",)]


# What waits costs nothing.


async def test_an_idle_router_is_woken_by_nothing_but_the_next_due_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[Millis | None] = []
    wait = ManualClock.wait

    async def noted(self: ManualClock, event: asyncio.Event, until: Millis | None) -> None:
        waits.append(until)
        await wait(self, event, until)

    monkeypatch.setattr(ManualClock, "wait", noted)
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), observe=batches) as harness:
        await harness.fire()
        await harness.until("delivered", 1)
        await harness.until("delivered", 1, CALM)
        await quiet(harness)
        waits.clear()
        batches.clear()
        for _ in range(10):
            harness.clock.advance(HOUR)
            await quiet(harness)
        assert waits == []
        assert batches.of("Claim") == []


async def test_a_lane_without_room_claims_nothing(tmp_path: Path) -> None:
    """One lane is broken, one has no token; each is woken many times."""
    batches = Batches()
    odd = kind("odd", LaneLimits(max_concurrency=8))
    async with open_lanes(
        tmp_path, Fake([returning(Broken("gone"))]), odd_kind=odd, observe=batches
    ) as harness:
        calm = replace(CALM, limits=LaneLimits(rate=Rate(1, HOUR, burst=1)))
        await harness.lanes.serve((ODD, calm))
        await harness.fire()
        await harness.until("broken", 1)
        await harness.until("delivered", 1, CALM)
        await quiet(harness)
        batches.clear()
        await fire_all(harness)
        harness.clock.advance(SECOND)
        await quiet(harness)
        assert batches.of("Claim") == []


async def test_a_delivery_that_leaves_nothing_due_takes_one_claim(tmp_path: Path) -> None:
    batches = Batches()
    odd = kind("odd", LaneLimits(max_concurrency=8))
    async with open_lanes(tmp_path, Fake(), odd_kind=odd, policy=replace(POLICY, receivers={"all": (ODD,)}), observe=batches) as harness:  # fmt: skip
        await quiet(harness)
        batches.clear()
        await harness.fire()
        await harness.until("delivered", 1)
        await quiet(harness)
        assert sum(batches.of("Claim")) == 1


# Lanes claim together, after all else; outcomes are recorded together.


async def test_lanes_that_are_woken_together_claim_in_one_transaction(tmp_path: Path) -> None:
    batches = Batches()
    async with open_lanes(tmp_path, Fake(), policy=MANY, observe=batches) as harness:
        await harness.fire()
        await quiet(harness)
        for destination in (ODD, *OTHERS):
            await harness.until("delivered", 1, destination)
        await quiet(harness)
        batches.clear()
        async with busy_writer(harness.store):
            harness.lanes.wake([destination.key for destination in (ODD, *OTHERS)])
            await until_queued(harness.store, 5)
        await quiet(harness)
        assert batches.of("Claim") == [5]


async def test_outcomes_that_come_together_are_recorded_in_one_transaction(tmp_path: Path) -> None:
    held, batches = Held(), Batches()
    odd = kind("odd", LaneLimits(max_concurrency=8))
    async with open_lanes(tmp_path, held, odd_kind=odd, observe=batches) as harness:
        await fire_all(harness)
        sending = await held.until_tried(8)
        await quiet(harness)
        async with busy_writer(harness.store):
            held.release_sends(sending)
            await until_queued(harness.store, 8)
        await harness.until("delivered", 8)
        assert max(batches.of("Record")) >= 8


async def test_a_claim_runs_after_what_came_later_into_its_batch(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Held(), policy=replace(POLICY, receivers={"all": (CALM,)})) as harness:
        await quiet(harness)
        async with busy_writer(harness.store):
            claim = asyncio.ensure_future(
                harness.store.claim_several(Permit(CALM, count=9), harness.policy, NOON)
            )
            await until_queued(harness.store, 1)
            fire = asyncio.ensure_future(harness.fire())
            await until_queued(harness.store, 2)
        claimed = await claim
        assert len(claimed.works) == 1
        await harness.store.unclaim(claimed.works, harness.policy, NOON)
        await fire
        harness.lanes.wake([CALM.key])  # the claim was not the lane's
        await harness.until("delivered", 1, CALM)


# A stop.


async def one_edit_waits(world: World) -> int:
    """A delivery is claimed and waits for its rate, and nothing of it is sent. Return the number of calls."""
    await world.start(
        lambda rules: rules.replace("  slack: {", "  slack: {edit_rate: 1/h burst 1, "), drain=0
    )
    for name in "AB":
        assert await world.post(name, "critical") == 200
    await posted(world, 2)
    world.clock.advance(MINUTE)
    for name in "AB":
        assert await world.post(name, "critical", "resolved") == 200
    await posted(world, 2 + 2)  # an edit and its reply
    await world.at_rest()
    return 2 + 2


async def test_a_stop_takes_back_what_has_not_begun(world: World) -> None:
    before = await one_edit_waits(world)
    await world.stop()
    assert len(world.slack.calls) == before
    await world.start()
    await posted(world, before + 2)
    await world.at_rest()
    await world.stop()
    assert len(world.slack.calls) == before + 2
    await world.start()
    assert world.service is not None
    assert await world.fates() == {"delivered": 12}
    attempts = (await world.service.store.pages.deliveries(limit=100)).rows
    attempts = [each for each in attempts if each["destination"].startswith("slack")]
    assert {(each["outcome"], each["attempt"]) for each in attempts} == {("delivered", 1)}
    assert len(attempts) == 4


async def test_a_kill_leaves_what_has_not_begun_as_interrupted(world: World) -> None:
    await one_edit_waits(world)
    assert world.service is not None
    store = world.service.store
    claimed = [each for each in (await store.pages.deliveries(limit=100)).rows if each["outcome"] is None]
    assert len(claimed) == 1
    await store.start(world.clock.now())  # as the next process does
    outcomes = {each["id"]: each["outcome"] for each in (await store.pages.deliveries(limit=100)).rows}
    assert outcomes[claimed[0]["id"]] == "interrupted"


async def test_a_stop_takes_back_a_claim_that_comes_back_late(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Held()) as harness:
        await quiet(harness)
        async with busy_writer(harness.store):
            fire = asyncio.ensure_future(harness.fire())
            await until_queued(harness.store, 1)
            harness.lanes.wake([ODD.key])
            await until_queued(harness.store, 2)
            stop = asyncio.ensure_future(harness.lanes.stop(0))
            for _ in range(5):
                await asyncio.sleep(0)
        await stop
        await fire
        assert harness.odd.tries == 0
        assert (await harness.store.pages.deliveries(limit=100)).rows == []
        claimed = await harness.store.claim_several(Permit(ODD), POLICY, NOON)
        assert [each.conversation.attempt for each in claimed.works] == [1]


async def test_a_stop_ends_though_the_store_does_not(tmp_path: Path) -> None:
    odd = replace(kind("odd"), shared=SharedLimits(edit_rate=Rate(1, HOUR, burst=1)))
    renders = [lambda: Message("odd", {}, calls=(Call.EDIT,))] * 2
    async with open_lanes(tmp_path, Fake(renders=list(renders)), odd_kind=odd) as harness:
        await harness.fire("A")
        await harness.until("delivered", 1)
        await harness.fire("B")
        await harness.until("delivered", 2, CALM)
        while await under_way(harness) < 1:
            await harness.store.ready()
        await quiet(harness)
        async with busy_writer(harness.store):
            await harness.lanes.stop(0)
            assert not any(lane["alive"] for lane in harness.lanes.describe())
        assert harness.odd.tries == 1


async def test_a_stop_under_load_lets_what_it_began_last_end(tmp_path: Path) -> None:
    one_at_a_time = kind("odd", LaneLimits(max_concurrency=1))
    held = Held()
    async with open_lanes(tmp_path, held, odd_kind=one_at_a_time) as harness:
        await fire_all(harness)
        await held.until_tried(1)
        stop = asyncio.ensure_future(harness.lanes.stop(9 * SECOND))
        await asyncio.sleep(0)  # real time: none passes; the stop has begun
        seconds_pass(6.1)
        for _ in range(50):
            await asyncio.sleep(0)  # real time: none passes
        held.release_sends(held.sending)
        await stop
        assert held.tries == 1
        rows = (await harness.store.pages.deliveries(limit=100)).rows
        assert [each["outcome"] for each in rows if each["destination"] == ODD.key] == ["delivered"]


async def test_a_stop_ends_a_dispatcher_that_was_just_woken(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Fake(), clock=SystemClock()) as harness:
        for _ in range(20):  # it has come to its wait
            await asyncio.sleep(0)
        await harness.lanes.stop(0)
        assert not any(lane["alive"] for lane in harness.lanes.describe())


async def test_what_a_stop_cancels_before_it_began_is_no_warning(tmp_path: Path) -> None:
    """A coroutine that is never awaited would be a warning."""
    begun: list[str] = []

    async def report() -> None:
        begun.append("report")

    async with open_lanes(tmp_path, Fake(), clock=SystemClock()) as harness:
        outages = harness.lanes._outages
        outages.run_once("a report", report)
        outages.run_once("a report", report)
        assert len(outages.cancel()) == 1
        await harness.lanes.stop(0)
    gc.collect()
    assert begun == []
