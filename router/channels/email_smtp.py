"""Sends one mail over SMTP, and finds out which recipients got it.

Classifies a refusal by what the server refused. If some recipients got the mail, only the refused ones are given up. If
no recipient got it and the server blames the content, the mail is rejected. Otherwise the smarthost or the recipient
list is broken, and a person has to repair it.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import aiosmtplib

from router.channels.provider_words import tls_failure
from router.channels.steps import check_may_send
from router.model import (
    KNOWN_FIRING,
    KNOWN_OVER,
    LATE,
    Broken,
    Conversation,
    Delivered,
    Outcome,
    Refusal,
    Rejected,
    Retry,
)

# https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1: 4yz is temporary, 5yz is permanent; 500, 502 and 503 are about a
# command and not about the mail. A code in none of these is tried again.
TRANSIENT = frozenset({*range(400, 500), 500, 502, 503})
# https://www.rfc-editor.org/rfc/rfc4954#section-6: the client has to log in, or its login is refused.
DESTINATION_BROKEN = frozenset({530, 534, 535, 538})
# Too large: the mail is sent again without its HTML. 552: https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3; 523
# is in no standard and means the same. Other servers use an enhanced code, for the system or for the mailbox:
# https://www.rfc-editor.org/rfc/rfc3463#section-3.4
PAYLOAD_BROKEN = frozenset({523, 552})
_TOO_LARGE_CODE = re.compile(r"5\.(3\.4|2\.3)\b")
# https://www.rfc-editor.org/rfc/rfc3463#section-3.7: the content is refused.
_CONTENT_CODE = re.compile(r"5\.6\.\d")
# Permanent.
REFUSED = frozenset(range(500, 600)) - TRANSIENT - DESTINATION_BROKEN - PAYLOAD_BROKEN
_PERMANENT = REFUSED | PAYLOAD_BROKEN
# The smarthost's own rules, which apply to all its recipients. By enhanced code: 5.1.7 and 5.1.8 are about the sender,
# 5.3 about the system, 5.4 about routing and limits, 5.5 about the protocol, 5.7 about policy. By words, where a server
# gives no enhanced code.
_POLICY_CODE = re.compile(r"5\.(1\.[78]|[3457]\.\d+)\b")
_ENHANCED_CODE = re.compile(r"5\.[1-7]\.\d+\b")
_POLICY_WORDS = re.compile(
    r"relay|\b(helo|ehlo)\b|spam|polic|block|blacklist|denied|not permitted|not allowed|prohibit|limit|reputation|"
    r"authenticat|verified|suspend|paused",
    re.IGNORECASE,
)
_BAD_ANSWER = "bad answer"
# The key in a storm's remote state of the recipients who got no mail about what fires.
_WITHOUT_KEY = "without"
# What all mails through the smarthost have in common.
CAUSE = "email"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail and its envelope."""

    sender: str
    to: Sequence[str]
    whole: bytes
    plain: bytes | None
    """The mail without its HTML; None: it has none."""


@dataclass(frozen=True, slots=True)
class Access:
    """What comes after the connection to the smarthost: encryption and login."""

    starttls: bool = False
    login: tuple[str, str] | None = None
    """User and password."""


@dataclass(frozen=True, slots=True)
class _SmtpReply:
    code: int
    text: str

    @property
    def is_temporary(self) -> bool:
        return self.code not in _PERMANENT

    @property
    def is_too_large(self) -> bool:
        enhanced = _ENHANCED_CODE.match(self.text)
        by_code = self.code in PAYLOAD_BROKEN and not enhanced
        return by_code or (self.code >= 500 and _TOO_LARGE_CODE.match(self.text) is not None)

    @property
    def blames_content(self) -> bool:
        return not self.is_temporary and _CONTENT_CODE.match(self.text) is not None

    @property
    def is_policy(self) -> bool:
        if _ENHANCED_CODE.match(self.text):
            return _POLICY_CODE.match(self.text) is not None
        return _POLICY_WORDS.search(self.text) is not None

    @property
    def words(self) -> str:
        return f"{self.code} {self.text}"


@dataclass(frozen=True, slots=True)
class _Refused:
    by: dict[str, _SmtpReply]
    """The refusals by recipient; empty: no recipient was refused."""
    mail: _SmtpReply | None = None
    """The reply to the mail itself, after at least one recipient was accepted."""


