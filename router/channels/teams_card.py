"""What a Teams message looks like: text made safe, an adaptive card within Teams' size, and how the preview draws it.

https://adaptivecards.io/explorer/AdaptiveCard.html
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from router.channels.drawing import SentMessage, barred, joined, links, replaced, tag
from router.model import Conversation
from router.render.view import AlertView
from router.render.words import clean, clip, line

# Teams refuses a message above 28 KB, counted in another encoding and after the workflow has answered 202:
# https://learn.microsoft.com/en-us/connectors/teams/. In one report 24,453 bytes counted as
# 28,897: https://github.com/MicrosoftDocs/msteams-docs/issues/11274.
MAX_BODY_BYTES = 21_000
# Characters of names in a storm's message. One takes at most four bytes, an escape included.
STORM_ROOM = 3_000
_MAX_TITLE_CHARS, _MAX_TEXT_CHARS, _MAX_FOOTER_CHARS = 300, 1_000, 300
_MAX_FACT_CHARS = 150
_MAX_FACTS = 8
_MAX_ADDRESS_BYTES = 1_000
# Room for the line that counts the alerts left out.
_MORE_BYTES = 250
_COLORS = {"Attention": "#c4314b", "Warning": "#e8912d", "Accent": "#3a7bd5", "Good": "#2eb67d"}

# https://learn.microsoft.com/en-us/microsoftteams/platform/task-modules-and-cards/cards/cards-format#markdown-support
_MARKUP = re.compile(r"[\\*_~`#<>\[\]()]")
_SHOWN = re.compile(r"\\(?P<escaped>[^a-zA-Z0-9\s]) | \*\*(?P<bold>(?:\\.|[^*\\\n])+)\*\*", re.VERBOSE)

Words = Callable[[str, Mapping[str, Any]], str]
"""Returns a block of the template, by its name and its values."""
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


def alert_card(
    conversation: Conversation, values: Mapping[str, Any], links: Sequence[tuple[str, str]], words: Words, levels: int
) -> Element:  # fmt: skip
    """Return the card of an alert group. What it has no room for is counted in it.

    :param links: name and address of each link; not escaped
    :param words: may raise :class:`router.render.TemplateError`
    """
    actions, left_out = _actions(links)
    head = [
        _heading(words("title", values), _color(values["rank"], levels, over=conversation.over)),
        *_paragraphs(words("summary", values)),
        *_paragraphs(words("labels", values)),
    ]
    foot = [_quiet(words("footer", values))]
    if left_out:
        foot.append(_quiet(f"Links left out, too long: {', '.join(left_out)}"))
    card = _card([*head, *foot], actions)
    room = MAX_BODY_BYTES - len(encoded(card)) - _MORE_BYTES
    alerts: Sequence[AlertView] = values["alerts"]
    shown: list[Element] = []
    for alert in alerts:
        element = _alert(clip(words("alert", {**values, "alert": alert}), _MAX_TEXT_CHARS), alert)
        room -= len(json.dumps(element, ensure_ascii=False).encode(errors="replace"))
        if room < 0:
            break
        shown.append(element)
    card["body"] = [*head, *shown, *_counted(alerts[len(shown) :], linked=bool(actions)), *foot]
    return card


def storm_card(values: Mapping[str, Any], words: Words, levels: int) -> Element:
    """Return the card of a storm. It names every group that is new; what stands is cut to the room that is left.

    :param words: may raise :class:`router.render.TemplateError`
    """
    actions, _ = _actions([("Alertmanager", values["link"])] if values["link"] else [])
    title = _heading(words("subject", values), _color(values["rank"], levels, over=values["over"]))
    news = [_plain(part) for part in re.split(r"\n{2,}", words("news", values)) if part]
    body = [title, *_paragraphs(words("summary", {**values, "link": ""})), *news]
    room = (MAX_BODY_BYTES - _MORE_BYTES - len(encoded(_card(body, actions)))) // 4
    if values["standing"] and values["groups"] > values["new_counts"]["firing"] and room > _MAX_FACT_CHARS:
        standing, limit = words("standing", values), min(room, _MAX_TEXT_CHARS)
        counted = f"\n… ({values['groups']} groups fire in all)" if len(standing) > limit else ""
        body.append(_plain(clip(standing, limit) + counted))
    return _card(body, actions)


def plain_card(card: Mapping[str, Any]) -> Element:
    """Return a card of text alone, with all words and addresses of another card."""
    rows = [each["text"] for each in _texts(card["body"])]
    rows += [f"{action['title']}: {escape(action['url'])}" for action in card.get("actions", ())]
    size, kept = len(encoded(_card([], []))) + _MORE_BYTES, 0
    for row in rows:
        size += len(encoded(_card([_plain(row)], [])))
        if size > MAX_BODY_BYTES:
            break
        kept += 1
    more = [_plain(f"… and {len(rows) - kept} more lines")] if kept < len(rows) else []
    return _card([*map(_plain, rows[:kept]), *more], [])


def bare_words(block: str, values: Mapping[str, Any]) -> str:
    """Return the facts of a block, for a template that fails."""
    match block:
        case "title":
            state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
            text = f"{state}: {values['title']}"
        case "alert":
            alert: AlertView = values["alert"]
            text = f"{alert.status}: {', '.join(map('='.join, alert.labels.items()))}"
        case "footer" if values["truncated"]:
            text = f"{values['truncated']} more not shown by Alertmanager (max_alerts)"
        case "summary" if "alerts" in values:
            text = f"{len(values['firing'])} firing, {values['resolved_count']} resolved"
        case "subject":
            counts = f"{values['groups']} groups firing, {values['resolved']} resolved"
            text = f"Alert storm{' is over' if values['over'] else ''}: {counts}"
        case "news":
            kinds = ("firing", "eased", "resolved")
            text = "\n".join(f"{kind}: {each.text}" for kind in kinds for each in values[f"new_{kind}"])
        case "standing":
            text = "\n".join(each.text for each in values["standing"])
        case _:
            text = ""
    return text


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
    return replaced(text, _SHOWN, lambda found: found["escaped"] or tag("strong", _markdown(found["bold"])))


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
    # One newline is not shown by every client.
    return {"type": "TextBlock", "text": re.sub(r"\n+", "\n\n", text), "wrap": True}


def _quiet(text: str) -> Element:
    return {**_plain(clip(line(text), _MAX_FOOTER_CHARS)), "isSubtle": True, "size": "Small"}


def _heading(text: str, color: str) -> Element:
    text = clip(line(text), _MAX_TITLE_CHARS)
    return {**_plain(text), "style": "heading", "weight": "Bolder", "size": "Medium", "color": color}


def _paragraphs(text: str) -> list[Element]:
    text = clip(text, _MAX_TEXT_CHARS)
    return [_plain(part) for part in re.split(r"\n{2,}", text, maxsplit=4) if part.strip()]


def _alert(text: str, alert: AlertView) -> Element:
    facts = [
        {"title": _short(name or '""'), "value": _short(value or '""')}
        for name, value in alert.differing.items()
    ]
    if more := facts[_MAX_FACTS:]:
        facts = [*facts[:_MAX_FACTS], {"title": "…", "value": f"and {len(more)} more labels"}]
    items: list[Element] = [_plain(text)]
    if facts:
        items.append({"type": "FactSet", "facts": facts})
    return {"type": "Container", "separator": True, "items": items}


def _short(text: str) -> str:
    return clip(text, _MAX_FACT_CHARS)


def _counted(left: Sequence[AlertView], *, linked: bool) -> list[Element]:
    """Return the line that counts the alerts for which there is no room."""
    if not left:
        return []
    statuses = [alert.status for alert in left]
    counts = [f"{statuses.count(each)} {each}" for each in ("firing", "resolved") if each in statuses]
    where = "; the links below lead to them" if linked else ""
    return [_plain(f"… and {len(left)} more ({', '.join(counts)}){where}")]


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


def _color(rank: int, levels: int, *, over: bool) -> str:
    if over:
        return "Good"
    if rank == 0:
        return "Attention"
    return "Accent" if rank == levels - 1 else "Warning"
