"""Files of secrets: a rotated secret is used without a reload by a person, and no other file is read for it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from router.model import Millis
from router.reload import SECRETS_EVERY
from router.store import Adoption, Phase, StoreUnavailable
from router.store.rule_changes import RuleChanges
from tests.world.asking import metric_value
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY
from tests.world.fake_slack import TOKEN, Want

SUCCESS = "alert_router_config_last_reload_successful "
LOADED = "alert_router_config_last_reload_success_timestamp_seconds "
OLD = "xoxb-old"


def with_token_file(rules: str) -> str:
    return rules.replace(f"token: {TOKEN}", "token: {file: secrets/slack}")


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
        await world.service.store.ready()


async def expect_message(world: World, name: str) -> None:
    await world.post(name, "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0CRITICAL", (name,)))


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

    def with_team(rules: str) -> str:
        mount = "  routes:\n    - {matchers: ['team=\"pay\"'], mount: pay}"
        return f"include: teams/*.yaml\n{with_token_file(rules).replace('  routes:', mount, 1)}"

    key = f"{KEY[:-4]}beef"
    write_secret(world, TOKEN)
    write_secret(world, key, "pay")
    team = world.folder / "teams" / "pay.yaml"
    team.parent.mkdir()
    team.write_text(
        "receivers: {oncall: [{pagerduty: {routing_key: {file: ../secrets/pay}, name: pay}}]}\nroute: {receiver: oncall}\n"
    )
    await world.start(with_team)
    team.write_text("route: [")
    (team.parent / "new.yaml").write_text("route: [")
    if reloaded:
        await world.reload(with_team)
    before = (await world.get("/status"))["config"]["fragments"]
    await until_changed(world, LOADED, lambda: write_secret(world, KEY, "pay"))
    assert (await world.get("/status"))["config"]["fragments"] == before
    assert [each["name"] for each in before] == (["new", "pay"] if reloaded else ["pay"])
    await world.post("Down", "critical", team="pay")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    await world.at_rest()
    assert world.pagerduty.accepted[0].body["routing_key"] == KEY


@pytest.mark.parametrize(("text", "problem"), [(None, "can't be read"), ("", "is empty")])
async def test_the_last_good_secret_stays_when_its_file_fails(
    world: World, text: str | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_secret(world, TOKEN)

    def spoil() -> None:
        path.unlink() if text is None else path.write_text(text)

    await world.start(with_token_file)
    await until_changed(world, SUCCESS, spoil)
    for _ in range(3):
        world.clock.advance(SECRETS_EVERY)
        await world.at_rest()
    error = (await world.get("/status"))["config"]["error"]
    assert f"secrets/slack {problem}" in error.replace("the file ", "")
    assert TOKEN not in error
    assert capsys.readouterr().out.count("reload failed") == 1
    await expect_message(world, "Down")
    await until_changed(world, SUCCESS, lambda: write_secret(world, TOKEN))
    assert (await world.get("/status"))["config"]["error"] is None


async def test_a_rotation_is_loaded_when_the_store_is_writable_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_secret(world, OLD)
    await world.start(with_token_file)
    adopt, faults = RuleChanges.adopt, [StoreUnavailable("the disk is full")] * 2

    async def failing(rules: RuleChanges, adoption: Adoption, now: Millis) -> Phase | None:
        if faults:
            raise faults.pop()
        return await adopt(rules, adoption, now)

    await world.at_rest()
    monkeypatch.setattr(RuleChanges, "adopt", failing)
    write_secret(world, TOKEN)
    for _ in range(2):
        world.clock.advance(SECRETS_EVERY)
        await world.at_rest()
        assert await metric_value(world, SUCCESS) == 1
    await until_changed(world, LOADED, lambda: None)
    assert not faults
    await expect_message(world, "Down")
