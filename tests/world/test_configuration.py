"""What an operator sees of the configuration: what is in force, what changed, and whether the file is in force."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.model import DAY, SECOND, Retention
from router.reload import Reloader
from router.store import Store
from router.web.pages import configuration_page
from tests.world.browsing import call, read, submit
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY
from tests.world.fake_slack import TOKEN


def other_channel(rules: str) -> str:
    return rules.replace("C0CRITICAL", "C0NEW")


def misspelt(rules: str) -> str:
    return rules.replace("receiver: oncall", "receiver: onclal")


async def history(world: World) -> list[tuple[str, bool]]:
    """Return who asked for each load, and whether it came into force, the newest first."""
    rows = (await world.get("/api/v1/configuration/history"))["items"]
    return [(each["actor"], each["error"] is None) for each in rows]


async def test_the_files_in_force_are_shown_without_secrets(world: World) -> None:
    await world.start()
    found = await world.get("/api/v1/configuration")
    assert (found["loaded_by"], found["loaded_at"], found["is_same_on_disk"], found["error"]) == (
        "start", world.clock.now(), True, None
    )  # fmt: skip
    (file,) = found["files"]
    assert file["name"] == str(world.folder / "routes.yaml")
    page = await read(world, "/configuration")
    for secret in (KEY, TOKEN):
        assert secret not in str(found)
        assert secret not in page.html
    assert "C0CRITICAL" in page.text
    assert "the same files" in page.text
    assert f"{file['name']}-57" not in page.ids
    assert f"{file['name']}-3" in page.ids


async def test_each_load_that_changes_something_is_kept_with_its_diff(world: World) -> None:
    await world.start()
    before = (await world.get("/api/v1/configuration"))["sha256"]
    assert (await call(world, "POST", "/api/v1/configuration/reload"))[0] == 200
    world.write(other_channel)
    world.clock.advance(SECOND)
    status, answer = await call(world, "POST", "/api/v1/configuration/reload")
    assert (status, answer["sha256"] != before) == (200, True)
    assert await history(world) == [("this machine", True), ("start", True)]
    found = await world.get("/api/v1/configuration/history/2")
    assert (found["before"], found["at"], found["sha256"]) == (1, world.clock.now(), answer["sha256"])
    (diff,) = found["diffs"]
    changed = [each for each in diff["lines"] if each[0] in "+-"]
    assert changed == ["-    - slack: {channel: C0CRITICAL}", "+    - slack: {channel: C0NEW}"]
    assert (diff["added"], diff["removed"], diff["is_cut"]) == (1, 1, False)
    page = await read(world, "/configuration/history/2")
    assert "+ - slack: {channel: C0NEW}" in page.text
    assert f"/configuration/{answer['sha256']}" in page.links
    old = await read(world, f"/configuration/{before}")
    assert "C0CRITICAL" in old.text
    assert (await world.get(f"/api/v1/configuration/versions/{before}"))["loaded_by"] == "start"
    actions = (await world.get("/api/v1/actions"))["items"]
    assert [each["action"] for each in actions] == ["reload configuration"] * 2


async def test_a_secret_that_changed_is_said_and_not_shown(world: World) -> None:
    await world.start()
    world.write(lambda rules: rules.replace(KEY, KEY[::-1]))
    await call(world, "POST", "/api/v1/configuration/reload")
    found = await world.get("/api/v1/configuration/history/2")
    assert found["diffs"] == []
    assert "only secrets differ" in (await read(world, "/configuration/history/2")).text


async def test_a_failed_load_shows_every_mistake_with_its_position(world: World) -> None:
    await world.start()
    world.write(lambda rules: misspelt(rules).replace("timezone: UTC", "timezone: Mars"))
    page = await submit(world, "/configuration/reload")
    assert page.status == 200
    assert "The last load failed" in page.text
    name = str(world.folder / "routes.yaml")
    assert f"{name}:2:11:" in page.text
    assert "did you mean 'oncall'?" in page.text
    assert "other files" in page.text
    status, problem = await call(world, "POST", "/api/v1/configuration/reload")
    assert (status, problem["status"]) == (422, 422)
    assert f"{name}:2:11:" in problem["detail"]
    assert problem["detail"] == (await world.get("/api/v1/configuration"))["error"]
    for _ in range(2):
        await world.reload(misspelt)
    await world.reload(lambda rules: rules)
    assert await history(world) == [
        ("this machine", True), ("this machine", False), ("this machine", False), ("start", True)
    ]  # fmt: skip
    failed = await world.get("/api/v1/configuration/history/2")
    assert (failed["sha256"], failed["diffs"]) == (None, [])
    assert f"{name}:2:11:" in (await read(world, "/configuration/history/2")).text
    assert [each["outcome"] for each in (await world.get("/api/v1/actions"))["items"]] == ["done"] + [
        "refused"
    ] * 4


async def states(world: World) -> dict[str, str]:
    found = await world.get("/api/v1/configuration")
    differing = {
        Path(each["name"]).name: each["state"] for each in found["on_disk"] if each["state"] != "in force"
    }
    assert found["is_same_on_disk"] is not bool(differing)
    return differing


async def test_the_files_on_the_disk_are_compared_with_those_in_force(world: World) -> None:
    teams, secret = world.folder / "teams", world.folder / "key"
    teams.mkdir()
    secret.write_text(KEY)
    (teams / "a.yaml").write_text("receivers: {chat: [{slack: {channel: C0A}}]}\nroute: {receiver: chat}\n")

    def with_teams(rules: str) -> str:
        mount = "  routes:\n    - {matchers: ['team=\"a\"'], mount: a}"
        return "include: [teams/*.yaml]\n" + rules.replace("  routes:", mount, 1).replace(KEY, "{file: key}")

    await world.start(with_teams)
    assert await states(world) == {}
    world.write(lambda rules: with_teams(rules) + "\n")
    (teams / "a.yaml").write_text("receivers: {}\nroute: {receiver: chat}\n")
    (teams / "b.yaml").write_text("")
    secret.unlink()
    assert await states(world) == {
        "routes.yaml": "changed",
        "a.yaml": "changed",
        "b.yaml": "new",
        "key": "missing",
    }
    assert "routes.yaml changed" in (await read(world, "/configuration")).text
    (world.folder / "routes.yaml").unlink()
    (teams / "a.yaml").write_bytes(b"\xff")
    assert (await states(world))["routes.yaml"] == "missing"
    (world.folder / "routes.yaml").mkdir()
    assert (await states(world))["routes.yaml"] == "unreadable"


async def test_a_broken_included_file_is_shown_with_its_mistakes(world: World) -> None:
    teams = world.folder / "teams"
    teams.mkdir()
    (teams / "a.yaml").write_text("receivers: <script>\nroute: {receiver: chat}\n")
    await world.start(lambda rules: "include: [teams/*.yaml]\n" + rules)
    found = await world.get("/api/v1/configuration")
    assert [(each["line"], each["severity"]) for each in found["mistakes"]]
    page = await read(world, "/configuration")
    assert "What to do" in page.text
    assert "<script>\n" not in page.html


async def until_loads(world: World, count: int) -> None:
    """Let time pass until the configuration was loaded so often. The watch may begin to wait only when time passes already."""
    assert world.service is not None
    while len(await history(world)) < count:
        world.clock.advance(2 * SECOND)
        await world.service.store.ready()


def with_included_files(folder: Path) -> Callable[[str], str]:
    """Write an included file that is right, one with a mistake, and a template. Return the change of routes.yaml that names them."""
    for name, text in (
        ("teams/web.yaml", "receivers: {chat: [{slack: {channel: C0WEB}}]}\nroute: {receiver: chat}\n"),
        ("teams/db.yaml", "route: {receiver: nobody}\n"),
        ("texts/slack.j2", "{{ title }}\n"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    mounts = "    - {mount: web}\n    - {mount: db}\n"
    return lambda rules: (
        "include: [teams/*.yaml]\ntemplates: texts\n" + rules.replace("  routes:\n", f"  routes:\n{mounts}")
    )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("routes.yaml", "# {}"),
        ("teams/web.yaml", "# {}"),
        ("teams/web.yaml", None),
        pytest.param("teams/db.yaml", "# {}", id="an included file with a mistake"),
        pytest.param("teams/db.yaml", None, id="an included file with a mistake is removed"),
        pytest.param("teams/new.yaml", "route: {}", id="a new included file"),
        ("texts/slack.j2", "{}"),
        ("texts/slack.j2", None),
        pytest.param("texts/pagerduty.j2", "{}", id="a new template"),
    ],
)
async def test_a_change_before_the_first_look_at_the_files_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch, file: str, text: str | None
) -> None:
    """:param text: what is added to the file; None: it is removed"""
    rules, loaded = with_included_files(world.folder), asyncio.Event()
    watch_files, reload = Reloader.watch_files, Reloader.reload

    async def watch_after_a_change(reloader: Reloader) -> None:
        if text is None:
            (world.folder / file).unlink()
        else:
            with (world.folder / file).open("a") as changed:
                changed.write(f"{text}\n")
        await watch_files(reloader)

    async def note(reloader: Reloader, actor: str) -> None:
        assert actor == "file changed"
        await reload(reloader, actor)
        loaded.set()

    monkeypatch.setattr(Reloader, "watch_files", watch_after_a_change)
    monkeypatch.setattr(Reloader, "reload", note)
    await world.start(rules, watch=True)
    await loaded.wait()


async def test_files_that_have_not_changed_since_the_start_are_not_loaded_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not those with a mistake: on a replica that waits, a load would put its own rules in force."""
    reloads: list[str] = []
    rules = with_included_files(world.folder)

    async def count(_reloader: Reloader, actor: str) -> None:
        reloads.append(actor)

    monkeypatch.setattr(Reloader, "reload", count)
    (world.folder / "teams" / "unreadable.yaml").write_bytes(b"\xff")
    await world.start(rules, watch=True)
    assert world.service is not None
    assert any(each.state.is_other for each in await world.service.reloader.files_on_disk())
    for _ in range(5):
        await world.at_rest()
        world.clock.advance(2 * SECOND)
    assert reloads == []


