"""The keys of email in routes.yaml: the section ``channels.email``, and the options of its destinations."""

import re
import socket
from collections.abc import Mapping
from email.errors import MessageError
from email.headerregistry import Address
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from router.channels.base import (
    AuthoritySettings,
    DestinationOptions,
    StormOptions,
    StormSettings,
    TimeOfDay,
)
from router.channels.email_headers import OWN_HEADERS, bare_address
from router.render.words import clean, line

# https://www.rfc-editor.org/rfc/rfc5322#section-2.2: printable ASCII without a colon.
_HEADER_NAME = re.compile(r"[!-9;-~]{1,70}")
# https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1: a line has at most 998 characters.
_MAX_HEADER_CHARS = 900
# https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1: a domain, or an address literal.
_EHLO_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[A-Za-z0-9.:]+\]")
_QUALIFIED_HOST = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


def _check_address(text: str) -> str:
    """Return the address if it is one, with or without a display name around it."""
    given = text.strip()
    named = re.fullmatch(r"(.*)<([^<>]+)>", given)
    spec = (named.group(2) if named else given).strip()
    if line(given) != given or not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", spec):
        raise ValueError("is no email address; write it like team@example.com")
    if not spec.isascii():
        raise ValueError("has letters that not every mail server takes; write the domain in its xn-- form")
    try:
        Address(addr_spec=spec)
    except (ValueError, MessageError):
        raise ValueError("is no email address; write it like team@example.com") from None
    return given


def _check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers if the router does not set them itself, and if they can't add others."""
    names: set[str] = set()
    for name, value in headers.items():
        key = name.casefold()
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is no name of a header; write it like X-Priority")
        if key in names:
            raise ValueError(f"{name} appears twice; remove one of the two")
        if key in OWN_HEADERS or key.startswith("content-"):
            todo = OWN_HEADERS.get(key, "remove it")
            raise ValueError(f"{name} is a header that the router or a mail server sets; {todo}")
        if clean(value) != value or "\n" in value or "\t" in value:
            raise ValueError(
                f"the value of {name} is not one line; remove line breaks and control characters"
            )
        if len(value) > _MAX_HEADER_CHARS:
            raise ValueError(f"the value of {name} has more than {_MAX_HEADER_CHARS} characters; shorten it")
        names.add(key)
    return headers


MailAddress = Annotated[str, AfterValidator(_check_address)]
MailHeaders = Annotated[Mapping[str, str], AfterValidator(_check_headers)]


class EmailSettings(AuthoritySettings, StormSettings):
    """``channels.email``"""

    model_config = ConfigDict(
        json_schema_extra={"dependencies": {"username": ["password"], "password": ["username"]}}
    )

    smarthost: str
    """host:port"""
    from_: MailAddress = Field(alias="from")
    username: str | None = None
    password: SecretStr | None = None
    tls: Literal["starttls", "implicit", "none"] | None = None
    """Default by port: 465 implicit, else starttls."""
    hello: str | None = None
    """The name in EHLO; None: see :attr:`ehlo_name`."""

    @field_validator("smarthost")
    @classmethod
    def _host_and_port(cls, text: str) -> str:
        host, _, port = text.rpartition(":")
        if not host or re.search(r"[@/\s]", host) or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError("is no host:port; write it like smtp.example.com:587")
        return text

    @field_validator("hello")
    @classmethod
    def _one_name(cls, text: str | None) -> str | None:
        if text is not None and (len(text) > 255 or not _EHLO_NAME.fullmatch(text)):
            raise ValueError("is no host name; write it like router.example.com or [192.0.2.1]")
        return text

    @model_validator(mode="after")
    def _credentials(self) -> "EmailSettings":
        if (self.username is None) is not (self.password is None):
            raise ValueError("username and password go together; give both or neither")
        if self.password is not None and self.security == "none":
            raise ValueError("a password would go in clear; set tls to starttls or implicit")
        return self

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.smarthost.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def security(self) -> str:
        return self.tls or ("implicit" if self.address[1] == 465 else "starttls")

    @property
    def ehlo_name(self) -> str:
        """The name in EHLO: ``hello``, or this host's name, or the sender's domain if the host's name has no domain.

        Strict servers refuse names such as ``localhost``.
        """
        host = socket.gethostname()
        is_qualified = _QUALIFIED_HOST.fullmatch(host) is not None and not host.startswith("localhost")
        return self.hello or (host if is_qualified else bare_address(self.from_).rpartition("@")[2])


class MailOptions(DestinationOptions):
    """The options of every destination that gets mails."""

    to: tuple[MailAddress, ...] = Field(min_length=1)
    reply_to: MailAddress | None = None
    """Where replies go; None: to the sender."""
    headers: MailHeaders = Field(default={})
    """More headers of each mail, as in Alertmanager's email_config."""


class EmailOptions(MailOptions, StormOptions):
    """``- email: {…}`` of a receiver."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the addresses are enough)
        return "email:" + ",".join(sorted(bare_address(each) for each in self.to))


class DigestOptions(MailOptions):
    """``- digest: {…}`` of a receiver."""

    at: TimeOfDay
    """HH:MM, local time."""
    weekdays: tuple[str, ...] = ()
    """As in time_intervals; empty: every day."""
    timezone: str | None = None
    empty: Literal["skip", "all-quiet"] = "skip"
    covers: tuple[str, ...] = ()
    """The receivers whose held and obsolete alerts it reports; empty: all."""
    send_resolved: Annotated[bool, WithJsonSchema({"not": {}})] = Field(default=True, exclude=True)

    @field_validator("send_resolved", mode="before")
    @classmethod
    def _without_send_resolved(cls, _: object) -> bool:
        raise ValueError(
            "is not an option of a digest: a digest reports what ended, no message is sent for an end; remove the key"
        )

    def key(self, receiver: str) -> str:
        return f"digest:{receiver}"
