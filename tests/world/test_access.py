"""Who may do what with a running service, over real sockets: users, reloads, and a router that is open to others."""

import itertools
import json
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from router.app import ServeOptions, Service
from router.cli import main
from router.config import ConfigError
from tests.clock import ManualClock
from tests.world.asking import SLACK
from tests.world.commands import run
from tests.world.conftest import MONDAY_NOON, World


def hash_of(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def users(**roles: str) -> Callable[[str], str]:
    """Return a change of the rules: these users, each with the password ``pw-of-NAME``."""
    lines = "".join(
        f"  - {{name: {name}, role: {role}, password_hash: '{hash_of(f'pw-of-{name}')}'}}\n"
        for name, role in roles.items()
    )
    return lambda rules: f"users:\n{lines}{rules}"


def signed_in(user: str, password: str = "") -> dict[str, str]:
    """Return the header of a user. :param password: empty: ``pw-of-NAME``"""
    return {"Authorization": aiohttp.encode_basic_auth(user, password or f"pw-of-{user}")}


async def ask(
    world: World, method: str, path: str, user: str = "", password: str = "", **headers: str
) -> int:
    """Return the status of the answer. :param user: with the password ``pw-of-NAME``, unless it is given"""
    assert world.service is not None
    sent = headers | (signed_in(user, password) if user else {})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{world.service.url}{path}", headers=sent) as answer,
    ):
        return answer.status


async def deliveries(world: World, *arguments: str, **environ: str) -> tuple[int, str]:
    result = await run(world, "deliveries", *arguments, **environ)
    return result.exit_code, result.output


async def test_a_viewer_reads_an_operator_acts_and_an_admin_reloads(world: World) -> None:
    await world.start(users(vera="view", otto="operate", ada="admin"))
    resume = f"/api/v1/destinations/{SLACK}/resume"
    wanted = {
        "": (401, 401, 401), "vera": (200, 403, 403), "otto": (200, 200, 403), "ada": (200, 200, 200), "mallory": (401, 401, 401),
    }  # fmt: skip
    for user, statuses in wanted.items():
        found = [
            await ask(world, *each, user)
            for each in (("GET", "/status"), ("POST", resume), ("POST", "/-/reload"))
        ]
        assert tuple(found) == statuses, user
    assert await ask(world, "GET", "/healthz") == await ask(world, "GET", "/readyz") == 200
    assert await world.post("Down", "critical") == 200  # a source without credentials is this machine
    async with aiohttp.ClientSession(headers=signed_in("vera")) as session:
        assert world.service is not None
        async with session.get(f"{world.service.url}/api/v1/actions") as answer:
            lines = (await answer.json())["items"]
    assert {(each["actor"], each["action"], each["outcome"]) for each in lines} == {
        ("vera", "resume destination", "refused"), ("vera", "reload configuration", "refused"), ("otto", "resume destination", "done"),
        ("otto", "reload configuration", "refused"), ("ada", "resume destination", "done"), ("ada", "reload configuration", "done"),
    }  # fmt: skip


async def test_a_reload_changes_users_immediately(world: World) -> None:
    await world.start(users(ada="admin", vera="view"))
    assert await ask(world, "POST", "/-/reload", "vera") == 403
    assert await ask(world, "GET", "/status", "otto") == 401
    world.write(users(ada="admin", vera="admin", otto="view"))
    assert await ask(world, "POST", "/-/reload", "ada") == 200
    assert await ask(world, "GET", "/status", "otto") == 200
    world.write(users(vera="admin"))
    assert await ask(world, "POST", "/-/reload", "vera") == 200
    assert await ask(world, "GET", "/status", "ada") == 401
    world.write()
    assert await ask(world, "POST", "/-/reload", "vera") == 200
    assert await ask(world, "GET", "/status") == 200


async def test_the_command_line_signs_in_with_a_user_or_a_token(world: World) -> None:
    token = json.loads(CliRunner().invoke(main, ["new-token", "--json"]).stdout)
    with_token = f"users:\n  - {{name: bot, role: operate, tokens: ['{token['token_hash']}']}}\n"
    await world.start(lambda rules: users(ada="admin")(rules).replace("users:\n", with_token, 1))
    code, output = await deliveries(world)
    assert code == 1
    assert "Sign in" in output
    assert await deliveries(world, "--token", token["token"]) == (0, "No deliveries.\n")
    assert await deliveries(world, "--user", "ada", ALERT_ROUTER_PASSWORD="pw-of-ada") == (
        0,
        "No deliveries.\n",
    )
    code, output = await deliveries(world, "--user", "ada", "--password", "wrong", "resume", SLACK)
    assert code == 1
    assert "wrong" in output
    code, output = await deliveries(world, "--token", token["token"], "resume", SLACK)
    assert (code, output.splitlines()[-1]) == (0, f"{SLACK}: nothing was due to try")


def options(folder: Path, rules: str, host: str, *, is_open: bool = False) -> ServeOptions:
    (folder / "routes.yaml").write_text(rules)
    return ServeOptions(
        folder / "routes.yaml",
        (host, 0),
        database=f"sqlite:///{folder}/state/router.db",
        drain=0,
        is_open=is_open,
    )


