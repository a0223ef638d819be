"""The texts of the gallery: a file for each channel of an incident, and the index."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from router.channels import REGISTRY
from router.channels.cards import shown_message
from router.channels.drawing_text import text_of
from router.channels.outbox import Entry
from router.model import SECOND
from tests.gallery.incidents import Incident
from tests.gallery.playing import Played

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
CHANNELS = {"slack": "Slack", "pagerduty": "PagerDuty", "email": "Email", "telegram": "Telegram"}
ALERTMANAGER = "alertmanager.txt"
_UTC = ZoneInfo("UTC")
_MAX_MESSAGES, _MAX_LINES, _MAX_LINE_CHARS = 3, 150, 1_000
# They are made of the random identity of a database.
_KEY = re.compile(r"\b[0-9a-f]{12,}\b")
_INTRODUCTION = """\
# Gallery

What the router sends for twelve incidents: as text, as a picture of the preview, and beside it what Alertmanager's own
default templates give for the same webhooks. `make gallery` makes the pictures, which need Chromium, and Alertmanager's
texts, which need `amtool`; a test compares the texts with the router (`UPDATE_GOLDEN=1` writes them). The webhooks are in
[tests/gallery/incidents](../../tests/gallery/incidents).
"""


def channel_of(entry: Entry) -> str:
    """Return the name of the file of an entry: a digest is a mail."""
    return "email" if entry.channel == "digest" else entry.channel


def texts_of(played: Sequence[Played]) -> dict[str, str]:
    """Return the text of each channel that got a message, by the name of the channel."""
    found: dict[str, list[str]] = {}
    for each in played:
        for channel in CHANNELS:
            if entries := [entry for entry in each.entries if channel_of(entry) == channel]:
                found.setdefault(channel, []).append("\n\n".join(_step_text(each, entries)))
    return {channel: "\n\n\n".join(texts) + "\n" for channel, texts in found.items()}


def _step_text(played: Played, entries: Sequence[Entry]) -> Iterator[str]:
    at = datetime.fromtimestamp(played.step.at / SECOND, _UTC)
    yield f"##### {at:%a} {at.day} {at:%b %H:%M}: {played.step.what}"
    for entry in entries[:_MAX_MESSAGES]:
        yield entry_text(entry)
    if (rest := len(entries) - _MAX_MESSAGES) > 0:
        yield f"(The gallery leaves out {rest} more messages of this step.)"


def entry_text(entry: Entry) -> str:
    """Return the text of a message, in at most so many lines that a person reads them."""
    spec = REGISTRY[entry.channel]
    text = text_of(spec.draw(shown_message(entry, _UTC)))
    if notification := spec.notification(entry.body):
        text = f"Notification: {notification}\n\n{text}"
    lines = [_shortened(line) for line in _KEY.sub("…", text).splitlines()]
    if (rest := len(lines) - _MAX_LINES) > 0:
        lines = [*lines[:_MAX_LINES], f"(The gallery leaves out {rest} more lines of this message.)"]
    return "\n".join(lines)


def _shortened(line: str) -> str:
    rest = len(line) - _MAX_LINE_CHARS
    return line if rest <= 0 else f"{line[:_MAX_LINE_CHARS]} (The gallery leaves out {rest} more characters.)"


def headline(text: str) -> str:
    """Return the first line of a message in the text of a channel: what a lock screen shows."""
    lines = [line.removeprefix("┃ ") for line in text.splitlines() if line and not line.startswith("#####")]
    return next(line for line in lines if not line.startswith("to ")).removeprefix("Notification: ")


def index(incidents: Mapping[str, tuple[Incident, Mapping[str, str]]]) -> str:
    """Return the index page. :param incidents: each with the texts of its channels, by name"""
    return "\n".join([_INTRODUCTION, *(_entry(incident, texts) for incident, texts in incidents.values())])


def _entry(incident: Incident, texts: Mapping[str, str]) -> str:
    rows = [("Alertmanager's default", _default_headline(incident.name), ALERTMANAGER)]
    rows += [(CHANNELS[name], headline(text), f"{name}.txt") for name, text in texts.items()]
    table = [f"| [{what}]({incident.name}/{file}) | {_cell(words)} |" for what, words, file in rows]
    pictures = [
        f"[![{CHANNELS[name]}]({incident.name}/{name}.png)]({incident.name}/{name}.png)" for name in texts
    ]
    steps = "; ".join(step.what[0].lower() + step.what[1:] for step in incident.steps)
    return "\n".join(
        [f"## {incident.title}", "", f"Steps: {steps}. The table has the first line of the first message.", "",
         "| to | first line |", "|---|---|", *table, "", *pictures, ""]
    )  # fmt: skip


def _default_headline(name: str) -> str:
    path = GALLERY / name / ALERTMANAGER
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("Slack title: ")), "")


def _cell(text: str) -> str:
    """Return text that shows as it is in a cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#&~])", r"\\\1", text)
