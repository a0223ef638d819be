"""A browser without scripts: follows pages, and posts their forms."""

from html.parser import HTMLParser
from typing import Any

import aiohttp
from yarl import URL

from tests.world.conftest import World

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "a" and (href := given.get("href")) is not None:
            self.links.append(href)
        if (name := given.get("id")) is not None:
            self.ids.append(name)

    def handle_data(self, data: str) -> None:
        self.words += data.split()


class SeenPage:
    """A page as its reader sees it."""

    def __init__(self, status: int, html: str) -> None:
        self.status = status
        self.html = html
        found = _Words()
        found.feed(html)
        self.text = " ".join(found.words)
        self.links = found.links
        self.ids = found.ids
        self.tags = found.tags


async def visit(world: World, path: str) -> SeenPage:
    """Return a page of the running service."""
    assert world.service is not None
    address = URL(f"{world.service.url}{path}", encoded=True)
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        assert answer.content_type == "text/html"
        return SeenPage(answer.status, await answer.text())


async def submit(world: World, path: str, **fields: str) -> SeenPage:
    """Post a form, and return the page that it leads to."""
    assert world.service is not None
    async with (
        aiohttp.ClientSession(headers=SAME_ORIGIN) as session,
        session.post(f"{world.service.url}{path}", data=fields) as answer,
    ):
        return SeenPage(answer.status, await answer.text())


async def call(world: World, method: str, path: str, **given: Any) -> tuple[int, Any]:
    """Ask an operation of the API, and return the status and the JSON of the answer."""
    assert world.service is not None
    async with (
        aiohttp.ClientSession(headers=SAME_ORIGIN) as session,
        session.request(method, f"{world.service.url}{path}", **given) as answer,
    ):
        return answer.status, await answer.json(content_type=None)
