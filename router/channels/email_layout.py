"""The text of mails: what fits, and the bytes that are sent."""

import re
from collections.abc import Mapping
from dataclasses import replace
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from router.render import Words
from router.render.words import clip, line

# https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1: a line has at most 998 characters. Mail programs show fewer of
# a subject than these.
SUBJECT = 250
# https://www.postfix.org/postconf.5.html#message_size_limit: 10,240,000 bytes. In base64, and with the
# widest characters, these two come to about 8,000,000 bytes. Without its HTML a mail is still complete.
MAX_TEXT_CHARS = 500_000
HTML = 1_000_000
_POLICY_7BIT = SMTP.clone(cte_type="7bit")  # so that no server needs to support 8-bit mail


def fitted_text(words: Words) -> str:
    """Return a text with as many alerts (in a digest: lines for each section) as a mail holds; the text counts the rest.

    :raises TemplateError: the template failed
    """
    values = words.values
    sections, alerts = values.get("sections", ()), values.get("alerts", ())
    shown = max((len(section.entries) for section in sections), default=len(alerts))
    note = ""
    while len(text := words("body", **_first(values, shown))) > MAX_TEXT_CHARS - len(note) and shown:
        shown //= 2
        left = sum(entry.count for section in sections for entry in section.entries[shown:])
        note = f"\n\n... and {left + len(alerts[shown:])} more not shown: the mail would be too long"
    return clip(text, MAX_TEXT_CHARS - len(note)) + note


def _first(values: Mapping[str, Any], shown: int) -> dict[str, Any]:
    """Return the variables with the first alerts, or the first lines of each section, instead of all."""
    if "sections" in values:
        return {"sections": [replace(each, entries=each.entries[:shown]) for each in values["sections"]]}
    return {"alerts": values.get("alerts", ())[:shown]}


def bare_address(address: str) -> str:
    """Return the bare address, without a display name."""
    named = re.fullmatch(r".*<([^<>]+)>", address)
    return (named.group(1) if named else address).strip()


def mail_bytes(body: Mapping[str, Any]) -> bytes:
    """Return a mail as it is sent. :param body: a message's, see :meth:`router.channels.email.EmailChannel.render`"""
    mail = EmailMessage(policy=_POLICY_7BIT)
    mail["From"] = _mailbox(body["from"])
    mail["To"] = [_mailbox(address) for address in body["to"]]
    # `email` accepts a newline at the end of a header, which would end the header block too early.
    for name, value in {"Date": body["date"], "Message-ID": body["message_id"], **body["headers"]}.items():
        mail[name] = line(value)
    mail.set_content(body["text"])
    if body["html"]:
        mail.add_alternative(body["html"], subtype="html")
    return _subject(body["subject"]) + mail.as_bytes()


def _subject(text: str) -> bytes:
    """Return the header, encoded. EmailMessage would decode an encoded word (RFC 2047) that a label has, with the newlines
    in it, so that a label could add headers. It also loses and doubles spaces beside such words.
    """
    text = line(text)
    charset = None if text.isascii() and "=?" not in text else "utf-8"
    return (
        b"Subject: " + Header(text, charset, header_name="Subject").encode(linesep="\r\n").encode() + b"\r\n"
    )


def _mailbox(address: str) -> Address:
    name = address[: address.index("<")].strip().strip('"') if "<" in address else ""
    return Address(display_name=line(name), addr_spec=bare_address(address))