async def deliver(
    client: aiosmtplib.SMTP, access: Access, mail: Mail, conversation: Conversation, known: Mapping[str, Any]
) -> Outcome:
    """Connect, log in, and send the mail.

    :param known: the conversation's remote state after the mail was accepted
    """
    try:
        async with client:
            _check_before_writing(client)
            try:
                if access.starttls:
                    await _start_tls(client)
                if access.login is not None:
                    await client.ehlo()
                    await client.login(*access.login)
                return await _send(client, mail, conversation, known)
            except asyncio.CancelledError:
                # Without this, the client would first send the rest of the mail and QUIT, and wait for the answer.
                _abort(client)
                raise
    except aiosmtplib.SMTPResponseException as error:
        return _refused_early(error)
    except (aiosmtplib.SMTPException, OSError) as error:
        return _unreachable(error, ambiguous=False)


def _check_before_writing(client: aiosmtplib.SMTP) -> None:
    """Make a connected client check before each command whether the attempt may still send."""
    if (protocol := client.protocol) is None:  # the connection is lost already
        return
    write = protocol.write

    def check_and_write(data: bytes) -> None:
        check_may_send()
        write(data)

    protocol.write = check_and_write  # type: ignore[method-assign]


def _abort(client: aiosmtplib.SMTP) -> None:
    """End the connection. What the transport has buffered is not sent any more."""
    if client.transport is not None:
        cast("asyncio.WriteTransport", client.transport).abort()  # uvloop's is no subclass of asyncio's
    client.close()


