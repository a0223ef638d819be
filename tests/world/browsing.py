"""A browser without scripts: reads pages of a running service, posts their forms, and asks operations of the API."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import aiohttp
from yarl import URL

from tests.world.conftest import World

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class ReadPage(HTMLParser):
    """A page as its reader sees it. No element has a style or a script of its own."""

    status: int
    address: str
    """Of the page; of an answer that leads to another page: where it leads to."""
    html: str
    texts: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    named_links: list[tuple[str, str]] = field(default_factory=list)
    """The address and the words of each link."""
    fields: dict[str, str] = field(default_factory=dict)
    """The values of the inputs, by name."""
    _is_in_link: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert not [name for name in given if name.startswith("on") or name == "style"], given
        self.tags.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a" and "href" in given:
            self._is_in_link = True
            self.named_links.append((given["href"], ""))
        if tag == "input" and given.get("name"):
            self.fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._is_in_link = False

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._is_in_link:
            address, words = self.named_links[-1]
            self.named_links[-1] = address, words + data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def links(self) -> list[str]:
        return [address for address, _ in self.named_links]

    def link(self, words: str) -> str:
        """Return the address of the only link with these words."""
        (found,) = {address for address, text in self.named_links if " ".join(text.split()) == words}
        return found


async def read(world: World, path: str, *, follow: bool = True) -> ReadPage:
    """Return a page. :param follow: False: if it leads to another page, return the answer that says so"""
    assert world.service is not None
    address = URL(f"{world.service.url}{path}", encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.get(address, allow_redirects=follow) as answer,
    ):
        assert answer.status == 302 or answer.content_type == "text/html"
        shown = answer.headers.get("Location", str(answer.url.path_qs))
        return ReadPage(answer.status, shown, await answer.text())


async def submit(world: World, path: str, **fields: str) -> ReadPage:
    """Post a form, and return the page that it leads to."""
    assert world.service is not None
    async with (
        aiohttp.ClientSession(headers=SAME_ORIGIN) as session,
        session.post(f"{world.service.url}{path}", data=fields) as answer,
    ):
        return ReadPage(answer.status, str(answer.url.path_qs), await answer.text())


async def call(world: World, method: str, path: str, **given: Any) -> tuple[int, Any]:
    """Return the status and the JSON that an operation of the API answers. :param given: arguments of aiohttp's request"""
    assert world.service is not None
    async with (
        aiohttp.ClientSession(headers=SAME_ORIGIN) as session,
        session.request(method, f"{world.service.url}{path}", **given) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def ask(world: World, path: str, **parameters: Any) -> tuple[int, Any]:
    """Return the status and the JSON that a reading operation answers. A list gives a parameter several times."""
    given = [
        (name, str(each))
        for name, value in parameters.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    return await call(world, "GET", path, params=given)
