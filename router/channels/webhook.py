"""A signed webhook with Alertmanager's own payload, for programs that take Alertmanager's webhooks."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, model_validator

from router.channels import webhook_drawing
from router.channels.base import (
    ChannelSettings,
    ChannelSpec,
    DestinationOptions,
    Section,
    destination_key,
    is_placeholder,
)
from router.channels.http import REDIRECT_REASONS, REDIRECTS, HttpTransport, StatusTable
from router.channels.provider_words import masked_outcome, secret_parts
from router.channels.webhook_import import WebhookImport
from router.model import (
    SECOND,
    Alert,
    Broken,
    Conversation,
    Destination,
    Labels,
    LaneLimits,
    Message,
    Millis,
    Outcome,
    Retry,
    Status,
)
from router.network import DIRECT, Network
from router.render import Templates
from router.render.words import moment, web_address
from router.trace_headers import TRACE_HEADERS

# https://www.rfc-editor.org/rfc/rfc9110#section-15; 422: section-15.5.21
STATUSES = StatusTable(
    # A person has to repair the address or the credentials.
    broken=REDIRECTS | {401, 403, 404, 410},
    # There is no plainer payload to send instead: the shape is Alertmanager's.
    rejected=frozenset({400, 413, 415, 422}),
    waits=frozenset({429, 503}),
    reasons={
        400: "bad request", 401: "credentials refused", 403: "forbidden", 404: "nothing at this address",
        408: "request timeout", 410: "gone", 413: "too large", 415: "media type refused", 422: "payload refused",
        425: "too early", 429: "too many requests", **REDIRECT_REASONS,
    },
)  # fmt: skip

# https://pkg.go.dev/time#Time.IsZero: how Alertmanager writes a missing time.
_ZERO_TIME = "0001-01-01T00:00:00Z"
_UTC = ZoneInfo("UTC")


def _check_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if is_placeholder(text):
        return secret
    try:
        has_user = urlsplit(text).username is not None
    except ValueError:
        has_user = False
    if has_user:
        raise ValueError("url contains a user; move the user and the password to basic_auth")
    if not web_address(text):
        raise ValueError("is not a web address; write it like https://hooks.example.com/alerts")
    return secret


def _check_bearer_token(secret: SecretStr) -> SecretStr:
    # A little more than https://www.rfc-editor.org/rfc/rfc6750#section-2.1 allows
    if not re.fullmatch(r"[\x21-\x7e]+", secret.get_secret_value()):
        raise ValueError(
            "is not a bearer token; it may not contain blanks, line ends or characters beyond ASCII"
        )
    return secret


class WebhookSettings(ChannelSettings):
    """``channels.webhook``"""

    timeout: float = Field(default=10, gt=0, le=60)
    """Seconds for one attempt; at most half of it to connect."""


class BasicAuth(Section):
    # https://www.rfc-editor.org/rfc/rfc7617#section-2: the first colon separates user and password
    username: str = Field(pattern=r"^[^:]+$")
    password: SecretStr


class WebhookOptions(DestinationOptions):
    """``- webhook: {…}`` of a receiver."""

    url: Annotated[SecretStr, AfterValidator(_check_url)]
    """A secret, because it may hold a token."""
    bearer_token: Annotated[SecretStr, AfterValidator(_check_bearer_token)] | None = None
    basic_auth: BasicAuth | None = None
    secret: SecretStr | None = Field(default=None, min_length=1)
    """The key that signs each request (HMAC-SHA256)."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """The destination's name in metrics and pages; None: a hash of the URL is used."""

    @model_validator(mode="after")
    def _one_credential(self) -> "WebhookOptions":
        if self.bearer_token is not None and self.basic_auth is not None:
            raise ValueError("a request has one Authorization; keep bearer_token or basic_auth")
        return self

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the address is enough)
        sha256 = hashlib.sha256(self.url.get_secret_value().encode()).hexdigest()
        return destination_key("webhook", self.name, sha256)

    @property
    def cause(self) -> str:
        """The cause that all addresses of one server share, see :class:`router.model.Retry`."""
        server = urlsplit(self.url.get_secret_value()).netloc
        return f"webhook:{hashlib.sha256(server.encode()).hexdigest()[:8]}"

    @property
    def secrets(self) -> list[str]:
        """The texts that must not appear in messages."""
        given = (self.bearer_token, self.secret, self.basic_auth and self.basic_auth.password)
        # A server may quote the Authorization header, which has user and password encoded together.
        pair = self.basic_auth and f"{self.basic_auth.username}:{self.basic_auth.password.get_secret_value()}"
        return [
            *secret_parts(self.url.get_secret_value()),
            *(each.get_secret_value() for each in given if each),
            *([pair] if pair else []),
        ]


