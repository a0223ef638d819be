"""Deliveries: what was sent where, when, and what came back; and how many ended in each hour."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from router.core.rows import FAILED_OUTCOMES
from router.model import HOUR, Millis
from router.render.words import clip
from router.store.conversation_topics import Topic
from router.store.delivery_hours import hour_of
from router.store.delivery_list import DeliveryFilter
from router.web.api.cursors import Page, PageQuery, Query, encode_cursor
from router.web.api.destination_receivers import receivers_of
from router.web.api.endpoint import Endpoint
from router.web.api.moment_parameters import Moment, read_moment, wrong_parameter
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext

FAILED = "failed"
_MAX_DESTINATIONS = 20
_MAX_KEY_CHARS = 400
_MAX_ALERTS = 100
_MAX_TEXT_CHARS = 200
_MAX_TOPIC_LABELS = 20
_MAX_CHART_HOURS = 31 * 24

RowId = Annotated[int, Field(ge=1, lt=2**63)]
DestinationKeys = Annotated[
    list[Annotated[str, Field(max_length=_MAX_KEY_CHARS)]],
    Field(max_length=_MAX_DESTINATIONS, description="Only these destinations (keys)."),
]
OutcomeName = Literal["delivered", "failed", "retry", "rejected", "broken", "interrupted", "under way"]


class DeliveryQuery(PageQuery):
    """Which deliveries to list."""

    destination: DestinationKeys = Field(default=[])
    outcome: Annotated[
        list[OutcomeName],
        Field(max_length=10, description="Only these outcomes; ``failed``: all that did not succeed."),
    ] = Field(default=[])
    alert: Annotated[
        RowId | None, Field(description="Only deliveries of conversations with this alert (id).")
    ] = None
    conversation: Annotated[RowId | None, Field(description="Only deliveries of this conversation (id).")] = (
        None
    )
    since: Moment = None
    until: Moment = None


class DeliveryTopic(BaseModel):
    """What a delivery or a dead letter is about."""

    kind: str = Field(description="group, alert, digest or storm.")
    level: str = Field(description="The level of the most urgent alert.")
    labels: dict[str, str] = Field(
        description="The labels of the group; long ones are cut, and at most 20 are given."
    )
    names: list[str] = Field(description="The names of the first alerts.")
    alerts: int = Field(description="How many alerts the conversation has had.")


class DeliveryLine(BaseModel):
    """One attempt of a delivery."""

    id: int
    destination: str = Field(description="The key of the destination.")
    channel: str
    receivers: list[str] = Field(
        description="The receivers in routes.yaml that name the destination; empty: none does any more."
    )
    conversation: int = Field(description="The id of the conversation: its attempts have it in common.")
    attempt: int = Field(description="1: the first attempt.")
    started_at: int
    finished_at: int | None
    duration: int | None = Field(description="Milliseconds.")
    outcome: str = Field(
        description="delivered; retry: failed, and tried again; rejected: given up; broken: an operator has to repair the "
        "destination; interrupted: the process ended before the answer; or under way."
    )
    reason: str
    words: str = Field(description="The provider's answer.")
    next_try: int | None = Field(
        description="Of the last failed attempt that is tried again: when, at the earliest."
    )
    message_is_kept: bool
    topic: DeliveryTopic


class AlertInDelivery(BaseModel):
    """An alert of the conversation."""

    id: int
    name: str
    labels: dict[str, str]
    level: str
    status: str = Field(description="Now: firing or resolved.")
    notified: str = Field(
        description="What the destination was notified of last: nothing, unknown (an attempt is under way, or its answer was "
        "lost), firing or resolved."
    )


class SentMessageModel(BaseModel):
    """The message as it was sent, in the shape of its channel."""

    channel: str
    body: dict[str, Any] | None = Field(description="Null: it was too large to keep.")
    left_out: int | None = Field(
        default=None, description="How many alerts a message was about that was too large to keep."
    )
    template_failed: bool = Field(
        default=False, description="The template failed, and the plain facts were sent."
    )


class DeliveryDetail(DeliveryLine):
    """A delivery with its message and its alerts."""

    message: SentMessageModel | None = Field(description="Null: none is kept, see ``no_message``.")
    no_message: str = Field(description="Why no message is kept; empty: it is.")
    alerts: list[AlertInDelivery] = Field(description="The first alerts of the conversation, at most 100.")
    alerts_total: int
    alerts_total_is_exact: bool
    before: int | None = Field(description="The id of the attempt of the same conversation before this one.")
    after: int | None = Field(description="The id of the next attempt of the same conversation.")


class OneDeliveryQuery(Query):
    """Which delivery."""

    id: RowId


class HoursQuery(Query):
    """Which hours."""

    since: Moment = None
    destination: DestinationKeys = Field(default=[])


class DeliveryHour(BaseModel):
    """How many deliveries ended in an hour."""

    at: int = Field(description="The beginning of the hour.")
    outcomes: dict[str, int] = Field(
        description="By outcome: delivered, retry, rejected, broken, interrupted."
    )


class DeliveryHours(BaseModel):
    """Hours, the oldest first. Hours without deliveries have no counts, but are not left out."""

    since: int
    until: int = Field(description="The end of the last hour, which is not over yet.")
    hours: list[DeliveryHour]


async def list_deliveries(context: AppContext, query: DeliveryQuery) -> Page[DeliveryLine]:
    cursor = query.after(int)
    outcomes = [name for each in query.outcome for name in (FAILED_OUTCOMES if each == FAILED else (each,))]
    wanted = DeliveryFilter(
        destinations=tuple(dict.fromkeys(query.destination)), outcomes=tuple(dict.fromkeys(outcomes)), alert=query.alert,
        conversation=query.conversation, since=read_moment(context, "since", query.since),
        until=read_moment(context, "until", query.until),
    )  # fmt: skip
    page = await context.store.pages.deliveries(
        wanted, None if cursor is None else int(cursor[0]), query.limit
    )
    lines = _Lines(context)
    return Page(
        items=[DeliveryLine(**lines.of(row)) for row in page.rows], total=page.total.count,
        total_is_exact=page.total.is_exact, next=None if page.before is None else encode_cursor((page.before,)),
    )  # fmt: skip


async def get_delivery(context: AppContext, query: OneDeliveryQuery) -> DeliveryDetail:
    found, message = await context.store.pages.delivery(query.id, _MAX_ALERTS)
    if found is None:
        raise ApiError(404, f"there is no delivery {query.id}; it may have been pruned")
    return DeliveryDetail(
        **_Lines(context).of(found.row), message=None if message is None else _message(message),
        no_message="" if message is not None else _why_no_message(found.row["outcome"]),
        alerts=[_alert(each) for each in found.alerts], alerts_total=found.alerts_total.count,
        alerts_total_is_exact=found.alerts_total.is_exact, before=found.before, after=found.after,
    )  # fmt: skip


async def get_delivery_hours(context: AppContext, query: HoursQuery) -> DeliveryHours:
    now = context.clock.now()
    since = read_moment(context, "since", query.since)
    first, last = hour_of(now - 47 * HOUR if since is None else since), hour_of(now)
    if first > last:
        raise wrong_parameter("since", "it is in the future")
    if last - first >= _MAX_CHART_HOURS * HOUR:
        raise wrong_parameter(
            "since", f"it is too long ago; an answer has at most {_MAX_CHART_HOURS // 24} days"
        )
    rows = await context.store.pages.delivery_hours(first, last, tuple(dict.fromkeys(query.destination)))
    counts: dict[Millis, dict[str, int]] = {at: {} for at in range(first, last + 1, HOUR)}
    for row in rows:
        counts[row["hour"]][row["outcome"]] = row["count"]
    hours = [DeliveryHour(at=at, outcomes=outcomes) for at, outcomes in counts.items()]
    return DeliveryHours(since=first, until=last + HOUR, hours=hours)


def topic_of(context: AppContext, topic: Topic) -> DeliveryTopic:
    """Return what a conversation is about; long texts are cut."""
    levels = context.policy().severity.levels
    return DeliveryTopic(
        kind=topic.kind, level=levels[min(topic.urgency, len(levels) - 1)], labels=cut_labels(topic.labels),
        names=[clip(each, _MAX_TEXT_CHARS) for each in topic.names], alerts=topic.alerts,
    )  # fmt: skip


def cut_labels(labels: dict[str, str]) -> dict[str, str]:
    """Return the first labels; long names and values are cut."""
    some = list(labels.items())[:_MAX_TOPIC_LABELS]
    return {clip(name, _MAX_TEXT_CHARS): clip(value, _MAX_TEXT_CHARS) for name, value in some}


class _Lines:
    """Makes the lines of deliveries by the rules in force."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._receivers = receivers_of(context.policy())
        self._channels = {key: each.channel for key, each in context.policy().destinations.items()}
        self._paused = {each["destination"]: each.get("paused_until") or 0 for each in context.lanes()}

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of :class:`DeliveryLine`."""
        key, next_at, finished = row["destination"], row["next_at"], row["finished_at"]
        return {
            "id": row["id"], "destination": key, "channel": self._channels.get(key) or key.partition(":")[0], "receivers": self._receivers.get(key, []),
            "conversation": row["conversation_id"], "attempt": row["attempt"], "started_at": row["started_at"],
            "finished_at": finished, "duration": None if finished is None else max(0, finished - row["started_at"]),
            "outcome": row["outcome"] or "under way", "reason": row["reason"], "words": row["words"],
            "next_try": None if next_at is None else max(next_at, self._paused.get(key, 0)),
            "message_is_kept": row["message"], "topic": topic_of(self._context, row["topic"]),
        }  # fmt: skip


def _alert(row: dict[str, Any]) -> AlertInDelivery:
    return AlertInDelivery(
        id=row["id"], name=clip(row["labels"].get("alertname", ""), _MAX_TEXT_CHARS),
        labels=cut_labels(row["labels"]), level=row["level"], status=row["status"], notified=row["notified"],
    )  # fmt: skip


def _message(kept: dict[str, Any]) -> SentMessageModel:
    return SentMessageModel(
        channel=kept["channel"], body=kept.get("body"), left_out=kept.get("left_out"),
        template_failed=kept.get("fallback", False),
    )  # fmt: skip


def _why_no_message(outcome: str | None) -> str:
    if outcome is None:
        return "It is kept when the attempt has ended."
    if outcome == "interrupted":
        return "The router ended during this attempt, so it does not know what was sent."
    return "Nothing was sent, or the message was pruned (retention.messages in routes.yaml)."


LIST_DELIVERIES = Endpoint(
    "GET", "/api/v1/deliveries", list_deliveries, DeliveryQuery, Page[DeliveryLine], "Deliveries, the newest first."
)  # fmt: skip
GET_DELIVERY_HOURS = Endpoint(
    "GET", "/api/v1/deliveries/hours", get_delivery_hours, HoursQuery, DeliveryHours,
    "How many deliveries ended in each hour: by default in the last 48 hours.",
)  # fmt: skip
GET_DELIVERY = Endpoint(
    "GET", "/api/v1/deliveries/{id}", get_delivery, OneDeliveryQuery, DeliveryDetail,
    "One delivery, with its message and its alerts.", problems={404: "There is no such delivery."},
)  # fmt: skip
ENDPOINTS = (LIST_DELIVERIES, GET_DELIVERY_HOURS, GET_DELIVERY)
