"""Slack's incoming webhooks: for those who have no bot token. Each change of a conversation is a message of its own.

An incoming webhook answers ``ok`` and no id: no message can be edited, answered in a thread, or recognized when it comes
twice. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from router.channels import slack_drawing
from router.channels.base import ChannelSpec, StormOptions, destination_key, secret_address
from router.channels.http import REDIRECT_REASONS, REDIRECTS, HttpAnswer, HttpTransport, StatusTable
from router.channels.provider_words import masked_outcome, secret_parts
from router.channels.slack import CHANNEL_RATE, SHARED_LIMITS, SlackSettings
from router.channels.slack_mrkdwn import MRKDWN, fenced, markup_argument
from router.channels.slack_plain import has_buttons, without_buttons
from router.channels.slack_webhook_layout import STORM_ROOM, message_of, storm_message_of
from router.model import (
    MINUTE,
    Broken,
    Call,
    Conversation,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Outcome,
    Rejected,
)
from router.network import DIRECT, Network
from router.render import Templates

# What all incoming webhooks have in common.
_CAUSE = "slack webhooks"
_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 3
# Other webhooks of Slack take variables of a workflow instead of messages:
# https://docs.slack.dev/workflows/triggers (hooks.slack.com/workflows/…, /triggers/…)
_OTHER_WEBHOOKS = ("/workflows/", "/triggers/")

# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors and
# https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks
STATUSES = StatusTable(
    # A person has to make a new webhook, or to open the channel again.
    broken=REDIRECTS | {401, 403, 404, 410},
    # The message is sent without buttons, then as text; if that is refused as well, it is rejected.
    rejected=frozenset({400, 413, 415, 422}),
    waits=frozenset({429, 503}),
    reasons={
        400: "message refused", 401: "unauthorized", 403: "forbidden", 404: "no such webhook or channel",
        410: "channel is archived", 413: "too large", 415: "media type refused", 422: "message refused",
        429: "too many requests", **REDIRECT_REASONS,
    },
)  # fmt: skip
# The bodies of answers that are about the webhook, whatever their status is.
_WEBHOOK_BROKEN = frozenset({
    "no_service", "no_active_hooks", "no_team", "team_disabled", "invalid_token", "action_prohibited",
    "posting_to_general_channel_denied", "channel_not_found", "channel_is_archived", "user_not_found",
})  # fmt: skip


def _incoming_webhook(secret: SecretStr) -> SecretStr:
    parts = secret_address(
        secret, "is no web address; copy it from Incoming Webhooks of your app at api.slack.com/apps"
    )
    if (
        parts is not None
        and (parts.hostname or "").endswith("slack.com")
        and parts.path.startswith(_OTHER_WEBHOOKS)
    ):
        raise ValueError("belongs to a workflow, which takes no messages; make an incoming webhook")
    return secret


class SlackWebhookOptions(StormOptions):
    """``- slack: {webhook_url: …}`` of a receiver."""

    webhook_url: Annotated[SecretStr, AfterValidator(_incoming_webhook)]
    """Whoever has it can post."""
    channel: str | None = Field(default=None, min_length=1)
    """Another channel than the webhook's own. Only webhooks of the old kind, which belong to no app, obey it."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Names the destination in metrics and pages; otherwise a hash does."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the address and the channel are enough)
        identity = f"{self.webhook_url.get_secret_value()} {self.channel or ''}".strip()
        return destination_key("slack", self.name, hashlib.sha256(identity.encode()).hexdigest())


class SlackWebhookChannel:
    def __init__(
        self, settings: SlackSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: seconds for one request; to connect may take half of it"""
        del settings  # every webhook has an address of its own
        self._http = HttpTransport(
            network, timeout=timeout, attempt_timeout=_MAX_TIMEOUTS_PER_ATTEMPT * timeout
        )

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        values = templates.values(conversation, MRKDWN.escape)
        if conversation.storm is None:
            made, fallback = templates.fill("slack.j2", values, message_of)
        else:
            made, fallback = templates.fill("storm.txt.j2", values, storm_message_of)
        channel = destination.options.channel
        return Message("slack_webhook", {**made, **({"channel": channel} if channel else {})}, fallback)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        url = destination.options.webhook_url.get_secret_value()
        outcome = await self._http.attempt(self._post(url, conversation, message.body), _CAUSE)
        return masked_outcome(outcome, secret_parts(url))

    async def close(self) -> None:
        await self._http.close()

    async def _post(self, url: str, conversation: Conversation, body: Mapping[str, Any]) -> Outcome:
        """Post the message. If it is refused, send it without its buttons, and then as text, in the same attempt."""
        whole = {key: value for key, value in body.items() if key != "plain"}
        versions = [whole]
        if has_buttons(whole):
            versions.append(without_buttons(whole))
        versions.append({**whole, "text": fenced(body["plain"]), "blocks": [], "attachments": []})
        made = 0
        for each in versions:
            outcome = await self._request(url, each, conversation)
            if not isinstance(outcome, Rejected):
                break
            made += 1
        return replace(outcome, unpaid=(Call.POST,) * min(made, len(versions) - 1))

    async def _request(self, url: str, message: Mapping[str, Any], conversation: Conversation) -> Outcome:
        # https://docs.slack.dev/messaging/unfurling-links-in-messages
        whole = {**message, **markup_argument(message), "unfurl_links": False, "unfurl_media": False}
        data = json.dumps(whole).encode()
        headers = {"Content-Type": "application/json"}
        answer = await self._http.request("POST", url, data=data, headers=headers, body_matters=False)
        if answer.is_success:
            # Later messages have news; a storm's don't begin like its first one.
            return Delivered({"posted": True})
        return _failure(answer, conversation)


def _failure(answer: HttpAnswer, conversation: Conversation) -> Outcome:
    code = answer.body[:100].decode(errors="replace").strip()
    if answer.status < 500 and answer.status != 429 and code in _WEBHOOK_BROKEN:
        return Broken(f"http {answer.status}: {code}")
    return STATUSES.failure(answer, conversation.now, cause=_CAUSE if answer.status >= 500 else "")


SLACK_WEBHOOK = ChannelSpec(
    name="slack_webhook", title="Slack webhook", nothing_sent="No message through an incoming webhook yet.",
    keyword="slack", chosen_by="webhook_url", section="slack", section_is_optional=True,
    limitation=(
        "an incoming webhook can't edit messages or reply to them: each change is a message of its own",
        "nothing; or use a bot, with `token` in channels.slack: it keeps one message for each alert group",
    ),
    settings=SlackSettings, options=SlackWebhookOptions, make=SlackWebhookChannel, placeholder={"token": "preview"},
    # https://docs.slack.dev/apis/web-api/rate-limits: one message a second, with short bursts above it
    limits=LaneLimits(CHANNEL_RATE), shared=SHARED_LIMITS,
    # Nothing can be edited. As with mail, each message of a storm names what is new, and the next one waits.
    storm_every=5 * MINUTE, storm_room=STORM_ROOM, draw=slack_drawing.draw, updates=False,
)  # fmt: skip
