"""Says of each destination of an alert whether it was notified; if not, why not, and what happens next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from router.model import DAY, MINUTE, Millis
from router.render.words import clip, moment
from router.store.alert_detail import FailedAttempt, LastFate
from router.store.alert_rows import DestinationState, ListedAlert
from router.store.waiting_alerts import InhibitingAlert
from router.web.api.shown_alerts import Titles, safe
from router.web.app_context import AppContext

_MAX_REASON_CHARS = 500
_MAX_KNOWN_MINUTES = 4_096


class AlertLink(BaseModel):
    """Another alert."""

    id: int
    title: str
    starts_at: Millis | None


class DestinationNote(BaseModel):
    """What a destination was notified of about an alert, and what happens next."""

    destination: str
    state: str = Field(
        description="notified, ended (also notified of the end), trying (an attempt is under way, or its answer is unknown), pending, held, "
        "inhibited, digest, dead (given up), dropped, or obsolete (it ended before it was sent)."
    )
    words: str = Field(description="What is, and why.")
    next: str = Field(description="What happens next; empty: nothing is to come.")
    until: Millis | None = Field(default=None, description="When that happens; null: it is not known.")
    rule: str | None = Field(default=None, description="The name of the rule that decided.")
    position: str | None = Field(default=None, description="The file and the line of the rule.")
    configuration: str | None = Field(
        default=None, description="The SHA-256 of the configuration by which it was decided."
    )
    inhibitor: AlertLink | None = Field(default=None, description="The alert that mutes it.")
    dead_letter: int | None = Field(default=None, description="The number of its dead letter.")
    delivery: int | None = Field(default=None, description="The number of the last attempt, if it failed.")

    @property
    def is_notified(self) -> bool:
        return self.state in {"notified", "ended"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What notes are made of, beside the states."""

    now: Millis
    zone: ZoneInfo
    titles: Titles
    lanes: Mapping[str, Mapping[str, Any]]
    """By destination, see :attr:`AppContext.lanes`."""
    inhibitors: Mapping[int, InhibitingAlert] = field(default_factory=dict)
    """By member."""
    fates: Mapping[str, LastFate] = field(default_factory=dict)
    """By destination."""
    rules: Mapping[tuple[str, str], LastFate] = field(default_factory=dict)
    """By destination and rule."""
    dead_letters: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    """By conversation."""
    failed: Mapping[int, FailedAttempt] = field(default_factory=dict)
    """By conversation."""

    known: dict[tuple[Any, ...], DestinationNote] = field(default_factory=dict, compare=False, repr=False)
    """The notes so far: those of the alerts of one conversation are mostly the same."""

    def at(self, at: Millis | None) -> str:
        """Return a moment in words: ``Mon 30 Nov 09:00``, with the year if it is far away."""
        if at is None:
            return "an unknown time"
        return _minute_words(at // MINUTE, self.zone, with_year=abs(at - self.now) > 180 * DAY)


@lru_cache(_MAX_KNOWN_MINUTES)
def _minute_words(at: int, zone: ZoneInfo, *, with_year: bool) -> str:
    """Return a minute in words. :param at: minutes since 1970"""
    local: datetime = moment(at * MINUTE, zone)
    year = f" {local.year}" if with_year else ""
    return f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M}"


def facts_of(
    context: AppContext, titles: Titles, inhibitors: Mapping[int, InhibitingAlert], **more: Any
) -> Facts:
    """Return the facts that a running service knows. :param more: other fields of :class:`Facts`"""
    return Facts(
        now=context.clock.now(), zone=titles.formatter.zone, titles=titles,
        lanes={each["destination"]: each for each in context.lanes()}, inhibitors=inhibitors, **more,
    )  # fmt: skip


def note_of(state: DestinationState, alert: ListedAlert, facts: Facts) -> DestinationNote:
    """Return the note of a destination that has an open conversation about the alert."""
    if state.inhibitor is not None:
        return _note_of(state, alert, facts)
    key = (alert.status, *state[_SAME_FROM:])
    if (note := facts.known.get(key)) is None:
        note = facts.known[key] = _note_of(state, alert, facts)
    return note


_SAME_FROM = DestinationState._fields.index("destination")
"""The fields before it name the alert and its member. Only what is said of an inhibited alert depends on them."""


