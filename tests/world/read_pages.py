"""Reads pages of a running service as a browser without scripts does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import aiohttp

from tests.world.conftest import World

_VOID = frozenset({"meta", "link", "input", "br", "img"})


@dataclass
class ReadPage(HTMLParser):
    """A page that was read."""

    status: int
    address: str
    source: str
    texts: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    """The address and the words of each link."""
    fields: dict[str, str] = field(default_factory=dict)
    """The values of the inputs, by name."""
    _link: str | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        assert not [name for name in given if name.startswith("on") or name == "style"], given
        if tag == "a":
            self._link = given.get("href") or ""
            self.links.append((self._link, ""))
        if tag == "input" and given.get("name"):
            self.fields[given["name"] or ""] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = None

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._link is not None:
            address, words = self.links[-1]
            self.links[-1] = address, words + data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def link(self, words: str) -> str:
        """Return the address of the only link with these words."""
        (found,) = {address for address, text in self.links if " ".join(text.split()) == words}
        return found


async def read(world: World, path: str, *, follow: bool = True) -> ReadPage:
    """Return a page."""
    assert world.service is not None
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.service.url}{path}", allow_redirects=follow) as answer,
    ):
        return ReadPage(
            answer.status, answer.headers.get("Location", str(answer.url.path_qs)), await answer.text()
        )


async def ask(world: World, path: str, **parameters: Any) -> tuple[int, Any]:
    """Return the status and the JSON that an operation of the API answers."""
    assert world.service is not None
    given = [
        (name, str(each))
        for name, value in parameters.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.service.url}{path}", params=given) as answer,
    ):
        body: Mapping[str, Any] = await answer.json(content_type=None)
        return answer.status, body
