"""Email: a thread a conversation, and digests, over SMTP."""

import asyncio
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import aiosmtplib
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from router.channels import email_drawing
from router.channels.base import ChannelSpec, DestinationOptions, StormOptions, StormSettings
from router.channels.email_import import EmailImport
from router.channels.email_smtp import CAUSE, Access, Mail, deliver
from router.channels.email_tunnel import TunnelError, open_tunnel
from router.channels.provider_words import masked_outcome
from router.model import (
    MINUTE,
    SECOND,
    Conversation,
    Destination,
    LaneLimits,
    Message,
    Outcome,
    Rate,
    Retry,
    SharedLimits,
)
from router.network import DIRECT, Network
from router.render import TemplateError, Templates
from router.render.words import clip, line, moment

# https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1: a line has at most 998 characters; a subject beyond
# this length is cut by every reader anyway.
SUBJECT = 250
# https://www.postfix.org/postconf.5.html#message_size_limit: 10,240,000 bytes. In the widest characters and
# base64 these characters come to about 8,000,000; without its HTML a mail is complete.
TEXT = 500_000
HTML = 1_000_000
# Names of a storm's groups; with what stands around them far below the limit of a text.
STORM_ROOM = 200_000
# https://www.rfc-editor.org/rfc/rfc2919#section-2: 255 characters in all; a line can't be folded within one.
_LIST_NAME = 100
_TIMEOUT_SECONDS = 20
# Of a whole attempt, in such timeouts: a smarthost may make its clients wait at each step.
_WHOLE = 3
_NO_ATOM = re.compile(r"[^A-Za-z0-9.]+")
_POLICY = SMTP.clone(cte_type="7bit")  # so that no server needs to know of 8-bit mail


def _address(text: str) -> str:
    """One address, with or without a display name around it."""
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


MailAddress = Annotated[str, AfterValidator(_address)]


class EmailSettings(StormSettings):
    """``channels.email``"""

    smarthost: str
    """host:port"""
    from_: MailAddress = Field(alias="from")
    username: str | None = None
    password: SecretStr | None = None
    tls: Literal["starttls", "implicit", "none"] | None = None
    """Default by port: 465 implicit, else starttls."""
    hello: str | None = None
    """The name that this host says it has."""

    @field_validator("smarthost")
    @classmethod
    def _host_and_port(cls, text: str) -> str:
        host, _, port = text.rpartition(":")
        if not host or re.search(r"[@/\s]", host) or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError("is no host:port; write it like smtp.example.com:587")
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
    def greeting(self) -> str:
        """Strict servers refuse a name without a domain, such as localhost."""
        host = socket.gethostname()
        qualified = "." in host.strip(".") and not host.startswith("localhost") and host.isascii()
        return self.hello or (host if qualified else _spec(self.from_).rpartition("@")[2])


class EmailOptions(StormOptions):
    """``- email: {…}`` of a receiver."""

    to: tuple[MailAddress, ...] = Field(min_length=1)

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the addresses are enough)
        return "email:" + ",".join(sorted(_spec(each) for each in self.to))


class DigestOptions(DestinationOptions):
    """``- digest: {…}`` of a receiver."""

    to: tuple[MailAddress, ...] = Field(min_length=1)
    at: str
    """HH:MM of the local day."""
    weekdays: tuple[str, ...] = ()
    """As in time_intervals; none: every day."""
    timezone: str | None = None
    empty: Literal["skip", "all-quiet"] = "skip"
    covers: tuple[str, ...] = ()
    """Receivers whose held and obsolete alerts it reports; none: all."""

    def key(self, receiver: str) -> str:
        return f"digest:{receiver}"