class WebhookChannel:
    def __init__(self, settings: WebhookSettings, network: Network = DIRECT) -> None:
        self._http = HttpTransport(network, timeout=settings.timeout)

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        """Return Alertmanager's payload: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config"""
        alerts = [each.alert for each in conversation.alerts]
        body = {
            "version": "4",
            "groupKey": conversation.token,
            "truncatedAlerts": conversation.truncated + conversation.left_out,
            # How many of the truncated alerts are certainly resolved, so that the receiver need not wait for them.
            **({"truncatedResolved": conversation.left_out} if conversation.left_out else {}),
            "status": "resolved" if conversation.over else "firing",
            "receiver": conversation.receiver,
            "groupLabels": dict(conversation.group_labels),
            "commonLabels": _common([alert.labels for alert in alerts]),
            "commonAnnotations": _common([alert.annotations for alert in alerts]),
            "externalURL": conversation.external_url,
            "alerts": [_alert(alert) for alert in alerts],
        }
        return Message("webhook", body)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        options: WebhookOptions = destination.options
        outcome = await self._http.attempt(self._post(options, conversation, message))
        if isinstance(outcome, Retry | Broken):
            outcome = replace(outcome, cause=options.cause)
        return masked_outcome(outcome, options.secrets)

    async def close(self) -> None:
        await self._http.close()

    async def _post(self, options: WebhookOptions, conversation: Conversation, message: Message) -> Outcome:
        raw = json.dumps(message.body, separators=(",", ":")).encode()
        answer = await self._http.request(
            "POST",
            options.url.get_secret_value(),
            data=raw,
            headers=_headers(options, conversation, raw),
            body_matters=False,
        )
        return STATUSES.outcome(answer, conversation.now)


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "status": alert.status.value,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": _rfc3339(alert.starts_at),
        "endsAt": _rfc3339(alert.ends_at if alert.status is Status.RESOLVED else None),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def _common(several: Sequence[Labels]) -> dict[str, str]:
    if not several:
        return {}
    first, *rest = several
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in rest)}


def _rfc3339(at: Millis | None) -> str:
    if at is None:
        return _ZERO_TIME
    return moment(at, _UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _headers(options: WebhookOptions, conversation: Conversation, raw: bytes) -> dict[str, str]:
    timestamp = conversation.now // SECOND
    headers = {
        "Content-Type": "application/json",
        # https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
        "Idempotency-Key": f"{conversation.token}-{conversation.episode}-{conversation.revision}",
        "X-Alert-Router-Timestamp": str(timestamp),
        **TRACE_HEADERS.get(),
    }
    if options.secret is not None:
        key = options.secret.get_secret_value().encode()
        signature = hmac.new(key, b"%d.%b" % (timestamp, raw), hashlib.sha256).hexdigest()
        headers["X-Alert-Router-Signature"] = f"v1={signature}"
    if options.bearer_token is not None:
        headers["Authorization"] = f"Bearer {options.bearer_token.get_secret_value()}"
    if options.basic_auth is not None:
        pair = f"{options.basic_auth.username}:{options.basic_auth.password.get_secret_value()}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers


# Alertmanager has no rate limit for webhooks. 16 at the same time leave connections of a small server for other clients:
# https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
WEBHOOK = ChannelSpec(
    name="webhook", title="Webhook", nothing_sent="No webhook was posted yet.",
    section="webhook", settings=WebhookSettings, options=WebhookOptions, make=WebhookChannel,
    limits=LaneLimits(max_concurrency=16), placeholder={}, dedupes=True, machine=True, importer=WebhookImport, draw=webhook_drawing.draw,
)  # fmt: skip
