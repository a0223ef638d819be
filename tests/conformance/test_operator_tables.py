"""The log of actions, the pauses of operators, and the tests of receivers, on both databases."""

from dataclasses import replace

from router.model import (
    DAY,
    HOUR,
    AnswerState,
    MessageAnswer,
    ReceiverTest,
    Retention,
    TestedDestination,
    TestOutcome,
)
from router.store import OperatorPause, Store
from router.store.stored_tests import MAX_TESTS, DrillSlot

NOW = 1_795_435_200_000
KEEP = Retention()


async def prune(store: Store, now: int) -> int:
    return sum([count async for count in store.prune(KEEP, now)])


async def test_old_actions_are_pruned_but_the_newest_stays(store: Store) -> None:
    for number in range(3):
        line = await store.audit.begin("ada", "token", "retry dead letter", str(number), NOW + number * DAY)
        await store.audit.end(line, "done", "", NOW + number * DAY + 1)
    await store.audit.refuse("vera", "token", "reload rules", "", "no", NOW + 3 * DAY)
    assert await prune(store, NOW + KEEP.history + DAY + HOUR) == 2
    lines, total = await store.pages.actions(None, 10)
    assert [(each.id, each.actor, each.outcome) for each in lines] == [
        (4, "vera", "refused"),
        (3, "ada", "done"),
    ]
    assert total.count == 2
    assert await prune(store, NOW + 10 * KEEP.history) == 1
    assert await store.audit.begin("ada", "token", "reload rules", "", NOW) == 5


async def test_a_pause_is_kept_until_it_ends(store: Store) -> None:
    key = "email:a@b with % and _ and spaces"
    assert await store.pauses.load() == {}
    assert await store.pauses.begin(key, "ada", NOW) == OperatorPause("ada", NOW)
    assert await store.pauses.begin(key, "otto", NOW + 1) == OperatorPause("ada", NOW)
    assert await store.pauses.load() == {key: OperatorPause("ada", NOW)}
    await store.pauses.end(key, NOW + 2)
    await store.pauses.end(key, NOW + 3)
    await store.pauses.end("slack:C1", NOW + 3)
    assert await store.pauses.load() == {key: OperatorPause("ada", NOW, NOW + 2)}
    assert await store.pauses.begin(key, "otto", NOW + 4) == OperatorPause("otto", NOW + 4)
    assert await store.pauses.load() == {key: OperatorPause("otto", NOW + 4)}


async def test_an_unanswered_resume_ends_only_pauses_older_than_it(store: Store) -> None:
    key, pauses = "slack:C1", store.pauses

    async def asked(at: int) -> int:
        return await store.lane_requests.ask(key, "resume", "ada", at)

    await pauses.begin(key, "ada", NOW)
    for closes in (False, True):
        older = await asked(NOW)
        pause, newer = await pauses.begin_elsewhere(key, "otto", NOW + 1)
        assert await pauses.end_unanswered(key, older, NOW + 2, closes=closes) == pause
        assert (await pauses.load())[key] == pause
        await store.lane_requests.close(key, newer)
        closed = await asked(NOW)
        await store.lane_requests.close(key, closed)
        assert await pauses.end_unanswered(key, closed, NOW + 2, closes=closes) == pause
        assert await pauses.end_unanswered(key, await asked(NOW), NOW + 3, closes=closes) is None
        assert (await pauses.load())[key].until == NOW + 3
    assert not any(each.destination == key for each in await store.lane_requests.unanswered(NOW))


def receiver_test(number: int) -> ReceiverTest:
    answer = MessageAnswer(AnswerState.FAILED, "not_in_channel \U0001f642", 400, 7)
    return ReceiverTest(
        f"{NOW + number:011x}-abcdef", "on call/\u00fc_%", "ada", "critical", "severity", HOUR, NOW + number,
        (TestedDestination("slack:C1", answer), TestedDestination("email:a@b")), slot=NOW,
    )  # fmt: skip


async def test_tests_of_receivers_are_kept_the_newest_first(store: Store) -> None:
    assert await store.tests.all() == []
    assert await store.tests.last_slot() is None
    tests = [receiver_test(number) for number in range(3)]
    await store.tests.save(tests, DrillSlot(NOW, "600 () UTC"))
    assert await store.tests.all() == tests[::-1]
    assert await store.tests.last_slot() == DrillSlot(NOW, "600 () UTC")
    ended = replace(tests[1], finished_at=NOW + DAY, outcome=TestOutcome.FAILED)
    await store.tests.save([ended])
    assert await store.tests.all() == [tests[2], ended, tests[0]]
    assert await store.tests.one(ended.id) == ended
    assert await store.tests.one("0") is None


async def test_only_so_many_tests_of_receivers_are_kept(store: Store) -> None:
    await store.tests.save([receiver_test(number) for number in range(MAX_TESTS + 5)])
    kept = await store.tests.all()
    assert len(kept) == MAX_TESTS
    assert (kept[0], kept[-1]) == (receiver_test(MAX_TESTS + 4), receiver_test(5))
