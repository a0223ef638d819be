"""Explains by the rules in force which destinations are notified of an alert, when, and why."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from router.decide import Policy
from router.decide.inhibition import Key
from router.decide.matchers import Matcher
from router.model import Labels, Millis
from router.rules.explain import Explained, Explainer
from router.rules.inputs import GivenAlert, given_alert
from router.rules.moments import InputError, parse_moment
from router.store import Search
from router.store.snapshot import KnownAlert
from router.web.api.cursors import Query
from router.web.api.endpoint import Endpoint
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext

MAX_ALERTS_EXPLAINED = 200
"""The most alerts of one request."""
_MAX_ALERTS_FIRING = 2_000
_MAX_STORED_EXPLAINED = 10
_MAX_BODY_BYTES = 2**20
# An answer has every route that was asked, for every alert.
_MAX_STEPS = 100_000
_MAX_TEXT_CHARS = 500
_RFC_3339 = "RFC 3339, in the time zone of the rules."


class AlertToExplain(BaseModel):
    """An alert as its sender would report it."""

    labels: dict[str, str]
    status: Literal["firing", "resolved"] = "firing"


class ExplainQuery(Query):
    """Which alerts to explain. Give one of ``labels``, ``alerts``, ``fingerprint`` and ``name``."""

    labels: dict[str, str] | None = Field(default=None, description="The labels of one alert.")
    alerts: Annotated[list[AlertToExplain], Field(max_length=MAX_ALERTS_EXPLAINED)] | None = Field(
        default=None, description="Several alerts, which fire together."
    )
    fingerprint: str | None = Field(
        default=None, max_length=_MAX_TEXT_CHARS, description="Of an alert in the store; its labels are used."
    )
    name: str | None = Field(
        default=None, max_length=_MAX_TEXT_CHARS,
        description=f"The label ``alertname`` of alerts in the store; the newest {_MAX_STORED_EXPLAINED} are explained.",
    )  # fmt: skip
    source: str | None = Field(
        default=None, max_length=_MAX_TEXT_CHARS, description="With fingerprint or name: only alerts of it."
    )
    at: str | None = Field(
        default=None, max_length=100,
        description="The time to decide for, like ``2026-11-20 22:41``, in the time zone of the rules. Without: now.",
    )  # fmt: skip
    firing: Annotated[list[dict[str, str]], Field(max_length=_MAX_ALERTS_FIRING)] = Field(
        default=[], description="Labels of alerts that fire in addition to those of the store."
    )


class ExplainedSeverity(BaseModel):
    level: str
    by_default: bool = Field(description="The alert has no known level.")


class ExplainedStep(BaseModel):
    """A route that the alert reached, or that was not asked."""

    path: str
    key: str = Field(description="The key that Alertmanager gives the route.")
    position: str | None = Field(description="file:line")
    receiver: str
    result: Literal["takes", "passes on", "refuses", "not asked"]
    refused_by: str | None = Field(description="The first matcher that failed.")
    found: str | None = Field(description="The value that the alert has instead; empty: none.")


class ExplainedHours(BaseModel):
    """The hours of a route that takes the alert."""

    route: str
    open: bool
    why: str = Field(description="Why it is closed.")
    outside: str = Field(description="What the route does outside its hours.")
    opens: str | None = Field(description=_RFC_3339)
    closes: str | None = Field(description=_RFC_3339)


class ExplainedInhibition(BaseModel):
    """An inhibit rule that has the alert as a target."""

    rule: str
    equal: dict[str, str] = Field(description="The labels that a source shares with the alert.")
    inhibited_by: dict[str, str] | None = Field(
        description="The labels of a firing alert that mutes it; null: none fires."
    )


class ExplainedDecision(BaseModel):
    """What is decided for one destination."""

    destination: str
    decision: Literal["send", "hold", "digest", "inhibited", "drop"]
    at: str | None = Field(description=f"{_RFC_3339} send: not before; hold: until then; digest: its slot.")
    rule: str
    position: str | None = Field(description="file:line")
    reason: str


class ExplainedHeartbeat(BaseModel):
    """The heartbeat that the alert is."""

    name: str
    rule: str
    position: str | None = Field(description="file:line")
    source: str | None = Field(description="The source that it has to come from; null: any source.")


class NotifiedSoFar(BaseModel):
    """What a destination was notified of."""

    destination: str
    notified: Literal["nothing", "unknown", "firing", "resolved"]
    decision: str
    at: str | None = Field(description=_RFC_3339)
    reason: str


class ExplanationOfAlert(BaseModel):
    """Which destinations are notified of an alert, when, and why."""

    labels: dict[str, str]
    at: str = Field(description=_RFC_3339)
    severity: ExplainedSeverity
    receivers: list[str]
    routes: list[ExplainedStep] = Field(description="In the order of the tree.")
    hours: list[ExplainedHours]
    inhibition: list[ExplainedInhibition]
    decisions: list[ExplainedDecision]
    heartbeat: ExplainedHeartbeat | None = Field(
        description="The alert is a heartbeat: nobody is notified of it, and no route is asked. null: it is none."
    )
    ended: bool = Field(
        description="It has ended: only destinations that know of it are notified of its end."
    )
    source: str | None = Field(description="Of an alert of the store.")
    so_far: list[NotifiedSoFar] | None = Field(description="Of an alert of the store.")
    text: str = Field(description="The same for a terminal.")


class RulesInForce(BaseModel):
    """The rules that decide now."""

    file: str
    sha256: str | None = Field(description="Of the files in force.")
    loaded_at: int | None
    error: str | None = Field(description="Why the last load failed.")
    applied: bool = Field(description="All firing alerts are judged by them.")
    differs: bool = Field(
        description="The files on the service's disk say something else: they are not in force."
    )


class Explanations(BaseModel):
    """Explanations by the rules in force."""

    items: list[ExplanationOfAlert]
    more: bool = Field(description="There may be more alerts of this name or fingerprint.")
    in_force: RulesInForce


async def explain_alerts(context: AppContext, query: ExplainQuery) -> Explanations:
    policy, zone, now = context.policy(), ZoneInfo(context.config().timezone), context.clock.now()
    try:
        at = now if query.at is None else parse_moment(query.at, zone)
        given, known, more = await _alerts_of(context, query)
        others = [given_alert(labels) for labels in query.firing]
        labels = [*(each.labels for each in given), *(each.alert.labels for each in known)]
        explainer = await _explainer(context, policy, zone, at, others, labels)
        explained = await context.threads.run(_explain, explainer, given, known)
    except InputError as error:
        raise ApiError(400, str(error)) from None
    items = [ExplanationOfAlert(**each.json, text=each.text) for each in explained]
    return Explanations(items=items, more=more, in_force=await rules_in_force(context))


async def rules_in_force(context: AppContext) -> RulesInForce:
    """Return which rules decide now, and whether the files on disk say something else."""
    status = context.rules_status()
    return RulesInForce(
        file=status.get("file", ""), sha256=status.get("digest"), loaded_at=status.get("loaded_at"),
        error=status.get("error"), applied=status["applied"], differs=any(each.state.is_other for each in await context.files_on_disk()),
    )  # fmt: skip


async def _alerts_of(
    context: AppContext, query: ExplainQuery
) -> tuple[list[GivenAlert], tuple[KnownAlert, ...], bool]:
    """Return the alerts that are given, those of the store, and whether the store may have more.

    :raises ApiError: not exactly one way to name alerts is used, or the store has none of the name
    :raises InputError: a label is not valid text
    """
    ways = (query.labels, query.alerts, query.fingerprint, query.name)
    if sum(each is not None for each in ways) != 1:
        raise ApiError(400, "give one of labels, alerts, fingerprint and name")
    if query.labels is not None:
        return [given_alert(query.labels)], (), False
    if query.alerts is not None:
        alerts = [given_alert(each.labels, firing=each.status == "firing") for each in query.alerts]
        return alerts, (), False
    matchers = () if query.name is None else (Matcher("alertname", "=", query.name),)
    search = Search(matchers, query.fingerprint, query.source)
    known, more = await context.store.pages.known_alerts(search, _MAX_STORED_EXPLAINED)
    if not known:
        what = (
            f"the name {query.name}" if query.fingerprint is None else f"the fingerprint {query.fingerprint}"
        )
        raise ApiError(404, f"the store has no alert of {what}; the pages and --json show fingerprints")
    return [], known, more


async def _explainer(
    context: AppContext,
    policy: Policy,
    zone: ZoneInfo,
    at: Millis,
    others: Iterable[GivenAlert],
    labels: Iterable[Labels],
) -> Explainer:
    """Return an explainer that knows which alerts of the store mute alerts with these labels."""
    keys = {(key.text, key.two_sided) for each in labels for key in policy.inhibition.as_target(each)}
    stored = await context.store.pages.firing_sources(keys)

    def source(key: Key) -> Labels | None:
        return stored.get((key.text, key.two_sided))

    return Explainer(policy, zone, at, others, source)


def _explain(
    explainer: Explainer, given: Sequence[GivenAlert], known: Sequence[KnownAlert]
) -> list[Explained]:
    """:raises ApiError: the answer would be too large"""
    found: list[Explained] = []
    steps = 0
    for each in chain(explainer.together(given), explainer.stored(known)):
        steps += len(each.json["routes"])
        if steps > _MAX_STEPS:
            raise ApiError(400, "the answer would be too large; ask about fewer alerts at a time")
        found.append(each)
    return found


EXPLAIN = Endpoint(
    "POST",
    "/api/v1/explain",
    explain_alerts,
    ExplainQuery,
    Explanations,
    "Explain by the rules in force, and by what fires now, which destinations are notified of alerts.",
    problems={404: "The store has no such alert."},
    max_bytes=_MAX_BODY_BYTES,
)
ENDPOINTS = (EXPLAIN,)
