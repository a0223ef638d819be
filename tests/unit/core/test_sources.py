"""A message names the source of its alerts, where several sources are configured."""

from dataclasses import replace

import pytest

from router.model import OWN_SOURCE, SECOND, Delivered
from router.store import ClaimedDelivery, Limits
from tests.unit.core.world import POLICY, SLACK, TEAM, World, alert, webhook
from tests.unit.store.large import large_from
from tests.unit.store.sqlite_world import in_sqlite

TWO = replace(POLICY, sources=("prod", "test"), fingerprint="two sources")
LIMITS = Limits(above=1, every=5 * SECOND)


def sent(world: World) -> list[str]:
    """Deliver all messages of criticals, and return the source that each names."""
    found: list[str] = []
    while isinstance(work := world.begin(SLACK), ClaimedDelivery):
        found.append(work.conversation.source)
        world.finish(work, Delivered({"ts": "1"}))
    return sorted(found)


@pytest.mark.parametrize(
    ("names", "named"), [((), ["", ""]), (("prod",), ["", ""]), (("prod", "test"), ["prod", "test"])]
)
def test_messages_name_their_source_if_there_are_several(names: tuple[str, ...], named: list[str]) -> None:
    world = World(policy=replace(POLICY, sources=names))
    for source in ("prod", "test"):
        world.accept(webhook(alert("D", "critical")), source)
    assert sent(world) == named


def test_a_message_about_the_router_itself_names_no_source() -> None:
    world = World(policy=TWO)
    world.accept(webhook(replace(alert("D", "critical"), about=frozenset())), OWN_SOURCE)
    assert sent(world) == [""]


def test_a_large_conversation_names_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    large_from(monkeypatch, 0)
    with in_sqlite() as database:
        world = World(policy=TWO, database=database)
        world.accept(webhook(alert("D", "critical")), "prod")
        assert sent(world) == ["prod"]


@pytest.mark.parametrize("large", [False, True])
def test_a_storm_names_the_source_of_each_group(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        large_from(monkeypatch, 0)
    with in_sqlite() as database:
        world = World(policy=TWO, database=database)
        for source in ("prod", "test"):
            for name in "DE":
                world.accept(webhook(alert(name, "warning"), group=name), source)
        world.now += 10 * SECOND
        work = world.work_of(TEAM, LIMITS)
        storm = work.conversation.storm
        assert storm is not None
        assert sorted(each.source for each in storm.news.firing) == ["prod", "prod", "test", "test"]
        world.finish(work, Delivered({"ts": "1"}))
        world.accept(webhook(alert("F", "warning"), group="F"), "prod")
        world.now += 10 * SECOND
        storm = world.work_of(TEAM, LIMITS).conversation.storm
        assert storm is not None
        assert sorted(each.source for each in storm.lines) == ["prod"] * 3 + ["test"] * 2
