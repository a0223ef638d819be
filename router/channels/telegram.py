"""Telegram: a message a conversation, edited to the present state; news that an edit would not announce is a reply."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from router.channels.base import ChannelSpec, StormOptions, StormSettings, is_placeholder
from router.channels.http import HttpAnswer, HttpTransport
from router.channels.layout import MAX_TITLE_UNITS
from router.channels.progress import UNFINISHED, Budget, is_shown_now, with_progress
from router.channels.provider_words import masked_outcome
from router.channels.telegram_errors import (
    BROKEN_PHRASES,
    CAUSE,
    GONE_PHRASES,
    NOT_MODIFIED_PHRASE,
    STATUSES,
    failure_of,
    says,
)
from router.channels.telegram_html import HTML, MAX_UNITS, draw, plain_text
from router.channels.telegram_import import TelegramImport
from router.model import (
    MINUTE,
    SECOND,
    Call,
    Conversation,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Outcome,
    Rate,
    SharedLimits,
)
from router.network import DIRECT, Network
from router.render import Templates, Words

_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 3
# https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this: a message a second in a chat, with short
# bursts above it; 20 a minute in a group, which a burst of 5 and 15 a minute never exceed; 30 a second in all. Edits count.
CHAT_LIMITS = LaneLimits(Rate(1, SECOND, burst=3), counts_edits=True)
GROUP_LIMITS = LaneLimits(Rate(15, MINUTE, burst=5), counts_edits=True)
ALL_CHATS_LIMITS = SharedLimits(Rate(25, SECOND, burst=5))
# Characters of names that a storm's message holds beside its other words.
STORM_ROOM = 2_500


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
    """Telegram's API, or your own Bot API server: https://core.telegram.org/bots/api#using-a-local-bot-api-server"""


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
        """:param timeout: seconds for one request; at most half of it to connect"""
        self._token = settings.token.get_secret_value()
        self._url = f"{settings.api_url.rstrip('/')}/bot{self._token}"
        self._http = HttpTransport(
            network, timeout=timeout, attempt_timeout=_MAX_TIMEOUTS_PER_ATTEMPT * timeout
        )

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        is_update = bool(conversation.remote)

        def texts(words: Words) -> list[str]:
            if conversation.storm is None:
                news = HTML.clip(words("news"), MAX_UNITS, "the news") if is_update else ""
                return [HTML.whole(words, MAX_UNITS), *([news] if news else [])]
            storm = HTML.storm(words, MAX_UNITS - 2 * MAX_TITLE_UNITS, is_update=is_update)
            return [
                f"<b>{storm.title}</b>\n\n{storm.body}",
                *(f"{storm.subject}\n\n{each}" for each in storm.replies),
            ]

        name = "telegram.j2" if conversation.storm is None else "storm.txt.j2"
        made, fallback = templates.fill(name, templates.values(conversation, HTML.escape), texts)
        first, *replies = [{"text": text, "plain": plain_text(text)} for text in made]
        body = {**first, "replies": replies}
        return Message("telegram", body, fallback, _calls_of(conversation, body))

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        remote, budget = dict(conversation.remote), Budget(message.paid)
        work = self._update(destination.options, conversation, message.body, remote, budget)
        outcome = await self._http.attempt(work, CAUSE)
        is_shown = is_shown_now(conversation, remote)
        outcome = with_progress(outcome, conversation, remote, "message", is_shown=is_shown)
        outcome = replace(outcome, unpaid=tuple(budget.unpaid))
        return masked_outcome(outcome, [self._token, self._token.partition(":")[2]])

    async def close(self) -> None:
        await self._http.close()

    async def _update(
        self, options: TelegramOptions, conversation: Conversation, body: Mapping[str, Any],
        remote: dict[str, Any], budget: Budget,
    ) -> Outcome:  # fmt: skip
        """Bring the first message up to date, then post the replies that are missing. ``remote`` grows with each request.

        :raises aiohttp.ClientError: or another of ``http_faults.REQUEST_FAULTS``
        """
        version, now = conversation.version, conversation.now
        if remote.get("shown") != version:
            if not budget.spend():
                return UNFINISHED
            answer = await self._show(options, body, remote, budget)
            if "message" not in remote or not (answer.is_success or says(answer, NOT_MODIFIED_PHRASE)):
                return failure_of(answer, now)
            remote["shown"] = version
        for number in range(_replied(remote, version), len(body["replies"])):
            if not budget.spend():
                return UNFINISHED
            # https://core.telegram.org/bots/api#replyparameters
            quoted = {"message_id": remote["message"], "allow_sending_without_reply": True}
            reply = {**options.chat, **options.topic, "reply_parameters": quoted}
            answer = await self._send(Call.POST, reply, body["replies"][number], budget)
            if _message_id(answer) is None:
                return failure_of(answer, now)
            remote["replied"] = [version, number + 1]
        return Delivered(remote)

    async def _show(
        self, options: TelegramOptions, body: Mapping[str, Any], remote: dict[str, Any], budget: Budget
    ) -> HttpAnswer:
        """Edit the first message; post it if there is none, or none that can be edited."""
        if "message" in remote:
            edit = {**options.chat, "message_id": remote["message"]}
            answer = await self._send(Call.EDIT, edit, body, budget)
            if not says(answer, *GONE_PHRASES):
                return answer
            remote.clear()
            budget.unpaid.append(Call.POST)
        answer = await self._send(Call.POST, {**options.chat, **options.topic}, body, budget)
        if (message_id := _message_id(answer)) is not None:
            remote["message"] = message_id
        return answer

    async def _send(
        self, call: Call, where: Mapping[str, Any], message: Mapping[str, Any], budget: Budget
    ) -> HttpAnswer:
        """Send HTML; if Telegram can't read it, plain text in the same attempt, so that the alert arrives."""
        url = f"{self._url}/{'editMessageText' if call is Call.EDIT else 'sendMessage'}"
        given = {**where, "link_preview_options": {"is_disabled": True}}
        whole = {**given, "text": message["text"], "parse_mode": "HTML"}
        answer = await self._http.request("POST", url, json=whole)
        known = (NOT_MODIFIED_PHRASE, *GONE_PHRASES, *BROKEN_PHRASES)
        if answer.status not in STATUSES.rejected or says(answer, *known):
            return answer
        budget.unpaid.append(call)
        return await self._http.request("POST", url, json={**given, "text": message["plain"]})


