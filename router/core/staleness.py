"""Staleness: ends alerts that were not reported for too long, if no answer of Alertmanager can tell whether they fire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.core.accept import Receipt, merged
from router.core.alerts import firing_rows, peers_of
from router.core.conclusions import LAPSED, STALE, end_alerts
from router.core.rows import AlertRow
from router.core.state import State
from router.core.uptime import counting_since
from router.decide import Policy
from router.model import Millis


@dataclass(frozen=True, slots=True)
class Listening:
    """What is known about how the sources report."""

    stale_after: Millis
    """An alert that was not repeated for this long has ended (ms); 0: never."""
    asked: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By source: the peers that are asked about its alerts."""
    trusted: frozenset[str] = frozenset()
    """The sources of which a peer has answered recently."""
    since: Millis = 0
    """Reports before this time may have been missed (epoch ms)."""


def expire(
    state: State, listening: Listening, ids: Sequence[int], policy: Policy, now: Millis
) -> dict[str, Receipt]:
    """End alerts that were not reported for too long. Return the receipts by source."""
    state.groups.want("id", (row.group_id for row in firing_rows(state, ids)))
    state.ready()
    seen_up_to = silent_since(state, listening, now)
    ended: dict[tuple[str, str], list[AlertRow]] = {}
    for row in firing_rows(state, ids):
        if (why := _reason_of_end(state, row, listening, seen_up_to, now)) is not None:
            ended.setdefault((row.source, why), []).append(row)
    receipts: dict[str, Receipt] = {}
    for (source, why), several in ended.items():
        receipt = end_alerts(state, several, why, policy, now)
        receipts[source] = merged(receipts[source], receipt) if source in receipts else receipt
    return receipts


def silent_since(state: State, listening: Listening, now: Millis) -> Millis:
    """Return the time before which a last report is stale (epoch ms); -1: no alert is stale."""
    counted = 0 < listening.stale_after <= now - counting_since(state)
    return now - listening.stale_after if counted else -1


def _reason_of_end(
    state: State, row: AlertRow, listening: Listening, seen_up_to: Millis, now: Millis
) -> str | None:
    """Return the reason, for people, to end an alert that is no longer reported; None: it still counts as firing."""
    if row.fires_until is not None and row.fires_until <= now and row.seen_at >= listening.since:
        return LAPSED
    # An alert that Alertmanager left out of a truncated group (max_alerts) may still fire. Self-alerts are not repeated.
    if row.seen_at > seen_up_to or row.about is not None or state.groups[row.group_id].truncated:
        return None
    peers = listening.asked.get(row.source)
    if peers is None or (row.source in listening.trusted and not peers_of(row) & peers):
        return STALE
    return None
