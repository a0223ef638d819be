"""What a Slack message looks like: blocks within Slack's limits, and in replies what the limits don't hold."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from router.model import Conversation, Destination
from router.render import Templates
from router.render.view import AlertView
from router.render.words import clean, clip, line

# https://docs.slack.dev/reference/methods/chat.postMessage#truncating
TEXT = 4_000
# https://docs.slack.dev/reference/block-kit/blocks/header-block
HEADER = 150
# https://docs.slack.dev/reference/block-kit/blocks/section-block
SECTION = 3_000
# https://docs.slack.dev/reference/block-kit/block-elements/button-element
BUTTON_URL = 3_000
# Beyond about 13,200 characters in all, Slack answers msg_blocks_too_long; documented nowhere. Sections are
# packed full, so that a message within it stays far below the 50 blocks that are allowed:
# https://docs.slack.dev/reference/block-kit/blocks
BUDGET = 12_000
# A message and its numbered replies; what they don't hold is counted in the last one.
PARTS = 20

# Shares of the budget for what stands once, so that there is always room for alerts.
_HEADLINE, _LABELS, _CONTEXT, _LINKS = 300, 1_500, 500, 3_000
_ALERT = 600  # and no alert takes it all
_MORE = 80  # room for the line that counts the rest
_CUT = "… (whole in the thread)"

# Of a numbered reply; beside them there is room for its number and for the count of what is not shown.
_SECTIONS, _ROOM = 4, 2_800
_NAMES, _NAME = 5, 40  # how many names that count gives, and how much of each

# Red, amber, blue and green, told apart in light and dark.
_MOST_URGENT, _MIDDLE, _LEAST_URGENT, _RESOLVED = "#d5303e", "#e8912d", "#3a7bd5", "#2eb67d"

# Look like them, and make no mention.
_ANGLES = {
    ord("<"): "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
    ord(">"): "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
}
_Row = Callable[[AlertView], str]


def escape(text: str) -> str:
    """The three characters that mean something to Slack; mentions are disarmed with them.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render(
    destination: Destination, conversation: Conversation, templates: Templates, values: Mapping[str, Any]
) -> dict[str, Any]:
    """The message as the template has it: ``text``, ``attachments``, ``plain`` (should Slack refuse these),
    ``thread`` (the news, as a reply), ``broadcast``, and ``parts``, the numbered replies.

    What has to be cut in the message stands whole in the numbered replies.

    :raises TemplateError: the template failed
    """
    cut: list[str] = []

    def words(block: str, **more: Any) -> str:
        return re.sub(r"\n{3,}", "\n\n", templates.render("slack.j2", block, {**values, **more}))

    def fitted(text: str, limit: int) -> str:
        if len(text) > limit:
            cut.append(text)
        return clipped(text, limit, _CUT)

    def row(alert: AlertView) -> str:
        return words("alert", alert=alert)

    text = line(clipped(words("text"), _HEADLINE))
    title = _plain_text(words("header"))
    if len(title) > HEADER:
        cut.append(words("header"))
    header = {"type": "plain_text", "text": clipped(title, HEADER), "emoji": True}
    head = [{"type": "header", "text": header}, *_section(fitted(words("summary"), SECTION))]
    buttons, too_long = _buttons(values["links"])
    cut += too_long
    tail = [*_section(fitted(words("labels"), _LABELS)), *buttons]
    if context := fitted(words("context"), _CONTEXT):
        tail.append({"type": "context", "elements": [{"type": "mrkdwn", "text": context}]})
    alerts: list[AlertView] = values["alerts"]
    # The text is there twice: of the message, and of the attachment.
    rows, rest = _shared_out(alerts, row, BUDGET - 2 * len(text) - sum(map(_weight, head + tail)))
    blocks = [*head, *packed([*rows, *_more(alerts[len(rows) :], " in the thread")]), *tail]
    return {
        "channel": destination.options.channel,
        "text": text,
        "plain": _listed(text, rows, alerts),
        "blocks": [],
        "attachments": [{"color": color(values, templates.levels), "blocks": blocks, "fallback": text}],
        "thread": clipped(words("thread"), SECTION) or None if conversation.remote else None,
        # An edit notifies nobody: what fires newly is shown in the channel as well.
        "broadcast": bool(values["new_firing"]),
        "parts": _parts(conversation, values["title"], cut, rest, row),
    }


