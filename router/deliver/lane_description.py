"""The state of lanes as ``/status``, pages and metrics show it: of those that are served here, and of those elsewhere."""

from router.deliver.lane import Lane
from router.deliver.lane_memory import LaneReport
from router.deliver.self_alerts import SelfAlerts
from router.model import Destination, Millis, Rate
from router.store import OperatorPause

LaneFields = dict[str, object]


def report_of(lane: Lane, known: SelfAlerts) -> LaneReport:
    """Return the state of a lane that is served here, for other replicas."""
    key = lane.destination.key
    trouble = known.trouble(key)
    return LaneReport(
        lane.remember(),
        None if trouble is None else trouble.since,
        None if trouble is None else trouble.reason,
        trouble is not None and trouble.broken,
        known.broken_since(key),
        known.broken_reason(key),
        known.succeeded_at(key),
    )


def describe_lane(
    destination: Destination, report: LaneReport, pause: OperatorPause | None, shared: Rate | None, now: Millis
) -> LaneFields:  # fmt: skip
    """Return the state of a lane. Times are epoch milliseconds.

    :param pause: the pause by an operator that lasts; None: there is none
    :param shared: the rate that all destinations of its section share; None: no limit
    """
    memory = report.memory
    is_pausing = memory.paused_until > now
    return {
        "destination": destination.key,
        "channel": destination.channel,
        "paused_until": memory.paused_until if is_pausing else None,
        "pause_reason": memory.pause_reason if is_pausing else None,
        "is_rate_limited": is_pausing and memory.is_rate_limited,
        "paused_by": None if pause is None else pause.by,
        "paused_since": None if pause is None else pause.since,
        "failing_since": report.failing_since,
        "failing_reason": report.failing_reason,
        "needs_repair": report.needs_repair,
        "broken_since": report.broken_since,
        "broken_reason": report.broken_reason,
        "succeeded_at": report.succeeded_at,
        **_limits(destination, shared),
    }


def _limits(destination: Destination, shared: Rate | None) -> LaneFields:
    """Return the configured limits; None: no limit."""
    own = destination.limits
    minutes = [rate.a_minute for rate in (own.rate, shared) if rate is not None]
    return {
        "rate": None if own.rate is None else str(own.rate),
        "shared_rate": None if shared is None else str(shared),
        "a_minute": min(minutes) if minutes else None,
        "max_concurrency": own.max_concurrency,
        "storm_above": own.storm_above,
    }
