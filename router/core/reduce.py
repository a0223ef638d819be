"""The reducer: what a report of an alert changes in what is known about it. It is pure and idempotent.

The identity of an alert is its label set within a source; ``starts_at`` distinguishes its firings.
Alertmanager repeats itself byte for byte (retries, ``repeat_interval``), and the peers of an HA pair each
report the same change, possibly some seconds apart, and may differ in what they report as firing.
"""

from dataclasses import dataclass, replace

from router.model import MINUTE, Alert, Change, Millis, Status

# A peer of an HA pair lags by n x 15 s of peer timeout plus its own group_interval. For this time after an end, a
# firing that is not newer may be a late report of the firing that ended.
# https://prometheus.io/docs/alerting/latest/high_availability/
PEER_LAG: Millis = 5 * MINUTE


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reported firing that contradicts a recent end and is not newer than the firing that ended."""

    alert: Alert
    until: Millis
    """From then on it counts as firing, unless another end is reported before (epoch ms)."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows about an alert."""

    alert: Alert
    peer: str
    """The peer that reported its present status; empty: the router concluded that it ended."""
    changed_at: Millis
    doubt: Doubt | None = None
    """Only for an alert that ended."""
    latest_start: Millis | None = None
    """The latest start that was reported for its present or last firing: the clocks of an HA pair may differ."""


def reduce_alert(
    known: Known | None, reported: Alert, peer: str, now: Millis, *, certain: bool = False
) -> tuple[Change, Known]:
    """Return the change that a report makes, and what is known after it.

    A resolve ends the firing that it belongs to, and no later one. A reported firing counts immediately if it is newer
    than the firing that ended, or if that end is older than ``PEER_LAG``. Otherwise it is a doubt first. Every other
    report is a repeat; the router still takes its annotations.

    :param certain: Alertmanager itself was asked, or a doubt has lasted: the firing is not doubted
    """
    if known is None:
        return _changed(reported, peer, now)
    before, latest = known.alert, _latest(known.latest_start, known.alert.starts_at, reported.starts_at)
    match before.status, reported.status:
        case Status.FIRING, Status.FIRING:
            starts = (at for at in (before.starts_at, reported.starts_at) if at is not None)
            known = replace(
                known, alert=replace(reported, starts_at=min(starts, default=None)), latest_start=latest
            )
        case Status.FIRING, Status.RESOLVED if not _of_an_earlier_firing(reported, before):
            ended = replace(reported, starts_at=reported.starts_at or before.starts_at)
            kind, after = _changed(ended, peer, now)
            return kind, replace(after, latest_start=latest)
        case Status.RESOLVED, Status.FIRING:
            doubt = None if certain else _doubt(reported, known, now)
            if doubt is None:
                return _changed(reported, peer, now)
            known = replace(known, doubt=doubt)
        case Status.RESOLVED, Status.RESOLVED:
            # A sender now reports an end that the router had concluded. A doubt is contradicted.
            known = replace(known, peer=known.peer or peer, doubt=None)
    return Change.REPEATED, known


def _changed(reported: Alert, peer: str, now: Millis) -> tuple[Change, Known]:
    kind = Change.FIRED if reported.status is Status.FIRING else Change.RESOLVED
    return kind, Known(reported, peer, now, latest_start=reported.starts_at)


def _latest(*starts: Millis | None) -> Millis | None:
    return max((at for at in starts if at is not None), default=None)


def _of_an_earlier_firing(resolve: Alert, firing: Alert) -> bool:
    """Return whether the resolve ends a firing that was over before this one began."""
    if resolve.starts_at is None or firing.starts_at is None or resolve.starts_at >= firing.starts_at:
        return False
    return resolve.ends_at is not None and resolve.ends_at <= firing.starts_at


def _doubt(firing: Alert, known: Known, now: Millis) -> Doubt | None:
    """Return the doubt about a firing; None: it counts immediately."""
    concluded = not known.peer
    episode_started = _latest(known.latest_start, known.alert.starts_at)
    if concluded or firing.starts_at is None or episode_started is None:
        return None
    since_end = now - known.changed_at
    # After the clock was stepped back by more than the lag, the times say nothing about the order.
    if firing.starts_at > episode_started or abs(since_end) >= PEER_LAG:
        return None
    until = now + PEER_LAG - max(0, since_end)
    return Doubt(firing, until if known.doubt is None else min(until, known.doubt.until))
