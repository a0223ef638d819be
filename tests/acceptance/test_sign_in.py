"""Signing in with a real browser, and what a page of another site can't do with it; a start without users."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Page

from tests.acceptance.browsers import chromium, needs_chromium, opened
from tests.acceptance.processes import ROOT, Router, free_port, running
from tests.acceptance.troubled import users

NOBODY = "receivers: {nobody: []}\nroute: {receiver: nobody}\n"


def rules() -> str:
    return users() + NOBODY


# What a form of a page does; the answer is shown in place of the page.
SUBMIT = """(path) => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = path;
  document.body.append(form);
  form.submit();
}"""

FRAME = """async (url) => {
  const frame = document.createElement("iframe");
  frame.src = url;
  const loaded = new Promise((resolve) => { frame.onload = resolve; });
  document.body.append(frame);
  await loaded;
}"""


async def submitted(page: Page, path: str) -> int:
    """Submit a form on the page, and return the status of the answer."""
    async with page.expect_navigation() as navigated:
        await page.evaluate(SUBMIT, path)
    answer = await navigated.value
    assert answer is not None
    return answer.status


@needs_chromium
async def test_a_browser_signs_in_and_acts_by_its_role(folder: Path) -> None:
    async with running(Router(folder, rules())) as router, chromium() as browser:
        for user, status in (("vera", 403), ("ada", 200)):
            async with opened(browser, user, allowed=("403", "404")) as page:
                answer = await page.goto(f"{router.url}/actions")
                assert answer is not None
                assert answer.status == 200
                assert f"{user} (" in await page.inner_text("#who")
                assert await submitted(page, "/-/reload") == status


@needs_chromium
async def test_a_page_of_another_site_can_not_act_for_a_user(folder: Path) -> None:
    """Its browser has the password, and sends it along."""
    port = free_port()
    app = web.Application()

    async def evil(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><body>evil</body>", content_type="text/html")

    app.add_routes([web.get("/", evil)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with (
            running(Router(folder, rules())) as router,
            chromium() as browser,
            opened(browser, "ada", allowed=("401", "403", "404", "frame")) as page,
        ):
            await page.goto(f"{router.url}/actions")
            assert await submitted(page, "/-/reload") == 200
            for site in (f"http://127.0.0.1:{port}/", f"http://localhost:{port}/"):
                await page.goto(site)
                assert await submitted(page, f"{router.url}/-/reload") == 403
                await page.goto(site)
                await page.evaluate(FRAME, f"{router.url}/actions")
                shown = [await frame.content() for frame in page.frames]
                assert len(shown) == 2
                assert not any("Actions" in each for each in shown)
    finally:
        await runner.cleanup()


async def serve(folder: Path, *options: str) -> tuple[int, str]:
    """Start the router with a file without users, and return its exit code and what it printed."""
    (folder / "routes.yaml").write_text(NOBODY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", "serve", "--config", str(folder / "routes.yaml"), "--log", "json",
        "--database", f"sqlite:///{folder}/state/router.db", *options, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    out = b""
    async for line in process.stdout:
        out += line
        if b'"serving"' in line:
            process.terminate()
    return await process.wait(), out.decode()


@pytest.mark.parametrize("options", [(), ("--preview",)])
async def test_a_router_for_other_machines_needs_users(folder: Path, options: tuple[str, ...]) -> None:
    code, printed = await serve(folder, "--listen", f":{free_port()}", *options)
    assert code == 1
    assert "there are no users" in printed
    assert "--open" in printed
    assert "Traceback" not in printed


async def test_it_starts_when_it_is_told_to_be_open(folder: Path) -> None:
    code, printed = await serve(folder, "--listen", f":{free_port()}", "--open")
    assert code == 0
    lines = [json.loads(line) for line in printed.splitlines()]
    assert any(
        each["action"] == "the router is open to everybody" and each["level"] == "warning" for each in lines
    )