class EmailChannel:
    def __init__(
        self, settings: EmailSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: of each exchange with the smarthost, in seconds"""
        self._settings = settings
        self._network = network
        self._tls = network.tls_context()
        self._timeout = timeout

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        kind = "digest" if conversation.digest else "storm" if conversation.storm else "email"
        values = templates.values(conversation)
        stem = html = ""
        fallback = False
        try:
            subject = line(templates.render(f"{kind}.txt.j2", "subject", values))
            text = _fitted(lambda some: templates.render(f"{kind}.txt.j2", "body", some), values)
            html = templates.render(f"{kind}.html.j2", "body", values)
            if kind == "email":
                stem = line(templates.render("email.txt.j2", "stem", values))
        except TemplateError:
            fallback = True
            subject, html = line(_plain(conversation, values)[0]), ""
            text = _fitted(lambda some: _plain(conversation, some)[1], values)
        first_stem = str(conversation.remote.get("stem") or stem)
        if stem and subject.endswith(stem):
            # Gmail and others show a mail whose subject differs from its thread's apart from it.
            subject = subject.removesuffix(stem) + first_stem
        body = {
            "subject": clip(subject, SUBJECT) or "Alert",
            "text": text + "\n",
            "html": html if len(html) <= HTML else "",
            "to": list(destination.options.to),
            "from": self._settings.from_,
            "date": format_datetime(moment(conversation.now, ZoneInfo("UTC"))),
            "message_id": self._message_id(conversation),
            "headers": self._headers(destination, conversation),
            "stem": clip(first_stem, SUBJECT),
        }
        return Message("digest" if kind == "digest" else "email", body, fallback)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:  # noqa: ARG002
        settings, body = self._settings, message.body
        password = settings.password.get_secret_value() if settings.password is not None else ""
        login = (settings.username, password) if settings.username is not None else None
        mail = Mail(
            sender=_spec(body["from"]),
            to=[_spec(address) for address in body["to"]],
            whole=_mail(body),
            plain=_mail({**body, "html": ""}) if body["html"] else None,
        )
        known = {"first": conversation.remote.get("first", body["message_id"]), "stem": body["stem"]}
        access = Access(settings.security == "starttls", login)
        try:
            async with asyncio.timeout(_WHOLE * self._timeout):
                async with self._client() as client:
                    outcome = await deliver(client, access, mail, conversation, known)
        except TunnelError as error:
            outcome = Retry("proxy failed", words=str(error), cause=CAUSE)
        except TimeoutError:
            return Retry("timeout", ambiguous=True, cause=CAUSE)
        # A server may quote what it was sent to log in with: https://www.rfc-editor.org/rfc/rfc4616
        secrets = [password, f"\0{settings.username}\0{password}"] if password else []
        return masked_outcome(outcome, [*secrets, *self._network.secrets])

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Yield a client that is not connected yet.

        :raises TunnelError: the smarthost can't be reached through the proxy
        """
        host, port = self._settings.address
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            use_tls=self._settings.security == "implicit",
            start_tls=False,
            timeout=self._timeout,
            local_hostname=self._settings.greeting,
            tls_context=self._tls,
        )
        proxy = self._network.tunnel_for(host, port)
        if proxy is None:
            yield client
            return
        async with open_tunnel(proxy, host, port, open_within=self._timeout, tls=self._tls) as tunnel:
            client.port, client.sock = None, tunnel
            yield client

    async def close(self) -> None:
        """Nothing stays open between mails."""

    def _message_id(self, conversation: Conversation) -> str:
        """The same for every attempt at the same state, so that mail systems drop a double."""
        name = f"{conversation.token}.{conversation.episode}.{conversation.revision}"
        return f"<{name}@{self._domain}>"

    def _headers(self, destination: Destination, conversation: Conversation) -> dict[str, str]:
        name = _NO_ATOM.sub("-", destination.key)
        if len(name) > _LIST_NAME:
            name = f"{destination.channel}-{hashlib.sha256(destination.key.encode()).hexdigest()[:16]}"
        headers = {
            # https://www.rfc-editor.org/rfc/rfc3834#section-5: no vacation replies to the pager
            "Auto-Submitted": "auto-generated",
            "List-Id": f"<{name}.alert-router.{self._domain}>",
        }
        first = conversation.remote.get("first")
        if first and first != self._message_id(conversation):
            headers |= {"In-Reply-To": str(first), "References": str(first)}
        return headers

    @property
    def _domain(self) -> str:
        return _spec(self._settings.from_).rpartition("@")[2]


def _fitted(write: Callable[[Mapping[str, Any]], str], values: Mapping[str, Any]) -> str:
    """A text with as many alerts (of a digest: lines a section) as a mail holds; the rest is counted, never
    dropped in silence.
    """
    sections = values.get("sections", ())
    shown = max((len(section.entries) for section in sections), default=len(values.get("alerts", ())))
    note = ""
    while len(text := re.sub(r"\n{3,}", "\n\n", write(_first(values, shown)))) > TEXT - len(note) and shown:
        shown //= 2
        left = sum(entry.count for section in sections for entry in section.entries[shown:])
        left += len(values.get("alerts", ())[shown:])
        note = f"\n\n... and {left} more not shown: the mail would be too long"
    return clip(text, TEXT - len(note)) + note


def _first(values: Mapping[str, Any], shown: int) -> dict[str, Any]:
    if "sections" in values:
        sections = [replace(each, entries=each.entries[:shown]) for each in values["sections"]]
        return {**values, "sections": sections}
    return {**values, "alerts": values.get("alerts", ())[:shown]}


