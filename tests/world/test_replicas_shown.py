"""Who serves and who holds what: in the API, in ``/status``, on the page and by the command."""

import json
from collections.abc import AsyncIterator

import pytest

from router.core.leases import BACKGROUND
from router.model import MINUTE, SECOND
from router.replicas.replica_list import ListedLease, ListedReplica, ReplicaList
from tests.acceptance.browsers import chromium, look, needs_chromium, opened
from tests.postgresql import Server
from tests.world.commands import run
from tests.world.conftest import World
from tests.world.pairs import Pair, pair_of

SECTIONS = {"email", "pagerduty", "slack"}


@pytest.fixture
async def pair(world: World, postgresql: Server) -> AsyncIterator[Pair]:
    async with pair_of(world, postgresql) as pair:
        yield pair


async def test_each_replica_shows_all_replicas_and_leases(pair: Pair) -> None:
    for service, name in ((pair.a, "a"), (pair.b, "b")):
        found = await pair.get(service, "/api/v1/replicas")
        assert [(each["name"], each["agrees"], each["is_this"]) for each in found["replicas"]] == [
            ("a", True, name == "a"), ("b", True, name == "b"),
        ]  # fmt: skip
        assert {each["name"] for each in found["leases"]} == {
            BACKGROUND,
            *(f"lanes {each}" for each in SECTIONS),
        }
        assert found["this_replica"] == service.membership.session
        held = {name: each["name"] for each in found["replicas"] for name in each["leases"]}
        assert held == {each["name"]: each["holder"] for each in found["leases"]}
        status = await pair.get(service, "/status")
        assert {name: status[name] for name in ("this_replica", "leases")} == {
            name: found[name] for name in ("this_replica", "leases")
        }
        assert [each["name"] for each in status["replicas"]] == ["a", "b"]
        page = await pair.get(service, "/replicas")
        assert page.count("<path") == 4
        assert "lanes pagerduty" in page


async def test_a_replica_that_stops_is_gone_and_its_leases_are_taken(pair: Pair) -> None:
    going_on = pair.other
    await pair.hand_over()
    found = await pair.get(going_on, "/api/v1/replicas")
    assert [each["is_this"] for each in found["replicas"]] == [True]


async def test_the_command_shows_who_holds_what(pair: Pair) -> None:
    pair.world.service = pair.a
    try:
        shown = await run(pair.world, "replicas")
        assert shown.exit_code == 0
        lines = shown.output.splitlines()
        assert [line.split()[0] for line in lines] == ["Replica", "a", "b"]
        assert "lanes slack" in shown.output
        found = await pair.get(pair.a, "/api/v1/replicas")
        printed = json.loads((await run(pair.world, "replicas", "--json")).output)
        assert printed["replicas"][0]["id"] == found["replicas"][0]["id"]
    finally:
        pair.world.service = None


async def test_on_sqlite_there_is_one_replica_without_leases(world: World) -> None:
    await world.start()
    found = await world.get("/api/v1/replicas")
    assert not found["is_shared"]
    assert found["this_replica"] == ""
    assert found["leases"] == []
    (only,) = found["replicas"]
    assert (only["agrees"], only["is_this"], only["expires_at"]) == (True, True, None)
    assert len(only["sha256"]) == 64
    assert "<svg" not in "\n".join(await world.get("/replicas"))
    trouble = (await world.get("/api/v1/overview"))["trouble"]
    assert not any(each["page"] == "/replicas" for each in trouble)


@needs_chromium
async def test_the_page_is_legible_on_each_screen(pair: Pair) -> None:
    wrong: list[str] = []
    async with chromium() as browser, opened(browser) as page:
        await page.goto(f"{pair.a.url}/replicas", wait_until="load")
        wrong += await look(page, "replicas")
        assert await page.locator("svg.replicas path").count() == 4
    assert wrong == []


def listed(*replicas: ListedReplica, free_for: int = 0) -> ReplicaList:
    lease = ListedLease(BACKGROUND, None if free_for else "1", None if free_for else "a", -free_for, 3)
    return ReplicaList(0, 10 * SECOND, True, replicas, (lease,))


def replica(name: str, version: str = "1", *, agrees: bool = True, is_this: bool = False) -> ListedReplica:
    return ListedReplica(name, name, version, 0, 0, 0, "", agrees, is_this, ())


def test_what_an_operator_has_to_know_is_at_the_top_of_every_page() -> None:
    mine = replica("a", is_this=True)
    assert list(listed(mine, replica("b")).troubles()) == []
    assert list(listed(mine, free_for=20 * SECOND).troubles()) == []
    assert list(listed(mine, free_for=MINUTE).troubles()) == [
        "No replica has held a lease for 1 min: background"
    ]
    assert list(listed(mine, replica("b", agrees=False)).troubles()) == [
        "1 other replica has other rules than those in force: b"
    ]
    assert list(listed(mine, replica("b", "2")).troubles()) == ["The replicas have different versions: 1, 2"]
    assert list(listed(replica("b")).troubles()) == [
        "This replica could not renew its session, so it sends nothing; others take over if they reach the database"
    ]
