"""The headers of a mail, as bytes.

They are written here and not by :mod:`email`, whose folding encodes an id that is longer than a line as an RFC 2047 word
(https://github.com/python/cpython/issues/100991), and which decodes encoded words of a label, line breaks included.
"""

import re
from collections.abc import Iterable, Mapping
from email.header import Header
from email.headerregistry import Address
from typing import Any

from router.render.words import line

# https://www.rfc-editor.org/rfc/rfc2919#section-2: 255 characters in all.
_MAX_LIST_ID_CHARS = 255
_SPECIAL = "list the recipients under `to`"
OWN_HEADERS: Mapping[str, str] = {
    "reply-to": "set reply_to instead",
    **dict.fromkeys(("to", "cc", "bcc"), _SPECIAL),
    **dict.fromkeys(("from", "sender"), "set `from` of channels.email"),
    "subject": "change the block subject of the template",
    **dict.fromkeys(
        (
            "date", "message-id", "in-reply-to", "references", "list-id", "auto-submitted", "mime-version",
            "received", "return-path",
        ),
        "remove it",
    ),
}  # fmt: skip
"""The headers that routes.yaml can't set, in lower case, each with what to do instead."""
# Structured headers of ASCII letters, and ids: neither encoded nor folded, since a fold within an id breaks it
# (https://www.rfc-editor.org/rfc/rfc2047#section-5).
_VERBATIM = frozenset({"Date", "Message-ID", "In-Reply-To", "References", "List-Id", "Auto-Submitted"})
# An encoded word has at most 75 characters: https://www.rfc-editor.org/rfc/rfc2047#section-2
_MAX_LINE_CHARS = 75
# A longer name is encoded, so that it can be folded: https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1
_MAX_ASCII_NAME_CHARS = 500
_CRLF = "\r\n"


def bare_address(address: str) -> str:
    """Return the bare address, without a display name."""
    named = re.fullmatch(r".*<([^<>]+)>", address)
    return (named.group(1) if named else address).strip()


def list_id(name: str, domain: str) -> str:
    """Return a List-Id. Of a domain that is too long, the last labels stay."""
    while len(found := f"<{name}.alert-router.{domain}>") > _MAX_LIST_ID_CHARS and "." in domain:
        domain = domain.partition(".")[2]
    return found


def head_bytes(body: Mapping[str, Any]) -> bytes:
    """Return the headers of a mail, without those of MIME.

    :param body: a message's, see :meth:`router.channels.email.EmailChannel.render`
    """
    reply_to = body.get("reply_to")
    lines = [
        _mailboxes("From", [body["from"]]),
        _mailboxes("To", body["to"]),
        *([_mailboxes("Reply-To", [reply_to])] if reply_to else []),
        _text("Subject", body["subject"]),
        *(
            f"{name}: {line(value)}" if name in _VERBATIM else _text(name, value)
            for name, value in {
                "Date": body["date"],
                "Message-ID": body["message_id"],
                **body["headers"],
            }.items()
        ),
    ]
    return "".join(f"{each}\r\n" for each in lines).encode("ascii")


def _text(name: str, value: str) -> str:
    """Return a header of free text. It is encoded if it is not ASCII, or has what a reader would decode (RFC 2047)."""
    value = line(value)
    charset = None if value.isascii() and "=?" not in value else "utf-8"
    return f"{name}: {Header(value, charset, maxlinelen=_MAX_LINE_CHARS, header_name=name).encode(linesep=_CRLF)}"


def _mailboxes(name: str, addresses: Iterable[str]) -> str:
    return f"{name}: " + ",\r\n ".join(_mailbox(each) for each in addresses)


def _mailbox(address: str) -> str:
    spec = bare_address(address)
    name = line(address[: address.index("<")].strip().strip('"')) if "<" in address else ""
    if name.isascii() and "=?" not in name and len(name) <= _MAX_ASCII_NAME_CHARS:
        return str(Address(display_name=name, addr_spec=spec))
    return f"{Header(name, 'utf-8', maxlinelen=_MAX_LINE_CHARS).encode(linesep=_CRLF)} <{spec}>"
