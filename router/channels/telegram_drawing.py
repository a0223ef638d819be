"""Draws a Telegram message: its HTML as far as messages use it, and the replies below."""

import html
import re

from markupsafe import Markup

from router.channels.drawing import SentMessage, joined, link, replaced, tag

# https://core.telegram.org/bots/api#html-style
_DRAWN = re.compile(
    r'<a\ href="(?P<url>[^"<>]*)">(?P<label>[^<>]*)</a> | <(?P<tag>[bisu]|code|pre)>(?P<inner>.*?)</(?P=tag)>',
    re.VERBOSE | re.DOTALL,
)
_DRAWN_AS = {"b": "strong", "i": "em", "u": "strong", "s": "s", "code": "code", "pre": "pre"}


def draw(message: SentMessage) -> Markup:
    """Draw the first message as it is now, and the replies below it."""
    parts = [tag("p", markup(message.body["text"]), class_="text")]
    replies = [(each.at, reply) for each in [*message.earlier, message] for reply in each.body["replies"]]
    if replies:
        count = f"{len(replies)} {'reply' if len(replies) == 1 else 'replies'}"
        drawn = (
            tag("p", tag("span", f"{at}  ", class_="quiet"), markup(each["text"])) for at, each in replies
        )
        parts.append(tag("div", tag("p", count, class_="quiet"), *drawn, class_="thread"))
    return joined(parts)


def markup(text: str) -> Markup:
    """Return Telegram's HTML as the page's own. Tags that messages do not use show as text."""
    return replaced(text, _DRAWN, _drawn, html.unescape)


def _drawn(match: re.Match[str]) -> str:
    if match["tag"]:
        return tag(_DRAWN_AS[match["tag"]], markup(match["inner"]))
    return link(html.unescape(match["label"]), html.unescape(match["url"]))
