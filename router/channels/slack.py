"""Slack: one message a conversation, edited as it changes. Its history and what it has no room for are in the thread."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field, SecretStr

from router.channels import slack_drawing
from router.channels.base import ChannelSpec, EditSettings, StormOptions
from router.channels.http import HttpTransport
from router.channels.provider_words import masked_outcome
from router.channels.slack_calls import calls_of
from router.channels.slack_import import SlackImport
from router.channels.slack_layout import message_of
from router.channels.slack_mrkdwn import MRKDWN
from router.channels.slack_storm import STORM_ROOM, storm_message_of
from router.model import (
    MINUTE,
    SECOND,
    Conversation,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Outcome,
    Rate,
    Retry,
    SharedLimits,
)
from router.network import DIRECT, Network
from router.render import Templates

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 3


class SlackSettings(EditSettings):
    """``channels.slack``"""

    token: SecretStr | None = None
    """The bot's token; None: there are destinations with an incoming webhook only."""
    api_url: str | None = None
    """The API of a compatible server; None: Slack's."""


class SlackOptions(StormOptions):
    """``- slack: {…}`` of a receiver."""

    channel: str = Field(min_length=1)
    """The channel's ID (C…), as "About" of the channel shows it."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the channel's name is enough)
        return f"slack:{self.channel}"


class SlackChannel:
    """Keeps one message a conversation.

    An update edits the message and posts the news in its thread, once a version. What the message has no room for is in
    numbered replies, which show the current state too: a reply whose text changed is edited, more replies are posted when
    there is more, and a reply that is not needed any more says so. Each call is paid for by itself: an attempt makes the
    calls that are paid for, and the next attempt continues. An edit sends no notification. A message whose answer was lost
    is looked for in the channel's history before it is posted again; a reply is not.

    A message that was removed, or whose thread is locked, is posted again. One that Slack does not let us edit is
    sealed: each update is then a reply with the new state, and with the new alerts that it has no room for.

    The conversation's ``remote`` grows with each step, so that the next attempt continues from there:

    - ``channel``, ``ts``: the message
    - ``shown``, ``threaded``: the version that the message shows, and the version that its thread has
    - ``parts``: for each numbered reply, its ts and a hash of its content
    - ``plain``: the version that could be sent as plain text only
    - ``sealed``: the version since which the message can't be edited
    - ``doubt``: instead of all these, the time since which there may be a message whose ts is unknown (epoch ms)
    """

    def __init__(
        self, settings: SlackSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: seconds for one call; at most half of it to connect"""
        self._settings = settings
        self._network = network
        self._http = HttpTransport(network, timeout=timeout)
        self._attempt_timeout = _MAX_TIMEOUTS_PER_ATTEMPT * timeout
        self._client: AsyncWebClient | None = None

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        if conversation.storm is None:
            name, layout = "slack.j2", message_of
        else:
            name, layout = "storm.txt.j2", storm_message_of
        values = templates.values(conversation, MRKDWN.escape)
        made, fallback = templates.fill(name, values, lambda words: layout(words, conversation))
        body = {"channel": destination.options.channel, **made}
        return Message("slack", body, fallback, calls_of(conversation, body))

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        from router.channels.slack_attempt import SlackAttempt, UnfinishedError, outcome_of
        from router.channels.slack_errors import FAULTS, failure_of

        attempt = SlackAttempt(self._connected(), conversation, message.paid)
        outcome: Outcome
        try:
            async with asyncio.timeout(self._attempt_timeout):
                await attempt.update(destination.options.channel, message.body)
            outcome = Delivered(attempt.remote)
        except UnfinishedError:
            more = Retry("more replies follow", reached=True, unfinished=True)
            outcome = outcome_of(more, attempt.remote, conversation)
        except FAULTS as error:
            secrets = [self._token, *self._network.secrets]
            outcome = masked_outcome(
                outcome_of(failure_of(error, conversation.now), attempt.remote, conversation), secrets
            )
        return replace(outcome, unpaid=tuple(attempt.unpaid))

    async def close(self) -> None:
        self._client = None
        await self._http.close()

    def _connected(self) -> "AsyncWebClient":
        """Return the client. It is made on first use, because a session belongs to the running loop."""
        from slack_sdk.web.async_client import AsyncWebClient

        if self._client is None:
            self._client = AsyncWebClient(
                token=self._token,
                session=self._http.session,
                retry_handlers=[],
                base_url=_slash(self._settings.api_url or AsyncWebClient.BASE_URL),
            )
            # Else the SDK sends everything through HTTPS_PROXY.
            self._client.proxy = self._network.proxy_for(self._client.base_url)
        return self._client

    @property
    def _token(self) -> str:
        return self._settings.token.get_secret_value() if self._settings.token is not None else ""


def _slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


# Addresses that need no credentials (everyone who knows one can post there), and tokens. https://docs.slack.dev/authentication/tokens
_SECRETS = r"""\bhooks\.slack(?:-gov)?\.com/[^\s"',}\]]+ | \bxox[a-z]-[\w.-]+ | \bxapp-[\w.-]+"""
# https://docs.slack.dev/apis/web-api/rate-limits: one message a second a channel, with short bursts above it; several
# hundred messages a minute a workspace; Tier 3, which chat.update is in, 50 and more a minute.
CHANNEL_RATE = Rate(1, SECOND, burst=3)
SHARED_LIMITS = SharedLimits(Rate(4, SECOND, burst=10), edit_rate=Rate(50, MINUTE, burst=5))
SLACK = ChannelSpec(
    name="slack", title="Slack", nothing_sent="No Slack message yet.",
    section="slack", settings=SlackSettings, options=SlackOptions, make=SlackChannel,
    placeholder={"token": "preview"}, needed_settings=("token",),
    limits=LaneLimits(CHANNEL_RATE, max_concurrency=4), shared=SHARED_LIMITS,
    storm_every=5 * SECOND, storm_room=STORM_ROOM, edits=True, importer=SlackImport, draw=slack_drawing.draw,
    secret_pattern=_SECRETS, notification=slack_drawing.notification,
)  # fmt: skip
