"""One mail over SMTP: who took it, who refused it, and what follows from that.


Classifies a refusal by what the server refused. If some recipients got the mail, only the refused ones are given up. If
nobody got it and the server blames the content, the mail is at fault. Otherwise the smarthost or the recipient list is
broken, and somebody has to repair it.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiosmtplib

from router.channels.provider_words import tls_failure
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

# https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1: 4yz is for now, 5yz for good; 500, 502 and 503 speak of a
# command and not of the mail. A code in none of these is tried again.
TRANSIENT = frozenset({*range(400, 500), 500, 502, 503})
# https://www.rfc-editor.org/rfc/rfc4954#section-6: what a server says to those who have to log in.
DESTINATION_BROKEN = frozenset({530, 534, 535, 538})
# Too large: the mail is sent again without its HTML. 552: https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3; 523
# is in no standard and means the same. Others say it by an enhanced code, of the system or of the mailbox:
# https://www.rfc-editor.org/rfc/rfc3463#section-3.4
PAYLOAD_BROKEN = frozenset({523, 552})
_TOO_LARGE = re.compile(r"5\.(3\.4|2\.3)\b")
# https://www.rfc-editor.org/rfc/rfc3463#section-3.7: of the content
_CONTENT = re.compile(r"5\.6\.\d")
# For good.
REFUSED = frozenset(range(500, 600)) - TRANSIENT - DESTINATION_BROKEN - PAYLOAD_BROKEN
_FOR_GOOD = REFUSED | PAYLOAD_BROKEN
# The smarthost's own rules, which everybody behind it meets: its enhanced codes (5.1.7 and 5.1.8 speak of the sender,
# 5.3 of the system, 5.4 of routing and limits, 5.5 of the protocol, 5.7 of policy), and the words of those that give
# none.
_POLICY = re.compile(r"5\.(1\.[78]|[3457]\.\d+)\b")
_ENHANCED = re.compile(r"5\.[1-7]\.\d+\b")
_POLICY_WORDS = re.compile(
    r"relay|\b(helo|ehlo)\b|spam|polic|block|blacklist|denied|not permitted|not allowed|prohibit|limit|reputation|"
    r"authenticat|verified|suspend|paused",
    re.IGNORECASE,
)
_BAD_ANSWER = "bad answer"
# In a storm's remote state.
_WITHOUT = "without"
# What everything that goes through the smarthost has in common.
CAUSE = "email"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail and its envelope."""

    sender: str
    to: Sequence[str]
    whole: bytes
    plain: bytes | None
    """Without its HTML; None: it has none."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the smarthost is spoken to once connected."""

    starttls: bool = False
    login: tuple[str, str] | None = None
    """User and password."""


@dataclass(frozen=True, slots=True)
class _SmtpReply:
    code: int
    text: str

    @property
    def passes(self) -> bool:
        return self.code not in _FOR_GOOD

    @property
    def too_large(self) -> bool:
        enhanced = _ENHANCED.match(self.text)
        by_code = self.code in PAYLOAD_BROKEN and not enhanced
        return by_code or (self.code >= 500 and _TOO_LARGE.match(self.text) is not None)

    @property
    def content(self) -> bool:
        return not self.passes and _CONTENT.match(self.text) is not None

    @property
    def policy(self) -> bool:
        if _ENHANCED.match(self.text):
            return _POLICY.match(self.text) is not None
        return _POLICY_WORDS.search(self.text) is not None

    @property
    def words(self) -> str:
        return f"{self.code} {self.text}"


@dataclass(frozen=True, slots=True)
class _Refused:
    by: dict[str, _SmtpReply]
    """By recipient; empty: everybody was told."""
    mail: _SmtpReply | None = None
    """What was said to the mail, once there were recipients to take it."""


async def deliver(
    client: aiosmtplib.SMTP, access: Access, mail: Mail, conversation: Conversation, known: Mapping[str, Any]
) -> Outcome:
    """Connect, log in, and hand the mail over.

    :param known: the conversation's remote state once the mail was taken
    """
    try:
        async with client:
            try:
                if access.starttls:
                    await _start_tls(client)
                if access.login is not None:
                    await client.ehlo()
                    await client.login(*access.login)
                return await _hand_over(client, mail, conversation, known)
            except asyncio.CancelledError:
                client.close()  # else it would say QUIT, and wait for an answer
                raise
    except aiosmtplib.SMTPResponseException as error:
        return _turned_away(error)
    except (aiosmtplib.SMTPException, OSError) as error:
        return _unreachable(error, ambiguous=False)


