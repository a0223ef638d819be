"""Files of secrets: a rotated secret is used without a reload by a person, and no other file is read for it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from router.active_config import ActiveConfig
from router.channels.base import Channel
from router.channels.slack import SlackChannel
from router.config import Config, identify_file
from router.config_files import LoadedConfig
from router.core.adopt import Adopted
from router.model import MINUTE, SECOND, Millis
from router.reload import SECRETS_EVERY
from router.render import Templates
from router.store import Adoption, Store, StoreUnavailable
from router.store.rule_changes import RuleChanges
from tests.world.asking import metric_value, slack_lane
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY
from tests.world.fake_slack import TOKEN, Want

SUCCESS = "alert_router_config_last_reload_successful "
LOADED = "alert_router_config_last_reload_success_timestamp_seconds "
OLD = "xoxb-old"


def with_token_file(rules: str) -> str:
    return rules.replace(f"token: {TOKEN}", "token: {file: secrets/slack}")


def with_team(rules: str) -> str:
    """The rules include the file of a team, which :func:`write_team` writes."""
    mount = "  routes:\n    - {matchers: ['team=\"pay\"'], mount: pay}"
    return f"include: teams/*.yaml\n{rules.replace('  routes:', mount, 1)}"


def write_team(world: World) -> Path:
    """Write the file of a team, whose routing key is in the file of secrets ``pay``."""
    team = world.folder / "teams" / "pay.yaml"
    team.parent.mkdir()
    team.write_text(
        "receivers: {oncall: [{pagerduty: {routing_key: {file: ../secrets/pay}, name: pay}}]}\nroute: {receiver: oncall}\n"
    )
    return team


def write_secret(world: World, text: str, name: str = "slack") -> Path:
    """As tools do it: a new file takes the place of the old one."""
    path = world.folder / "secrets" / name
    path.parent.mkdir(exist_ok=True)
    new = path.with_name("new")
    new.write_text(text)
    return new.replace(path)


async def until_changed(world: World, name: str, change: Callable[[], object]) -> None:
    """Make a change, let the service look at its files, and wait until the metric has another value."""
    assert world.service is not None
    before = await metric_value(world, name)
    change()
    world.clock.advance(SECRETS_EVERY)
    while await metric_value(world, name) == before:
        world.clock.advance(SECOND)  # the service may have begun to wait only now
        await world.service.store.ready()


async def expect_message(world: World, name: str) -> None:
    await world.post(name, "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0CRITICAL", (name,)))


async def expect_page(world: World) -> None:
    """An alert of the team is sent with its present routing key."""
    await world.post("Down", "critical", team="pay")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    await world.at_rest()
    assert world.pagerduty.accepted[0].body["routing_key"] == KEY


@pytest.mark.parametrize("watch", [False, True])
async def test_a_rotated_token_is_used_for_the_next_message(world: World, watch: bool) -> None:
    write_secret(world, OLD)
    await world.start(with_token_file, watch=watch)
    await until_changed(world, LOADED, lambda: write_secret(world, f"{TOKEN}\n"))
    await expect_message(world, "Down")


async def test_a_link_that_is_swapped_is_a_rotation(world: World) -> None:
    """Kubernetes: the file is a link through ``..data``, which is swapped. Sizes and times may stay the same."""
    secrets = world.folder / "secrets"
    for version, text in (("..1", "x" * len(TOKEN)), ("..2", TOKEN)):
        (secrets / version).mkdir(parents=True)
        (secrets / version / "slack").write_text(text)
        os.utime(secrets / version / "slack", (0, 0))
    (secrets / "..data").symlink_to("..1")
    (secrets / "slack").symlink_to("..data/slack")

    def swap() -> None:
        (secrets / "..new").symlink_to("..2")
        (secrets / "..new").replace(secrets / "..data")

    await world.start(with_token_file)
    await until_changed(world, LOADED, swap)
    await expect_message(world, "Down")


async def test_half_edited_rules_are_not_read_with_a_rotation(world: World) -> None:
    write_secret(world, OLD)
    await world.start(with_token_file)
    (world.folder / "routes.yaml").write_text("route: [")
    await until_changed(world, LOADED, lambda: write_secret(world, TOKEN))
    assert await metric_value(world, SUCCESS) == 1
    await expect_message(world, "Down")


async def test_a_rotation_hides_no_error_of_the_last_reload(world: World) -> None:
    write_secret(world, OLD)
    await world.start(with_token_file)
    _, answer = await world.reload(lambda _: "route: [")
    await until_changed(world, LOADED, lambda: write_secret(world, TOKEN))
    assert (await world.get("/status"))["config"]["error"] == answer["reason"]
    assert await metric_value(world, SUCCESS) == 0
    await expect_message(world, "Down")
    assert (await world.reload(with_token_file))[0] == 200
    assert await metric_value(world, SUCCESS) == 1


@pytest.mark.parametrize("reloaded", [False, True])
async def test_half_edited_included_files_are_not_read_with_a_rotation(world: World, reloaded: bool) -> None:
    """If a reload has found them broken, their last good version gets the new secret, and the problem is still shown."""

    def with_files(rules: str) -> str:
        return with_team(with_token_file(rules))

    write_secret(world, TOKEN)
    write_secret(world, f"{KEY[:-4]}beef", "pay")
    team = write_team(world)
    await world.start(with_files)
    team.write_text("route: [")
    (team.parent / "new.yaml").write_text("route: [")
    if reloaded:
        await world.reload(with_files)
    before = (await world.get("/status"))["config"]["fragments"]
    await until_changed(world, LOADED, lambda: write_secret(world, KEY, "pay"))
    assert (await world.get("/status"))["config"]["fragments"] == before
    assert [each["name"] for each in before] == (["new", "pay"] if reloaded else ["pay"])
    await expect_page(world)


@pytest.mark.parametrize(("text", "problem"), [(None, "can't be read"), ("", "is empty")])
async def test_the_last_good_secret_stays_when_its_file_fails(
    world: World, text: str | None, problem: str
) -> None:
    path = write_secret(world, TOKEN)

    def spoil() -> None:
        path.unlink() if text is None else path.write_text(text)

    await world.start(with_token_file)
    with capture_logs() as logs:
        await until_changed(world, SUCCESS, spoil)
        for _ in range(3):
            world.clock.advance(SECRETS_EVERY)
            await world.at_rest()
    error = (await world.get("/status"))["config"]["error"]
    assert f"secrets/slack {problem}" in error.replace("the file ", "")
    assert TOKEN not in error
    assert sum("reload failed" in each["event"] for each in logs) == 1
    await expect_message(world, "Down")
    await until_changed(world, SUCCESS, lambda: write_secret(world, TOKEN))
    assert (await world.get("/status"))["config"]["error"] is None


async def test_a_rotation_is_loaded_when_the_store_is_writable_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_secret(world, OLD)
    await world.start(with_token_file)
    ask, faults = RuleChanges.ask, [StoreUnavailable("the disk is full")] * 2

    async def failing(rules: RuleChanges, adoption: Adoption, now: Millis) -> Adopted:
        if faults:
            raise faults.pop()
        return await ask(rules, adoption, now)

    await world.at_rest()
    monkeypatch.setattr(RuleChanges, "ask", failing)
    write_secret(world, TOKEN)
    for _ in range(2):
        world.clock.advance(SECRETS_EVERY)
        await world.at_rest()
        assert await metric_value(world, SUCCESS) == 1
    await until_changed(world, LOADED, lambda: None)
    assert not faults
    await expect_message(world, "Down")


@pytest.mark.parametrize("probes", [0, 1, 5])
async def test_a_broken_destination_is_tried_as_soon_as_its_token_is_rotated(
    world: World, probes: int
) -> None:
    write_secret(world, OLD)
    await world.start(with_token_file)
    await world.post("Down", "critical")
    await world.at_rest()
    for probe in range(probes):
        world.clock.advance(MINUTE << probe)
        await world.at_rest()
    state = await slack_lane(world)
    assert state["paused_until"] - world.clock.now() >= (MINUTE << min(probes, 4))
    await until_changed(world, LOADED, lambda: write_secret(world, TOKEN))
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0CRITICAL", ("Down",)))
    await world.at_rest()
    state = await slack_lane(world)
    assert (state["paused_until"], state["broken_since"]) == (None, None)


@pytest.mark.parametrize("read_as", ["at the start", "by a reload"])
async def test_a_rotation_during_a_full_load_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch, read_as: str
) -> None:
    open_templates = Config.open_templates

    def rotated(config: Config) -> Templates:
        monkeypatch.setattr(Config, "open_templates", open_templates)
        write_secret(world, TOKEN)
        return open_templates(config)

    write_secret(world, OLD)
    if read_as == "by a reload":
        await world.start(with_token_file)
        monkeypatch.setattr(Config, "open_templates", rotated)
        assert (await world.reload(with_token_file))[0] == 200
    else:
        monkeypatch.setattr(Config, "open_templates", rotated)
        await world.start(with_token_file)
    await until_changed(world, LOADED, lambda: None)
    await expect_message(world, "Down")


async def test_a_secret_newer_than_the_kept_one_is_loaded_after_a_restart(world: World) -> None:
    """The team's file is broken at the start, so its last good version is used, with the secrets that it had then."""
    write_secret(world, f"{KEY[:-4]}beef", "pay")
    team = write_team(world)
    await world.start(with_team)
    await world.stop()
    write_secret(world, KEY, "pay")
    team.write_text("route: [")
    await world.start(with_team)
    await until_changed(world, LOADED, lambda: None)
    await expect_page(world)
    loaded = await metric_value(world, LOADED)
    for _ in range(2):
        world.clock.advance(SECRETS_EVERY)
        await world.at_rest()
    assert await metric_value(world, LOADED) == loaded


