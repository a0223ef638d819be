"""A real SMTP server (aiosmtpd) that refuses what mail systems refuse, keeps the mails, and fails on demand."""

import asyncio
import email
import email.policy
import re
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.listening import address, hang_up
from tests.waiting import Changes

USER, PASSWORD = "alerts", "not-a-password-of-anything"
# Once each: https://www.rfc-editor.org/rfc/rfc5322#section-3.6
_ONCE = ("From", "To", "Subject", "Date", "Message-ID")
_HEADER = re.compile(rb"[!-9;-~]+:([ \t].*)?")
# Ids are neither encoded nor folded: https://www.rfc-editor.org/rfc/rfc2047#section-5
_BROKEN_ID = re.compile(
    rb"(Message-ID|In-Reply-To|References|List-Id):(?!( <[^<>\s?]+>)+\r\n\Z)", re.IGNORECASE
)
# https://www.rfc-editor.org/rfc/rfc2047#section-2
_MAX_WORD_CHARS = 75
_MESSAGE_ID = re.compile(r"<[^<>@\s]+@[^<>@\s]+>")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at one command. With an ``answer`` it is that; else the connection ends.

    ``accept``: the mail is taken before that. ``hang``: first, nothing happens until released.
    """

    at: str = "DATA"
    """MAIL, RCPT or DATA; QUIT."""
    answer: str | None = None
    hang: bool = False
    accept: bool = False


CLOSE = Fault()
HANG = Fault(hang=True)
LOST_ANSWER = Fault(accept=True)


def answer(text: str, at: str = "DATA") -> Fault:
    return Fault(at, text)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it was taken."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    raw: bytes

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    @property
    def attached(self) -> str:
        """The text of the attached files; empty: there are none."""
        return "".join(str(part.get_content()) for part in self.message.iter_attachments())

    def _part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert part is not None, f"the mail has no {kind} part"
        return str(part.get_content())


@dataclass(frozen=True, slots=True)
class Want:
    """A mail that is to be there: to exactly these, the subject and the text hold these words."""

    to: tuple[str, ...]
    subject: str = ""
    words: tuple[str, ...] = ()

    def met_by(self, mail: Mail) -> bool:
        return (
            sorted(self.to) == sorted(mail.recipients)
            and self.subject in mail.subject
            and all(word in mail.text for word in self.words)
        )


class FakeSmtp:
    """``async with FakeSmtp() as smtp: … smarthost=smtp.smarthost``

    :param tls: given one, STARTTLS is offered (or, when ``implicit``, spoken from the first byte), and nobody
        sends without logging in as :data:`USER`
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, implicit: bool = False) -> None:
        self.mails: list[Mail] = []
        self.refused: dict[str, str] = {}
        """Address to the answer that its RCPT gets, e.g. ``550 5.1.1 no such user``."""
        self.refuse_content: Callable[[Mail], str | None] = lambda _: None
        """The answer that a mail gets for what is in it, as by a spam filter."""
        self.refusals: list[str] = []
        """Why mails were refused for what is in them."""
        self.commands: list[str] = []
        self.smarthost = ""
        self.on_step: Callable[[str], None] = lambda _: None
        """Called with each step of each mail: ``received``, ``taken``, ``answered``."""
        self._tls, self._implicit = tls, implicit
        self._faults: deque[Fault] = deque()
        self._released = asyncio.Event()
        self._changes = Changes()
        self._sessions: list[SMTP] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            self._session, "127.0.0.1", 0, ssl=self._tls if self._implicit else None
        )
        self.smarthost = address(self._server)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        assert self._server is not None
        await hang_up(self._server)
        tasks = [session._handler_coroutine for session in self._sessions if session._handler_coroutine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def fail(self, *faults: Fault) -> None:
        """The next mails go wrong like this, one after the other."""
        self._faults.extend(faults)

    def recover(self) -> None:
        """Whatever was still to go wrong does not."""
        self._faults.clear()
        self.refused.clear()
        self.release()

    def release(self) -> None:
        """What hangs goes on."""
        self._released.set()
        self._released = asyncio.Event()

    @property
    def only(self) -> Mail:
        """The one mail there is."""
        (mail,) = self.mails
        return mail

    async def until(self, ready: Callable[[], bool]) -> None:
        """Return when it holds, or has held meanwhile; it is looked at after every command that came in."""
        await self._changes.until(ready, lambda: f"mails: {self.mails}; {self.commands}")

    def expect(self, *wanted: Want) -> None:
        """These mails were taken, each once by its Message-ID, and no others; none was refused for its content."""
        left = list({mail.id: mail for mail in self.mails}.values())
        missing: list[Want] = []
        for want in wanted:
            found = next((mail for mail in left if want.met_by(mail)), None)
            missing.append(want) if found is None else left.remove(found)
        problems = [f"missing: {want}" for want in missing]
        problems += [f"unexpected: {mail.recipients} {mail.subject}\n{mail.text}" for mail in left]
        problems += [f"refused: {why}" for why in self.refusals]
        assert not problems, "\n".join(problems)

    def _session(self) -> SMTP:
        session = SMTP(
            _Hooks(self._mail, self._rcpt, self._data, self._note, login=self._tls is not None),
            hostname="fake.example",
            loop=asyncio.get_running_loop(),
            tls_context=None if self._implicit else self._tls,
            require_starttls=self._tls is not None and not self._implicit,
            auth_require_tls=not self._implicit,  # the only TLS it knows of is STARTTLS
            authenticator=_authenticate,
        )
        self._sessions.append(session)
        return session

    async def _note(self, server: SMTP, command: str, argument: str = "") -> str | None:
        """:returns: the answer that a fault has for it"""
        self.commands.append(f"{command} {argument}".strip())
        if step := {"MAIL": "received", "QUIT": "answered"}.get(command):
            self.on_step(step)
        released = self._released
        self._changes.notify()
        if not self._faults or self._faults[0].at != command:
            return None
        fault = self._faults.popleft()
        if fault.hang:
            await released.wait()
        if fault.answer is None and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return fault.answer or "421 closing"

    async def _mail(self, server: SMTP, address: str) -> str | None:
        return await self._note(server, "MAIL", address)

    async def _rcpt(self, server: SMTP, address: str) -> str | None:
        return await self._note(server, "RCPT", address) or self.refused.get(address)

    async def _data(self, server: SMTP, mail: Mail) -> str | None:
        if why := problem(mail.raw):
            self.refusals.append(why)
            return f"550 5.6.0 {why}"
        if refusal := self.refuse_content(mail):
            return await self._note(server, "DATA") or refusal
        if not self._faults or self._faults[0].at != "DATA" or self._faults[0].accept:
            self.mails.append(mail)
            self.on_step("taken")
        return await self._note(server, "DATA")


@dataclass(frozen=True)
class _Hooks:
    """What aiosmtpd calls, by these names. Without slots: it looks at every member, and before Python 3.11.4
    the ``__weakref__`` of a slotted dataclass can't be looked at."""

    mail: Callable[[SMTP, str], Awaitable[str | None]]
    rcpt: Callable[[SMTP, str], Awaitable[str | None]]
    data: Callable[[SMTP, Mail], Awaitable[str | None]]
    note: Callable[[SMTP, str], Awaitable[str | None]]
    login: bool

    async def handle_MAIL(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.login and not session.authenticated:
            return "530 5.7.0 log in first"
        refusal = await self.mail(server, address)
        if refusal is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return refusal or "250 ok"

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        refusal = await self.rcpt(server, address)
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 ok"

    async def handle_DATA(self, server: SMTP, _session: Any, envelope: Any) -> str:  # noqa: N802  (aiosmtpd's name)
        raw = bytes(envelope.original_content)
        mail = Mail(envelope.mail_from, tuple(envelope.rcpt_tos), parse(raw), raw)
        return await self.data(server, mail) or "250 taken"

    async def handle_QUIT(self, server: SMTP, _session: Any, _envelope: Any) -> str:  # noqa: N802  (aiosmtpd's name)
        return await self.note(server, "QUIT") or "221 bye"


def parse(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def problem(raw: bytes) -> str:
    """Why a mail system would refuse this mail, or make something else of it; empty: it is well."""
    return next(_problems_of_lines(raw), "") or next(_problems_of_headers(parse(raw)), "")


def _problems_of_lines(raw: bytes) -> Iterator[str]:
    head, blank, _ = raw.partition(b"\r\n\r\n")
    lines = raw.split(b"\r\n")
    if not blank:
        yield "no body"
    if not raw.isascii():
        yield "8-bit data without notice"
    if any(set(line) & set(b"\r\n\0") for line in lines):
        yield "a bare CR, LF or NUL"
    if any(len(line) > 998 for line in lines):
        yield "a line over 998 characters"
    for found in re.finditer(rb"^[^ \t\r\n][^\r\n]*(\r\n[ \t][^\r\n]*)*\r\n", head + b"\r\n", re.MULTILINE):
        if _BROKEN_ID.match(found[0]):
            yield f"an id that is encoded or folded: {found[0][:80]!r}"
        if b"=?" in found[0] and any(
            len(word) > _MAX_WORD_CHARS for word in re.findall(rb"=\?\S+\?=", found[0])
        ):
            yield f"an encoded word that is too long: {found[0][:80]!r}"
    for line in head.split(b"\r\n"):
        if not (line.strip() if line[:1] in {b" ", b"\t"} else _HEADER.fullmatch(line)):
            yield f"no header: {line[:40]!r}"


def _problems_of_headers(message: EmailMessage) -> Iterator[str]:
    for name in _ONCE:
        if len(message.get_all(name, [])) != 1:
            yield f"{name} not exactly once"
    if not _MESSAGE_ID.fullmatch(str(message["Message-ID"])):
        yield "an invalid Message-ID"
    try:
        parsedate_to_datetime(str(message["Date"]))
    except ValueError:
        yield "an invalid Date"
    yield from (f"defect: {defect!r}" for part in message.walk() for defect in part.defects)


def _authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (
        USER.encode(),
        PASSWORD.encode(),
    )
    return AuthResult(success=known, handled=False)
