"""Email over SMTP: one thread a conversation, and digests."""

import asyncio
import hashlib
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.errors import MessageError
from email.headerregistry import Address
from email.utils import format_datetime
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from router.channels import email_drawing
from router.channels.base import ChannelSpec, DestinationOptions, StormOptions, StormSettings
from router.channels.email_import import EmailImport
from router.channels.email_layout import HTML, SUBJECT, bare_address, fitted_text, mail_bytes
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
from router.render import Templates, Words

if TYPE_CHECKING:
    import aiosmtplib
from router.render.words import clip, line, moment

# Characters of the names of a storm's groups; far below the limit of a text.
STORM_ROOM = 200_000
# https://www.rfc-editor.org/rfc/rfc2919#section-2: 255 characters in all, and no line break within.
_MAX_LIST_NAME_CHARS = 100
_TIMEOUT_SECONDS = 20
# For a whole attempt: a smarthost may delay its answer at each step.
_MAX_TIMEOUTS_PER_ATTEMPT = 3
_NO_ATOM_CHARS = re.compile(r"[^A-Za-z0-9.]+")


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


MailAddress = Annotated[str, AfterValidator(_check_address)]


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
    """The name with which this host greets the smarthost."""

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
        """The name in EHLO. Strict servers refuse a name without a domain, such as localhost."""
        host = socket.gethostname()
        qualified = "." in host.strip(".") and not host.startswith("localhost") and host.isascii()
        return self.hello or (host if qualified else bare_address(self.from_).rpartition("@")[2])


class EmailOptions(StormOptions):
    """``- email: {…}`` of a receiver."""

    to: tuple[MailAddress, ...] = Field(min_length=1)

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the addresses are enough)
        return "email:" + ",".join(sorted(bare_address(each) for each in self.to))


class DigestOptions(DestinationOptions):
    """``- digest: {…}`` of a receiver."""

    to: tuple[MailAddress, ...] = Field(min_length=1)
    at: str
    """HH:MM, local time."""
    weekdays: tuple[str, ...] = ()
    """As in time_intervals; empty: every day."""
    timezone: str | None = None
    empty: Literal["skip", "all-quiet"] = "skip"
    covers: tuple[str, ...] = ()
    """The receivers whose held and obsolete alerts it reports; empty: all."""
    send_resolved: bool = Field(default=True, exclude=True)

    @field_validator("send_resolved", mode="before")
    @classmethod
    def _without_send_resolved(cls, _: object) -> bool:
        raise ValueError(
            "is not an option of a digest: a digest reports what ended, no message is sent for an end; remove the key"
        )

    def key(self, receiver: str) -> str:
        return f"digest:{receiver}"


class EmailChannel:
    def __init__(
        self, settings: EmailSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: seconds for each exchange with the smarthost; an attempt may take three times as long"""
        self._settings = settings
        self._network = network
        self._tls = network.tls_context()
        self._timeout = timeout

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        kind = "digest" if conversation.digest else "storm" if conversation.storm else "email"
        values = templates.values(conversation)

        def texts(words: Words) -> tuple[str, str, str]:
            stem = line(words("stem")) if kind == "email" else ""
            return line(words("subject")), fitted_text(words), stem

        (subject, text, stem), fallback = templates.fill(f"{kind}.txt.j2", values, texts)
        html, html_fallback = templates.fill(f"{kind}.html.j2", values, lambda words: words("body"))
        if fallback or html_fallback:  # the plain facts are no HTML
            html, fallback = "", True
        first_stem = str(conversation.remote.get("stem") or stem)
        if stem and subject.endswith(stem):
            # Gmail and others don't show a mail in the thread if its subject differs.
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
        from router.channels.email_smtp import CAUSE, Access, Mail, deliver
        from router.channels.email_tunnel import TunnelError

        settings, body = self._settings, message.body
        password = settings.password.get_secret_value() if settings.password is not None else ""
        login = (settings.username, password) if settings.username is not None else None
        mail = Mail(
            sender=bare_address(body["from"]),
            to=[bare_address(address) for address in body["to"]],
            whole=mail_bytes(body),
            plain=mail_bytes({**body, "html": ""}) if body["html"] else None,
        )
        known = {"first": conversation.remote.get("first", body["message_id"]), "stem": body["stem"]}
        access = Access(settings.security == "starttls", login)
        try:
            async with asyncio.timeout(_MAX_TIMEOUTS_PER_ATTEMPT * self._timeout):
                async with self._client() as client:
                    outcome = await deliver(client, access, mail, conversation, known)
        except TunnelError as error:
            outcome = Retry("proxy failed", words=str(error), cause=CAUSE)
        except TimeoutError:
            return Retry("timeout", ambiguous=True, cause=CAUSE)
        # A server may quote the login that it was sent: https://www.rfc-editor.org/rfc/rfc4616
        secrets = [password, f"\0{settings.username}\0{password}"] if password else []
        return masked_outcome(outcome, [*secrets, *self._network.secrets])

    @asynccontextmanager
    async def _client(self) -> "AsyncIterator[aiosmtplib.SMTP]":
        """Yield a client that is not connected yet.

        :raises TunnelError: the smarthost can't be reached through the proxy
        """
        import aiosmtplib

        from router.channels.email_tunnel import open_tunnel

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
        """Do nothing: no connection stays open between mails."""

    def _message_id(self, conversation: Conversation) -> str:
        """Return the same id for every attempt at the same state, so that mail systems drop a duplicate."""
        name = f"{conversation.token}.{conversation.episode}.{conversation.revision}"
        return f"<{name}@{self._domain}>"

    def _headers(self, destination: Destination, conversation: Conversation) -> dict[str, str]:
        name = _NO_ATOM_CHARS.sub("-", destination.key)
        if len(name) > _MAX_LIST_NAME_CHARS:
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
        return bare_address(self._settings.from_).rpartition("@")[2]


_PLACEHOLDER = {"smarthost": "localhost:587", "from": "alerts@example.com"}
# No standard has limits. Postfix allows 50 connections of one client
# (https://www.postfix.org/postconf.5.html#smtpd_client_connection_count_limit). For a smarthost that allows fewer,
# routes.yaml can set a limit.
_MAX_CONNECTIONS = 4
_SMARTHOST = SharedLimits(max_concurrency=_MAX_CONNECTIONS)
EMAIL = ChannelSpec(
    name="email", title="Email", nothing_sent="No email yet.",
    section="email", settings=EmailSettings, options=EmailOptions, make=EmailChannel,
    limits=LaneLimits(Rate(2, SECOND, burst=10), max_concurrency=_MAX_CONNECTIONS), shared=_SMARTHOST,
    placeholder=_PLACEHOLDER, storm_every=5 * MINUTE, storm_room=STORM_ROOM, importer=EmailImport,
    draw=email_drawing.draw, html_of=email_drawing.html_of, remote_after=email_drawing.remote_after, updates=False,
)  # fmt: skip
DIGEST = ChannelSpec(
    name="digest", title="Digest", nothing_sent="No digest yet.",
    section="email", settings=EmailSettings, options=DigestOptions, make=EmailChannel,
    limits=LaneLimits(Rate(1, SECOND, burst=5)), shared=_SMARTHOST, placeholder=_PLACEHOLDER,
    draw=email_drawing.draw, html_of=email_drawing.html_of, updates=False, digest=True,
)  # fmt: skip
