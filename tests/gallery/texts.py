"""The texts of the gallery: a file for each channel of an incident, and the index."""

import re
from collections.abc import Iterable, Iterator, Sequence
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
_MAX_LINES, _MAX_LINE_CHARS = 150, 1_000
_STEP = "##### "
# They are made of the random identity of a database.
KEY = re.compile(r"\b[0-9a-f]{12,}\b…?")
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
    """Yield the head of a step, and its first and its last message."""
    at = datetime.fromtimestamp(played.step.at / SECOND, _UTC)
    yield f"{_STEP}{at:%a} {at.day} {at:%b %H:%M}: {played.step.what}"
    yield entry_text(entries[0])
    if (rest := len(entries) - 2) > 0:
        yield f"(Messages of this step that the gallery leaves out here: {rest}.)"
    if len(entries) > 1:
        yield entry_text(entries[-1])


def entry_text(entry: Entry) -> str:
    """Return the text of a message, in at most so many lines that a person reads them."""
    spec = REGISTRY[entry.channel]
    text = text_of(spec.draw(shown_message(entry, _UTC)))
    if notification := spec.notification(entry.body):
        text = f"Notification: {notification}\n\n{text}"
    lines = [_shortened(line) for line in KEY.sub("…", text).splitlines()]
    if (rest := len(lines) - _MAX_LINES) > 0:
        lines = [*lines[:_MAX_LINES], f"(The gallery leaves out {rest} more lines of this message.)"]
    return "\n".join(lines)


def _shortened(line: str) -> str:
    rest = len(line) - _MAX_LINE_CHARS
    return line if rest <= 0 else f"{line[:_MAX_LINE_CHARS]} (The gallery leaves out {rest} more characters.)"


def headline(text: str) -> str:
    """Return the first line of a message in a text: what a lock screen shows."""
    lines = [line.removeprefix("┃ ") for line in text.splitlines() if line and not line.startswith(_STEP)]
    line = next(line for line in lines if not line.startswith("to "))
    return line.removeprefix("Notification: ").removeprefix("Slack title: ")


def index(incidents: Iterable[Incident]) -> str:
    """Return the index page, made of the texts in the folder."""
    return "\n".join([_INTRODUCTION, *map(_incident, incidents)])


def _incident(incident: Incident) -> str:
    folder = GALLERY / incident.name
    files = {
        ALERTMANAGER: "Alertmanager's default",
        **{f"{name}.txt": what for name, what in CHANNELS.items()},
    }
    found = {file: what for file, what in files.items() if (folder / file).exists()}
    steps = [step for step in incident.steps if step.webhooks]
    columns = (
        [incident.steps[0].what, incident.steps[-1].what]
        if len(steps) > 1 and len(found) > 2
        else ["first line"]
    )
    rows = [
        [f"[{what}]({incident.name}/{file})", *_headlines((folder / file).read_text(), len(columns))]
        for file, what in found.items()
    ]
    pictures = [
        f"[![{what}]({incident.name}/{name}.png)]({incident.name}/{name}.png)"
        for name, what in CHANNELS.items()
        if f"{name}.txt" in found
    ]
    table = [["to", *columns], ["---"] * (len(columns) + 1), *rows]
    lines = [f"| {' | '.join(row)} |".replace("| --- ", "|---").replace("---| ", "---|") for row in table]
    return "\n".join([f"## {incident.title}", "", *lines, "", *pictures, ""])


def _headlines(text: str, count: int) -> list[str]:
    """Return the first lines of the first message of the first and of the last step, or of the first step only."""
    first, *others = text.split(_STEP)[1:]
    return [_cell(headline(_STEP + each)) for each in (first, *others[-1:])[:count]]


def _cell(text: str) -> str:
    """Return text that shows as it is in a cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#&~])", r"\\\1", text)