def render_fallback(
    destination: Destination, conversation: Conversation, values: Mapping[str, Any]
) -> dict[str, Any]:
    """What is sent when the template fails: the facts, in the same shape."""

    def row(alert: AlertView) -> str:
        facts = [*map("=".join, alert.labels.items())]
        notes = [f"{name}: {note}" for name, note in alert.annotations.items()]
        return "\n".join([f"{alert.status}: {' '.join(facts)}", *notes])

    alerts: list[AlertView] = values["alerts"]
    state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
    counts = f"{len(values['firing'])} firing, {values['resolved_count']} resolved"
    text = clipped(f"{state}: {values['title']} ({counts})", _HEADLINE)
    rows, rest = _shared_out(alerts, row, TEXT - len(text))
    plain = "\n".join([text, *rows, *_more(alerts[len(rows) :], " in the thread")])
    return {
        "channel": destination.options.channel, "text": plain, "plain": plain, "blocks": [], "attachments": [],
        "thread": text if conversation.remote else None, "broadcast": bool(values["new_firing"]),
        "parts": _parts(conversation, values["title"], [], rest, row),
    }  # fmt: skip


def _shared_out(alerts: Sequence[AlertView], row: _Row, room: int) -> tuple[list[str], list[AlertView]]:
    """The rows that the message has room for, and the alerts that are for the replies: those that it shows cut,
    and those that it doesn't show.
    """
    rows: list[str] = []
    cut: list[AlertView] = []
    room -= _MORE
    for alert in alerts:
        whole = row(alert)
        shown = clipped(whole, _ALERT, _CUT)
        room -= len(shown) + 1
        if room < 0:
            break
        rows.append(shown)
        if len(whole) > _ALERT:
            cut.append(alert)
    return rows, [*cut, *alerts[len(rows) :]]


def _parts(
    conversation: Conversation, title: str, cut: Sequence[str], alerts: Sequence[AlertView], row: _Row
) -> list[dict[str, Any]]:
    """The numbered replies, 2/n to n/n, each within the limits of a message. A text that one section can't hold
    goes on in the next. What even they can't hold is counted, by name.
    """
    if conversation.remote.get("sealed", conversation.version) != conversation.version:
        # What the replies said then stays; only what is new is to be added.
        cut, alerts = (), [alert for alert in alerts if alert.news]
    sections: list[str] = []
    # A duration that grows would change every reply at every update.
    steady = (row(alert if alert.ended else replace(alert, lasted="")) for alert in alerts)
    for number, text in enumerate(chain(cut, steady)):
        if left := _placed(text, sections):
            shown = number + (left != text)
            sections.append(
                _unshown("" if left == text else left, cut[shown:], alerts[max(0, shown - len(cut)) :])
            )
            break
    count = min(PARTS - 1, -(-len(sections) // _SECTIONS))
    parts = []
    for number in range(count):
        last = None if number == count - 1 else (number + 1) * _SECTIONS
        destination_key = f"{number + 2}/{count + 1}"
        texts = sections[number * _SECTIONS : last]
        texts[0] = f"*{destination_key}*\n{texts[0]}"
        blocks = [block for text in texts for block in _section(text)]
        parts.append({"text": f"{clipped(title, 100)}: {destination_key}", "blocks": blocks})
    return parts


def _placed(text: str, sections: list[str]) -> str:
    """Add it to the last section if that holds it whole, else to new ones; returns what has found no room."""
    if sections and len(sections[-1]) + 1 + len(text) <= _ROOM:
        sections[-1] += "\n" + text
        return ""
    while text and len(sections) < (PARTS - 1) * _SECTIONS:
        taken, text = split(text, _ROOM)
        if taken.strip():
            sections.append(taken)
    return text


def _unshown(left: str, cut: Sequence[str], alerts: Sequence[AlertView]) -> str:
    """The line that counts what no reply has room for: the end of a text, other texts, alerts by name."""
    names = Counter(alert.name for alert in alerts).most_common()
    listed = [f"{count} {clipped(name, _NAME)}" for name, count in names[:_NAMES]]
    if len(names) > _NAMES:
        listed.append(f"{len(names) - _NAMES} other names")
    characters = len(left) + sum(map(len, cut))
    counts = [f"{characters} characters of text"] if characters else []
    if alerts:
        counts.append(f"{len(alerts)} alerts ({_by_status(alerts)}): {', '.join(listed)}")
    return f"… not shown, for want of room: {'; '.join(counts)}"


def _more(rest: Sequence[AlertView], where: str = "") -> list[str]:
    """The line that counts what a message leaves out, if anything."""
    return [f"… and {len(rest)} more{where} ({_by_status(rest)})"] if rest else []


def _by_status(alerts: Sequence[AlertView]) -> str:
    statuses = Counter(alert.status for alert in alerts)
    return ", ".join(f"{statuses[status]} {status}" for status in ("firing", "resolved") if statuses[status])


def _listed(text: str, rows: Iterable[str], alerts: Sequence[AlertView]) -> str:
    """As text alone: the first rows that fit, and the count of the others."""
    kept = [text]
    room = TEXT - len(text) - _MORE
    for row in rows:
        room -= len(row) + 1
        if room < 0:
            break
        kept.append(row)
    return "\n".join([*kept, *_more(alerts[len(kept) - 1 :])])


def packed(rows: list[str]) -> list[dict[str, Any]]:
    """Rows as sections, as few as hold them."""
    texts: list[str] = []
    for row in rows:
        if texts and len(texts[-1]) + 1 + len(row) <= SECTION:
            texts[-1] += "\n" + row
        else:
            texts.append(row)
    return [block for text in texts for block in _section(text)]


def _section(text: str) -> list[dict[str, Any]]:
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}}] if text else []


