"""Email: a thread a conversation, and digests, over SMTP."""

import re
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import aiosmtplib
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from router.channels.base import Kind, Options, Section
from router.model import Conversation, Delivered, Destination, Message, Outcome, Rejected, Retry
from router.render import TemplateError, Templates
from router.render.words import clip, line, moment

# https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1: a line has at most 998 characters; a subject beyond
# this length is cut by every reader anyway.
SUBJECT = 250
_TIMEOUT_SECONDS = 20
_LOCAL_PART = re.compile(r"[^A-Za-z0-9.]")


def _address(text: str) -> str:
    """One address, with or without a display name around it."""
    given = text.strip()
    named = re.fullmatch(r"(.*)<([^<>]+)>", given)
    spec = (named.group(2) if named else given).strip()
    if line(given) != given or not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", spec):
        raise ValueError("is no email address; write it like team@example.com")
    return given


MailAddress = Annotated[str, AfterValidator(_address)]


class Settings(Section):
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
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError("is no host:port; write it like smtp.example.com:587")
        return text

    @model_validator(mode="after")
    def _credentials(self) -> "Settings":
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


class EmailOptions(Options):
    """``- email: {…}`` of a receiver."""

    to: tuple[MailAddress, ...] = Field(min_length=1)

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the addresses are enough)
        return "email:" + ",".join(sorted(_spec(each) for each in self.to))


class DigestOptions(Options):
    """``- digest: {…}`` of a receiver."""

    to: tuple[MailAddress, ...] = Field(min_length=1)
    at: str
    """HH:MM of the local day."""
    weekdays: tuple[str, ...] = ()
    """As in time_intervals; none: every day."""
    timezone: str | None = None
    empty: Literal["skip", "all-quiet"] = "skip"
    covers: tuple[str, ...] = ()
    """Receivers whose held and moot alerts it reports; none: all."""

    def key(self, receiver: str) -> str:
        return f"digest:{receiver}"


class Email:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        kind = "email" if conversation.digest is None else "digest"
        values = templates.values(conversation)
        try:
            subject = templates.render(f"{kind}.txt.j2", "subject", values)
            text = templates.render(f"{kind}.txt.j2", "body", values)
            html = templates.render(f"{kind}.html.j2", "body", values)
            fallback = False
        except TemplateError:
            subject, text = _plain(conversation, values)
            html, fallback = "", True
        body = {
            "subject": clip(line(subject), SUBJECT) or "Alert",
            "text": re.sub(r"\n{3,}", "\n\n", text) + "\n",
            "html": html,
            "to": list(destination.options.to),
            "from": self._settings.from_,
            "date": format_datetime(moment(conversation.now, ZoneInfo("UTC"))),
            "message_id": self._message_id(conversation),
            "headers": self._headers(destination, conversation),
        }
        return Message(kind, body, fallback)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:  # noqa: ARG002
        host, port = self._settings.address
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            use_tls=self._settings.security == "implicit",
            start_tls=self._settings.security == "starttls",
            timeout=_TIMEOUT_SECONDS,
            local_hostname=self._settings.hello,
        )
        handed_over = False
        try:
            async with client:
                if self._settings.username is not None and self._settings.password is not None:
                    await client.login(self._settings.username, self._settings.password.get_secret_value())
                handed_over = True
                refused, _ = await client.send_message(_mail(message.body))
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _all_refused([each.code for each in error.recipients])
        except aiosmtplib.SMTPAuthenticationError as error:
            return Retry(f"smtp {error.code}: authentication")
        except aiosmtplib.SMTPResponseException as error:
            return Rejected(f"smtp {error.code}") if 500 <= error.code < 600 else Retry(f"smtp {error.code}")
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return _unreachable(error, ambiguous=handed_over)
        remote = {"first": conversation.remote.get("first", message.body["message_id"])}
        if refused:
            remote["refused"] = {address: answer.code for address, answer in refused.items()}
        return Delivered(remote)

    async def close(self) -> None:
        """Nothing stays open between mails."""

    def _message_id(self, conversation: Conversation) -> str:
        """The same for every attempt at the same state, so that mail systems drop a double."""
        name = f"{conversation.token}.{conversation.episode}.{conversation.version}"
        if conversation.digest is not None:
            name = conversation.token
        return f"<{name}@{self._domain}>"

    def _headers(self, destination: Destination, conversation: Conversation) -> dict[str, str]:
        headers = {
            # https://www.rfc-editor.org/rfc/rfc3834#section-5: no vacation replies to the pager
            "Auto-Submitted": "auto-generated",
            "List-Id": f"<{_LOCAL_PART.sub('-', destination.key)}.alert-router.{self._domain}>",
        }
        if first := conversation.remote.get("first"):
            headers |= {"In-Reply-To": str(first), "References": str(first)}
        return headers

    @property
    def _domain(self) -> str:
        return _spec(self._settings.from_).rpartition("@")[2]


