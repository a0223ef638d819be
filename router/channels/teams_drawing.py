"""Draws a Teams card for the preview: its elements, and Teams' markdown as far as cards use it."""

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from router.channels.drawing import SentMessage, barred, joined, link, links, replaced, tag
from router.channels.layout import HEX_COLORS
from router.channels.teams_card import LINK_MARKUP, STYLES

_COLORS = {style: HEX_COLORS[color] for color, style in STYLES.items()}
_SHOWN = re.compile(
    rf"""\\(?P<escaped>[^a-zA-Z0-9\s]) | \*\*(?P<bold>(?:\\.|[^*\\\n])+)\*\* | {LINK_MARKUP}""",
    re.VERBOSE,
)


def draw(message: SentMessage) -> Markup:
    """Draw the card for the preview."""
    card = message.body["card"]
    title, *body = card["body"]
    parts = [tag("h2", _markdown(title["text"])), *map(_drawn, body)]
    actions = [(each["title"], each["url"]) for each in card.get("actions", ())]
    row = [links(actions)] if actions else []
    return barred(_COLORS.get(title.get("color", ""), ""), joined([*parts, *row]))


def _drawn(element: Mapping[str, Any]) -> Markup:
    match element["type"]:
        case "Container":
            return tag("div", *map(_drawn, element["items"]), class_="text")
        case "FactSet":
            facts = ((each["title"], each["value"]) for each in element["facts"])
            rows = (
                tag("div", tag("strong", _markdown(name)), ": ", _markdown(value)) for name, value in facts
            )
            return tag("div", *rows, class_="fields")
    return tag("p", _markdown(element["text"]), class_="quiet" if element.get("isSubtle") else "text")


def _markdown(text: str) -> Markup:
    return replaced(text, _SHOWN, _marked)


def _marked(match: re.Match[str]) -> str:
    if match["url"]:
        return link(_markdown(match["label"]), match["url"])
    return match["escaped"] or tag("strong", _markdown(match["bold"]))
