"""What an alert as told just now means against what was known of it: an idempotent reducer, pure.

An alert's identity is its fingerprint within a source; one firing of it is told apart by ``starts_at``.
Alertmanager repeats itself byte for byte (retries, ``repeat_interval``), and the peers of an HA pair each
tell the same change, possibly some seconds apart.
"""

from dataclasses import dataclass, replace

from router.model import MINUTE, Alert, Change, Millis, Status

# A peer of an HA pair lags by n x 15 s of peer timeout plus its own group_interval; within this time after
# a resolve, the other peer's "firing" of the same start is its echo, not news.
# https://prometheus.io/docs/alerting/latest/high_availability/
PEER_LAG: Millis = 5 * MINUTE


@dataclass(frozen=True, slots=True)
class Known:
    """An alert as the store has it. ``peer``: the externalURL that told its present status; empty: nobody did, it
    counts as ended without a resolve.
    """

    alert: Alert
    peer: str
    changed_at: Millis


def reduce(
    known: Known | None, told: Alert, peer: str, now: Millis, *, certain: bool = False
) -> tuple[Change, Known]:
    """The change that ``told`` makes, and what is known after it.

    A resolve ends the firing it belongs to and no later one. A firing that starts where an ended one had
    started is a new change (Prometheus came back after ``resolve_timeout``), unless it is another peer's
    echo. Whatever is neither is a repeat; its annotations still count.

    :param certain: Alertmanager itself was asked: there is no doubt
    """
    if known is None:
        return _changed(told, peer, now)
    before = known.alert
    match before.status, told.status:
        case Status.FIRING, Status.FIRING:
            earliest = min((at for at in (before.starts_at, told.starts_at) if at is not None), default=None)
            return Change.REPEATED, replace(known, alert=replace(told, starts_at=earliest))
        case Status.FIRING, Status.RESOLVED:
            stale = _of_an_earlier_firing(told, before)
        case Status.RESOLVED, Status.FIRING:
            stale = not certain and _of_the_ended_firing(told, known, peer, now)
        case _:  # what had ended without a resolve has one now
            known, stale = replace(known, peer=known.peer or peer), True
    return (Change.REPEATED, known) if stale else _changed(told, peer, now)


def _changed(told: Alert, peer: str, now: Millis) -> tuple[Change, Known]:
    kind = Change.FIRED if told.status is Status.FIRING else Change.RESOLVED
    return kind, Known(told, peer, now)


def _of_an_earlier_firing(resolve: Alert, firing: Alert) -> bool:
    """That one had ended before this one began."""
    if resolve.starts_at is None or firing.starts_at is None or resolve.starts_at >= firing.starts_at:
        return False
    return resolve.ends_at is not None and resolve.ends_at <= firing.starts_at


def _of_the_ended_firing(told: Alert, known: Known, peer: str, now: Millis) -> bool:
    before = known.alert
    if not known.peer or told.starts_at is None or before.starts_at is None:
        return False
    if told.starts_at < before.starts_at:
        return True
    echo = peer != known.peer and abs(now - known.changed_at) < PEER_LAG  # a clock may step back
    return told.starts_at == before.starts_at and echo
