"""Each page of the application during a bad night, in a real browser: on a phone and a desktop, light and dark, by keyboard."""

import asyncio
import re
from collections.abc import Iterable
from html import unescape
from pathlib import Path
from urllib.parse import quote, unquote

import aiohttp
from playwright.async_api import Page
from yarl import URL

from router.web.pages import ROUTES
from router.web.pages.navigation import NAVIGATION
from tests.acceptance.browsers import chromium, look, needs_chromium, opened, walk_by_keyboard
from tests.acceptance.conftest import Providers
from tests.acceptance.troubled import Troubled, signed_in, troubled_service

_EXPLAINED = quote('severity="warning", cluster="eu-1", team="db"')
# Pages with one kind of thing, or with a filter, to look at more than their plain address.
_VARIANTS = {
    "/alerts": ("/alerts?status=any", "/alerts?filter=team%3D~("),
    "/find": ("/find?q=BackupSlow", "/find?q=nothing-has-this"),
    "/waiting": ("/waiting", "/waiting?fate=held"),
    "/incident": ("/incident", "/incident?name=Friday%20night&since=2d"),
    "/routes": ("/routes", f"/routes?labels={_EXPLAINED}", "/routes?labels=no%20label"),
    "/deliveries": ("/deliveries", "/deliveries?outcome=failed&since=1d"),
}
# Documents of messages, for frames: they have no header and no styles of the router.
_FRAMES = {"/deliveries/{id}/message", "/digests/{destination}/next/message"}
_WRONG = ("/deliveries/999999", "/nothing-is-here")
# Links to parts of the page itself are followed here: its address may be one that is refused.
_LINKS = """() => [...document.querySelectorAll("a[href]")]
  .filter((each) => each.origin === location.origin)
  .filter((each) => !(each.href.split("#")[0] === location.href.split("#")[0] && document.getElementById(decodeURIComponent(each.hash.slice(1)))))
  .map((each) => each.href)"""


async def addresses(service: Troubled) -> dict[str, tuple[str, ...]]:
    """Return the addresses to look at of each page of the application, by the path of its route."""
    alerts = (await service.ask("alerts", status="any", limit="100"))["items"]
    named = {each["name"]: each["id"] for each in reversed(alerts)}
    hostile = next(number for name, number in named.items() if name.startswith("Evil"))
    stories = (named["ReplicationLagHigh"], named["DiskWillFillIn4Days"], named["BackupSlow"], hostile)

    async def some(path: str, key: str, *kinds: str) -> list[str]:
        """Return the keys of one row of each kind."""
        rows = reversed((await service.ask(path, limit="100"))["items"])  # the newest of each
        return [
            quote(str(each), safe="")
            for each in {tuple(map(row.get, kinds)): row[key] for row in rows}.values()
        ]

    letter = await some("dead-letters", "id", "destination")
    details = {
        "/alerts/{id}": stories, "/deliveries/{id}": await some("deliveries", "id", "destination", "outcome"),
        "/dead-letters/{id}": letter, "/dead-letters/{id}/discard": letter, "/quarantine/{id}": await some("quarantine", "id", "reason"),
        "/configuration/history/{id}": await some("configuration/history", "id", "error"),
        "/configuration/{sha256}": ((await service.ask("configuration"))["sha256"],), "/destinations/{key}": await some("destinations", "key", "state"),
    }  # fmt: skip
    plain = {each.path: _VARIANTS.get(each.path, (each.path,)) for each in ROUTES if each.method == "GET"}
    found = {
        path: tuple(re.sub(r"\{\w+\}", str(each), path) for each in details[path])
        if path in details
        else several
        for path, several in plain.items()
        if path not in _FRAMES
    }
    assert not [each for several in found.values() for each in several if "{" in each], (
        "a page without an address"
    )
    assert {each.path for each in NAVIGATION} <= found.keys()
    return found


async def examine(page: Page, service: Troubled, path: str, picture: str, links: set[str]) -> list[str]:
    """Return what is wrong with a page.

    :param picture: the beginning of the names of its screenshots
    :param links: gets the addresses that the page leads to
    """
    await page.goto(f"{service.router.url}{path}", wait_until="load")
    wrong = await look(page, picture)
    links |= set(await page.evaluate(_LINKS))
    wrong += await walk_by_keyboard(page)
    if "run" in (await page.title()).split():
        wrong.append("a text from outside was run")
    if await page.locator("img, a[href^='javascript' i], main script:not([src^='/pages/'])").count():
        wrong.append("a text from outside became an element")
    return [f"{path}: {each}" for each in wrong]


async def broken_links(service: Troubled, links: Iterable[str]) -> list[str]:
    """Follow links. Return those that lead nowhere, or to a part that the page does not have."""
    parts: dict[str, set[str]] = {}
    for link in links:
        address, _, part = link.partition("#")
        parts.setdefault(address, set()).add(unquote(part))
    wrong = []
    async with aiohttp.ClientSession(headers=signed_in("ada")) as session:
        for address, wanted in parts.items():
            async with session.get(URL(address, encoded=True)) as answer:
                if answer.status != 200:
                    wrong.append(f"{address}: {answer.status}")
                    continue
                if wanted - {""}:
                    ids = {unescape(each) for each in re.findall(r'\bid="([^"]*)"', await answer.text())}
                    wrong += [
                        f"{address}: no part {each}"
                        for each in wanted
                        if each and not {each, quote(each, safe="/._-")} & ids
                    ]
    return wrong


@needs_chromium
async def test_every_page_is_legible_and_harmless(providers: Providers, folder: Path) -> None:
    async with troubled_service(providers, folder) as service, chromium() as browser:
        pages = [
            (address, f"{re.sub(r'[^a-z0-9-]+', '_', path.strip('/{}')) or 'home'}-{number}")
            for path, several in (await addresses(service)).items()
            for number, address in enumerate(several, 1)
        ]
        wrong: list[str] = []
        links: set[str] = set()

        async def examine_some(page: Page) -> None:
            while pages:
                wrong.extend(await examine(page, service, *pages.pop(), links))

        async with (
            opened(browser, "ada", allowed=("400",)) as one,
            opened(browser, "vera", allowed=("400",)) as other,
            asyncio.TaskGroup() as together,
        ):
            for page in (one, other):
                together.create_task(examine_some(page))
        async with opened(browser, "ada", allowed=("404",)) as page:
            for number, path in enumerate(_WRONG):
                wrong += await examine(page, service, path, f"wrong-{number}", set())
        wrong += await broken_links(service, links)
    assert wrong == []
