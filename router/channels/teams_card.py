"""What a Teams message looks like: text made safe, an adaptive card within Teams' size, and how the preview draws it.

https://adaptivecards.io/explorer/AdaptiveCard.html
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from router.channels.layout import FEW_ALERTS, MAX_TITLE_UNITS, TextFormat
from router.render import Words
from router.render.view import AlertView
from router.render.words import clean, line

# Teams refuses a message above 28 KB, counted in another encoding and after the workflow has answered 202:
# https://learn.microsoft.com/en-us/connectors/teams/. In one report 24,453 bytes counted as
# 28,897: https://github.com/MicrosoftDocs/msteams-docs/issues/11274.
MAX_BODY_BYTES = 21_000
# Characters of names in a storm's message. One takes at most four bytes, an escape included.
STORM_ROOM = 3_000
_MAX_TEXT_BYTES, _MAX_FOOTER_BYTES = 2_000, 600
_MAX_SUMMARY_BYTES = 3_000
"""A summary gets more if there are few alerts."""
_MAX_FACT_BYTES = 300
_MAX_FACTS = 8
_MAX_OTHER_FACTS_BYTES = 600
_MAX_ADDRESS_BYTES = 1_000
# Room for the names of alerts for which there is none beside them.
_NAMES_BYTES = 3_000
# Room for the JSON around one more text.
_FRAME_BYTES = 250
# Usual size of the JSON around the words of an alert, and of its facts.
_FRAME_AND_FACTS_BYTES = 500
STYLES = {"red": "Attention", "yellow": "Warning", "orange": "Warning", "blue": "Accent", "green": "Good"}

# https://learn.microsoft.com/en-us/microsoftteams/platform/task-modules-and-cards/cards/cards-format#markdown-support
_MARKUP = re.compile(r"[\\*_~`#<>\[\]()]")
# An escaped character comes first, so that an escaped bracket begins no link. No part of a link matches the beginning of
# another one: a search takes time in proportion to the text.
LINK_MARKUP = r"\[(?P<label>(?:\\.|[^\[\]\\\n])+)\]\((?P<url>https?:[^()\s]+)\)"
_LINK = re.compile(rf"\\.|{LINK_MARKUP}")
# These characters would end the address of a linked text or mark it up, so they are percent-encoded.
_LINKED = {ord(char): f"%{ord(char):02X}" for char in "()<>[]\\*~`"}

Element = dict[str, Any]


def escape(text: str) -> str:
    """Return text that Teams shows as it stands."""
    return _MARKUP.sub(lambda match: f"\\{match[0]}", clean(text))


def encoded(card: Mapping[str, Any]) -> bytes:
    """Return the body of the request."""
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    body = {"type": "message", "attachments": [attachment]}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _json_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def _text_bytes(text: str) -> int:
    return _json_bytes(_with_paragraphs(text)) - 2


def _with_paragraphs(text: str) -> str:
    # One newline is not shown by every client.
    return re.sub(r"\n+", "\n\n", text)


def _untagged(text: str) -> str:
    """Return text with the address of each link after its words."""
    return _LINK.sub(
        lambda match: f"{match['label']}: {escape(match['url'])}" if match["url"] else match[0], text
    )


MARKDOWN = TextFormat(escape, re.compile(r"\\."), _text_bytes, _untagged)


def card_of(words: Words, links: Sequence[tuple[str, str]]) -> Element:
    """Return the card of a storm or an alert group.

    :param links: name and address of each link of the group; not escaped
    :raises TemplateError: the template failed
    """
    return _storm_card(words, links) if "groups" in words.values else _alert_card(words, links)


def _alert_card(words: Words, links: Sequence[tuple[str, str]]) -> Element:
    """Return a card with a part for each alert. The alerts that it has no room for are counted and named."""
    actions, left_out = _actions(links)
    alerts: Sequence[AlertView] = [_with_links(alert) for alert in words.values["alerts"]]
    title, labels = (
        _heading(words("title"), words.values["color"]),
        _paragraphs(words("labels"), "the labels"),
    )
    foot = [_quiet(words("footer"))]
    if left_out:
        foot.append(_quiet(f"Links left out, too long: {', '.join(left_out)}"))
    room = MAX_BODY_BYTES - len(encoded(_card([title, *labels, *foot], actions))) - _NAMES_BYTES
    few = alerts if len(alerts) <= FEW_ALERTS else ()
    needed = sum(_json_bytes(_alert(words("alert", alert=alert), alert)) for alert in few)
    most = max(_MAX_SUMMARY_BYTES, room - needed - _FRAME_AND_FACTS_BYTES if few else 0)
    head = [title, *_paragraphs(MARKDOWN.summary(words, most), "the summary", room), *labels]
    card = _card([*head, *foot], actions)
    room = MAX_BODY_BYTES - len(encoded(card)) - _NAMES_BYTES
    most = max(_MAX_TEXT_BYTES, room // max(1, len(alerts)) - _FRAME_AND_FACTS_BYTES)
    shown: list[Element] = []
    for alert in alerts:
        element = _alert(MARKDOWN.alert(words, alert, most), alert)
        room -= _json_bytes(element)
        if room < 0:
            break
        shown.append(element)
    others = [_plain(each) for each in MARKDOWN.others(alerts[len(shown) :], _NAMES_BYTES - _FRAME_BYTES)]
    card["body"] = [*head, *shown, *others, *foot]
    return card


def _storm_card(words: Words, links: Sequence[tuple[str, str]]) -> Element:
    """Return a card that names every group that is new; what stands is cut to the room that is left."""
    values = words.values
    actions, _ = _actions(links)
    title = _heading(words("subject"), values["color"])
    news = [_plain(part) for part in re.split(r"\n{2,}", words("news")) if part]
    body = [title, *_paragraphs(words("summary", link=""), "the summary"), *news]
    room = min(MAX_BODY_BYTES - len(encoded(_card(body, actions))) - _FRAME_BYTES, _MAX_TEXT_BYTES)
    if values["standing"] and values["groups"] > values["new_counts"]["firing"] and room > _FRAME_BYTES:
        body.append(_plain(MARKDOWN.clip(words("standing"), room, f"a list of {values['groups']} groups")))
    return _card(body, actions)


def plain_card(card: Mapping[str, Any]) -> Element:
    """Return a card with one text: all words and addresses of another card, without colours, facts and buttons."""
    rows = [MARKDOWN.untagged(each["text"]) for each in _texts(card["body"])]
    rows += [f"{escape(action['title'])}: {escape(action['url'])}" for action in card.get("actions", ())]
    room = MAX_BODY_BYTES - len(encoded(_card([_plain("-")], [])))
    return _card([_plain(MARKDOWN.clip("\n".join(rows), room, "the message"))], [])


def _card(body: Sequence[Element], actions: Sequence[Element]) -> Element:
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [each for each in body if each.get("text", "-")],
        **({"actions": list(actions)} if actions else {}),
        "msteams": {"width": "full"},
    }


def _plain(text: str) -> Element:
    return {"type": "TextBlock", "text": _with_paragraphs(text), "wrap": True}


def _quiet(text: str) -> Element:
    return {**_plain(MARKDOWN.clip(line(text), _MAX_FOOTER_BYTES, "this")), "isSubtle": True, "size": "Small"}


def _heading(text: str, color: str) -> Element:
    title = _plain(MARKDOWN.clip(line(text), MAX_TITLE_UNITS, "the title"))
    return {**title, "style": "heading", "weight": "Bolder", "size": "Medium", "color": STYLES[color]}


def _paragraphs(text: str, what: str, most: int = _MAX_TEXT_BYTES) -> list[Element]:
    text = MARKDOWN.clip(text, most, what)
    return [_plain(part) for part in re.split(r"\n{2,}", text, maxsplit=4) if part.strip()]


def _with_links(alert: AlertView) -> AlertView:
    """Return the alert with addresses that can be those of linked texts."""
    links = tuple((name, _unescaped(address).translate(_LINKED)) for name, address in alert.own_links)
    return replace(alert, own_links=links)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", text)


def _alert(text: str, alert: AlertView) -> Element:
    """Return the part of an alert: its words, and its labels as facts; a last fact has those for which there are none."""
    labels = [(name or '""', value or '""') for name, value in alert.differing.items()]
    facts = [
        {
            "title": MARKDOWN.short(name, _MAX_FACT_BYTES),
            "value": MARKDOWN.clip(value, _MAX_FACT_BYTES, "the label"),
        }
        for name, value in labels[:_MAX_FACTS]
    ]
    if more := labels[_MAX_FACTS:]:
        others = MARKDOWN.clip(", ".join(map("=".join, more)), _MAX_OTHER_FACTS_BYTES, "the labels")
        facts.append({"title": f"{len(more)} more", "value": others})
    items: list[Element] = [_plain(text)]
    if facts:
        items.append({"type": "FactSet", "facts": facts})
    return {"type": "Container", "separator": True, "items": items}


def _actions(links: Sequence[tuple[str, str]]) -> tuple[list[Element], list[str]]:
    """Return the buttons, and the names of links that are too long."""
    fitting = [(name, url) for name, url in links if len(url.encode(errors="replace")) <= _MAX_ADDRESS_BYTES]
    left_out = [name for name, url in links if (name, url) not in fitting]
    return [{"type": "Action.OpenUrl", "title": name, "url": url} for name, url in fitting], left_out


def _texts(elements: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for each in elements:
        if "text" in each:
            yield each
        yield from _texts(each.get("items", ()))
        yield from ({"text": f"{fact['title']}: {fact['value']}"} for fact in each.get("facts", ()))
