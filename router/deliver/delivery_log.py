"""The log line of a delivery: what was sent where and why, and the outcome."""

from collections.abc import Iterator
from typing import Any

import structlog

from router.decide.tenants import Tenants
from router.log_fields import alert_names, group_text, rule_names, tenant_fields
from router.model import DEFAULT_SOURCE, Delivered, Destination, Labels, Millis, Outcome, Retry
from router.render.words import counted
from router.store import ClaimedDelivery, Recorded

log = structlog.get_logger(__name__)

# The refused recipients that a line names. The others are counted.
_MAX_LOGGED_RECIPIENTS = 10


def log_delivery(
    destination: Destination,
    work: ClaimedDelivery,
    outcome: Outcome,
    recorded: Recorded,
    now: Millis,
    duration: Millis | None,
    tenants: Tenants,
) -> None:
    """Log the outcome of a delivery, when it is recorded.

    :param now: when the attempt ended (epoch ms)
    :param duration: how long sending took (ms); None: there was no attempt
    """

    def fields() -> dict[str, Any]:
        return _fields(destination, work, outcome, recorded, now, duration, tenants)

    is_failure = not (isinstance(outcome, Delivered) or is_unfinished(outcome))
    (log.warning if is_failure else log.info)("delivery", fields=fields)
    if isinstance(outcome, Delivered | Retry) and outcome.refused:
        refused = [f"{each.recipient}: {each.shown}" for each in outcome.refused]
        log.warning(
            "recipients refused", destination=destination.key, delivery=work.delivery,
            recipients=counted(refused, _MAX_LOGGED_RECIPIENTS, "; "),
        )  # fmt: skip


def is_unfinished(outcome: Outcome) -> bool:
    """Return whether nothing failed, but a part of the message is still to be sent."""
    return isinstance(outcome, Retry) and outcome.unfinished


def status_of(outcome: Outcome) -> str:
    """Return the word for an outcome in the log and in metrics."""
    return "unfinished" if is_unfinished(outcome) else type(outcome).__name__.lower()


def _fields(
    destination: Destination,
    work: ClaimedDelivery,
    outcome: Outcome,
    recorded: Recorded,
    now: Millis,
    duration: Millis | None,
    tenants: Tenants,
) -> dict[str, Any]:
    conversation, row = work.conversation, work.before
    failure = {} if isinstance(outcome, Delivered) else {"reason": outcome.reason, "words": outcome.words}
    about = {"group": group_text(conversation.group_labels), "receiver": conversation.receiver}
    fields = {
        "status": status_of(outcome),
        **tenant_fields((row.source if row is not None else "") or DEFAULT_SOURCE, _labels(work), tenants),
        "durationMs": duration,
        "alertname": alert_names(_labels(work)),
        **(about if conversation.digest is None and not work.is_storm else {}),
        "kind": "storm" if work.is_storm else "digest" if conversation.digest is not None else "group",
        "destination": destination.key,
        "channel": destination.channel,
        "rule": rule_names(each.rule for part in (work, *work.parts) for each in part.notices),
        "delayMs": _delay(work, recorded, now),
        "attempt": conversation.attempt,
        **failure,
        "delivery": work.delivery,
        "conversation": conversation.token[:8],
        "version": conversation.version,
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _labels(work: ClaimedDelivery) -> Iterator[Labels]:
    """Yield the labels of the alerts that the message is about: those with news, or, if none has any, all of them."""
    digest = work.conversation.digest
    if digest is not None:
        lists = (digest.firing, digest.ended, digest.flapping, digest.held, digest.obsolete)
        yield from (each.alert.labels for lines in lists for each in lines)
        return
    shown = [each for part in (work, *work.parts) for each in part.conversation.alerts]
    yield from (each.alert.labels for each in [each for each in shown if each.news] or shown)


def _delay(work: ClaimedDelivery, recorded: Recorded, now: Millis) -> Millis | None:
    """Return how long the oldest change of the message waited since it was accepted, or, if none was delivered or all were
    held on purpose, since it was due (ms).
    """
    due = [part.before.due_at for part in (work, *work.parts) if part.before is not None]
    since = recorded.accepted or [at for at in due if at is not None]
    return max(0, now - min(since)) if since else None
