"""What the shared tests ask about PagerDuty."""

from collections.abc import Iterable, Iterator, Mapping

from router.channels.pagerduty import PagerDutyChannel
from router.model import Broken, Rejected, Retry
from tests.unit.channels.rigs import (
    OUTAGES,
    REDIRECTS,
    UNKNOWN_STATUSES,
    Answer,
    ChannelRig,
    ImportSample,
    Meaning,
    by_status,
    echo,
    first_and_update,
)
from tests.world.fake_anything import http
from tests.world.fake_pagerduty import FakePagerDuty

_ROUTING_KEY = "fake-routing-key-of-32-character"
# https://developer.pagerduty.com/docs/events-api-v2-overview#response-codes--retry-logic
_STATUSES: Mapping[Meaning, Iterable[int]] = {
    Retry: (408, 425, 429, *OUTAGES, *UNKNOWN_STATUSES),
    Broken: (401, 403, 404, 410, *REDIRECTS),
    Rejected: (400, 413),
}


def _answers() -> Iterator[Answer]:
    yield from by_status([_ROUTING_KEY], _STATUSES)
    for words, meaning in (
        (f"Invalid routing key {_ROUTING_KEY}", Broken),
        (f"Length of 'routing_key' is incorrect: {_ROUTING_KEY}", Broken),
        (f"'payload.summary' is blank: {_ROUTING_KEY}", Rejected),
    ):
        yield Answer(words, http(400, echo([_ROUTING_KEY], errors=[words])), meaning)


RIG = ChannelRig(
    make=lambda settings, seconds: PagerDutyChannel(settings, timeout=seconds),
    settings=lambda address: {"events_url": f"http://{address}"},
    options=lambda _: {"routing_key": _ROUTING_KEY},
    secrets=(_ROUTING_KEY,),
    fake=FakePagerDuty,
    answers=tuple(_answers()),
    success=http(202, b'{"status": "success", "message": "Event processed", "dedup_key": "x"}'),
    conversations=first_and_update(dedup_key="opened-by"),
    waits_in_a_thread=True,
    importing=ImportSample(
        {"routing_key_file": "/run/key"}, {"routing_key": {"file": "/run/key"}, "name": "team0"}
    ),
)
