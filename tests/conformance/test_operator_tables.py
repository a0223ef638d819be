"""The log of actions and the pauses of operators, on both databases."""

from router.model import DAY, HOUR, Retention
from router.store import OperatorPause, Store

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
