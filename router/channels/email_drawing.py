"""Draws a mail: to whom, its subject, its HTML in a frame, and its plain text."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from router.channels.drawing import SentMessage, details, joined, tag
from router.channels.email_layout import PLAIN
from router.channels.email_mime import ATTACHMENT

_MAX_SHOWN_BYTES = 100_000
"""What a page shows of the attached file."""


def draw(message: SentMessage) -> Markup:
    body = message.body
    head = [tag("p", f"to {', '.join(body['to'])}", class_="meta"), tag("h3", body["subject"])]
    text = tag("pre", body["text"])
    parts = [message.frame, details("As plain text", text)] if message.frame else [text]
    if attachment := body.get("attachment"):
        shown = PLAIN.clip(attachment, _MAX_SHOWN_BYTES, "the file")
        parts.append(details(f"Attached: {ATTACHMENT}", tag("pre", shown)))
    return joined([*head, *parts])


def html_of(body: Mapping[str, Any]) -> str:
    """Return the mail's HTML; empty: it has only text."""
    return str(body.get("html", ""))


def remote_after(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sent mail leaves in a conversation: later mails refer to the first one."""
    return {"first": body["message_id"]}