RULES = "receivers: {nobody: []}\nroute: {receiver: nobody}\n"
ADA = users(ada="admin")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_a_router_for_others_does_not_start_without_users(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await Service.open(options(tmp_path, RULES, host), {}, ManualClock(MONDAY_NOON))
    shown = caught.value.shown
    assert f"listens on {host}" in shown
    for todo in ("users:", "--open", "hash-password", "--listen 127.0.0.1"):
        assert todo in shown


async def serve(stack: AsyncExitStack, given: ServeOptions) -> tuple[Service, str]:
    """Return a running service and its address on this machine."""
    service = await Service.open(given, {}, ManualClock(MONDAY_NOON))
    stack.push_async_callback(service.stop)
    await service.start()
    return service, f"http://127.0.0.1:{service.runner.addresses[0][1]}"


async def status_of(url: str, path: str, **given: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}", **given) as answer:
        return answer.status, await answer.text()


async def test_a_router_for_others_needs_credentials_from_this_machine_too(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        _, url = await serve(stack, options(tmp_path, ADA(RULES), "0.0.0.0"))
        assert (await status_of(url, "/status"))[0] == 401
        assert (await status_of(url, "/status", headers=signed_in("ada")))[0] == 200
        assert (await status_of(url, "/healthz"))[0] == 200
        async with aiohttp.ClientSession() as session, session.post(f"{url}/webhook", json={}) as answer:
            assert answer.status == 401


async def test_an_open_router_lets_everybody_in_and_says_so(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        with capture_logs() as logs:
            service, url = await serve(stack, options(tmp_path, RULES, "0.0.0.0", is_open=True))
        assert [each["log_level"] for each in logs if each["event"] == "the router is open to everybody"] == [
            "warning"
        ]
        assert (await status_of(url, "/status", headers={"X-Forwarded-For": "192.0.2.1"}))[0] == 200
        status, page = await status_of(url, "/actions", headers={"Accept": "text/html"})
        assert status == 200
        assert "--open is set and there are no users" in page
        assert "anybody (admin)" in page
        (tmp_path / "routes.yaml").write_text(ADA(RULES))
        await service.reload()
        assert (await status_of(url, "/status"))[0] == 401


async def test_a_reload_can_not_remove_the_users_of_a_router_for_others(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        _, url = await serve(stack, options(tmp_path, ADA(RULES), "0.0.0.0"))
        (tmp_path / "routes.yaml").write_text(RULES)
        ada = signed_in("ada")
        async with aiohttp.ClientSession(headers=ada) as session, session.post(f"{url}/-/reload") as answer:
            assert answer.status == 500
            assert "there are no users" in (await answer.json())["reason"]
        assert (await status_of(url, "/status"))[0] == 401
        status, text = await status_of(url, "/status", headers=ada)
        assert status == 200
        assert "there are no users" in json.loads(text)["config"]["error"]


async def test_secrets_are_in_no_log_line_page_or_error(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong and right passwords and tokens are sent everywhere; then everything that came out is searched."""
    caplog.set_level(logging.DEBUG)
    hashed, token = hash_of("pw-of-ada"), "alert_router_of-ada-and-of-nobody-else"
    rules = (
        f"users: [{{name: ada, role: admin, password_hash: '{hashed}', tokens: [{{file: token-hash}}]}}]\n"
    )
    digest = json.loads(CliRunner().invoke(main, ["new-token", "--json"]).stdout)["token_hash"]
    (world.folder / "token-hash").write_text(digest)
    out: list[str] = []
    with capture_logs() as logs:
        await world.start(lambda text: rules + text)
        assert world.service is not None
        async with aiohttp.ClientSession() as session:
            authorizations = (
                signed_in("ada"), signed_in("ada", "secret-wrong"), {"Authorization": f"Bearer {token}"},
            )  # fmt: skip
            paths = (
                "/status",
                "/actions",
                "/metrics",
                "/",
                "/api/v1/openapi.json",
                "/-/reload",
                "/webhook",
                "/no",
            )
            for given, path, method in itertools.product(authorizations, paths, ("GET", "POST")):
                url, headers = f"{world.service.url}{path}", {"Accept": "text/html"} | given
                async with session.request(method, url, headers=headers) as answer:
                    out.append(await answer.text())
        world.write(lambda text: rules.replace("role: admin", "role: boss") + text)
        assert await ask(world, "POST", "/-/reload", "ada") == 500
    out += [json.dumps(logs, default=repr), caplog.text, *capsys.readouterr(), repr(world.service)]
    everything = "\n".join(out)
    assert [
        each
        for each in ("pw-of-ada", "secret-wrong", token, hashed, digest.partition(":")[2])
        if each in everything
    ] == []


async def test_a_rotated_token_counts_without_a_reload(world: World) -> None:
    """The hash of the new token is put into the file of the old one."""
    old, new = (json.loads(CliRunner().invoke(main, ["new-token", "--json"]).stdout) for _ in range(2))
    (world.folder / "hash").write_text(old["token_hash"])
    await world.start(lambda rules: f"users: [{{name: bot, role: view, tokens: [{{file: hash}}]}}]\n{rules}")

    async def statuses() -> list[int]:
        return [
            await ask(world, "GET", "/status", Authorization=f"Bearer {each['token']}") for each in (old, new)
        ]

    assert await statuses() == [200, 401]
    (world.folder / "hash").write_text(f"{new['token_hash']}\n")
    assert world.service is not None
    await world.service.reloader.reload_changed_secrets()
    assert await statuses() == [401, 200]
