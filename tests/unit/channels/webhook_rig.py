"""What the shared tests ask about webhooks."""

from collections.abc import Iterable, Mapping

from router.channels.webhook import WebhookChannel
from router.model import Broken, Rejected, Retry
from tests.unit.channels.rigs import (
    OUTAGES,
    REDIRECTS,
    UNKNOWN_STATUSES,
    ChannelRig,
    ImportSample,
    Meaning,
    by_status,
    first_and_update,
)
from tests.world.fake_anything import http
from tests.world.fake_webhook import FakeWebhook

_SECRETS = ("path-token-of-nobody", "bearer-token-of-nobody", "signing-secret-of-nobody")
# https://www.rfc-editor.org/rfc/rfc9110#section-15
_STATUSES: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *OUTAGES, *UNKNOWN_STATUSES),
    Broken: (401, 403, 404, 410, *REDIRECTS),
    Rejected: (400, 413, 415, 422),
}

RIG = ChannelRig(
    make=lambda settings, seconds: WebhookChannel(settings.model_copy(update={"timeout": seconds})),
    settings=lambda _: {},
    options=lambda address: {
        "url": f"http://{address}/hook/{_SECRETS[0]}", "bearer_token": _SECRETS[1], "secret": _SECRETS[2],
    },
    secrets=_SECRETS,
    fake=FakeWebhook,
    answers=tuple(by_status(_SECRETS, _STATUSES)),
    success=http(200),
    conversations=first_and_update(),
    succeeds_by_status=True,
    importing=ImportSample({"url": "https://hooks.example.com/"}, {"url": "${TEAM0_WEBHOOK_URL}", "name": "team0"}),
)  # fmt: skip
