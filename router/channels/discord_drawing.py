"""Draws Discord messages: their embeds, and Discord's markdown as far as messages use it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from router.channels.drawing import SentMessage, barred, joined, link, replaced, tag

# https://support.discord.com/hc/en-us/articles/210298617
_MARKDOWN = re.compile(
    r"""\\(?P<escaped>[^a-zA-Z0-9\s]) | \[(?P<label>(?:\\.|[^\[\]\\\n])+)\]\(<(?P<url>https?:[^<>\s]+)>\)
    | (?P<address>https?://[^\s<]+) | \*\*(?P<bold>(?:\\.|[^*\\\n])+)\*\*""",
    re.VERBOSE,
)


def draw(message: SentMessage) -> Markup:
    return joined(part for each in message.body["messages"] for part in _message(each))


def markdown(text: str) -> Markup:
    """Return Discord's markup as HTML. https://support.discord.com/hc/en-us/articles/210298617"""
    return replaced(text, _MARKDOWN, _marked)


def _marked(match: re.Match[str]) -> str:
    if match["escaped"]:
        return match["escaped"]
    if match["url"]:
        return link(match["label"], match["url"])
    if match["address"]:
        return link(match["address"], match["address"])
    return tag("strong", markdown(match["bold"]))


def _message(message: Mapping[str, Any]) -> Iterator[Markup]:
    if message["content"]:
        yield tag("p", markdown(message["content"]), class_="text")
    yield from map(_embed, message["embeds"])


def _embed(embed: Mapping[str, Any]) -> Markup:
    parts = [tag("h2", markdown(embed.get("title", ""))), tag("p", markdown(embed.get("description", "")))]
    if embed.get("fields"):
        parts.append(tag("div", *map(_field, embed["fields"]), class_="fields"))
    if embed.get("footer"):
        parts.append(tag("p", embed["footer"]["text"], class_="quiet"))
    return barred(f"#{embed.get('color', 0):06x}", *parts)


def _field(field: Mapping[str, Any]) -> Markup:
    name = tag("strong", field["name"])
    return tag("div", name, Markup("<br>"), markdown(field["value"]), class_="text")
