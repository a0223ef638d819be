"""What the shared tests ask about Slack."""

from collections.abc import Iterator

from router.channels.slack import SlackChannel
from router.channels.slack_drawing import mrkdwn
from router.model import Broken, Rejected, Retry
from tests.unit.channels.rigs import (
    OUTAGES,
    UNKNOWN_STATUSES,
    Answer,
    ChannelRig,
    ImportSample,
    MarkupSample,
    Meaning,
    by_status,
    echo,
    first_and_update,
)
from tests.world.fake_anything import http
from tests.world.fake_slack import FakeSlack

_TOKEN = "xoxb-token-of-nobody"
# https://docs.slack.dev/reference/methods/chat.postMessage#errors and …/chat.update#errors
_CODES: tuple[tuple[Meaning, tuple[str, ...]], ...] = (
    (Retry, (
        "ratelimited", "rate_limited", "service_unavailable", "request_timeout", "internal_error", "fatal_error",
        "team_added_to_org", "message_not_found", "cant_update_message", "edit_window_closed", "a_code_of_tomorrow",
    )),
    (Broken, (
        "channel_not_found", "not_in_channel", "is_archived", "restricted_action", "missing_scope", "invalid_auth",
        "not_authed", "token_revoked", "token_expired", "account_inactive", "access_denied",
    )),
    (Rejected, (
        "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text",
        "too_many_attachments", "metadata_too_large",
    )),
)  # fmt: skip


def _answers() -> Iterator[Answer]:
    for meaning, codes in _CODES:
        for code in codes:
            yield Answer(code, http(200, echo([_TOKEN], ok=False, error=code)), meaning)
    yield from by_status([_TOKEN], {Retry: (429, *OUTAGES, *UNKNOWN_STATUSES)})


RIG = ChannelRig(
    make=lambda settings, seconds: SlackChannel(settings, timeout=seconds),
    settings=lambda address: {"token": _TOKEN, "api_url": f"http://{address}/api/"},
    options=lambda _: {"channel": "C0CRITICAL"},
    secrets=(_TOKEN,),
    fake=FakeSlack,
    answers=tuple(_answers()),
    success=http(200, b'{"ok": true, "channel": "C0CRITICAL", "ts": "1.2"}'),
    conversations=first_and_update(channel="C0CRITICAL", ts="1.2", threaded=1),
    drops_pages=True,
    markup=MarkupSample(
        mrkdwn, "*a* _b_ ~c~ `d` <https://e.example|f &amp; g> :fire: :unknown:",
        '<strong>a</strong> <em>b</em> <s>c</s> <code>d</code> <a href="https://e.example" rel="noopener noreferrer" '
        'target="_blank">f &amp; g</a> 🔥 :unknown:',
    ),
    secret_texts=("hooks.slack.com/services/T0/B0/xyz", "xoxb-1234-abcd"),
    importing=ImportSample({"channel": "C012345678"}, {"channel": "C012345678"}, sends_resolved=False),
)  # fmt: skip
