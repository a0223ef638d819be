"""What the shared tests ask about email."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from router.channels import email_smtp
from router.channels.email import EmailChannel
from router.model import Broken, Rejected, Retry
from tests.unit.channels.rigs import Answer, ChannelRig, ImportSample, Meaning
from tests.unit.channels.talk import conversation
from tests.world.fake_anything import smtp
from tests.world.fake_smtp import FakeSmtp

PASSWORD = "password-of-nobody"
TO = ["anna@example.com", "bert@example.com"]
# https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3 and https://www.rfc-editor.org/rfc/rfc4954#section-6
_LOGIN = (530, 534, 535, 538)
_COMMANDS = (500, 502, 503)
_MEANINGS: Mapping[str, Mapping[Meaning, Iterable[int]]] = {
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


def answers_at(commands: Iterable[str]) -> Iterator[Answer]:
    """Yield the answers of a smarthost that refuses one of these commands."""
    for command in commands:
        for meaning, codes in _MEANINGS[command].items():
            for code in codes:
                raw = f"{code}-5.9.9 no, {PASSWORD}\r\n{code} 5.9.9 {PASSWORD}".encode()
                yield Answer(f"{command} {code}", smtp(command, raw), meaning)
    yield Answer("too large", smtp("BODY", f"554 5.3.4 {PASSWORD}".encode()), Rejected)


def smarthost_settings(address: str) -> Mapping[str, Any]:
    return {
        "smarthost": address, "from": "alerts@router.example", "tls": "implicit", "hello": "router.example",
        "username": "alerts", "password": PASSWORD,
    }  # fmt: skip


RIG = ChannelRig(
    make=lambda settings, seconds: EmailChannel(settings, timeout=seconds),
    settings=smarthost_settings,
    options=lambda _: {"to": TO},
    secrets=(PASSWORD,),
    fake=FakeSmtp,
    answers=tuple(answers_at(_MEANINGS)),
    success=smtp("GREETING", b"220 any"),
    conversations=(conversation(),),
    codes=(
        email_smtp.TRANSIENT, email_smtp.DESTINATION_BROKEN, email_smtp.PAYLOAD_BROKEN, email_smtp.REFUSED,
    ),
    speaks_smtp=True,
    importing=ImportSample({"to": "team@example.com"}, {"to": ["team@example.com"]}, sends_resolved=False),
)  # fmt: skip
