"""Digests: their schedules, what the next one would say, and those that were sent."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from router.decide.hours import Schedule
from router.model import Destination, Millis
from router.store.digest_reports import OpenSlot, SentSlot
from router.web.api.cursors import Page, PageQuery, Query, page_of, rows_of_page
from router.web.api.endpoint import Endpoint
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_LATEST_SHOWN = 3
_NO_DIGEST = "There is no such digest."


class DigestQuery(Query):
    destination: str = Field(max_length=500, description="The key of a digest, such as ``digest:daily``.")


class SentDigestsQuery(PageQuery):
    destination: str = Field(max_length=500, description="The key of a digest, such as ``digest:daily``.")


class SlotToSend(BaseModel):
    """A slot that is not sent yet."""

    model_config = ConfigDict(from_attributes=True)

    slot: int = Field(description="When it is due.")
    since: int | None = Field(description="The begin of its period.")
    alerts: int = Field(
        description="How many alerts the rules sent to it. It also reports held and obsolete alerts."
    )
    is_late: bool = Field(description="It was due, and is not sent.")
    failed_attempts: int
    next_at: int | None = Field(description="When it is tried next; null: a delivery is under way.")


class SentDigest(BaseModel):
    """The last attempt to send a slot."""

    model_config = ConfigDict(from_attributes=True)

    delivery: int = Field(description="The id of the attempt in ``/api/v1/deliveries``.")
    slot: int | None
    since: int | None = Field(description="The begin of its period.")
    alerts: int = Field(description="How many alerts the rules sent to it.")
    attempt: int
    started_at: int
    finished_at: int | None
    outcome: str | None = Field(
        description="delivered, retry, rejected, broken, interrupted; null: under way."
    )
    reason: str
    words: str = Field(description="The provider's answer.")
    is_dead: bool = Field(description="It was given up, and nobody has settled the dead letter.")
    has_message: bool = Field(description="Its message is still stored.")


class DigestSchedule(BaseModel):
    """When a digest is sent."""

    at: str = Field(description="HH:MM in the zone.")
    weekdays: list[str] = Field(description="Empty: every day.")
    zone: str


class DigestOfRules(BaseModel):
    """A digest."""

    destination: str
    schedule: DigestSchedule
    next_slot: int
    sends_empty: bool = Field(description="A digest without alerts is sent as well.")
    next: SlotToSend | None = Field(description="null: the slot is not opened yet.")
    late: list[SlotToSend] = Field(description="Slots that were due, and are not sent.")
    latest: list[SentDigest] = Field(description=f"The last {_LATEST_SHOWN} slots that were sent or tried.")


class Digests(Page[DigestOfRules]):
    """The digests of the rules in force."""


class ReportedAlerts(BaseModel):
    """How many alerts a digest reports; each alert is in one of the counts."""

    firing: int
    ended: int
    flapping: int
    held: int
    obsolete: int


class NextDigest(BaseModel):
    """A digest as it would be sent now."""

    destination: str
    slot: int = Field(description="When it will be sent.")
    since: int = Field(description="The begin of its period.")
    counts: ReportedAlerts
    is_empty: bool
    is_sent: bool = Field(description="False: it is empty, and an empty digest is not sent.")
    subject: str
    text: str
    template_failed: bool = Field(description="The template failed; this is the fallback message.")


class SentDigests(Page[SentDigest]):
    """The slots that were sent or tried, the newest first."""


async def list_digests(context: AppContext, query: PageQuery) -> Digests:
    policy, now = context.policy(), context.clock.now()
    digests = [each for each in policy.destinations.values() if each.digest]
    some, following = page_of(digests, query)
    keys = [each.key for each in some]
    slots, latest = await context.store.pages.open_and_latest_slots(keys, _LATEST_SHOWN)
    items = [_digest(each, policy.schedules[each.key], slots, latest[each.key], now) for each in some]
    return Digests(items=items, total=len(digests), next=following)


async def next_digest(context: AppContext, query: DigestQuery) -> NextDigest:
    destination = digest_of(context, query.destination)
    draft = await context.draft_digest(destination)
    report, body = draft.report, draft.entry.body
    return NextDigest(
        destination=destination.key, slot=context.policy().schedules[destination.key].next(context.clock.now()),
        since=report.since, is_empty=report.empty, is_sent=not report.empty or destination.sends_empty_digests,
        counts=ReportedAlerts(
            firing=len(report.firing), ended=len(report.ended), flapping=len(report.flapping), held=len(report.held),
            obsolete=len(report.obsolete),
        ),
        subject=str(body.get("subject", "")), text=str(body.get("text", "")), template_failed=draft.entry.fallback,
    )  # fmt: skip


async def list_sent_digests(context: AppContext, query: SentDigestsQuery) -> SentDigests:
    destination = digest_of(context, query.destination)
    slots, total = await context.store.pages.sent_slots(destination.key, query.last_id(), query.limit + 1)
    shown, following = rows_of_page(slots, query, lambda each: each.delivery)
    return SentDigests(
        items=[SentDigest.model_validate(each) for each in shown], total=total.count, total_is_exact=total.is_exact,
        next=following,
    )  # fmt: skip


def digest_of(context: AppContext, key: str) -> Destination:
    """Return the digest with a key. :raises ApiError: 404, there is none"""
    destination = context.policy().destinations.get(key)
    if destination is None or not destination.digest:
        raise ApiError(404, f"there is no digest {key!r} in the rules in force; /digests lists them")
    return destination


def _digest(
    destination: Destination,
    schedule: Schedule,
    slots: Iterable[OpenSlot],
    latest: Iterable[SentSlot],
    now: Millis,
) -> DigestOfRules:
    own = [
        SlotToSend(
            slot=each.slot, since=each.since, alerts=each.alerts, is_late=each.slot <= now,
            failed_attempts=each.failed_attempts, next_at=each.next_at,
        )
        for each in slots
        if each.destination == destination.key
    ]  # fmt: skip
    return DigestOfRules(
        destination=destination.key, schedule=_schedule(schedule), next_slot=schedule.next(now),
        sends_empty=destination.sends_empty_digests, next=next((each for each in own if not each.is_late), None),
        late=[each for each in own if each.is_late], latest=[SentDigest.model_validate(each) for each in latest],
    )  # fmt: skip


def _schedule(schedule: Schedule) -> DigestSchedule:
    days = [
        name
        for number, name in enumerate(_WEEKDAYS)
        if any(first <= number <= last for first, last in schedule.weekdays)
    ]
    at = f"{schedule.minute // 60:02}:{schedule.minute % 60:02}"
    return DigestSchedule(at=at, weekdays=days, zone=schedule.zone.key)


LIST_DIGESTS = Endpoint(
    "GET",
    "/api/v1/digests",
    list_digests,
    PageQuery,
    Digests,
    "The digests of the rules in force: when each is sent, what waits, the last ones.",
)
NEXT_DIGEST = Endpoint(
    "GET",
    "/api/v1/digests/{destination}/next",
    next_digest,
    DigestQuery,
    NextDigest,
    "A digest as it would be sent now.",
    problems={404: _NO_DIGEST},
)
LIST_SENT_DIGESTS = Endpoint(
    "GET",
    "/api/v1/digests/{destination}/past",
    list_sent_digests,
    SentDigestsQuery,
    SentDigests,
    "The slots of a digest that were sent or tried, the newest first.",
    problems={404: _NO_DIGEST},
)
ENDPOINTS = (LIST_DIGESTS, NEXT_DIGEST, LIST_SENT_DIGESTS)
