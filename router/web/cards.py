"""Draws the entries of the preview: the message as its channel draws it, below a line with its time and destination."""

from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup

from router.channels import REGISTRY
from router.channels.drawing import SentMessage, tag
from router.channels.outbox import Entry
from router.model import SECOND, Millis


def card(entry: Entry, zone: ZoneInfo, frame_address: str, *, lead: str = "") -> Markup:
    """Return the card of an entry.

    :param zone: times are shown in it
    :param frame_address: the address of the message's own HTML, if it has any
    :param lead: text before everything else
    """
    spec = REGISTRY[entry.channel]
    frame = Markup()
    if spec.html_of(entry.body):
        # The same origin lets the page ask for the frame's height. The frame runs no scripts, so it can't use the origin.
        frame = tag(
            "iframe", src=frame_address, sandbox="allow-same-origin", loading="lazy", title="The message"
        )
    earlier = tuple(SentMessage(body, at=_when(at, zone)) for at, body in entry.earlier)
    message = SentMessage(entry.body, at=_when(entry.updated_at, zone), earlier=earlier, frame=frame)
    about = [_when(entry.at, zone, with_date=True), entry.destination]
    if entry.updates:
        about.append(f"updated {entry.updates} time{'' if entry.updates == 1 else 's'}, last {message.at}")
    meta = tag("p", " · ".join([lead, *about] if lead else about), class_="meta")
    return tag("article", meta, spec.draw(message), class_="card")


def _when(at: Millis, zone: ZoneInfo, *, with_date: bool = False) -> str:
    """Return a moment for people, such as ``Fri 22:41`` or ``Fri 27 Nov, 22:41``."""
    local = datetime.fromtimestamp(at / SECOND, zone)
    return f"{local:%a} {local.day} {local:%b, %H:%M}" if with_date else f"{local:%a %H:%M}"