async def test_a_failed_load_of_secrets_is_repeated_until_it_succeeds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed may be repaired without a change of the file, for example on a network's file system."""
    read, problem = Path.read_bytes, errno.EIO

    def failing(path: Path) -> bytes:
        if path.name == "slack" and problem:
            raise OSError(problem, os.strerror(problem))
        return read(path)

    write_secret(world, OLD)
    await world.start(with_token_file)
    monkeypatch.setattr(Path, "read_bytes", failing)
    with capture_logs() as logs:
        await until_changed(world, SUCCESS, lambda: write_secret(world, TOKEN))
        for problem in (errno.EIO, errno.EIO, errno.EACCES, errno.EACCES):
            world.clock.advance(SECRETS_EVERY)
            await world.at_rest()
            error = (await world.get("/status"))["config"]["error"]
            assert f"secrets/slack can't be read: {os.strerror(problem)}" in error
    assert sum("reload failed" in each["event"] for each in logs) == 2
    problem = 0
    await until_changed(world, SUCCESS, lambda: None)
    assert (await world.get("/status"))["config"]["error"] is None
    await expect_message(world, "Down")


@pytest.mark.parametrize("text", [None, ""])
async def test_an_included_file_is_used_when_its_secret_appears(world: World, text: str | None) -> None:
    """The secret was missing or empty at the start, and there is no last good version of the included file."""
    if text is not None:
        write_secret(world, text, "pay")
    write_team(world)
    await world.start(with_team)
    assert (await world.get("/status"))["config"]["fragments"][0]["state"] == "left out"
    await until_changed(world, LOADED, lambda: write_secret(world, KEY, "pay"))
    assert (await world.get("/status"))["config"]["fragments"][0]["state"] == "loaded"
    await expect_page(world)


