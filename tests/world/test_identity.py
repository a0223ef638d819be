"""An alert is its label set, and keys belong to one database. Senders and other routers don't affect that."""

import json
import shutil
from collections.abc import AsyncIterator, Callable

import pytest

from router.model import MINUTE, SECOND
from tests.world.asking import until_delivered
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY, Page
from tests.world.fake_webhook import FakeWebhook, Fault
from tests.world.identities import down, per_alert, send


def open_incidents(world: World) -> set[str]:
    """Return the instances whose incidents are open."""
    return {
        name
        for incident in world.pagerduty.incidents[KEY]
        if incident.open
        for name in ("db-1", "db-2", "db-3")
        if name in json.dumps(incident.triggers[-1])
    }


async def paged(world: World, *instances: str) -> None:
    await world.pagerduty.until(lambda: open_incidents(world) == set(instances))


@pytest.mark.parametrize("apart", [False, True], ids=["in one body", "in two bodies"])
async def test_one_fingerprint_of_two_label_sets_is_two_alerts(world: World, apart: bool) -> None:
    await world.start(per_alert)
    bodies = [[down("db-1")], [down("db-2")]] if apart else [[down("db-1"), down("db-2")]]
    for alerts in bodies:
        await send(world, *alerts)
    await paged(world, "db-1", "db-2")
    await send(world, down("db-2", ended=True), status="resolved")
    await paged(world, "db-1")
    await send(world, down("db-1", ended=True), status="resolved")
    await paged(world)
    assert len(world.pagerduty.incidents[KEY]) == 2


@pytest.mark.parametrize(("first", "end"), [("a", "b"), (None, "b"), ("a", None), ("a", "")])
async def test_an_end_under_another_fingerprint_ends_the_alert(
    world: World, first: str | None, end: str | None
) -> None:
    await world.start(per_alert)
    await send(world, down("db-1", first))
    await paged(world, "db-1")
    await send(world, down("db-1", end, ended=True), status="resolved")
    await paged(world)
    ledger = await world.ledger()
    assert ledger["changes"] == {"fired": 1, "resolved": 1, "repeated": 0}


async def test_a_group_that_grows_keeps_the_alerts_it_had(world: World) -> None:
    await world.start(per_alert)
    await send(world, down("db-1"))
    await send(world, down("db-1"), down("db-2"))
    await send(world, down("db-3"), down("db-2"), down("db-1"))
    await paged(world, "db-1", "db-2", "db-3")
    ledger = await world.ledger()
    assert ledger["changes"] == {"fired": 3, "resolved": 0, "repeated": 3}


async def test_the_fingerprint_that_came_is_passed_on_for_display(world: World) -> None:
    async with FakeWebhook() as hook:
        await world.start(to_hook(hook))
        await send(world, down("db-1", "c0ffee"))
        await hook.until(lambda: bool(hook.calls))
        assert hook.only.body["alerts"][0]["fingerprint"] == "c0ffee"


def to_hook(hook: FakeWebhook) -> Callable[[str], str]:
    """Change the rules so that criticals also go to a webhook."""

    def change(rules: str) -> str:
        return rules.replace("  oncall:\n", f'  oncall:\n    - webhook: {{url: "{hook.url}"}}\n').replace(
            "channels:\n", "channels:\n  webhook: {}\n"
        )

    return change


@pytest.fixture
async def hook() -> AsyncIterator[FakeWebhook]:
    async with FakeWebhook() as hook:
        yield hook


async def incident_of(world: World, hook: FakeWebhook, instance: str, calls: int) -> None:
    """Post a critical, and wait until it is sent everywhere."""
    await send(world, down(instance))
    await world.pagerduty.until(lambda: instance in open_incidents(world))
    await hook.until(lambda: len(hook.calls) == calls)
    await world.smtp.until(lambda: len(world.smtp.mails) == calls)


def keys(world: World, hook: FakeWebhook) -> list[tuple[str, ...]]:
    """Return the keys that each provider has seen, in the order of the alerts."""
    return list(
        zip(
            [each.dedup_key for each in world.pagerduty.incidents[KEY]],
            [str(each.headers["Idempotency-Key"]) for each in hook.calls],
            [each.id for each in world.smtp.mails],
            strict=True,
        )
    )


def assert_nothing_shared(world: World, hook: FakeWebhook) -> None:
    seen = keys(world, hook)
    for column in zip(*seen, strict=True):
        assert len(set(column)) == len(column)


async def test_two_databases_never_share_a_key(world: World, hook: FakeWebhook) -> None:
    """Two routers with the same destinations send the same group with different keys."""
    await world.start(to_hook(hook))
    await incident_of(world, hook, "db-1", 1)
    await until_delivered(world, 4)
    await world.stop()
    for path in world.folder.glob("router.db*"):
        path.unlink()
    await world.start(to_hook(hook))
    await incident_of(world, hook, "db-2", 2)
    assert_nothing_shared(world, hook)
    await send(world, down("db-2", ended=True), status="resolved")
    await paged(world, "db-1")


async def test_after_a_restore_no_key_is_used_for_something_else(world: World, hook: FakeWebhook) -> None:
    await world.start(to_hook(hook))
    await world.stop()
    shutil.copy(world.folder / "router.db", world.folder / "backup")
    await world.start(to_hook(hook))
    await incident_of(world, hook, "db-1", 1)
    await until_delivered(world, 4)
    await world.stop()
    shutil.copy(world.folder / "backup", world.folder / "router.db")
    await world.start(to_hook(hook))
    await incident_of(world, hook, "db-2", 2)
    assert_nothing_shared(world, hook)


async def test_after_a_restore_what_was_open_goes_on_by_new_keys_for_new_states(
    world: World, hook: FakeWebhook
) -> None:
    """The backup has the conversation open. Both databases send different states of the same version next."""
    await world.start(to_hook(hook))
    await incident_of(world, hook, "db-1", 1)
    await until_delivered(world, 4)
    await world.stop()
    shutil.copy(world.folder / "router.db", world.folder / "backup")
    for number, instance in enumerate(("db-2", "db-3"), 2):
        await world.start(to_hook(hook))
        world.clock.advance(MINUTE)
        await send(world, down(instance))
        await hook.until(lambda number=number: len(hook.calls) == number)  # type: ignore[misc]
        await world.smtp.until(lambda number=number: len(world.smtp.mails) == number)  # type: ignore[misc]
        await world.stop()
        shutil.copy(world.folder / "backup", world.folder / "router.db")
    assert len({each.headers["Idempotency-Key"] for each in hook.calls}) == 3
    assert len({each.id for each in world.smtp.mails}) == 3
    assert len(world.pagerduty.incidents[KEY]) == 1


async def test_a_restart_keeps_the_keys_of_open_and_unknown_messages(world: World, hook: FakeWebhook) -> None:
    await world.start(to_hook(hook))
    hook.fail(Fault(close=True, accept=True))
    await send(world, down("db-1"))
    await world.pagerduty.until(lambda: "db-1" in open_incidents(world))
    await until_delivered(world, 3)
    await world.stop()
    await world.start(to_hook(hook))
    world.clock.advance(10 * SECOND)
    await hook.until(lambda: len(hook.calls) == 2)
    assert len({each.headers["Idempotency-Key"] for each in hook.calls}) == 1
    await send(world, down("db-1", ended=True), status="resolved")
    await paged(world)
    world.pagerduty.expect(Page("Down", open=False))