def _calls_of(conversation: Conversation, body: Mapping[str, Any]) -> tuple[Call, ...]:
    """Return the requests that a message takes if nothing goes wrong, in their order."""
    remote, version = conversation.remote, conversation.version
    first = () if remote.get("shown") == version else (Call.EDIT if "message" in remote else Call.POST,)
    return (*first, *[Call.POST] * (len(body["replies"]) - _replied(remote, version)))


def _replied(remote: Mapping[str, Any], version: int) -> int:
    of, count = remote.get("replied", (None, 0))
    return int(count) if of == version else 0


def _message_id(answer: HttpAnswer) -> int | None:
    result = answer.data.get("result")
    found = result.get("message_id") if answer.data.get("ok") is True and isinstance(result, dict) else None
    return found if isinstance(found, int) else None


# https://core.telegram.org/bots/api#authorizing-your-bot
_LOOKS_LIKE_A_BOT = r"""(?<!\d)\d{6,12}:[\w-]{35}(?![\w-])"""
TELEGRAM = ChannelSpec(
    name="telegram", title="Telegram", nothing_sent="No Telegram message yet.",
    section="telegram", settings=TelegramSettings, options=TelegramOptions, make=TelegramChannel,
    limits=CHAT_LIMITS, shared=ALL_CHATS_LIMITS, placeholder={"token": "0:preview"}, storm_every=10 * SECOND,
    storm_room=STORM_ROOM, edits=True, secret_pattern=_LOOKS_LIKE_A_BOT,
    importer=TelegramImport, draw=draw,
)  # fmt: skip
