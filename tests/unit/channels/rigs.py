"""What each channel needs to be judged by the shared test: how to make it, its secrets, and what an answer means.

The meanings are the providers' own, stated here a second time on purpose: a channel must not be judged by its own
tables.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from router.channels import Channel
from router.channels.discord import DiscordChannel
from router.channels.email import EmailChannel
from router.channels.pagerduty import PagerDutyChannel
from router.channels.slack import SlackChannel
from router.channels.teams import TeamsChannel
from router.channels.telegram import TelegramChannel
from router.channels.webhook import WebhookChannel
from router.model import DAY, Broken, Conversation, DigestLine, DigestView, Outcome, Rejected, Retry
from tests.unit.channels.talk import NOW, alert, conversation
from tests.world.fake_anything import Speak, after_request, http, smtp

Meaning = type[Outcome]
"""Of an answer that is always the same, to a plain message as well."""


@dataclass(frozen=True, slots=True)
class Answer:
    name: str
    speak: Speak
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Rig:
    make: Callable[[Any, float], Channel]
    """Of its settings, and the seconds after which it gives up waiting."""
    settings: Callable[[str], Mapping[str, Any]]
    """For a provider at this ``host:port``."""
    options: Callable[[str], Mapping[str, Any]]
    secrets: tuple[str, ...]
    answers: tuple[Answer, ...]
    talks: tuple[Conversation, ...]
    """A first telling; where it is another request, one that follows it up as well."""
    mail: bool = False
    """It speaks SMTP, over TLS; else HTTP."""
    status_says_all: bool = False
    """A success needs no body."""
    waits_in_a_thread: bool = False
    """For an answer, by the real time."""

    @property
    def patience(self) -> float:
        """Seconds that it waits for an answer: few, where no test can make them pass."""
        return 0.2 if self.waits_in_a_thread else 10

    def after_message(self, then: Speak) -> Speak:
        """What happens once the provider has it all."""
        return smtp("BODY", then) if self.mail else after_request(then)


def echo(secrets: Iterable[str], **more: Any) -> bytes:
    """An answer that quotes all it was sent, as no provider should."""
    text = f"no, {' '.join(secrets)}"
    return json.dumps({"message": text, "errors": [text], "needed": text, **more}).encode()


def _statuses(secrets: Iterable[str], meanings: Mapping[Meaning, Iterable[int]]) -> Iterator[Answer]:
    for meaning, statuses in meanings.items():
        for status in statuses:
            yield Answer(f"http {status}", http(status, echo(secrets), Location="/elsewhere"), meaning)


def _talks(**remote: Any) -> tuple[Conversation, ...]:
    return conversation(), conversation(alert(resolved=True), version=2, remote=remote)


_REDIRECTS, _OUTAGES = range(300, 400), range(500, 600)
# Nothing says what these mean here.
_UNKNOWN = (402, 405, 406, 409, 418, 451, 499, 600, 999)

SLACK_TOKEN = "xoxb-token-of-nobody"
# https://docs.slack.dev/reference/methods/chat.postMessage#errors and …/chat.update#errors
_SLACK: tuple[tuple[Meaning, tuple[str, ...]], ...] = (
    (Retry, (
        "ratelimited", "rate_limited", "service_unavailable", "request_timeout", "internal_error", "fatal_error",
        "team_added_to_org", "message_not_found", "cant_update_message", "edit_window_closed", "a_code_of_tomorrow",
    )),
    (Broken, (
        "channel_not_found", "not_in_channel", "is_archived", "restricted_action", "missing_scope", "invalid_auth",
        "not_authed", "token_revoked", "token_expired", "account_inactive", "access_denied",
    )),
    (Rejected, (
        "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text",
        "too_many_attachments", "metadata_too_large",
    )),
)  # fmt: skip


def _slack() -> Iterator[Answer]:
    for meaning, codes in _SLACK:
        for code in codes:
            yield Answer(code, http(200, echo([SLACK_TOKEN], ok=False, error=code)), meaning)
    yield from _statuses([SLACK_TOKEN], {Retry: (429, *_OUTAGES, *_UNKNOWN)})


ROUTING_KEY = "fake-routing-key-of-32-character"
# https://developer.pagerduty.com/docs/events-api-v2-overview#response-codes--retry-logic
_PAGERDUTY: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *_OUTAGES, *_UNKNOWN),
    Broken: (401, 403, 404, 410, *_REDIRECTS),
    Rejected: (400, 413),
}


def _pagerduty() -> Iterator[Answer]:
    yield from _statuses([ROUTING_KEY], _PAGERDUTY)
    for words, meaning in (
        (f"Invalid routing key {ROUTING_KEY}", Broken),
        (f"Length of 'routing_key' is incorrect: {ROUTING_KEY}", Broken),
        (f"'payload.summary' is blank: {ROUTING_KEY}", Rejected),
    ):
        yield Answer(words, http(400, echo([ROUTING_KEY], errors=[words])), meaning)


HOOK_SECRETS = ("path-token-of-nobody", "bearer-token-of-nobody", "signing-secret-of-nobody")
# https://www.rfc-editor.org/rfc/rfc9110#section-15
_WEBHOOK: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *_OUTAGES, *_UNKNOWN),
    Broken: (401, 403, 404, 410, *_REDIRECTS),
    Rejected: (400, 413, 415, 422),
}

DISCORD_TOKEN = "token_of-nobody"
_DISCORD: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *_OUTAGES, *_UNKNOWN),
    Broken: (401, 403, 404, *_REDIRECTS),
    Rejected: (400, 413, 415, 422),
}
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json, each with the status that it comes with
_DISCORD_CODES: tuple[tuple[Meaning, Mapping[int, int]], ...] = (
    (Retry, {10008: 404, 20016: 400, 20028: 429, 20029: 429, 30046: 429, 40333: 403, 50005: 403, 99999: 400, 130000: 503}),
    (Broken, {10003: 404, 10015: 404, 50001: 403, 50013: 403, 50027: 401, 220001: 400}),
    (Rejected, {50006: 400, 50035: 400, 50109: 400}),
)  # fmt: skip


def _discord() -> Iterator[Answer]:
    yield from _statuses([DISCORD_TOKEN], _DISCORD)
    for meaning, codes in _DISCORD_CODES:
        for code, status in codes.items():
            yield Answer(f"discord {code}", http(status, echo([DISCORD_TOKEN], code=code)), meaning)


TELEGRAM_TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawx"
_TELEGRAM: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *_OUTAGES, *_UNKNOWN),
    Broken: (401, 403, 404, *_REDIRECTS),
    Rejected: (400, 413),
}
# The server makes them: https://github.com/tdlib/telegram-bot-api/blob/master/telegram-bot-api/Client.cpp
_TELEGRAM_DESCRIPTIONS: tuple[tuple[Meaning, Mapping[str, int]], ...] = (
    (Retry, {"Too Many Requests: retry after 7": 429, "Internal Server Error: chat not found": 500}),
    (Broken, {
        "Bad Request: chat not found": 400, "Bad Request: message thread not found": 400,
        "Bad Request: group chat was upgraded to a supergroup chat": 400,
        "Bad Request: not enough rights to send text messages to the chat": 400,
        "Forbidden: bot was kicked from the group chat": 403, "Forbidden: bot was blocked by the user": 403,
        "Forbidden: user is deactivated": 403, "Forbidden: bot is not a member of the channel chat": 403,
        "Unauthorized": 401, "Not Found": 404,
    }),
    (Rejected, {
        "Bad Request: message is too long": 400, "Bad Request: message text is empty": 400,
        "Bad Request: can't parse entities: Unsupported start tag": 400, "Bad Request: something of tomorrow": 400,
    }),
)  # fmt: skip


def _telegram() -> Iterator[Answer]:
    yield from _statuses([TELEGRAM_TOKEN], _TELEGRAM)
    for meaning, descriptions in _TELEGRAM_DESCRIPTIONS:
        for description, status in descriptions.items():
            quoted = f"{description} {TELEGRAM_TOKEN}"
            body = echo([TELEGRAM_TOKEN], ok=False, error_code=status, description=quoted)
            yield Answer(description, http(status, body), meaning)


TEAMS_SIGNATURE = "signature-of-nobody"
# https://www.rfc-editor.org/rfc/rfc9110#section-15
_TEAMS: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *_OUTAGES, *_UNKNOWN),
    Broken: (401, 403, 404, 410, *_REDIRECTS),
    Rejected: (400, 413, 415, 422),
}

PASSWORD = "password-of-nobody"
# https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3 and https://www.rfc-editor.org/rfc/rfc4954#section-6
_LOGIN = (530, 534, 535, 538)
_COMMANDS = (500, 502, 503)
_SMTP: Mapping[str, Mapping[Meaning, Iterable[int]]] = {
    "GREETING": {Retry: (421, 450), Broken: (554, 550, 521)},
    "EHLO": {Retry: (421, 500), Broken: (550,)},
    "AUTH": {Retry: (421, 432, 451, 454), Broken: _LOGIN},
    "MAIL": {Retry: (421, 450, 451, 452, *_COMMANDS), Broken: (*_LOGIN, 550, 552, 553, 554)},
    "RCPT": {Retry: (421, 450, 451, 452, *_COMMANDS), Broken: (*_LOGIN, 550, 551, 552, 553, 554, 599)},
    "DATA": {Retry: (421, 451, *_COMMANDS), Broken: (*_LOGIN, 554)},
    "BODY": {
        Retry: (*range(400, 500), *_COMMANDS, 199, 299, 399, 600, 999), Rejected: (523, 552),
        Broken: {*range(500, 600)} - {*_COMMANDS, 523, 552},
    },
}  # fmt: skip


def _smtp(commands: Iterable[str]) -> Iterator[Answer]:
    for command in commands:
        for meaning, codes in _SMTP[command].items():
            for code in codes:
                raw = f"{code}-5.9.9 no, {PASSWORD}\r\n{code} 5.9.9 {PASSWORD}".encode()
                yield Answer(f"{command} {code}", smtp(command, raw), meaning)
    yield Answer("too large", smtp("BODY", f"554 5.3.4 {PASSWORD}".encode()), Rejected)


def _smarthost(address: str) -> Mapping[str, Any]:
    return {
        "smarthost": address, "from": "alerts@router.example", "tls": "implicit", "hello": "router.example",
        "username": "alerts", "password": PASSWORD,
    }  # fmt: skip


_TO = ["anna@example.com", "bert@example.com"]
_DIGEST = DigestView(NOW - DAY, NOW, firing=(DigestLine(alert(), "critical", 1),))
RIGS: Mapping[str, Rig] = {
    "slack": Rig(
        make=lambda settings, seconds: SlackChannel(settings, timeout=seconds),
        settings=lambda address: {"token": SLACK_TOKEN, "api_url": f"http://{address}/api/"},
        options=lambda _: {"channel": "C0CRITICAL"},
        secrets=(SLACK_TOKEN,),
        answers=tuple(_slack()),
        talks=_talks(channel="C0CRITICAL", ts="1.2", threaded=1),
    ),
    "pagerduty": Rig(
        make=lambda settings, seconds: PagerDutyChannel(settings, timeout=seconds),
        settings=lambda address: {"events_url": f"http://{address}"},
        options=lambda _: {"routing_key": ROUTING_KEY},
        secrets=(ROUTING_KEY,),
        answers=tuple(_pagerduty()),
        talks=_talks(dedup_key="opened-by"),
        waits_in_a_thread=True,
    ),
    "webhook": Rig(
        make=lambda settings, seconds: WebhookChannel(settings.model_copy(update={"timeout": seconds})),
        settings=lambda _: {},
        options=lambda address: {
            "url": f"http://{address}/hook/{HOOK_SECRETS[0]}", "bearer_token": HOOK_SECRETS[1], "secret": HOOK_SECRETS[2],
        },
        secrets=HOOK_SECRETS,
        answers=tuple(_statuses(HOOK_SECRETS, _WEBHOOK)),
        talks=_talks(),
        status_says_all=True,
    ),
    "discord": Rig(
        make=lambda settings, seconds: DiscordChannel(settings, timeout=seconds),
        settings=lambda address: {"api_url": f"http://{address}/api/v10"},
        options=lambda _: {"webhook_url": f"https://discord.com/api/webhooks/1/{DISCORD_TOKEN}"},
        secrets=(DISCORD_TOKEN,),
        answers=tuple(_discord()),
        talks=_talks(message="7"),
    ),
    "telegram": Rig(
        make=lambda settings, seconds: TelegramChannel(settings, timeout=seconds),
        settings=lambda address: {"token": TELEGRAM_TOKEN, "api_url": f"http://{address}"},
        options=lambda _: {"chat_id": -1001234567890},
        secrets=(TELEGRAM_TOKEN, TELEGRAM_TOKEN.partition(":")[2]),
        answers=tuple(_telegram()),
        talks=_talks(message=7, shown=1),
    ),
    "teams": Rig(
        make=lambda settings, seconds: TeamsChannel(settings, timeout=seconds),
        settings=lambda _: {},
        options=lambda address: {"webhook_url": f"http://{address}/workflows/1?sig={TEAMS_SIGNATURE}"},
        secrets=(TEAMS_SIGNATURE,),
        answers=tuple(_statuses([TEAMS_SIGNATURE], _TEAMS)),
        talks=_talks(posted=True),
        status_says_all=True,
    ),
    "email": Rig(
        make=lambda settings, seconds: EmailChannel(settings, timeout=seconds),
        settings=_smarthost,
        options=lambda _: {"to": _TO},
        secrets=(PASSWORD,),
        answers=tuple(_smtp(_SMTP)),
        talks=(conversation(),),
        mail=True,
    ),
    "digest": Rig(
        make=lambda settings, seconds: EmailChannel(settings, timeout=seconds),
        settings=_smarthost,
        options=lambda _: {"to": _TO, "at": "09:00"},
        secrets=(PASSWORD,),
        answers=tuple(_smtp(["GREETING", "AUTH", "MAIL", "RCPT", "DATA"])),
        talks=(conversation(alerts=(), digest=_DIGEST),),
        mail=True,
    ),
}  # fmt: skip
"""By the name of the kind."""
