"""What is watched, and the self-alerts about silence. Nothing here reads a clock or does I/O."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from router.decide import RECEIVER_LABEL, Policy
from router.model import (
    DEFAULT_SOURCE,
    Alert,
    LastHeard,
    Millis,
    Source,
    Status,
    Watched,
    WatchKey,
    identity_of,
)
from router.render.words import duration, moment

HEARTBEAT_SILENT, SOURCE_SILENT = "AlertRouterHeartbeatSilent", "AlertRouterSourceSilent"
ALERTNAMES = frozenset({HEARTBEAT_SILENT, SOURCE_SILENT})


def watched_by(policy: Policy, sources: Iterable[Source]) -> tuple[Watched, ...]:
    """Return what is watched: each heartbeat of each source that sends it, then the webhooks of each source."""
    configured = tuple(sources) or (Source(DEFAULT_SOURCE),)
    beats = (
        Watched(each.name, source.name, each.within, each.receiver)
        for each in policy.watched.heartbeats
        for source in configured
        if each.is_from(source.name)
    )
    webhooks = (Watched("", each.name, each.silent_after, each.silent_receiver) for each in configured)
    return (*beats, *webhooks)


def key_of(alert: Alert) -> WatchKey:
    """Return what a self-alert is about."""
    return alert.labels.get("heartbeat", ""), alert.labels.get("source", "")


def silence_alert(watched: Watched, heard: LastHeard, policy: Policy, zone: ZoneInfo, now: Millis) -> Alert:
    """Return the self-alert about a silence."""
    since = _clock_time(heard.counts_from if heard.seen_at is None else heard.seen_at, zone)
    labels = {
        "alertname": HEARTBEAT_SILENT if watched.heartbeat else SOURCE_SILENT,
        policy.severity.label: policy.severity.levels[0],
        "source": watched.source,
    }
    if watched.heartbeat:
        labels["heartbeat"] = watched.heartbeat
    if watched.receiver is not None:
        labels[RECEIVER_LABEL] = watched.receiver
    if watched.heartbeat:
        what = f"the alert has to come once in {duration(watched.within)}"
        advice = (
            "Prometheus or Alertmanager is down, or does not reach the router. Other alerts of this source may be missing, "
            "too."
        )
    else:
        what = f"no webhook of the source was accepted for {duration(watched.within)}"
        advice = "Its sender is down, does not reach the router, or is refused; the log of the router has refused webhooks."
    summary = f"{watched.words[0].upper()}{watched.words[1:]} has been silent since {since}"
    last = (
        "it has not come since the router began to watch it"
        if heard.seen_at is None
        else f"it last came at {since}"
    )
    annotations = {"summary": summary, "description": f"{what[0].upper()}{what[1:]}; {last}. {advice}"}
    return Alert(identity_of(labels)[:16], labels, annotations, Status.FIRING, now, None, about=frozenset())


def end_of_silence(alert: Alert, summary: str, now: Millis) -> Alert:
    """Return the end of a self-alert. :param summary: why it ended"""
    return Alert(
        alert.fingerprint, alert.labels, {"summary": summary}, Status.RESOLVED, alert.starts_at, now,
        about=frozenset(),
    )  # fmt: skip


def _clock_time(at: Millis, zone: ZoneInfo) -> str:
    return f"{moment(at, zone):%a %d %b %H:%M:%S %Z}"
