"""Telegram: a message a conversation, edited to the present state; news that an edit would not announce is a reply."""

import re
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from router.channels import telegram_drawing, telegram_layout
from router.channels.base import ChannelSpec, StormOptions, StormSettings, is_placeholder
from router.channels.http import HttpTransport
from router.channels.provider_words import masked_outcome
from router.channels.telegram_attempt import CAUSE, TelegramAttempt, calls_of
from router.channels.telegram_import import TelegramImport
from router.model import (
    MINUTE,
    SECOND,
    Conversation,
    Destination,
    LaneLimits,
    Message,
    Outcome,
    Rate,
    SharedLimits,
)
from router.network import DIRECT, Network
from router.render import Templates

_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 3
# https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this: a message a second in a chat, with short
# bursts above it; 20 a minute in a group, which a burst of 5 and 15 a minute never exceed; 30 a second in all. Edits count.
CHAT_LIMITS = LaneLimits(Rate(1, SECOND, burst=3))
GROUP_LIMITS = LaneLimits(Rate(15, MINUTE, burst=5))
ALL_CHATS_LIMITS = SharedLimits(Rate(25, SECOND, burst=5))


def _token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not is_placeholder(text) and not re.fullmatch(r"\d+:[\w-]+", text, re.ASCII):
        raise ValueError("is no bot token; BotFather gives one, like 123456789:AAE…")
    return secret


def _chat_id(value: Any) -> str:
    text = str(value)
    if not is_placeholder(text) and not re.fullmatch(r"-?[1-9]\d{0,19}|@[A-Za-z]\w{3,31}", text, re.ASCII):
        raise ValueError(
            "is no chat; write its number (of a group it begins with -), or @name of a public channel"
        )
    return text


class TelegramSettings(StormSettings):
    """``channels.telegram``"""

    token: Annotated[SecretStr, AfterValidator(_token)]
    api_url: str = "https://api.telegram.org"
    """Or that of a Bot API server of one's own: https://core.telegram.org/bots/api#using-a-local-bot-api-server"""


class TelegramOptions(StormOptions):
    """``- telegram: {…}`` of a receiver."""

    chat_id: Annotated[str, BeforeValidator(_chat_id)]
    """A number, or ``@name`` of a public channel or group."""
    message_thread_id: int | None = Field(default=None, gt=0)
    """The topic of a forum; None: the chat itself."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the chat and the topic are enough)
        key = f"telegram:{self.chat_id}"
        return key if self.message_thread_id is None else f"{key}:{self.message_thread_id}"

    @property
    def vendor_limits(self) -> LaneLimits:
        """A group or a channel has a negative number or a name."""
        return GROUP_LIMITS if self.chat_id.startswith(("-", "@")) else CHAT_LIMITS

    @property
    def chat(self) -> dict[str, Any]:
        """The parameters that name the chat in a request."""
        return {"chat_id": int(self.chat_id) if self.chat_id.lstrip("-").isdigit() else self.chat_id}

    @property
    def topic(self) -> dict[str, Any]:
        return {} if self.message_thread_id is None else {"message_thread_id": self.message_thread_id}


class TelegramChannel:
    """Telegram has no idempotency key: a message whose answer is lost may be posted twice.

    The conversation's ``remote``: ``message`` is the id of the first message, ``shown`` the version that it shows,
    ``replied`` a version and how many of its replies are posted.
    """

    def __init__(
        self, settings: TelegramSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: seconds for one request; to connect may take half of it"""
        self._token = settings.token.get_secret_value()
        self._url = f"{settings.api_url.rstrip('/')}/bot{self._token}"
        self._http = HttpTransport(
            network, timeout=timeout, attempt_timeout=_MAX_TIMEOUTS_PER_ATTEMPT * timeout
        )

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        body, fallback = telegram_layout.render(conversation, templates)
        return Message("telegram", body, fallback, calls_of(conversation, body))

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        options: TelegramOptions = destination.options
        attempt = TelegramAttempt(
            self._http, self._url, options.chat, options.topic, conversation, message.paid
        )
        outcome = await self._http.attempt(attempt.update(message.body), CAUSE)
        outcome = replace(attempt.outcome(outcome), unpaid=tuple(attempt.unpaid))
        return masked_outcome(outcome, [self._token, self._token.partition(":")[2]])

    async def close(self) -> None:
        await self._http.close()


# https://core.telegram.org/bots/api#authorizing-your-bot
_LOOKS_LIKE_A_BOT = r"""(?<!\d)\d{6,12}:[\w-]{35}(?![\w-])"""
TELEGRAM = ChannelSpec(
    name="telegram", title="Telegram", nothing_sent="No Telegram message yet.",
    section="telegram", settings=TelegramSettings, options=TelegramOptions, make=TelegramChannel,
    limits=CHAT_LIMITS, shared=ALL_CHATS_LIMITS, placeholder={"token": "0:preview"}, storm_every=10 * SECOND,
    storm_room=telegram_layout.STORM_ROOM, edits=True, secret_pattern=_LOOKS_LIKE_A_BOT,
    importer=TelegramImport, draw=telegram_drawing.draw,
)  # fmt: skip