def _note_of(state: DestinationState, alert: ListedAlert, facts: Facts) -> DestinationNote:
    known = facts.rules.get((state.destination, state.rule))
    base = {
        "destination": safe(state.destination),
        "rule": safe(state.rule) or None,
        "position": None if known is None or known.position is None else safe(known.position),
        "configuration": None if known is None else known.configuration,
    }
    return DestinationNote(**{**base, **_present(state, alert, facts, _rule_words(base))})


def closed_note(fate: LastFate, facts: Facts) -> DestinationNote:
    """Return the note of a destination that has no open conversation about the alert, by what became of its last change."""
    base = {
        "destination": safe(fate.destination), "rule": safe(fate.rule) or None,
        "position": None if fate.position is None else safe(fate.position), "configuration": fate.configuration,
    }  # fmt: skip
    at, reason = facts.at(fate.updated_at), _reason(fate.reason)
    values: dict[str, Any] = {"state": fate.fate, "next": ""}
    match fate.fate:
        case "delivered" if fate.kind == "resolved":
            values |= {"state": "ended", "words": f"Notified, and notified of the end at {at}."}
        case "delivered":
            values |= {"state": "notified", "words": f"Notified at {at}."}
        case "dropped":
            values |= {"words": f"Not notified: dropped {_rule_words(base)}: {reason}."}
        case "obsolete":
            values |= {"words": f"Not notified: {reason}."}
        case "dead":
            values |= {"words": f"Given up at {at}: {reason}."}
        case _:
            values |= {"words": f"Not notified: {reason}."}
    return DestinationNote(**{**base, **values})


def _rule_words(base: Mapping[str, str | None]) -> str:
    where = f" ({base['position']})" if base["position"] else ""
    return f"by rule {base['rule']}{where}" if base["rule"] else "by a former rule"


def _present(state: DestinationState, alert: ListedAlert, facts: Facts, rule: str) -> dict[str, Any]:
    if state.is_under_way or (state.notified == "unknown" and not state.attempts):
        return _trying(state, facts)
    if alert.status == "resolved" and state.notified != "unknown":
        return _ended(state, facts)
    if state.notified == "firing":
        return _notified(state, facts)
    return _UNNOTIFIED.get(state.decision, _pending)(state, facts, rule)


def _notified(state: DestinationState, facts: Facts) -> dict[str, Any]:
    fate = facts.fates.get(state.destination)
    is_known = fate is not None and fate.fate == "delivered" and fate.kind != "resolved"
    at = fate.updated_at if is_known and fate is not None else state.notified_at
    words = "Notified." if at is None else f"Notified at {facts.at(at)}."
    return {"state": "notified", "words": words, "next": _next_news(state, facts)}


def _held(state: DestinationState, facts: Facts, rule: str) -> dict[str, Any]:
    words = f"Not notified: held until {facts.at(state.at)} {rule}."
    return {"state": "held", "until": state.at, "words": words, "next": "It is sent then if it still fires."}


def _for_digest(state: DestinationState, facts: Facts, rule: str) -> dict[str, Any]:
    words = f"Waits for the digest of {facts.at(state.at)} {rule}."
    news = "The digest lists it, also if it has ended by then."
    return {"state": "digest", "until": state.at, "words": words, "next": news}


def _dropped(state: DestinationState, _facts: Facts, rule: str) -> dict[str, Any]:
    words = f"Not notified: dropped {rule}: {_reason(state.reason)}."
    return {"state": "dropped", "words": words, "next": "Nothing more is to come, unless the rules change."}


def _trying(state: DestinationState, facts: Facts) -> dict[str, Any]:
    if state.is_under_way:
        return {
            "state": "trying",
            "words": "An attempt is under way.",
            "next": "Its result is recorded when it ends.",
        }
    return {
        "state": "trying", "until": state.next_at,
        "words": "It was sent, but the answer is not known: the attempt was interrupted.",
        "next": "It is sent again." if state.next_at is None else f"It is sent again at {facts.at(state.next_at)}.",
    }  # fmt: skip


def _ended(state: DestinationState, facts: Facts) -> dict[str, Any]:
    if state.notified == "resolved":
        return {"state": "ended", "words": "Notified, and notified of the end.", "next": ""}
    if state.notified == "firing":
        if state.decision == "given_up":
            return _given_up(state, facts)
        return {
            "state": "notified", "words": "Notified that it fires, but not yet that it ended.",
            "until": state.next_at, "next": _send_next(state, facts),
        }  # fmt: skip
    fate = facts.fates.get(state.destination)
    if fate is not None and fate.fate == "digest":
        return {
            "state": "digest", "until": state.at, "next": "The digest lists it, although it has ended.",
            "words": f"Waits for the digest of {facts.at(state.at)}.",
        }  # fmt: skip
    reason = "it ended before this destination was notified" if fate is None else _reason(fate.reason)
    return {"state": "obsolete", "words": f"Not notified: {reason}.", "next": ""}


