"""No destination is notified until the inhibit rules in force know all firing alerts."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from router.core.adopt import Adopted
from router.core.rules_in_force import Choice, SharedRules
from router.store import Adoption, Phase, Store, StoreUnavailable, jobs
from tests.unit.core.world import NOON, POLICY

OTHER = replace(POLICY, fingerprint="other")


class Slow:
    """A database that answers jobs in their order, when the test calls :meth:`answer`."""

    rules: str | None = None

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, asyncio.Future[Any]]] = []

    async def do(self, job: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((job, answer))
        return await answer

    async def answer(self, kind: type[object], result: object) -> None:
        job, answer = self.waiting.pop(0)
        assert isinstance(job, kind)
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)
        await asyncio.sleep(0)  # real time: tasks that wait for it go on
        await asyncio.sleep(0)  # real time: as above


class GateHarness:
    def __init__(self) -> None:
        self.database = Slow()
        database: Any = self.database
        self.store = Store(database)

    async def begin(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        await asyncio.sleep(0)  # real time: it has asked the database
        return task

    @property
    def is_open(self) -> bool:
        return self.store.rules.indexed.is_set()


@pytest.mark.parametrize("left", [None, Phase.JUDGE])
async def test_a_piece_judged_by_former_rules_allows_no_claims(left: Phase | None) -> None:
    harness = GateHarness()
    judging = await harness.begin(harness.store.rules.judge_some(POLICY, NOON))
    adopting = await harness.begin(harness.store.rules.adopt(Adoption(OTHER), NOON))
    await harness.database.answer(jobs.JudgeSome, (left, frozenset()))
    assert not harness.is_open
    adopted = Adopted(Choice.PUT, SharedRules("other"), Phase.INDEX)
    await harness.database.answer(jobs.Adopt, adopted)
    assert await adopting is Phase.INDEX
    await judging
    assert not harness.is_open
    for phase, opens in ((Phase.INDEX, False), (Phase.JUDGE, True)):
        judging = await harness.begin(harness.store.rules.judge_some(OTHER, NOON))
        await harness.database.answer(jobs.JudgeSome, (phase, frozenset()))
        assert await judging == (phase, frozenset())
        assert harness.is_open is opens


async def test_a_failed_adoption_does_not_stop_claims() -> None:
    harness = GateHarness()
    adopting = await harness.begin(harness.store.rules.adopt(Adoption(OTHER), NOON))
    assert not harness.is_open
    await harness.database.answer(jobs.Adopt, StoreUnavailable("the disk is full"))
    with pytest.raises(StoreUnavailable):
        await adopting
    assert harness.is_open
