"""Whatever happens, in whatever order: a story has every state that a fate ever had."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from hypothesis import given

from tests.examples import examples
from tests.unit.core.memory import at_once
from tests.unit.core.stories import STEPS, History
from tests.unit.core.world import World
from tests.unit.store.sqlite_world import InSqlite, in_sqlite

Place = tuple[int, str]
"""A change, and a destination of it."""
States = dict[Place, list[tuple[str, str]]]
"""Fates and reasons, in order."""


class Watch:
    """Remembers what each fate was after each step."""

    def __init__(self, database: InSqlite) -> None:
        self._database = database
        self.seen: States = defaultdict(list)

    def look(self) -> None:
        for change, destination, fate, reason in self._database.rows(
            "SELECT change_id, destination, fate, reason FROM fates"
        ):
            states = self.seen[change, destination]
            if not states or states[-1] != (fate, reason):
                states.append((fate, reason))


def stories(world: World) -> States:
    """What the stories of all alerts say of each fate."""
    told: States = defaultdict(list)
    for alert in world.state.alerts:
        story = at_once(world.store.pages.story(alert.id, limit=200))
        assert story is not None
        times = [each["at"] for each in story.events]
        assert times == sorted(times)
        for each in story.events:
            if each["event"] in {"decision", "fate"}:
                told[each["change"], each["destination"]].append((each["fate"], each["reason"]))
    return told


def is_within(some: list[tuple[str, str]], whole: list[tuple[str, str]]) -> bool:
    """In the same order, perhaps with others between them."""
    left: Iterator[Any] = iter(whole)
    return all(each in left for each in some)


@given(STEPS)
@examples(20)
def test_a_story_has_every_state_that_a_fate_ever_had(steps: list[tuple[str, Any, Any]]) -> None:
    with in_sqlite() as database:
        watch = Watch(database)
        history = History(World(database=database))
        for step in steps:
            history.play(*step)
            watch.look()
        history.settle()
        watch.look()
        told = stories(history.world)
    assert told.keys() == watch.seen.keys()
    for place, states in watch.seen.items():
        assert is_within(states, told[place]), f"{place} was {states}, its story says {told[place]}"
        assert told[place][-1] == states[-1]
