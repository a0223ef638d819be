"""Email: a thread a conversation, and digests, over SMTP."""

import hashlib
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
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

from router.channels.base import ChannelSettings, Kind, Options
from router.model import Conversation, Delivered, Destination, Message, Outcome, Rejected, Retry
from router.render import TemplateError, Templates
from router.render.words import clip, line, moment

# https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1: a line has at most 998 characters; a subject beyond
# this length is cut by every reader anyway.
SUBJECT = 250
# https://www.postfix.org/postconf.5.html#message_size_limit: 10,240,000 bytes. In the widest characters and
# base64 these characters come to about 8,000,000; without its HTML a mail is complete.
TEXT = 500_000
HTML = 1_000_000
# https://www.rfc-editor.org/rfc/rfc2919#section-2: 255 characters in all; a line can't be folded within one.
_LIST_NAME = 100
# https://www.rfc-editor.org/rfc/rfc4954#section-6: what a server says to those who have to log in.
_NOT_LOGGED_IN = frozenset({530, 534, 535, 538})
# Attempts (a quarter of an hour) at recipients who are refused for now while others were told: greylists
# open after minutes, full mailboxes don't.
_GREYLISTED = 12
_TIMEOUT_SECONDS = 20
_BAD_ANSWER = "bad answer"
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


