"""What the shared tests ask about Telegram."""

from collections.abc import Iterable, Iterator, Mapping

from router.channels.telegram import TelegramChannel
from router.channels.telegram_html import markup
from router.model import Broken, Rejected, Retry
from tests.unit.channels.rigs import (
    OUTAGES,
    REDIRECTS,
    UNKNOWN_STATUSES,
    Answer,
    ChannelRig,
    ImportSample,
    MarkupSample,
    Meaning,
    by_status,
    echo,
    first_and_update,
)
from tests.world.fake_anything import http
from tests.world.fake_telegram import TOKEN, FakeTelegram

_STATUSES: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *OUTAGES, *UNKNOWN_STATUSES),
    Broken: (401, 403, 404, *REDIRECTS),
    Rejected: (400, 413),
}
# The server makes them: https://github.com/tdlib/telegram-bot-api/blob/master/telegram-bot-api/Client.cpp
_DESCRIPTIONS: tuple[tuple[Meaning, Mapping[str, int]], ...] = (
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


def _answers() -> Iterator[Answer]:
    yield from by_status([TOKEN], _STATUSES)
    for meaning, descriptions in _DESCRIPTIONS:
        for description, status in descriptions.items():
            quoted = f"{description} {TOKEN}"
            body = echo([TOKEN], ok=False, error_code=status, description=quoted)
            yield Answer(description, http(status, body), meaning)


RIG = ChannelRig(
    make=lambda settings, seconds: TelegramChannel(settings, timeout=seconds),
    settings=lambda address: {"token": TOKEN, "api_url": f"http://{address}"},
    options=lambda _: {"chat_id": -1001234567890},
    secrets=(TOKEN, TOKEN.partition(":")[2]),
    fake=FakeTelegram,
    answers=tuple(_answers()),
    success=http(200, b'{"ok": true, "result": {"message_id": 7}}'),
    conversations=first_and_update(message=7, shown=1),
    markup=MarkupSample(
        markup, '<b>a &lt;b&gt;</b> <i>b</i> <a href="https://e.example?a&amp;b">c</a> <u>',
        '<strong>a &lt;b&gt;</strong> <em>b</em> <a href="https://e.example?a&amp;b" rel="noopener noreferrer" '
        'target="_blank">c</a> &lt;u&gt;',
    ),
    secret_texts=(TOKEN,),
    importing=ImportSample(
        {"chat_id": -1001234567890, "bot_token_file": "/run/token"}, {"chat_id": "-1001234567890"}
    ),
)  # fmt: skip