async def test_the_history_says_what_asked_for_a_load(world: World) -> None:
    await world.start(watch=True)
    assert world.service is not None
    assert await history(world) == [("start", True)]
    world.write(other_channel)
    await until_loads(world, 2)
    world.write()
    await world.service.reload()
    assert [actor for actor, _ in await history(world)][1:] == ["file changed", "start"]
    assert (await history(world))[0][0] in {"signal", "file changed"}
    await world.stop()
    await world.start()
    assert len(await history(world)) == 3


async def test_a_long_history_is_paged(world: World) -> None:
    await world.start()
    assert world.service is not None
    loads = world.service.store.loads
    for number in range(12):
        await loads.record(
            "robot <b>",
            f"{number:064x}",
            [{"name": "r", "text": "a\n" * number, "size": 10**7}],
            world.clock.now(),
        )
    page = await read(world, "/configuration")
    assert "All 13 loads" in page.text
    page = await read(world, "/configuration/history?limit=10")
    assert "<b>" not in page.html
    assert len([each for each in page.ids if each.startswith("load-")]) == 10
    (following,) = [each for each in page.links if "cursor=" in each]
    assert "load-1" in (await read(world, following)).ids
    assert "only the first 22 are kept" in (await read(world, f"/configuration/{11:064x}")).text