async def _start_tls(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
        await client.starttls()
    except BaseException:
        client.close()  # without a goodbye: nothing more is said in clear
        raise


async def _hand_over(
    client: aiosmtplib.SMTP, mail: Mail, conversation: Conversation, known: Mapping[str, Any]
) -> Outcome:
    """Who has yet to be told what the others know is asked alone; ``remote`` keeps who that is."""
    alone = _late(mail, conversation)
    waiting = alone or _concerned(mail, conversation)
    answer = await _transact(client, mail.sender, waiting, mail.whole)
    said = answer.mail if isinstance(answer, _Refused) else None
    if said is not None and (said.too_large or said.content) and mail.plain is not None:
        answer = await _transact(client, mail.sender, waiting, mail.plain)
    if not isinstance(answer, _Refused):
        return answer
    reached = len(answer.by) < len(waiting)
    if not reached and (not alone or any(each.policy and not each.passes for each in answer.by.values())):
        return _nobody(answer)
    later = {address: each for address, each in answer.by.items() if each.passes}
    if conversation.storm is not None:  # whose next message has other news, for everybody
        without = [
            each
            for each in mail.to
            if each in answer.by or (each in _without(conversation) and each not in waiting)
        ]
        remote = {**known, _WITHOUT: without} if without else known
        return Delivered(remote, _refusals(answer.by), reached=reached)
    if not later:
        return Delivered(known, _refusals(answer.by), reached=reached)
    gone = _refusals({address: each for address, each in answer.by.items() if not each.passes})
    first = next(iter(later.values()))
    owed = {"to": list(later), "state": _state(conversation)}
    return Retry(
        f"smtp {first.code}: some recipients", ambiguous=True, remote={**known, LATE: owed},
        refused=gone, late=_refusals(later), words=first.words, further=len(later) < len(waiting),
        reached=reached,
    )  # fmt: skip


def _concerned(mail: Mail, conversation: Conversation) -> Sequence[str]:
    """Who is to be told: everybody; of mere ends in a storm, those who got a mail about what fired."""
    storm = conversation.storm
    if storm is None or storm.news.firing:
        return mail.to
    return [each for each in mail.to if each not in _without(conversation)] or mail.to


def _without(conversation: Conversation) -> Sequence[str]:
    """Of a storm: who got no mail of what fires."""
    without: Sequence[str] = conversation.remote.get(_WITHOUT, ())
    return without


def _late(mail: Mail, conversation: Conversation) -> list[str]:
    """Who alone is to be told, because the others know it all; empty: it is news to everybody."""
    late: Mapping[str, Any] = conversation.remote.get(LATE, {})
    match late.get("state"):
        case None:
            return []
        case state if state == KNOWN_OVER:
            known = conversation.over
        case state if state == KNOWN_FIRING:
            known = all(told.again for told in conversation.alerts if told.news)
        case state:
            known = state == _state(conversation)
    return [address for address in mail.to if known and address in late["to"]]


def _state(conversation: Conversation) -> str:
    """Which alerts there are, and which of them fire: what a repeat does not change."""
    alerts = sorted((told.alert.identity, told.alert.status.value) for told in conversation.alerts)
    return hashlib.sha256(json.dumps(alerts).encode()).hexdigest()[:16]


def _refusals(answers: Mapping[str, _SmtpReply]) -> tuple[Refusal, ...]:
    return tuple(Refusal(address, f"smtp {each.code}", each.words) for address, each in answers.items())


def _nobody(refused: _Refused) -> Outcome:
    """No recipient was told."""
    answers = refused.by.values()
    for each in answers:
        if each.passes:
            cause = CAUSE if refused.mail is not None else ""
            return Retry(f"smtp {each.code}", words=each.words, cause=cause)
    said = refused.mail or next((each for each in answers if each.policy), next(iter(answers)))
    if refused.mail is not None and said.too_large:
        return Rejected(f"smtp {said.code}: too large", words=said.words)
    if refused.mail is not None and said.content:
        return Rejected(f"smtp {said.code}: content refused", words=said.words)
    if said.policy:
        what, cause = "refused by policy", CAUSE
    else:
        what, cause = "all recipients refused" if refused.mail is None else "mail refused", ""
    by_content = refused.mail is not None
    return Broken(f"smtp {said.code}: {what}", words=said.words, cause=cause, by_content=by_content)


async def _transact(
    client: aiosmtplib.SMTP, sender: str, recipients: Sequence[str], raw: bytes
) -> _Refused | Retry | Broken:
    """:returns: who refused it; or what went wrong before that was known"""
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
            return _turned_away(error, ambiguous=sending)
        answer = _SmtpReply(error.code, error.message)
        return _Refused({address: refused.get(address, answer) for address in recipients}, answer)
    except (aiosmtplib.SMTPException, OSError) as error:
        return _unreachable(error, ambiguous=sending)
    return _Refused(refused)


def _turned_away(error: aiosmtplib.SMTPResponseException, *, ambiguous: bool = False) -> Retry | Broken:
    """Refused before there was a mail to refuse: the smarthost's word to everybody."""
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
    kind = Broken if error.code in DESTINATION_BROKEN | _FOR_GOOD else Retry
    return kind(reason, words=words, cause=CAUSE)


def _unreachable(error: Exception, *, ambiguous: bool) -> Retry | Broken:
    """What went wrong before the smarthost had said yes or no. TLS and login that can't work are broken."""
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
        case aiosmtplib.SMTPException(message=str(said)) if "STARTTLS" in said:
            return Broken("tls: no starttls offered", words=words, cause=CAUSE)
        case aiosmtplib.SMTPException(message=str(said)) if "AUTH" in said or "authentication" in said:
            return Broken("no authentication offered", words=words, cause=CAUSE)
        case _:
            reason = "connection failed"
    return Retry(reason, ambiguous=ambiguous, words=words, cause=CAUSE)