def _spec(address: str) -> str:
    """The bare address of one that may have a display name."""
    named = re.fullmatch(r".*<([^<>]+)>", address)
    return (named.group(1) if named else address).strip()


def _mail(body: Mapping[str, Any]) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = _header(body["from"])
    mail["To"] = [_header(address) for address in body["to"]]
    # A newline at a header's end is taken by `email` and would end the header block early.
    for name, value in {
        "Subject": body["subject"], "Date": body["date"], "Message-ID": body["message_id"], **body["headers"],
    }.items():  # fmt: skip
        mail[name] = line(value)
    mail.set_content(body["text"])
    if body["html"]:
        mail.add_alternative(body["html"], subtype="html")
    return mail


def _header(address: str) -> Address:
    name = address[: address.index("<")].strip().strip('"') if "<" in address else ""
    return Address(display_name=line(name), addr_spec=_spec(address))


def _plain(conversation: Conversation, values: Mapping[str, Any]) -> tuple[str, str]:
    """Subject and text when the template fails: the facts, without dress."""
    if conversation.digest is not None:
        rows = [
            f"{section['title']}: "
            if isinstance(section, dict)
            else f"{section.title}: {section.count}\n"
            + "\n".join(f"  [{entry.level}] {entry.name} x {entry.count}" for entry in section.entries)
            for section in values["sections"]
        ]
        return f"Alert digest, {values['period']}", "\n\n".join([values["period"], *rows])
    state = "RESOLVED" if values["status"] == "resolved" else values["level"].upper()
    rows = [
        f"{alert.status}: " + ", ".join(f"{name}={value}" for name, value in alert.labels.items())
        for alert in values["alerts"]
    ]
    return f"[{state}] {values['title']}", "\n".join([values["title"], *rows])


def _all_refused(codes: list[int]) -> Outcome:
    """Nobody of the list was accepted; one that may be accepted later is worth another attempt."""
    if any(400 <= code < 500 for code in codes):
        return Retry(f"smtp {next(code for code in codes if 400 <= code < 500)}: recipients refused for now")
    return Rejected(f"smtp {codes[0] if codes else 550}: recipients refused")


def _unreachable(error: Exception, *, ambiguous: bool) -> Retry:
    match error:
        case aiosmtplib.SMTPConnectTimeoutError():
            return Retry("connect timeout")
        case aiosmtplib.SMTPTimeoutError() | TimeoutError():
            return Retry("timeout", ambiguous=ambiguous)
        case aiosmtplib.SMTPConnectError():
            return Retry("connection failed")
        case aiosmtplib.SMTPServerDisconnected():
            return Retry("disconnected", ambiguous=ambiguous)
        case aiosmtplib.SMTPException():
            return Retry(f"smtp: {type(error).__name__}")
        case _:
            return Retry("connection failed", ambiguous=ambiguous)


# A smarthost takes a few mails a second from one client without a thought; more is a storm's business.
_PLACEHOLDER = {"smarthost": "localhost:587", "from": "alerts@example.com"}
EMAIL = Kind(
    name="email", section="email", settings=Settings, options=EmailOptions, make=Email, per_second=2.0, burst=10,
    placeholder=_PLACEHOLDER,
)  # fmt: skip
DIGEST = Kind(
    name="digest", section="email", settings=Settings, options=DigestOptions, make=Email, per_second=1.0, burst=5,
    placeholder=_PLACEHOLDER,
)  # fmt: skip
