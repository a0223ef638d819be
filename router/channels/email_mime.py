"""A mail as the bytes that are sent."""

from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from router.channels.email_headers import head_bytes

ATTACHMENT = "alerts.txt"
_POLICY_7BIT = SMTP.clone(cte_type="7bit")  # so that no server needs to support 8-bit mail
_MAX_PLAIN_LINE_CHARS = 78
_MAX_MEASURED_BYTES = 200_000
_FRAME_BYTES = 600
"""More than the boundaries and the headers of the parts take."""


def mail_bytes(body: Mapping[str, Any]) -> bytes:
    """Return a mail as it is sent. :param body: a message's, see :meth:`router.channels.email.EmailChannel.render`"""
    mail = _part(body["text"], "plain")
    if body["html"]:
        mail.make_alternative()
        mail.attach(_part(body["html"], "html"))
    if attachment := body.get("attachment"):
        mail.add_attachment(attachment, filename=ATTACHMENT, cte="base64")
    mail["MIME-Version"] = "1.0"
    return head_bytes(body) + mail.as_bytes()


def plain_mail_bytes(body: Mapping[str, Any]) -> bytes | None:
    """Return the mail with its text alone; None: it has nothing else."""
    without = [
        name
        for key, name in (("html", "the HTML"), ("attachment", f"the file {ATTACHMENT}"))
        if body.get(key)
    ]
    if not without:
        return None
    note = f"The mail server refused the whole mail, so it came without {' and '.join(without)}.\n"
    text = f"{body['text']}\n{note}" if body.get("attachment") else body["text"]
    return mail_bytes({**body, "text": text, "html": "", "attachment": ""})


def encoded_size(text: str) -> int:
    """Return how many bytes a text takes in a mail; of a text that is far too long, at least."""
    if (size := len(text.encode())) > _MAX_MEASURED_BYTES:
        return size
    return len(_part(text, "plain").as_bytes())


def frame_size(body: Mapping[str, Any]) -> int:
    """Return how many bytes a mail takes at most beside its texts."""
    return len(head_bytes(body)) + _FRAME_BYTES


def _part(text: str, subtype: str) -> EmailMessage:
    """Return a part in the shortest encoding. The library's own choice looks at the first lines only."""
    found = []
    for encoding in _encodings(text):
        part = EmailMessage(policy=_POLICY_7BIT)
        part.set_content(text, subtype=subtype, cte=encoding)
        del part["MIME-Version"]
        found.append(part)
    return min(found, key=lambda part: len(part.get_payload()))


def _encodings(text: str) -> tuple[str, ...]:
    if text.isascii() and max(map(len, text.encode().splitlines()), default=0) <= _MAX_PLAIN_LINE_CHARS:
        return ("7bit",)
    return ("quoted-printable", "base64")
