"""Remembers which trace reported an alert, so that the delivery continues that trace."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain, islice
from typing import Generic, TypeVar

from router.core.claimed_delivery import ClaimedDelivery
from router.model import Alert, Webhook

T = TypeVar("T")

_MAX_ALERTS = 10_000
_MAX_ALERTS_OF_A_WEBHOOK = 1_000
_MAX_ALERTS_OF_A_DELIVERY = 200

_Key = tuple[str, str, str, int | None]


class TraceOrigins(Generic[T]):
    """The trace of the webhook that first reported each state of an alert.

    It is in memory, and holds the last 10,000 states. A delivery whose webhook is not in it, for example after a restart,
    begins a trace of its own.
    """

    def __init__(self, max_alerts: int = _MAX_ALERTS) -> None:
        self._max_alerts = max_alerts
        self._origins: OrderedDict[_Key, T] = OrderedDict()

    def add(self, webhook: Webhook, source: str, origin: T) -> None:
        """Remember the trace of a webhook, for each state that no earlier webhook reported: a repeat causes nothing."""
        for alert in webhook.alerts[:_MAX_ALERTS_OF_A_WEBHOOK]:
            self._origins.setdefault(_key(source, alert), origin)
        while len(self._origins) > self._max_alerts:
            self._origins.popitem(last=False)

    def of(self, work: ClaimedDelivery) -> tuple[T, ...]:
        """Return the different traces that reported the news of a delivery, in the order of its alerts."""
        found = {id(origin): origin for key in _keys(work) if (origin := self._origins.get(key)) is not None}
        return tuple(found.values())


def _keys(work: ClaimedDelivery) -> Iterator[_Key]:
    """Yield the states that a delivery reports, a bounded number of them."""
    digest = work.conversation.digest
    if digest is not None:
        lines = chain(digest.firing, digest.ended, digest.held)
        yield from (_key(each.source, each.alert) for each in islice(lines, _MAX_ALERTS_OF_A_DELIVERY))
        return
    news = (
        (part.before.source if part.before is not None else "", each.alert)
        for part in (work, *work.parts)
        for each in part.conversation.alerts
        if each.news
    )
    yield from (_key(source, alert) for source, alert in islice(news, _MAX_ALERTS_OF_A_DELIVERY))


def _key(source: str, alert: Alert) -> _Key:
    return source, alert.identity, alert.status, alert.starts_at
