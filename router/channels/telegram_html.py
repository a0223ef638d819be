"""Telegram's HTML: how text is made safe and measured, and how the preview draws it.

https://core.telegram.org/bots/api#html-style
"""

import html
import re

from markupsafe import Markup

from router.channels.drawing import SentMessage, joined, link, replaced, tag, thread
from router.channels.layout import TextFormat
from router.render.words import clean

# https://core.telegram.org/bots/api#sendmessage: after entities parsing, in UTF-16 code units. A link counts as in the
# plain text, which has its address, so that the plain text fits as well.
MAX_UNITS = 4_096
# Before parsing: get_formatted_text in https://github.com/tdlib/telegram-bot-api (telegram-bot-api/Client.cpp).
MAX_BYTES = 32_768

_LINK = re.compile(r'<a href="(?P<url>[^"<>]*)">(?P<label>[^<>]*)</a>')
_TAG = re.compile(r"</?[a-z-][^<>]*>")
# A name after an @ is a mention, which notifies people. An address is none, and has to stay as it is.
_MENTION = re.compile(r"(?P<url>(?<!\w)https?://[^\s<]+)|(?<!\w)@(?=\w)")
_NO_MENTION = "@\N{WORD JOINER}"
# The text of an element ends before another element of its name, so that unclosed elements cost no search to the end each.
# No possessive quantifiers: Python before 3.11.5 loses groups with them (https://github.com/python/cpython/issues/106052).
_DRAWN = re.compile(rf"{_LINK.pattern} | <(?P<tag>[bisu]|code|pre)>(?P<inner>(?:(?!</?(?P=tag)>).)*)</(?P=tag)>".replace("<a h", r"<a\ h"), re.VERBOSE | re.DOTALL)  # fmt: skip
_DRAWN_AS = {"b": "strong", "i": "em", "u": "strong"}


def escape(text: str) -> str:
    """Return text without markup and without mentions; it may stand in an attribute, too."""
    text = _MENTION.sub(lambda match: match["url"] or _NO_MENTION, clean(text))
    return html.escape(text, quote=False).replace('"', "&quot;")


def plain_text(markup: str) -> str:
    """Return what is sent if Telegram refuses the HTML; a link's address stands after its words."""
    return html.unescape(_TAG.sub("", _LINK.sub(r"\g<label>: \g<url>", markup)))


def units(markup: str) -> int:
    """Return the length of the plain text in UTF-16 code units; more if the markup has very many bytes."""
    utf16 = len(plain_text(markup).encode("utf-16-le", "surrogatepass")) // 2
    return max(utf16, len(markup.encode(errors="replace")) * MAX_UNITS // MAX_BYTES)


HTML = TextFormat(
    escape, re.compile(r"&#?\w+;"), units, lambda markup: escape(plain_text(markup)), '<a href="{1}">{0}</a>'.format,
)  # fmt: skip


def draw(message: SentMessage) -> Markup:
    """Draw the first message as it is now, and the replies below it."""
    replies = [(each.at, reply) for each in [*message.earlier, message] for reply in each.body["replies"]]
    drawn = thread([(at, markup(each["text"])) for at, each in replies])
    return joined([tag("p", markup(message.body["text"]), class_="text"), drawn])


def markup(text: str) -> Markup:
    """Return Telegram's HTML as the page's own. Tags that messages do not use show as text."""
    return replaced(text, _DRAWN, _drawn, html.unescape)


def _drawn(match: re.Match[str]) -> str:
    if match["tag"]:
        return tag(_DRAWN_AS.get(match["tag"], match["tag"]), markup(match["inner"]))
    return link(html.unescape(match["label"]), html.unescape(match["url"]))
