"""The list of alert groups that fire, the most urgent first."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, Field

from router.decide.matchers import Matcher
from router.model import Labels, Millis
from router.render.annotations import summary_of
from router.render.words import clip
from router.store.group_contents import FiringGroup
from router.web.api.alert_parameters import AlertFilterQuery, titles_in_force
from router.web.api.cursors import Page, encode_cursor
from router.web.api.destination_notes import DestinationNote, Facts, facts_of, note_of
from router.web.api.endpoint import Endpoint
from router.web.api.shown_alerts import (
    GroupName,
    Link,
    Titles,
    group_links,
    group_name,
    safe,
)
from router.web.app_context import AppContext

_MAX_GROUPS_PER_PAGE = 100
_MAX_SUMMARY_CHARS = 500
_MAX_MATCHERS, _MAX_MATCHERS_CHARS = 20, 2_000
"""Of the parameter ``filter`` in a link."""


class FiringGroupsQuery(AlertFilterQuery):
    """Which groups: those with an alert that fires and fits."""

    limit: Annotated[
        int, Field(ge=1, le=_MAX_GROUPS_PER_PAGE, description="The most groups of the answer.")
    ] = 20


class LevelCount(BaseModel):
    """How many alerts fire at a level."""

    level: str
    count: int


class AlertOfGroup(BaseModel):
    """An alert of a group."""

    id: int
    title: str
    level: str
    starts_at: Millis | None
    summary: str


class DestinationOfGroup(BaseModel):
    """What a destination was notified of about the listed alerts of a group."""

    destination: str
    state: str = Field(description="As of one alert.")
    count: int = Field(description="How many of the listed alerts are in this state.")
    words: str
    next: str
    until: Millis | None


class FiringGroupAnswer(BaseModel):
    """A group of alerts that fire."""

    group: GroupName
    source: str
    title: str = Field(description="What fires and where.")
    level: str = Field(description="The most urgent level.")
    firing: int = Field(description="How many alerts fire.")
    levels: list[LevelCount] = Field(description="The most urgent first.")
    since: Millis | None = Field(description="The earliest start.")
    newest: Millis | None = Field(description="The latest start.")
    summary: str = Field(
        description="The summary that the listed alerts share, or that of the most urgent one."
    )
    truncated: int = Field(description="How many alerts Alertmanager left out of its last webhook.")
    links: list[Link]
    alerts: list[AlertOfGroup] = Field(description="The most urgent ones.")
    alerts_left_out: int = Field(description="How many more alerts fire.")
    filter: list[str] = Field(
        description="The parameter of the list of alerts that has the labels of this group; empty: they are too long."
    )
    destinations: list[DestinationOfGroup] = Field(description="What each was notified of the listed alerts.")


class FiringGroupPage(Page[FiringGroupAnswer]):
    """A page of groups."""

    is_partial: bool = Field(
        default=False, description="The search ended at the bound of its work: ``next`` continues it."
    )


async def list_firing_groups(context: AppContext, query: FiringGroupsQuery) -> FiringGroupPage:
    cursor = query.after(str, int, int)
    after = None if cursor is None else (str(cursor[0]), int(cursor[1]), int(cursor[2]))
    page, inhibitors = await context.store.pages.alert_groups(
        query.as_filter("firing"), context.policy().severity, after, query.limit
    )
    titles = titles_in_force(context)
    facts = facts_of(context, titles, inhibitors)
    return FiringGroupPage(
        items=[_group(each, titles, facts) for each in page.groups if each.alerts], total=page.total.count,
        total_is_exact=page.total.is_exact, next=encode_cursor(page.next), is_partial=page.is_partial,
    )  # fmt: skip


def _group(found: FiringGroup, titles: Titles, facts: Facts) -> FiringGroupAnswer:
    lead, firing = found.alerts[0], sum(count for _, count in found.levels)
    labels = [each.labels for each in found.alerts]
    is_whole = firing == len(found.alerts)
    title = titles.of([(each.labels, each.level) for each in found.alerts], found.group.labels)
    own_silence = lead.links.get("silence", "") if firing == 1 else ""
    return FiringGroupAnswer(
        group=group_name(found.group), source=safe(found.group.source),
        title=title if is_whole else f"{title}, and {firing - len(found.alerts):,} more",
        level=safe(found.levels[0][0]), firing=firing,
        levels=[LevelCount(level=safe(level), count=count) for level, count in found.levels],
        since=found.since, newest=found.newest, summary=_summary(found), truncated=found.group.truncated,
        links=group_links(lead, titles.formatter, labels if is_whole else (), own_silence),
        alerts=[
            AlertOfGroup(
                id=each.id, title=titles.of_one(each.labels, each.level), level=safe(each.level),
                starts_at=each.starts_at, summary=clip(safe(summary_of(each.annotations or {})), _MAX_SUMMARY_CHARS),
            )
            for each in found.alerts
        ],
        alerts_left_out=firing - len(found.alerts), filter=_group_filter(found.group.labels),
        destinations=_destinations(
            note_of(state, each, facts) for each in found.alerts for state in each.destinations
        ),
    )  # fmt: skip


def _group_filter(labels: Labels) -> list[str]:
    matchers = [str(Matcher(name, "=", value)) for name, value in labels.items()]
    is_usable = len(matchers) <= _MAX_MATCHERS and sum(map(len, matchers)) <= _MAX_MATCHERS_CHARS
    return list(map(safe, matchers)) if is_usable else []


def _summary(found: FiringGroup) -> str:
    texts = [summary_of(each.annotations or {}) for each in found.alerts]
    return clip(safe(texts[0]), _MAX_SUMMARY_CHARS)


def _destinations(notes: Iterable[DestinationNote]) -> list[DestinationOfGroup]:
    """Return each destination once for each state that some alert is in there, the unnotified first."""
    first: dict[tuple[str, str, str], DestinationNote] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for note in notes:
        # The times at which alerts were notified differ by little.
        key = note.destination, note.state, "" if note.is_notified else note.words
        first.setdefault(key, note)
        counts[key] += 1
    return [
        DestinationOfGroup(
            destination=note.destination, state=note.state, count=counts[key], words=note.words, next=note.next,
            until=note.until,
        )
        for key, note in sorted(first.items(), key=lambda item: (item[1].is_notified, item[0]))
    ]  # fmt: skip


LIST_FIRING_GROUPS = Endpoint(
    "GET",
    "/api/v1/alert-groups",
    list_firing_groups,
    FiringGroupsQuery,
    FiringGroupPage,
    "The alert groups that fire, the most urgent level first, and what each destination was notified of.",
)
ENDPOINTS = (LIST_FIRING_GROUPS,)