def _buttons(links: Iterable[tuple[str, str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The buttons, and in words the addresses that are too long for one."""
    elements: list[dict[str, Any]] = []
    too_long: list[str] = []
    left = _LINKS
    for name, address in links:
        url = _unescape(address)
        if len(url) > min(left, BUTTON_URL):
            too_long.append(f"{name}: {address}")
            continue
        left -= len(url)
        words = {"type": "plain_text", "text": name}
        elements.append({"type": "button", "text": words, "url": url, "action_id": f"open-{name.lower()}"})
    return ([{"type": "actions", "elements": elements}] if elements else []), too_long


def _weight(block: Mapping[str, Any]) -> int:
    match block["type"]:
        case "section" | "header":
            return len(block["text"]["text"])
        case _:
            return sum(len(str(element)) for element in block["elements"])


def color(values: Mapping[str, Any], levels: tuple[str, ...]) -> str:
    if values.get("status") == "resolved":
        return _RESOLVED
    if values["rank"] == 0:
        return _MOST_URGENT
    return _LEAST_URGENT if values["rank"] == len(levels) - 1 else _MIDDLE


def clipped(text: str, limit: int, mark: str = "…") -> str:
    """Cut without leaving half an entity behind."""
    if len(text) <= limit:
        return text
    return re.sub(r"&[a-z]{0,4}$", "", clip(text, limit - len(mark) + 1)[:-1]) + mark


def split(text: str, limit: int) -> tuple[str, str]:
    """In two, losing nothing: at a line's or a word's end if there is one in the last quarter, else anywhere but
    within an entity.
    """
    if len(text) <= limit:
        return text, ""
    for separator in "\n ":
        if (at := text.rfind(separator, limit * 3 // 4, limit)) >= 0:
            return text[: at + 1], text[at + 1 :]
    at = text.rfind("&", limit - 4, limit)
    at = at if at >= 0 and ";" not in text[at:limit] else limit
    return text[:at], text[at:]


def _plain_text(text: str) -> str:
    """For where nothing is marked up: without entities, and without what could be taken for a mention."""
    return line(_unescape(text).translate(_ANGLES))


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
