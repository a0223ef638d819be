"""Draws the entries of the preview: the message as its channel draws it, below a line with its time and destination."""

from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup

from router.channels import REGISTRY
from router.channels.drawing import SentMessage, tag
from router.channels.outbox import Entry
from router.model import SECOND, Millis

_NO_FRAME = Markup()


def card(entry: Entry, zone: ZoneInfo, frame_address: str = "", *, lead: str = "") -> Markup:
    """Return the card of an entry.

    :param zone: times are shown in it
    :param frame_address: where a page loads the message's own HTML from; if it is empty, the card contains that HTML
    :param lead: text before everything else
    """
    spec = REGISTRY[entry.channel]
    frame = Markup()
    if document := spec.html_of(entry.body):
        frame = message_frame(**({"src": frame_address} if frame_address else {"srcdoc": document}))
    message = shown_message(entry, zone, frame)
    about = [_when(entry.at, zone, with_date=True), entry.destination]
    if entry.updates:
        about.append(f"updated {entry.updates} time{'' if entry.updates == 1 else 's'}, last {message.at}")
    meta = tag("p", " · ".join([lead, *about] if lead else about), class_="meta")
    return tag("article", meta, spec.draw(message), class_="card")


def message_frame(**source: str) -> Markup:
    """Return the frame that shows a message's own HTML. A script of the page makes it as high as the message.

    :param source: ``src`` or ``srcdoc``
    """
    # The same origin lets the page ask for the frame's height. The frame runs no scripts, so it can't use the origin.
    return tag(
        "iframe", **source, sandbox="allow-same-origin", loading="lazy", title="The message", class_="fit", data_keep=""
    )  # fmt: skip


def note_card(title: str, text: str) -> Markup:
    """Return a card with a text instead of a message."""
    return tag("article", tag("p", title, class_="meta"), tag("p", text), class_="card")


def shown_message(entry: Entry, zone: ZoneInfo, frame: Markup = _NO_FRAME) -> SentMessage:
    """Return the message of an entry with those before it, for its channel to draw.

    :param zone: times are shown in it
    :param frame: the frame that shows the message's own HTML; empty: its text is shown
    """
    earlier = tuple(SentMessage(body, at=_when(at, zone)) for at, body in entry.earlier)
    return SentMessage(entry.body, at=_when(entry.updated_at, zone), earlier=earlier, frame=frame)


def _when(at: Millis, zone: ZoneInfo, *, with_date: bool = False) -> str:
    """Return a moment for people, such as ``Fri 22:41`` or ``Fri 27 Nov, 22:41``."""
    local = datetime.fromtimestamp(at / SECOND, zone)
    return f"{local:%a} {local.day} {local:%b, %H:%M}" if with_date else f"{local:%a %H:%M}"