def _inhibited(state: DestinationState, facts: Facts, _rule: str) -> dict[str, Any]:
    found = facts.inhibitors.get(state.member)
    values: dict[str, Any] = {"state": "inhibited", "words": f"Not notified: {_reason(state.reason)}."}
    if found is None:
        # Alertmanager itself silences or inhibits it, or its inhibitor has just ended.
        return {**values, "next": "It is judged again when that ends, and sent then if it still fires."}
    title = f"{facts.titles.of_one(found.labels, found.level)} ({safe(found.level)})"
    since = "" if found.starts_at is None else f", which fires since {facts.at(found.starts_at)}"
    return {
        **values,
        "words": f"Not notified: {_reason(state.reason)}{since}.",
        "next": f"It is judged again when {title} ends, and sent then if it still fires.",
        "inhibitor": AlertLink(id=found.id, title=title, starts_at=found.starts_at),
    }


def _given_up(state: DestinationState, facts: Facts, _rule: str = "") -> dict[str, Any]:
    number, reason = facts.dead_letters.get(state.conversation, (None, state.reason))
    what = "Nothing is sent unless the dead letter is retried." if number is None else (
        f"Nothing is sent unless dead letter {number} is retried."
    )  # fmt: skip
    return {
        "state": "dead",
        "words": f"Not notified: given up: {_reason(reason)}.",
        "next": what,
        "dead_letter": number,
    }


def _pending(state: DestinationState, facts: Facts, _rule: str) -> dict[str, Any]:
    values: dict[str, Any] = {"state": "pending", "until": state.next_at, "next": _send_next(state, facts)}
    also = " It is sent here because another destination failed." if state.failover else ""
    attempt = facts.failed.get(state.conversation)
    if trouble := _trouble(state.destination, facts):
        return {**values, "words": f"Not notified: {trouble}.{also}", "until": None}
    if state.attempts:
        also = f" It may have arrived all the same.{also}" if state.notified == "unknown" else also
        why = (
            "" if attempt is None else f": {_reason(' '.join(filter(None, [attempt.reason, attempt.words])))}"
        )
        values |= {"delivery": None if attempt is None else attempt.delivery}
        return {**values, "words": f"Not notified: attempt {state.attempts} failed{why}.{also}"}
    if state.next_at is not None and state.next_at > facts.now:
        why = f"it waits until {facts.at(state.next_at)}, in case another alert inhibits it"
        return {**values, "words": f"Not notified yet: {why}.{also}"}
    return {**values, "words": f"Not notified yet: it is due, and waits for its turn.{also}"}


_UNNOTIFIED = {
    "hold": _held, "digest": _for_digest, "drop": _dropped, "inhibited": _inhibited, "given_up": _given_up,
}  # fmt: skip
"""By decision: what is said of an alert that fires, if the destination was not notified."""


def _next_news(state: DestinationState, facts: Facts) -> str:
    if state.at is None:
        return "It is notified of the end when the alert ends."
    return f"There is news for it. {_send_next(state, facts)}"


def _send_next(state: DestinationState, facts: Facts) -> str:
    lane = facts.lanes.get(state.destination)
    if lane is None:
        return "The rules in force do not name this destination any more: only what is due now is still sent."
    if lane.get("broken_since"):
        return "It is sent when the destination works again."
    until = max(state.next_at or 0, lane.get("paused_until") or 0)
    if until > facts.now:
        return f"It is sent at {facts.at(until)}."
    return "It is sent as soon as the destination takes it."


def _trouble(destination: str, facts: Facts) -> str:
    lane = facts.lanes.get(destination, {})
    if since := lane.get("broken_since"):
        why = _reason(str(lane.get("broken_reason") or "it refuses everything"))
        return f"{safe(destination)} is broken since {facts.at(since)}: {why}"
    if (until := lane.get("paused_until")) and until > facts.now:
        why = _reason(str(lane.get("pause_reason") or "its provider asked for that"))
        return f"{safe(destination)} pauses until {facts.at(until)}: {why}"
    return ""


def _reason(text: str) -> str:
    return clip(safe(text), _MAX_REASON_CHARS).strip().rstrip(".") or "no reason is known"