def _spec(address: str) -> str:
    """The bare address of one that may have a display name."""
    named = re.fullmatch(r".*<([^<>]+)>", address)
    return (named.group(1) if named else address).strip()


def _mail(body: Mapping[str, Any]) -> bytes:
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = _mailbox(body["from"])
    mail["To"] = [_mailbox(address) for address in body["to"]]
    # A newline at a header's end is taken by `email` and would end the header block early.
    for name, value in {"Date": body["date"], "Message-ID": body["message_id"], **body["headers"]}.items():
        mail[name] = line(value)
    mail.set_content(body["text"])
    if body["html"]:
        mail.add_alternative(body["html"], subtype="html")
    return _subject(body["subject"]) + mail.as_bytes()


def _subject(text: str) -> bytes:
    """The header line(s). EmailMessage would decode an encoded word (RFC 2047) in a label, the newlines in it
    included, and so let a label add headers; it also loses and doubles spaces beside such words.
    """
    text = line(text)
    charset = None if text.isascii() and "=?" not in text else "utf-8"
    return (
        b"Subject: " + Header(text, charset, header_name="Subject").encode(linesep="\r\n").encode() + b"\r\n"
    )


def _mailbox(address: str) -> Address:
    name = address[: address.index("<")].strip().strip('"') if "<" in address else ""
    return Address(display_name=line(name), addr_spec=_spec(address))


def _plain(conversation: Conversation, values: Mapping[str, Any]) -> tuple[str, str]:
    """Subject and text when the template fails: the facts, without dress."""
    if conversation.digest is not None:
        rows = [values["period"]]
        for section in values["sections"]:
            rows += ["", f"{section.title}: {section.count}"]
            rows += [f"  [{entry.level}] {entry.name} x {entry.count}" for entry in section.entries]
        return f"Alert digest, {values['period']}", "\n".join(rows)
    if conversation.storm is not None:
        rows = [f"{values['groups']} groups firing, {values['resolved']} resolved"]
        for what in ("firing", "eased", "resolved"):
            rows += [f"{what}: {each.text}" for each in values[f"new_{what}"]]
        over = " is over" if values["over"] else ""
        subject = values["names"]["standing"] or values["names"]["resolved"]
        return f"[{values['level']}] Alert storm{over}: {subject}", "\n".join(rows)
    state = "RESOLVED" if values["status"] == "resolved" else f"FIRING:{len(values['firing'])}"
    rows = [values["title"]]
    for alert in values["alerts"]:
        labels = ", ".join(f"{name}={value}" for name, value in alert.labels.items())
        rows += ["", f"{alert.status}: {labels}", alert.summary]
    if values["unlisted"]:
        rows += ["", f"{values['unlisted']} more that were resolved are not listed"]
    if conversation.truncated:
        rows += ["", f"{conversation.truncated} more not shown by Alertmanager (max_alerts)"]
    return f"[{state}] {values['title']}", "\n".join(rows)


_PLACEHOLDER = {"smarthost": "localhost:587", "from": "alerts@example.com"}
# No standard has limits. Postfix takes 50 connections of a client
# (https://www.postfix.org/postconf.5.html#smtpd_client_connection_count_limit); whose smarthost takes fewer says so in
# routes.yaml.
_CONNECTIONS = 4
_SMARTHOST = SharedLimits(max_concurrency=_CONNECTIONS)
EMAIL = ChannelSpec(
    name="email", title="Email", nothing_sent="No email yet.", section="email", settings=EmailSettings, options=EmailOptions, make=EmailChannel,
    limits=LaneLimits(Rate(2, SECOND, burst=10), max_concurrency=_CONNECTIONS), shared=_SMARTHOST,
    placeholder=_PLACEHOLDER, storm_every=5 * MINUTE, storm_room=STORM_ROOM, importer=EmailImport,
    draw=email_drawing.draw, html_of=email_drawing.html_of, remote_after=email_drawing.remote_after, updates=False,
)  # fmt: skip
DIGEST = ChannelSpec(
    name="digest", title="Digest", nothing_sent="No digest yet.", section="email", settings=EmailSettings, options=DigestOptions, make=EmailChannel,
    limits=LaneLimits(Rate(1, SECOND, burst=5)), shared=_SMARTHOST, placeholder=_PLACEHOLDER,
    draw=email_drawing.draw, html_of=email_drawing.html_of, updates=False,
)  # fmt: skip
