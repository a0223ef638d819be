"""What the shared tests ask about Slack's incoming webhooks."""

from collections.abc import Iterable, Iterator, Mapping

from router.channels.slack_webhook import SlackWebhookChannel
from router.model import Broken, Rejected, Retry
from tests.unit.channels.rigs import (
    OUTAGES,
    REDIRECTS,
    UNKNOWN_STATUSES,
    Answer,
    ChannelRig,
    Meaning,
    by_status,
    first_and_update,
)
from tests.world.fake_anything import http
from tests.world.fake_slack_webhook import SECRET, FakeSlackWebhook

# https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks
_STATUSES: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *OUTAGES, *UNKNOWN_STATUSES),
    Broken: (401, 403, 404, 410, *REDIRECTS),
    Rejected: (400, 413, 415, 422),
}
_BODIES: Mapping[str, tuple[int, Meaning]] = {
    "invalid_payload": (400, Rejected), "no_text": (400, Rejected), "too_many_attachments": (400, Rejected),
    "user_not_found": (400, Broken), "no_service": (400, Broken), "no_active_hooks": (404, Broken),
    "no_team": (404, Broken), "team_disabled": (403, Broken), "invalid_token": (403, Broken),
    "action_prohibited": (403, Broken), "posting_to_general_channel_denied": (403, Broken),
    "channel_not_found": (404, Broken), "channel_is_archived": (410, Broken), "rollup_error": (500, Retry),
}  # fmt: skip


def _answers() -> Iterator[Answer]:
    for body, (status, meaning) in _BODIES.items():
        yield Answer(body, http(status, body.encode()), meaning)
    yield from by_status([SECRET], _STATUSES)


RIG = ChannelRig(
    make=lambda settings, seconds: SlackWebhookChannel(settings, timeout=seconds),
    settings=lambda _: {},
    options=lambda address: {"webhook_url": f"http://{address}/services/T0/B0/{SECRET}"},
    secrets=(SECRET,),
    fake=FakeSlackWebhook,
    answers=tuple(_answers()),
    success=http(200, b"ok"),
    conversations=first_and_update(posted=True),
    succeeds_by_status=True,
)