async def test_a_line_of_a_long_file_has_an_address(world: World) -> None:
    from router.web.pages.page_rendering import line_address, position_address, short_path

    sha256, text = "a" * 64, "".join(f"line {number}\n" for number in range(1, 12_001))
    await world.start()
    assert world.service is not None
    files: list[dict[str, Any]] = [{"name": "/x y/routes.yaml", "text": text, "size": len(text)}]
    await world.service.store.loads.record("start", sha256, files, world.clock.now())
    assert line_address(sha256, "routes.yaml", 57) == f"/configuration/{sha256}#routes.yaml-57"
    assert position_address(sha256, "/x y/routes.yaml:5001") == line_address(
        sha256, "/x y/routes.yaml", 5_001
    )
    assert position_address(sha256, "routes.yaml") == f"/configuration/{sha256}"
    assert short_path("routes.yaml:57") == "routes.yaml:57"
    assert short_path(f"/{'a folder/' * 5}teams/db.yaml:57") == "…/teams/db.yaml:57"
    for line in (1, 5_000, 5_001, 12_000):
        path, _, name = line_address(sha256, "/x y/routes.yaml", line).partition("#")
        page = await read(world, path)
        assert name in page.ids
        assert len([each for each in page.ids if each.startswith("/x%20y/")]) <= 5_000


async def test_a_file_without_room_on_the_page_has_a_page_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration_page, "MAX_LINES", 10)
    await world.start()
    assert world.service is not None
    sha256 = "b" * 64
    files: list[dict[str, Any]] = [
        {"name": name, "text": "a\u2028b\r\n" * 4 + "<b>c", "size": 20}
        for name in ("r.yaml", "a&b.yaml", "c.yaml")
    ]
    await world.service.store.loads.record("start", sha256, files, world.clock.now())
    page = await read(world, f"/configuration/{sha256}")
    lines = [each for each in page.ids if ".yaml-" in each]
    assert lines == [f"{name}-{line}" for name in ("r.yaml", "a%26b.yaml") for line in range(1, 6)]
    assert "<b>" not in page.html
    assert f"/configuration/{sha256}?file=c.yaml" in page.links
    alone = await read(world, f"/configuration/{sha256}?file=c.yaml")
    assert [each for each in alone.ids if ".yaml-" in each] == [f"c.yaml-{line}" for line in range(1, 6)]


async def test_an_unknown_version_or_load_is_said_in_words(world: World) -> None:
    await world.start()
    for path, status in (
        (f"/configuration/{'0' * 64}", 404), ("/configuration/history/99", 404), ("/configuration/x", 400),
        ("/configuration/history/x", 400), ("/configuration/history?cursor=x", 400),
    ):  # fmt: skip
        assert (await read(world, path)).status == status, path


async def test_old_loads_are_pruned_but_not_those_in_force(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/router.db")
    old, now = 1_000, 100 * DAY
    kept = ((old, ""), (old, "no"), (old, ""), (old, "other"), (now - DAY, ""), (old, "in vain"))
    for number, (at, error) in enumerate(kept):
        await store.loads.record("start", "" if error else f"{number:064x}", [], at, error)
    async for _ in store.prune(replace(Retention(), history=30 * DAY), now):
        pass
    lines, _ = await store.pages.loads(None, 10)
    assert [each.id for each in lines] == [6, 5, 3]
    await store.close()