@pytest.mark.parametrize("was_good", [False, True])
async def test_an_unreadable_secret_of_an_included_file_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, was_good: bool
) -> None:
    """It becomes readable without a change of the file. Until then, nothing is loaded."""
    read, is_readable = Path.read_bytes, was_good

    def failing(path: Path) -> bytes:
        if path.name == "pay" and not is_readable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    write_secret(world, f"{KEY[:-4]}beef" if was_good else KEY, "pay")
    write_team(world)
    await world.start(with_team)
    if was_good:
        is_readable = False
        await until_changed(world, LOADED, lambda: write_secret(world, KEY, "pay"))
    fragment = (await world.get("/status"))["config"]["fragments"][0]
    assert fragment["state"] == ("last good version" if was_good else "left out")
    loaded = await metric_value(world, LOADED)
    for _ in range(2):
        world.clock.advance(SECRETS_EVERY)
        await world.at_rest()
    assert await metric_value(world, LOADED) == loaded
    is_readable = True
    await until_changed(world, LOADED, lambda: None)
    assert (await world.get("/status"))["config"]["fragments"][0]["state"] == "loaded"
    await expect_page(world)


async def test_other_permissions_are_a_change(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    before = identify_file(path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    path.chmod(0o600)
    assert identify_file(path) != before


@pytest.mark.parametrize("watch", [False, True])
async def test_a_rotation_does_not_look_at_the_templates_folder(world: World, watch: bool) -> None:
    write_secret(world, OLD)
    templates = world.folder / "templates"
    templates.mkdir()
    await world.start(lambda rules: f"templates: templates\n{with_token_file(rules)}", watch=watch)
    templates.rename(world.folder / "templates.old")
    await until_changed(world, LOADED, lambda: write_secret(world, TOKEN))
    assert (await world.get("/status"))["config"]["error"] is None
    await expect_message(world, "Down")


async def test_channels_that_are_not_used_are_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store fails when the new configuration is adopted: the channels made for it are closed."""
    write_secret(world, OLD)
    await world.start(with_token_file)
    await world.at_rest()
    made, closed, is_full = list[Channel](), list[Channel](), True
    replace, ask, close = ActiveConfig.replace, RuleChanges.ask, SlackChannel.close

    def noted(active: ActiveConfig, loaded: LoadedConfig) -> None:
        replace(active, loaded)
        made.append(active.runtime().channels["slack"])

    async def failing(rules: RuleChanges, adoption: Adoption, now: Millis) -> Adopted:
        if is_full:
            raise StoreUnavailable("the disk is full")
        return await ask(rules, adoption, now)

    async def noted_close(channel: SlackChannel) -> None:
        closed.append(channel)
        await close(channel)

    monkeypatch.setattr(ActiveConfig, "replace", noted)
    monkeypatch.setattr(RuleChanges, "ask", failing)
    monkeypatch.setattr(SlackChannel, "close", noted_close)
    write_secret(world, TOKEN)
    for _ in range(3):
        world.clock.advance(SECRETS_EVERY)
        await world.at_rest()
    assert len(made) == 3
    while len(closed) < len(made):  # in the background
        await world.get("/status")
    assert closed == made
    monkeypatch.setattr(Store, "ready", AsyncMock(side_effect=StoreUnavailable("the disk is full")))
    assert world.service is not None
    for _ in range(3):
        await world.service.reloader.reload_changed_secrets()
    assert len(made) == 3  # none is made while the store can't be written
    monkeypatch.undo()