class Settings(ChannelSettings):
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
    def __init__(self, settings: Settings, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        """:param timeout: of each exchange with the smarthost, in seconds"""
        self._settings = settings
        self._timeout = timeout

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        kind = "email" if conversation.digest is None else "digest"
        values = templates.values(conversation)
        stem = html = ""
        fallback = False
        try:
            subject = line(templates.render(f"{kind}.txt.j2", "subject", values))
            text = templates.render(f"{kind}.txt.j2", "body", values)
            html = templates.render(f"{kind}.html.j2", "body", values)
            if conversation.digest is None:
                stem = line(templates.render("email.txt.j2", "stem", values))
        except TemplateError:
            fallback = True
            subject, text = _plain(conversation, values)
            subject, html = line(subject), ""
        first_stem = str(conversation.remote.get("stem") or stem)
        if stem and subject.endswith(stem):
            # Gmail and others show a mail whose subject differs from its thread's apart from it.
            subject = subject.removesuffix(stem) + first_stem
        body = {
            "subject": clip(subject, SUBJECT) or "Alert",
            "text": clip(re.sub(r"\n{3,}", "\n\n", text), TEXT) + "\n",
            "html": html if len(html) <= HTML else "",
            "to": list(destination.options.to),
            "from": self._settings.from_,
            "date": format_datetime(moment(conversation.now, ZoneInfo("UTC"))),
            "message_id": self._message_id(conversation),
            "headers": self._headers(destination, conversation),
            "stem": clip(first_stem, SUBJECT),
        }
        return Message(kind, body, fallback)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:  # noqa: ARG002
        host, port = self._settings.address
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            use_tls=self._settings.security == "implicit",
            start_tls=self._settings.security == "starttls",
            timeout=self._timeout,
            local_hostname=self._settings.hello,
        )
        try:
            async with client:
                if self._settings.username is not None and self._settings.password is not None:
                    await client.login(self._settings.username, self._settings.password.get_secret_value())
                return await _hand_over(client, conversation, message.body)
        except aiosmtplib.SMTPResponseException as error:
            # The smarthost refuses us, not this mail: somebody can mend that.
            login = isinstance(error, aiosmtplib.SMTPAuthenticationError)
            return Retry(
                f"smtp {error.code}{': authentication' * login}" if error.code >= 400 else _BAD_ANSWER
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            return _unreachable(error, ambiguous=False)

    async def close(self) -> None:
        """Nothing stays open between mails."""

    def _message_id(self, conversation: Conversation) -> str:
        """The same for every attempt at the same state, so that mail systems drop a double."""
        name = f"{conversation.token}.{conversation.episode}.{conversation.version}"
        if conversation.digest is not None:
            name = conversation.token
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


async def _hand_over(client: aiosmtplib.SMTP, conversation: Conversation, body: Mapping[str, Any]) -> Outcome:
    """One mail. Who refused this very one for now is asked again, alone; ``remote`` keeps who that is."""
    remote = conversation.remote
    late = remote.get("late", {})
    partly = late.get("message_id") == body["message_id"]
    waiting: list[str] = late["to"] if partly else [_spec(address) for address in body["to"]]
    refused = await _transact(client, body, waiting)
    if isinstance(refused, Retry):
        return refused
    later = [address for address, code in refused.items() if code < 500]
    if not partly and len(refused) == len(waiting):
        return Retry(f"smtp {refused[later[0]]}") if later else Rejected(f"smtp {refused[waiting[0]]}")
    before: dict[str, int] = remote.get("refused", {}) if partly else {}
    refused = {address: code for address, code in before.items() if address not in waiting} | refused
    known: dict[str, Any] = {"first": remote.get("first", body["message_id"]), "stem": body["stem"]}
    if refused:
        known["refused"] = refused
    if later and conversation.attempt < _GREYLISTED:
        known["late"] = {"message_id": body["message_id"], "to": later}
        return Retry(f"smtp {refused[later[0]]}: some recipients", ambiguous=True, remote=known)
    return Delivered(known)


async def _transact(
    client: aiosmtplib.SMTP, body: Mapping[str, Any], recipients: Sequence[str]
) -> dict[str, int] | Retry:
    """:returns: who was refused, by which code; or what went wrong before that was known"""
    refused: dict[str, int] = {}
    sending = False
    try:
        await client.mail(_spec(body["from"]))
        for address in recipients:
            try:
                await client.rcpt(address)
            except aiosmtplib.SMTPRecipientRefused as error:
                refused[address] = error.code
        if len(refused) < len(recipients):
            mail = _mail(body)
            sending = True
            await client.data(mail)
    except aiosmtplib.SMTPResponseException as error:
        if error.code in _NOT_LOGGED_IN:
            return Retry(f"smtp {error.code}: authentication")
        if error.code < 400:
            return Retry(_BAD_ANSWER, ambiguous=sending)
        return dict.fromkeys(recipients, error.code)
    except (aiosmtplib.SMTPException, OSError) as error:
        return _unreachable(error, ambiguous=sending)
    return refused


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
    state = "RESOLVED" if values["status"] == "resolved" else f"FIRING:{len(values['firing'])}"
    rows = [values["title"]]
    for alert in values["alerts"]:
        labels = ", ".join(f"{name}={value}" for name, value in alert.labels.items())
        rows += ["", f"{alert.status}: {labels}", alert.summary]
    if conversation.truncated:
        rows += ["", f"{conversation.truncated} more not shown by Alertmanager (max_alerts)"]
    return f"[{state}] {values['title']}", "\n".join(rows)


def _unreachable(error: Exception, *, ambiguous: bool) -> Retry:
    """What went wrong before the smarthost had said yes or no, in a few fixed words."""
    match error:
        case _ if any(isinstance(each, ssl.SSLCertVerificationError) for each in _causes(error)):
            reason = "tls: certificate not trusted"
        case aiosmtplib.SMTPConnectTimeoutError():
            reason = "connect timeout"
        case TimeoutError():
            reason = "timeout"
        case aiosmtplib.SMTPServerDisconnected():
            reason = "disconnected"
        case aiosmtplib.SMTPException(message=str(words)) if "STARTTLS" in words:
            reason = "tls: no starttls offered"
        case aiosmtplib.SMTPException(message=str(words)) if "AUTH" in words:
            reason = "no authentication offered"
        case _:
            reason = "connection failed"
    return Retry(reason, ambiguous=ambiguous)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


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
