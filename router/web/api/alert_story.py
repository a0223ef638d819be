"""One alert: what is known of it, why each destination was or was not notified, and its story."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from router.model import Millis
from router.render.words import clip
from router.store.alert_detail import AlertDetail
from router.store.story import CHANGES_PER_PAGE, MAX_CHANGES_PER_PAGE, Story
from router.web.api.alert_parameters import titles_in_force
from router.web.api.cursors import Query
from router.web.api.destination_notes import DestinationNote, closed_note, facts_of, note_of
from router.web.api.endpoint import Endpoint
from router.web.api.problem_details import ApiError
from router.web.api.shown_alerts import (
    AlertSummary,
    ShownTexts,
    alert_summary,
    all_annotations,
    safe,
    shown_texts,
)
from router.web.app_context import AppContext

_MAX_TEXTS, _MAX_TEXT_CHARS, _MAX_ALL_CHARS = 1_000, 20_000, 100_000
"""Of the labels, and of the annotations, of one alert: how many, how much of each, and how much of all."""
_MAX_OTHERS = 50
_MAX_WORDS_CHARS = 1_000
Id = Annotated[int, Field(ge=1, lt=2**63)]


class AlertQuery(Query):
    """Which alert."""

    id: Id


class StoryQuery(AlertQuery):
    """Which part of the story."""

    limit: Annotated[
        int,
        Field(ge=1, le=MAX_CHANGES_PER_PAGE, description="The most reports of the alert that the part has."),
    ] = CHANGES_PER_PAGE
    before: Annotated[
        Id | None, Field(description="``before`` of the part with the next later events; absent: the newest.")
    ] = None


class AlertAnswer(AlertSummary):
    """An alert, and each destination."""

    annotations: ShownTexts
    destinations: list[DestinationNote] = Field(
        description="Those that have an open conversation about it, and those that its last reports were decided for."
    )
    destinations_left_out: int
    others: list[str] = Field(
        description="Destinations of the configuration that no rule names for this alert."
    )
    others_left_out: int
    mutes: bool = Field(description="It mutes other alerts by some inhibit rule while it fires.")


class StoryEvent(BaseModel):
    """Something that happened to an alert."""

    at: Millis
    event: str = Field(
        description="change (it was reported), decision, attempt, or fate (what became of a decision)."
    )
    words: str = Field(description="What happened.")
    change: int | None = Field(
        default=None, description="The number of the report. A decision and a fate are about one."
    )
    kind: str | None = Field(default=None, description="Of a change: fired, resolved or repeated.")
    level: str | None = None
    webhook: int | None = Field(default=None, description="The number of the webhook that reported it.")
    destination: str | None = None
    fate: str | None = None
    reason: str | None = None
    rule: str | None = Field(default=None, description="The name of the rule that decided.")
    position: str | None = Field(default=None, description="The file and the line of the rule.")
    configuration: str | None = Field(
        default=None, description="The SHA-256 of the configuration by which it was decided."
    )
    delivery: int | None = Field(default=None, description="The number of the attempt.")
    attempt: int | None = Field(default=None, description="Which attempt in a row it was.")
    outcome: str | None = Field(
        default=None, description="delivered, retry, rejected, broken or interrupted; null: it is under way."
    )
    finished_at: Millis | None = None
    provider: str | None = Field(default=None, description="What the provider answered.")
    storm: bool = Field(default=False, description="The message of a storm covered the alert.")
    message: bool = Field(default=False, description="The message that was sent is kept.")


class StoryAnswer(BaseModel):
    """A part of the story of an alert."""

    id: int
    items: list[StoryEvent] = Field(description="The oldest first.")
    left_out: int = Field(
        description="How many of the oldest attempts and former decisions of this time are left out."
    )
    before: int | None = Field(
        description="The parameter of the part with earlier events; null: this part has the first one."
    )


async def get_alert(context: AppContext, query: AlertQuery) -> AlertAnswer:
    detail = await context.store.pages.alert(query.id)
    if detail is None:
        raise _no_alert(query.id)
    return _answer(context, detail)


def _answer(context: AppContext, detail: AlertDetail) -> AlertAnswer:
    titles, alert = titles_in_force(context), detail.alert
    facts = facts_of(
        context, titles, detail.inhibitors, fates=detail.fates, rules=detail.positions,
        dead_letters=detail.dead_letters, failed=detail.failed,
    )  # fmt: skip
    notes = [note_of(state, alert, facts) for state in alert.destinations]
    named = {each.destination for each in alert.destinations}
    notes += [closed_note(fate, facts) for key, fate in detail.fates.items() if key not in named]
    others = sorted(context.policy().destinations.keys() - {*named, *detail.fates})
    values = dict(alert_summary(alert, titles))
    values["labels"] = shown_texts(alert.labels, _MAX_TEXTS, _MAX_TEXT_CHARS, _MAX_ALL_CHARS)
    return AlertAnswer(
        **values,
        annotations=shown_texts(all_annotations(alert), _MAX_TEXTS, _MAX_TEXT_CHARS, _MAX_ALL_CHARS),
        destinations=sorted(notes, key=lambda each: each.is_notified),
        destinations_left_out=alert.destinations_left_out, others=others[:_MAX_OTHERS],
        others_left_out=max(0, len(others) - _MAX_OTHERS), mutes=detail.mutes,
    )  # fmt: skip


async def get_story(context: AppContext, query: StoryQuery) -> StoryAnswer:
    story = await context.store.pages.story(query.id, query.before, query.limit)
    if story is None:
        raise _no_alert(query.id)
    return StoryAnswer(id=query.id, items=story_events(story), left_out=story.left_out, before=story.before)


_SHOWN_FIELDS = frozenset({
    "at", "event", "kind", "level", "webhook", "destination", "fate", "reason", "rule", "position", "configuration",
    "delivery", "attempt", "outcome", "finished_at",
})  # fmt: skip


def _no_alert(number: int) -> ApiError:
    return ApiError(404, f"there is no alert with the number {number}; it may have been pruned")


def story_events(story: Story) -> list[StoryEvent]:
    """Return the events of a part of a story, with words."""
    attempts = [
        (number, each["destination"])
        for number, each in enumerate(story.events)
        if each["event"] == "attempt"
    ]
    last = {destination: number for number, destination in attempts}
    return [
        _event(each, story.alert, has_next=each["event"] == "attempt" and number < last[each["destination"]])
        for number, each in enumerate(story.events)
    ]


def _event(event: dict[str, Any], alert: dict[str, Any], *, has_next: bool) -> StoryEvent:
    """:param has_next: a later attempt went to the same destination"""
    values = {
        name: safe(value) if isinstance(value, str) else value
        for name, value in event.items()
        if name in _SHOWN_FIELDS and value is not None and value != ""
    }
    values |= {"storm": event.get("storm", False), "message": event.get("message", False)}
    values["change"] = event.get("id") if event["event"] == "change" else event.get("change")
    values["provider"] = safe(event["words"]) if event.get("words") else None
    match event["event"]:
        case "change":
            words = _change_words(event, alert)
        case "attempt":
            words = _attempt_words(event, has_next=has_next)
        case _:
            words = _fate_words(event)
    return StoryEvent(**values, words=clip(safe(words), _MAX_WORDS_CHARS))


def _change_words(event: dict[str, Any], alert: dict[str, Any]) -> str:
    what = {"fired": "It fired", "resolved": "It ended", "repeated": "It was reported again"}[event["kind"]]
    if event["kind"] == "resolved" and alert["note"] and alert["changed_at"] == event["at"]:
        return f"{what}: {alert['note']}"
    return f"{what} ({event['level']}), as {alert['source']} reported"


_FATE_WORDS = {
    "pending": "{destination}: to be sent: {reason}", "held": "{destination}: {reason}",
    "inhibited": "{destination}: {reason}", "digest": "{destination}: {reason}", "dropped": "{destination}: {reason}",
    "delivered": "{destination}: {reason}", "obsolete": "{destination}: not sent: {reason}",
    "dead": "{destination}: given up: {reason}",
}  # fmt: skip


def _fate_words(event: dict[str, Any]) -> str:
    values = {
        "destination": event["destination"] or "no destination",
        "reason": event["reason"] or event["fate"],
    }
    return _FATE_WORDS[event["fate"]].format_map(values)


def _attempt_words(event: dict[str, Any], *, has_next: bool) -> str:
    which = f"attempt {event['attempt']}" if event["attempt"] > 1 else "sent"
    storm = " in the message of a storm" if event["storm"] else ""
    outcome = event["outcome"]
    if outcome is None:
        return f"{event['destination']}: an attempt{storm} is under way"
    if outcome == "delivered":
        return f"{event['destination']}: {which}{storm}, accepted"
    why = {
        "retry": "it failed for now", "rejected": "it was refused", "broken": "the destination is broken",
        "interrupted": "it was interrupted, its answer is not known",
    }.get(outcome, outcome)  # fmt: skip
    reason = f" ({event['reason']})" if event["reason"] else ""
    return f"{event['destination']}: {which}{storm}, {why}{reason}" + (
        "; it was tried again" if has_next else ""
    )


GET_ALERT = Endpoint(
    "GET", "/api/v1/alerts/{id}", get_alert, AlertQuery, AlertAnswer,
    "One alert: each destination, whether it was notified; if not, why not, and what happens next.",
    problems={404: "There is no such alert."},
)  # fmt: skip
GET_STORY = Endpoint(
    "GET", "/api/v1/alerts/{id}/story", get_story, StoryQuery, StoryAnswer,
    "The story of an alert: its reports, the decisions and their rules, each attempt, and what became of it.",
    problems={404: "There is no such alert."},
)  # fmt: skip
ENDPOINTS = (GET_ALERT, GET_STORY)
