"""Draws the messages of a channel as the preview does, and fails if the HTML is unsafe."""

from html.parser import HTMLParser

from router.channels import REGISTRY
from router.channels.drawing import SentMessage
from router.model import Conversation
from tests.unit.channels.rigs import channel_at
from tests.unit.channels.talk import TEMPLATES

TAGS = {
    "a", "article", "br", "code", "details", "div", "em", "h2", "h3", "hr", "p", "pre", "rect", "s", "span", "strong",
    "summary", "svg",
}  # fmt: skip
ATTRIBUTES = {"aria-hidden", "class", "fill", "height", "href", "rel", "tabindex", "target", "width"}
VOID = {"br", "hr", "rect"}


class Inspector(HTMLParser):
    """Fails on HTML that no drawing may have; keeps the text and the addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.addresses: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert tag in TAGS
        assert given.keys() <= ATTRIBUTES
        if tag == "a":
            address = given["href"] or ""
            assert address == "#" or address.casefold().startswith(("http://", "https://"))
            assert given["rel"] == "noopener noreferrer"
            self.addresses.append(address)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def close(self) -> None:
        super().close()
        assert not self._open


def inspected(html: str) -> Inspector:
    inspector = Inspector()
    inspector.feed(html.encode().decode())  # the parser keeps slices, which must not be Markup
    inspector.close()
    return inspector


def drawn(name: str, *conversations: Conversation) -> Inspector:
    """Return the drawing of a channel's last message, with the messages before it."""
    channel, there = channel_at(name, "127.0.0.1:9")
    bodies = [channel.render(there, each, TEMPLATES).body for each in conversations]
    *earlier, last = (SentMessage(body, at=f"Fri 10:0{number}") for number, body in enumerate(bodies))
    return inspected(REGISTRY[name].draw(SentMessage(last.body, last.at, tuple(earlier))))
