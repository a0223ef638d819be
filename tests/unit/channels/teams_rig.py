"""What the shared tests ask about Teams."""

from collections.abc import Iterable, Mapping

from router.channels.teams import TeamsChannel
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
from tests.world.fake_teams import FakeTeams

_SIGNATURE = "signature-of-nobody"
# https://www.rfc-editor.org/rfc/rfc9110#section-15
_STATUSES: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *OUTAGES, *UNKNOWN_STATUSES),
    Broken: (401, 403, 404, 410, *REDIRECTS),
    Rejected: (400, 413, 415, 422),
}

RIG = ChannelRig(
    make=lambda settings, seconds: TeamsChannel(settings, timeout=seconds),
    settings=lambda _: {},
    options=lambda address: {"webhook_url": f"http://{address}/workflows/1?sig={_SIGNATURE}"},
    secrets=(_SIGNATURE,),
    fake=FakeTeams,
    answers=tuple(by_status([_SIGNATURE], _STATUSES)),
    success=http(202),
    conversations=first_and_update(posted=True),
    succeeds_by_status=True,
    secret_texts=(
        "prod-1.westus.logic.azure.com:443/workflows/1/triggers/manual/paths/invoke?sig=abc",
        "env.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/1?sig=abc",
        "contoso.webhook.office.com/webhookb2/1/IncomingWebhook/2",
    ),
    importing=ImportSample(
        {"webhook_url": "https://prod-1.logic.azure.com/workflows/1"},
        {"webhook_url": "${TEAM0_TEAMS_WEBHOOK_URL}", "name": "team0"},
    ),
)
