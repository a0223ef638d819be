"""Slack: a message a conversation, edited as it changes; its history and what it can't hold in the thread."""

import asyncio
from dataclasses import replace

from pydantic import Field, SecretStr
from slack_sdk.web.async_client import AsyncWebClient

from router.channels import slack_drawing
from router.channels.base import ChannelSpec, EditSettings, StormOptions
from router.channels.http import HttpTransport
from router.channels.provider_words import masked_outcome
from router.channels.slack_attempt import Attempt, UnfinishedError, calls_of, outcome_of
from router.channels.slack_errors import FAULTS, judged
from router.channels.slack_import import SlackImport
from router.channels.slack_layout import escape, render, render_fallback
from router.channels.slack_storm import STORM_ROOM, render_storm_fallback, storm
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
from router.render import TemplateError, Templates

_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 3


class SlackSettings(EditSettings):
    """``channels.slack``"""

    token: SecretStr
    api_url: str | None = None
    """Of a compatible server."""


class SlackOptions(StormOptions):
    """``- slack: {…}`` of a receiver."""

    channel: str = Field(min_length=1)
    """The channel's ID (C…), as "About" of the channel shows it."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the channel's name is enough)
        return f"slack:{self.channel}"


class SlackChannel:
    """One message a conversation.

    An update edits it and tells the news in its thread, once a version. What it has no room for stands in numbered
    replies, which show the present as it does: those whose words changed are edited, more are posted when there is
    more, and one that is not needed any more says so. Each is paid for by itself: an attempt makes the calls that are
    paid for and goes on the next time. An edit notifies nobody. A message whose answer got lost is
    looked for in the channel's history before it is posted again; a reply is not.

    A message that is gone, or whose thread is locked, is posted anew. One that Slack lets nobody edit is sealed:
    each update replies with the new state, and with alerts that are new and have no room there.

    The conversation's ``remote`` grows with each step, so that the next attempt goes on from there:

    - ``channel``, ``ts``: the message
    - ``shown``, ``threaded``: the version that it shows, and that its thread was told
    - ``parts``: of each numbered reply its ts and a hash of its words
    - ``sealed``: since which version it can't be edited
    - ``doubt``: instead of all that, since when there may be a message whose ts is unknown
    """

    def __init__(
        self, settings: SlackSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: seconds for one call; to connect may take half of it"""
        self._settings = settings
        self._network = network
        self._http = HttpTransport(network, timeout=timeout)
        self._attempt_timeout = _MAX_TIMEOUTS_PER_ATTEMPT * timeout
        self._client: AsyncWebClient | None = None

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        values = templates.values(conversation, escape)
        stormy, fallback = conversation.storm is not None, False
        try:
            body = (
                storm(destination, conversation, templates, values)
                if stormy
                else render(destination, conversation, templates, values)
            )
        except TemplateError:
            fallback = True
            body = (
                render_storm_fallback(destination, conversation, values)
                if stormy
                else render_fallback(destination, conversation, values)
            )
        return Message("slack", body, fallback, calls_of(conversation, body))

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        attempt = Attempt(self._connected(), conversation, message.paid)
        outcome: Outcome
        try:
            async with asyncio.timeout(self._attempt_timeout):
                await attempt.bring(destination.options.channel, message.body)
            outcome = Delivered(attempt.remote)
        except UnfinishedError:
            more = Retry("more replies follow", reached=True, unfinished=True)
            outcome = outcome_of(more, attempt.remote, conversation)
        except FAULTS as error:
            secrets = [self._settings.token.get_secret_value(), *self._network.secrets]
            outcome = masked_outcome(outcome_of(judged(error), attempt.remote, conversation), secrets)
        return replace(outcome, unpaid=tuple(attempt.unpaid))

    async def close(self) -> None:
        self._client = None
        await self._http.close()

    def _connected(self) -> AsyncWebClient:
        """Made on first use: a session belongs to the running loop."""
        if self._client is None:
            self._client = AsyncWebClient(
                token=self._settings.token.get_secret_value(),
                session=self._http.session,
                retry_handlers=[],
                base_url=_slash(self._settings.api_url or AsyncWebClient.BASE_URL),
            )
            # Else the SDK sends everything through HTTPS_PROXY.
            self._client.proxy = self._network.proxy_for(self._client.base_url)
        return self._client


def _slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


SLACK = ChannelSpec(
    name="slack", title="Slack", nothing_sent="No Slack message yet.", section="slack", settings=SlackSettings, options=SlackOptions, make=SlackChannel, placeholder={"token": "preview"},
    # https://docs.slack.dev/apis/web-api/rate-limits: one message a second a channel, with short bursts above it; several
    # hundred messages a minute a workspace; Tier 3, which chat.update is in, 50 and more a minute.
    limits=LaneLimits(Rate(1, SECOND, burst=3), max_concurrency=4),
    shared=SharedLimits(Rate(4, SECOND, burst=10), edit_rate=Rate(50, MINUTE, burst=5)),
    storm_every=5 * SECOND, storm_room=STORM_ROOM, edits=True, importer=SlackImport, draw=slack_drawing.draw,
)  # fmt: skip
