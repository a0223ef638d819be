"""Microsoft Teams: each change of a conversation is a card of its own, posted through a workflow's webhook.

A workflow answers 202 and no id: no message can be edited, answered in a thread, or recognized when it comes twice.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from router.channels.base import ChannelSpec, StormOptions, StormSettings, destination_key, secret_address
from router.channels.http import REDIRECT_REASONS, REDIRECTS, HttpTransport, StatusTable
from router.channels.importing import CORRECT_IT, ChannelImport, Node
from router.channels.provider_words import masked_outcome, secret_parts
from router.channels.teams_card import (
    MARKDOWN,
    MAX_BODY_BYTES,
    STORM_ROOM,
    card_of,
    encoded,
    plain_card,
)
from router.channels.teams_drawing import draw
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
    Rate,
    Rejected,
)
from router.network import DIRECT, Network
from router.render import Templates, Words
from router.render.facts import plain_facts

# What all workflows have in common.
_CAUSE = "teams"
_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 2
# https://devblogs.microsoft.com/microsoft365dev/retirement-of-office-365-connectors-within-microsoft-teams/
_RETIRED_HOSTS = ("webhook.office.com", "outlook.office.com", "outlook.office365.com")

# https://www.rfc-editor.org/rfc/rfc9110#section-15. https://learn.microsoft.com/en-us/connectors/teams/ lists no statuses
# of the trigger.
STATUSES = StatusTable(
    # A person has to create a new URL for the workflow, or to turn the workflow on.
    broken=REDIRECTS | {401, 403, 404, 410},
    # A card of text alone is sent instead; if that is refused as well, the message is rejected.
    rejected=frozenset({400, 413, 415, 422}),
    waits=frozenset({429, 503}),
    reasons={
        400: "card refused", 401: "signature refused", 403: "forbidden", 404: "no such workflow",
        410: "workflow is gone", 413: "too large", 415: "media type refused", 422: "card refused",
        429: "too many requests", **REDIRECT_REASONS,
    },
)  # fmt: skip


# A workflow that is off or deleted answers 400 with this code; Microsoft documents it nowhere.
_WORKFLOW_OFF = "WorkflowTriggerIsNotEnabled"


def _workflow(secret: SecretStr) -> SecretStr:
    parts = secret_address(secret, "is no web address; copy it from the workflow's webhook trigger in Teams")
    if parts is not None and (parts.hostname or "").endswith(_RETIRED_HOSTS):
        raise ValueError("is a connector that Microsoft retired; make a workflow in Teams, and copy its URL")
    return secret


class TeamsSettings(StormSettings):
    """``channels.teams``"""


class TeamsOptions(StormOptions):
    """``- teams: {…}`` of a receiver."""

    webhook_url: Annotated[SecretStr, AfterValidator(_workflow)]
    """The URL of the trigger "When a Teams webhook request is received". Anyone who has it can post."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Names the destination in metrics and pages; otherwise a hash of the URL does."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the address is enough)
        sha256 = hashlib.sha256(self.webhook_url.get_secret_value().encode()).hexdigest()
        return destination_key("teams", self.name, sha256)


class TeamsChannel:
    def __init__(
        self, settings: TeamsSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:  # fmt: skip
        """:param timeout: seconds for one request; at most half of it to connect"""
        del settings  # every workflow has an address of its own
        self._http = HttpTransport(
            network, timeout=timeout, attempt_timeout=_MAX_TIMEOUTS_PER_ATTEMPT * timeout
        )

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        values, bare = templates.values(conversation, MARKDOWN.escape), templates.values(conversation)
        links = [
            *bare.get("links", ()),
            (bare.get("sender", "Alertmanager"), bare.get("external_url") or bare.get("link")),
        ]
        named = [(name, address) for name, address in links if address]
        name = "teams.j2" if conversation.storm is None else "storm.txt.j2"
        card, fallback = templates.fill(name, values, lambda words: card_of(words, named))
        if len(encoded(card)) > MAX_BODY_BYTES:  # a template of the user's says more than the shipped one
            card, fallback = card_of(Words(plain_facts, values), named), True
        return Message("teams", {"card": card}, fallback)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        options: TeamsOptions = destination.options
        url = options.webhook_url.get_secret_value()
        outcome = await self._http.attempt(self._post(url, conversation, message), _CAUSE)
        return masked_outcome(outcome, secret_parts(url))

    async def close(self) -> None:
        await self._http.close()

    async def _post(self, url: str, conversation: Conversation, message: Message) -> Outcome:
        """Post the card. A card that is refused is sent as text, in the same attempt, so that the alert arrives."""
        card = message.body["card"]
        outcome = await self._request(url, card, conversation)
        if isinstance(outcome, Rejected):
            again = await self._request(url, plain_card(card), conversation)
            outcome = replace(again, unpaid=(Call.POST,))
        return outcome

    async def _request(self, url: str, card: dict[str, Any], conversation: Conversation) -> Outcome:
        headers = {"Content-Type": "application/json"}
        answer = await self._http.request(
            "POST", url, data=encoded(card), headers=headers, body_matters=False
        )
        if answer.is_success:
            # A storm's later messages don't begin like its first one.
            return Delivered({"posted": True})
        error = answer.data.get("error", answer.data)
        if answer.status == 400 and isinstance(error, dict) and error.get("code") == _WORKFLOW_OFF:
            return Broken("http 400: workflow is off or deleted", words=answer.words)
        return STATUSES.failure(answer, conversation.now, cause=_CAUSE if answer.status >= 500 else "")


class TeamsImport(ChannelImport):
    """https://prometheus.io/docs/alerting/latest/configuration/#msteamsv2_config"""

    configs_key = "msteamsv2_configs"
    message_keys = frozenset({"title", "text"})
    retired_keys: ClassVar[Mapping[str, tuple[str, str]]] = {
        "msteams_configs": (
            "msteams_configs posts to connectors that Microsoft retired; it is left out",
            "make a workflow in Teams, and a teams destination with its webhook_url",
        )
    }

    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:
        secret = self.context.variables.secret(config, "webhook_url", receiver, "TEAMS_WEBHOOK_URL")
        if secret is None:
            config.note("msteamsv2_configs has no webhook_url; it is left out", CORRECT_IT)
            return None
        if self.settings is None:
            self.settings = {}
        return {"webhook_url": secret, "name": self.context.destination_name(receiver, {"url": secret})}


# The URL of a workflow, and of the connectors before it: whoever has it can post.
# https://learn.microsoft.com/en-us/azure/connectors/connectors-native-reqres
_WORKFLOW_URL = (
    r"""\b[^\s"',}\]/]*(?:logic\.azure|powerplatform|webhook\.office)\.com(?::\d+)?/[^\s"',}\]]+"""
)
TEAMS = ChannelSpec(
    name="teams", title="Teams", nothing_sent="No Teams message yet.",
    section="teams", settings=TeamsSettings, options=TeamsOptions, make=TeamsChannel,
    # https://learn.microsoft.com/en-us/connectors/teams/#limits: 300 calls in 300 s; and
    # https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using#rate-limiting-for-connectors:
    # four in a second. The burst is within both.
    limits=LaneLimits(Rate(59, MINUTE, burst=3)), placeholder={},
    # Nothing can be edited. As with mail, each message of a storm names what is new, and the next one waits.
    storm_every=5 * MINUTE, storm_room=STORM_ROOM, importer=TeamsImport, draw=draw, updates=False,
    secret_pattern=_WORKFLOW_URL,
)  # fmt: skip
