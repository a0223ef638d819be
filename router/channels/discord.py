"""Discord: one message a conversation, or a few if it is long, posted through a channel's webhook and edited as it changes."""

import hashlib
import re
from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from router.channels import discord_drawing
from router.channels.base import ChannelSettings, ChannelSpec, DestinationOptions, is_placeholder
from router.channels.discord_attempt import CAUSE, DiscordAttempt, posted_messages
from router.channels.discord_import import DiscordImport
from router.channels.discord_layout import escape, messages_of
from router.channels.http import HttpTransport
from router.channels.progress import with_progress
from router.channels.provider_words import masked_outcome, secret_parts
from router.model import (
    Call,
    Conversation,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Outcome,
)
from router.network import DIRECT, Network
from router.render import Templates

_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 3

_WEBHOOK_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s/?#]+)*/webhooks/(\d{1,20})/([\w-]+)/?", re.ASCII)


def _check_webhook_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not is_placeholder(text) and not _WEBHOOK_URL.fullmatch(text):
        raise ValueError("is no Discord webhook; copy its URL under Integrations in the channel's settings")
    return secret


class DiscordSettings(ChannelSettings):
    """``channels.discord``"""

    # https://docs.discord.com/developers/reference#api-versioning
    api_url: str = "https://discord.com/api/v10"
    """Discord's API, or that of a compatible server."""


class DiscordOptions(DestinationOptions):
    """``- discord: {…}`` of a receiver."""

    webhook_url: Annotated[SecretStr, AfterValidator(_check_webhook_url)]
    """https://discord.com/api/webhooks/ID/TOKEN. It is a secret: it is enough to post."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """The destination's name in metrics and pages; None: the webhook's ID is used."""

    thread_id: str | None = Field(default=None, pattern=r"^[0-9]{1,20}$")
    """The ID of a thread of the webhook's channel, or of a post of its forum; None: the channel itself.
    https://docs.discord.com/developers/resources/webhook#execute-webhook
    """

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the webhook and the thread are enough)
        """Return the key, which includes the thread: a message of one thread can't be edited through another."""
        key = f"discord:{self.name}-{self.webhook[0]}" if self.name else f"discord:{self.webhook[0]}"
        return f"{key}:{self.thread_id}" if self.thread_id is not None else key

    @property
    def webhook(self) -> tuple[str, str]:
        """Its ID and its token. In a check and in a preview both are made up."""
        url = self.webhook_url.get_secret_value()
        found = _WEBHOOK_URL.fullmatch(url)
        return (found[1], found[2]) if found else (hashlib.sha256(url.encode()).hexdigest()[:8], "")


class DiscordChannel:
    def __init__(
        self, settings: DiscordSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: seconds for one request; at most half of it to connect"""
        self._api_url = settings.api_url.rstrip("/")
        self._http = HttpTransport(
            network, timeout=timeout, attempt_timeout=_MAX_TIMEOUTS_PER_ATTEMPT * timeout
        )

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        bare = templates.values(conversation)
        messages, fallback = templates.fill(
            "discord.j2", templates.values(conversation, escape), lambda words: messages_of(words, bare)
        )
        posted = posted_messages(conversation.remote)
        stale = sum(
            each.is_stale(conversation.version, number, message)
            for number, (each, message) in enumerate(zip(posted, messages, strict=False))
        )
        calls = (Call.POST,) * (stale + abs(len(messages) - len(posted)))
        return Message("discord", {"messages": messages}, fallback, calls)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        """Continue with the first stale message: each one records the version that it shows."""
        options: DiscordOptions = destination.options
        webhook, token = options.webhook
        url = f"{self._api_url}/webhooks/{webhook}/{token}"
        attempt = DiscordAttempt(self._http, url, options.thread_id, conversation.remote, message.paid)
        outcome = await self._http.attempt(
            attempt.update(conversation.version, message.body["messages"], conversation.now), CAUSE
        )
        if isinstance(outcome, Delivered):
            outcome = Delivered(attempt.remote, rest=attempt.wait)
        outcome = with_progress(
            outcome, conversation, attempt.remote, "message", is_shown=attempt.shows_version
        )
        outcome = replace(outcome, unpaid=(Call.POST,) * attempt.unpaid)
        return masked_outcome(outcome, [token, *secret_parts(options.webhook_url.get_secret_value())])

    async def close(self) -> None:
        await self._http.close()


# Addresses that need no credentials: everyone who knows one can post there.
_SECRETS = r"""\b[^\s"',}\]/]*discord(?:app)?\.com/api/(?:v\d+/)?webhooks/[^\s"',}\]]+"""
DISCORD = ChannelSpec(
    name="discord", title="Discord", nothing_sent="No Discord message yet.",
    section="discord", settings=DiscordSettings, options=DiscordOptions, make=DiscordChannel,
    # "Rate limits should not be hard coded": the headers of each answer say when the next request is allowed. So
    # deliveries go one after the other. https://docs.discord.com/developers/topics/rate-limits
    limits=LaneLimits(), placeholder={}, importer=DiscordImport, draw=discord_drawing.draw,
    secret_pattern=_SECRETS,
)  # fmt: skip