async def _start_tls(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
        await client.starttls()
    except BaseException:
        client.close()  # without QUIT: nothing more is sent unencrypted
        raise


async def _send(
    client: aiosmtplib.SMTP, mail: Mail, conversation: Conversation, known: Mapping[str, Any]
) -> Outcome:
    """Send the mail to the recipients who need it.

    If some recipients still lack what the others know, the mail goes to them alone; ``remote`` keeps who they are.
    """
    late = _late_recipients(mail, conversation)
    waiting = late or _recipients(mail, conversation)
    answer = await _transact(client, mail.sender, waiting, mail.whole)
    reply = answer.mail if isinstance(answer, _Refused) else None
    if reply is not None and (reply.is_too_large or reply.blames_content) and mail.plain is not None:
        answer = await _transact(client, mail.sender, waiting, mail.plain)
    if not isinstance(answer, _Refused):
        return answer
    reached = len(answer.by) < len(waiting)
    if not reached and (
        not late or any(each.is_policy and not each.is_temporary for each in answer.by.values())
    ):
        return _all_refused(answer)
    later = {address: each for address, each in answer.by.items() if each.is_temporary}
    if conversation.storm is not None:  # its next message has other news, for all recipients
        without = [
            each
            for each in mail.to
            if each in answer.by or (each in _without_mail(conversation) and each not in waiting)
        ]
        remote = {**known, _WITHOUT_KEY: without} if without else known
        return Delivered(remote, _refusals(answer.by), reached=reached)
    if not later:
        return Delivered(known, _refusals(answer.by), reached=reached)
    gone = _refusals({address: each for address, each in answer.by.items() if not each.is_temporary})
    first = next(iter(later.values()))
    owed = {"to": list(later), "state": _state(conversation)}
    return Retry(
        f"smtp {first.code}: some recipients", ambiguous=True, remote={**known, LATE: owed},
        refused=gone, late=_refusals(later), words=first.words, further=len(later) < len(waiting),
        reached=reached,
    )  # fmt: skip


def _recipients(mail: Mail, conversation: Conversation) -> Sequence[str]:
    """Return the recipients of the mail. In a storm, news of nothing but ends goes only to those who got a mail about what
    fires.
    """
    storm = conversation.storm
    if storm is None or storm.news.firing:
        return mail.to
    return [each for each in mail.to if each not in _without_mail(conversation)] or mail.to


def _without_mail(conversation: Conversation) -> Sequence[str]:
    """Return the recipients who got no mail about what fires in the storm."""
    without: Sequence[str] = conversation.remote.get(_WITHOUT_KEY, ())
    return without


def _late_recipients(mail: Mail, conversation: Conversation) -> list[str]:
    """Return the recipients who alone get the mail, because all others know its content; empty: all recipients get it."""
    late: Mapping[str, Any] = conversation.remote.get(LATE, {})
    match late.get("state"):
        case None:
            return []
        case state if state == KNOWN_OVER:
            known = conversation.over
        case state if state == KNOWN_FIRING:
            known = all(each.again for each in conversation.alerts if each.news)
        case state:
            known = state == _state(conversation)
    return [address for address in mail.to if known and address in late["to"]]


def _state(conversation: Conversation) -> str:
    """Return a hash of the alerts and of their statuses, which a repeat does not change."""
    alerts = sorted((each.alert.identity, each.alert.status.value) for each in conversation.alerts)
    return hashlib.sha256(json.dumps(alerts).encode()).hexdigest()[:16]


def _refusals(answers: Mapping[str, _SmtpReply]) -> tuple[Refusal, ...]:
    return tuple(Refusal(address, f"smtp {each.code}", each.words) for address, each in answers.items())


def _all_refused(refused: _Refused) -> Outcome:
    """Return the outcome if no recipient got the mail."""
    answers = refused.by.values()
    for each in answers:
        if each.is_temporary:
            cause = CAUSE if refused.mail is not None else ""
            return Retry(f"smtp {each.code}", words=each.words, cause=cause)
    reply = refused.mail or next((each for each in answers if each.is_policy), next(iter(answers)))
    if refused.mail is not None and reply.is_too_large:
        return Rejected(f"smtp {reply.code}: too large", words=reply.words)
    if refused.mail is not None and reply.blames_content:
        return Rejected(f"smtp {reply.code}: content refused", words=reply.words)
    if reply.is_policy:
        what, cause = "refused by policy", CAUSE
    else:
        what, cause = "all recipients refused" if refused.mail is None else "mail refused", ""
    by_content = refused.mail is not None
    return Broken(f"smtp {reply.code}: {what}", words=reply.words, cause=cause, by_content=by_content)


async def _transact(
    client: aiosmtplib.SMTP, sender: str, recipients: Sequence[str], raw: bytes
) -> _Refused | Retry | Broken:
    """Send a mail in one SMTP transaction.

    :returns: the recipients who refused it; or what went wrong before they were known
    """
    refused: dict[str, _SmtpReply] = {}
    sending = False
    try:
        await client.mail(sender)
        for address in recipients:
            try:
                await client.rcpt(address)
            except aiosmtplib.SMTPRecipientRefused as error:
                if error.code in DESTINATION_BROKEN:
                    raise
                refused[address] = _SmtpReply(error.code, error.message)
        if len(refused) < len(recipients):
            sending = True
            await client.data(raw)
    except aiosmtplib.SMTPResponseException as error:
        if not sending or error.code < 400 or error.code in DESTINATION_BROKEN:
            return _refused_early(error, ambiguous=sending)
        answer = _SmtpReply(error.code, error.message)
        return _Refused({address: refused.get(address, answer) for address in recipients}, answer)
    except (aiosmtplib.SMTPException, OSError) as error:
        return _unreachable(error, ambiguous=sending)
    return _Refused(refused)


def _refused_early(error: aiosmtplib.SMTPResponseException, *, ambiguous: bool = False) -> Retry | Broken:
    """Return the outcome if the smarthost refuses before it has the mail: then it refuses all recipients."""
    words = f"{error.code} {error.message}"
    if error.code < 400:
        return Retry(_BAD_ANSWER, ambiguous=ambiguous, words=words, cause=CAUSE)
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            reason = f"smtp {error.code}: authentication"
        case _ if error.code in DESTINATION_BROKEN:
            reason = f"smtp {error.code}: authentication"
        case aiosmtplib.SMTPHeloError():
            reason = f"smtp {error.code}: hello refused"
        case aiosmtplib.SMTPSenderRefused():
            reason = f"smtp {error.code}: sender refused"
        case _:
            reason = f"smtp {error.code}"
    kind = Broken if error.code in DESTINATION_BROKEN | _PERMANENT else Retry
    return kind(reason, words=words, cause=CAUSE)


def _unreachable(error: Exception, *, ambiguous: bool) -> Retry | Broken:
    """Return the outcome of an error before the smarthost accepted or refused the mail.

    TLS or a login that can't work is broken: a person has to repair it.
    """
    words = str(error)
    if fault := tls_failure(error):
        return Broken(fault, words=words, cause=CAUSE)
    match error:
        case aiosmtplib.SMTPConnectTimeoutError():
            reason = "connect timeout"
        case aiosmtplib.SMTPConnectError():
            reason = "connection failed"
        case TimeoutError():
            reason = "timeout"
        case aiosmtplib.SMTPServerDisconnected():
            reason = "disconnected"
        case aiosmtplib.SMTPException(message=str(text)) if "STARTTLS" in text:
            return Broken("tls: no starttls offered", words=words, cause=CAUSE)
        case aiosmtplib.SMTPException(message=str(text)) if "AUTH" in text or "authentication" in text:
            return Broken("no authentication offered", words=words, cause=CAUSE)
        case _:
            reason = "connection failed"
    return Retry(reason, ambiguous=ambiguous, words=words, cause=CAUSE)
