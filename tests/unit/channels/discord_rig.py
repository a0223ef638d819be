"""What the shared tests ask about Discord."""

from collections.abc import Iterable, Iterator, Mapping

from router.channels.discord import DiscordChannel
from router.channels.discord_attempt import MESSAGE_GONE
from router.channels.discord_drawing import markdown
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
from tests.world.fake_discord import FakeDiscord

_TOKEN = "token_of-nobody"
_STATUSES: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *OUTAGES, *UNKNOWN_STATUSES),
    Broken: (401, 403, 404, *REDIRECTS),
    Rejected: (400, 413, 415, 422),
}
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json, each with the status that it comes with
_CODES: tuple[tuple[Meaning, Mapping[int, int]], ...] = (
    (Retry, {10008: 404, 20016: 400, 20028: 429, 20029: 429, 30046: 429, 40333: 403, 50005: 403, 99999: 400, 130000: 503}),
    (Broken, {10003: 404, 10015: 404, 50001: 403, 50013: 403, 50027: 401, 220001: 400}),
    (Rejected, {50006: 400, 50035: 400, 50109: 400}),
)  # fmt: skip


def _answers() -> Iterator[Answer]:
    yield from by_status([_TOKEN], _STATUSES)
    for meaning, codes in _CODES:
        for code, status in codes.items():
            yield Answer(f"discord {code}", http(status, echo([_TOKEN], code=code)), meaning)


RIG = ChannelRig(
    make=lambda settings, seconds: DiscordChannel(settings, timeout=seconds),
    settings=lambda address: {"api_url": f"http://{address}/api/v10"},
    options=lambda _: {"webhook_url": f"https://discord.com/api/webhooks/1/{_TOKEN}"},
    secrets=(_TOKEN,),
    fake=FakeDiscord,
    answers=tuple(_answers()),
    success=http(200, b'{"id": "7"}'),
    conversations=first_and_update(message="7"),
    codes=(MESSAGE_GONE,),
    links_bare_addresses=True,
    markup=MarkupSample(
        markdown, r"**a\*b** \_c [d](<https://e.example>)",
        '<strong>a*b</strong> _c <a href="https://e.example" rel="noopener noreferrer" target="_blank">d</a>',
    ),
    secret_texts=("discord.com/api/webhooks/1/token",),
    importing=ImportSample(
        {"webhook_url": "https://discord.com/api/webhooks/1/t"},
        {"webhook_url": "${TEAM0_DISCORD_WEBHOOK_URL}", "name": "team0"},
    ),
)  # fmt: skip
