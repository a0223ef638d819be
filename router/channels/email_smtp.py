"""One mail over SMTP: who took it, who refused it, and what follows from that."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiosmtplib
import structlog

from router.model import Broken, Conversation, Delivered, Outcome, Rejected, Retry

log = structlog.get_logger(__name__)

# https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1: 4yz is for now, 5yz for good; 500, 502 and 503 speak of a
# command and not of the mail. A code in none of these is tried again.
TRANSIENT = frozenset({*range(400, 500), 500, 502, 503})
# https://www.rfc-editor.org/rfc/rfc4954#section-6: what a server says to those who have to log in.
DESTINATION_BROKEN = frozenset({530, 534, 535, 538})
# Too large: the mail is sent again without its HTML. 552: https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3; 523
# is in no standard and means the same. Others say it by an enhanced code, of the system or of the mailbox:
# https://www.rfc-editor.org/rfc/rfc3463#section-3.4
PAYLOAD_BROKEN = frozenset({523, 552})
_TOO_LARGE = ("5.3.4", "5.2.3")
# For good, by the recipient or of the mail. Before there is a recipient (greeting, login, sender), it is us who are
# refused, and somebody has to mend that.
REJECTED = frozenset(range(500, 600)) - TRANSIENT - DESTINATION_BROKEN - PAYLOAD_BROKEN
_FOR_GOOD = REJECTED | PAYLOAD_BROKEN
# Attempts (a quarter of an hour) at recipients who are refused for now while others were told: greylists
# open after minutes, full mailboxes don't.
_GREYLISTED = 12
_BAD_ANSWER = "bad answer"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail and its envelope."""

    id: str
    sender: str
    to: Sequence[str]
    whole: bytes
    plain: bytes | None
    """Without its HTML; None: it has none."""


@dataclass(frozen=True, slots=True)
class _Refused:
    codes: dict[str, int]
    """By recipient; empty: everybody was told."""
    too_large: bool = False


async def deliver(
    client: aiosmtplib.SMTP,
    login: tuple[str, str] | None,
    mail: Mail,
    conversation: Conversation,
    known: Mapping[str, Any],
) -> Outcome:
    """Connect, log in, and hand the mail over.

    :param login: user and password
    :param known: the conversation's remote state once the mail was taken
    """
    try:
        async with client:
            try:
                if login is not None:
                    await client.login(*login)
                return await _hand_over(client, mail, conversation, known)
            except asyncio.CancelledError:
                client.close()  # else it would say QUIT, and wait for an answer
                raise
    except aiosmtplib.SMTPResponseException as error:
        return _turned_away(error)
    except (aiosmtplib.SMTPException, OSError) as error:
        return _unreachable(error, ambiguous=False)


async def _hand_over(
    client: aiosmtplib.SMTP, mail: Mail, conversation: Conversation, known: Mapping[str, Any]
) -> Outcome:
    """Who refused this very mail for now is asked again, alone; ``remote`` keeps who that is."""
    remote = conversation.remote
    late = remote.get("late", {})
    partly = late.get("message_id") == mail.id
    waiting: Sequence[str] = late["to"] if partly else mail.to
    answer = await _transact(client, mail.sender, waiting, mail.whole)
    if isinstance(answer, _Refused) and answer.too_large and mail.plain is not None:
        answer = await _transact(client, mail.sender, waiting, mail.plain)
    if not isinstance(answer, _Refused):
        return answer
    refused = answer.codes
    later = [address for address, code in refused.items() if code not in _FOR_GOOD]
    if not partly and len(refused) == len(waiting):
        reason = f"smtp {refused[(later or waiting)[0]]}{': too large' * answer.too_large}"
        return Retry(reason) if later else Rejected(reason)
    before: dict[str, int] = remote.get("refused", {}) if partly else {}
    refused = {address: code for address, code in before.items() if address not in waiting} | refused
    known = {**known, "refused": refused} if refused else known
    if later and conversation.attempt < _GREYLISTED:
        owed = {"message_id": mail.id, "to": later}
        return Retry(
            f"smtp {refused[later[0]]}: some recipients", ambiguous=True, remote={**known, "late": owed},
            further=len(later) < len(waiting),
        )  # fmt: skip
    if refused:
        log.warning("recipients refused", destination=conversation.destination, codes=refused)
    return Delivered(known)


async def _transact(
    client: aiosmtplib.SMTP, sender: str, recipients: Sequence[str], raw: bytes
) -> _Refused | Retry | Broken:
    """:returns: who refused it; or what went wrong before that was known"""
    refused: dict[str, int] = {}
    sending = False
    try:
        await client.mail(sender)
        for address in recipients:
            try:
                await client.rcpt(address)
            except aiosmtplib.SMTPRecipientRefused as error:
                if error.code in DESTINATION_BROKEN:
                    raise
                refused[address] = error.code
        if len(refused) < len(recipients):
            sending = True
            await client.data(raw)
    except aiosmtplib.SMTPResponseException as error:
        if not sending or error.code < 400 or error.code in DESTINATION_BROKEN:
            return _turned_away(error, ambiguous=sending)
        too_large = error.code in PAYLOAD_BROKEN or error.message.startswith(_TOO_LARGE)
        return _Refused(dict.fromkeys(recipients, error.code), too_large)
    except (aiosmtplib.SMTPException, OSError) as error:
        return _unreachable(error, ambiguous=sending)
    return _Refused(refused)


def _turned_away(error: aiosmtplib.SMTPResponseException, *, ambiguous: bool = False) -> Retry | Broken:
    """Refused before there was a mail to refuse."""
    if error.code < 400:
        return Retry(_BAD_ANSWER, ambiguous=ambiguous)
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            reason = f"smtp {error.code}: authentication"
        case _ if error.code in DESTINATION_BROKEN:
            reason = f"smtp {error.code}: authentication"
        case aiosmtplib.SMTPSenderRefused():
            reason = f"smtp {error.code}: sender refused"
        case _:
            reason = f"smtp {error.code}"
    return Broken(reason) if error.code in DESTINATION_BROKEN | _FOR_GOOD else Retry(reason)


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
