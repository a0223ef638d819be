"""The page of the rules in force: the route tree with live counts, the path of an alert, schedules, the check of the files."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import Field

from router.decide.matchers import Matcher
from router.model import SECOND, Millis
from router.rules.inputs import parse_label_text
from router.rules.moments import InputError
from router.web.api.cursors import Query
from router.web.api.endpoint import parameters_of, read_query
from router.web.api.explanations import EXPLAIN, ExplainedStep, ExplanationOfAlert, Explanations
from router.web.api.file_findings import LIST_FINDINGS, FileFindings
from router.web.api.problem_details import ApiError
from router.web.api.route_tree import LIST_INHIBIT_RULES, LIST_ROUTES, RouteOfTree
from router.web.api.schedules import LIST_SCHEDULES, IntervalSchedule
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page

_MAX_LABELS_CHARS = 20_000
_ROUTES_PER_PAGE = 200
# Of the other lists of the page; it says if there are more, and where.
_MAX_ROWS = 100
_MAX_INTERVALS = 30
# The check of some thousand routes takes some seconds. It goes on while the page is shown without it.
_CHECK_SECONDS = 0.5
# Deeper routes are drawn at this depth.
_MAX_DEPTH = 30
_MAX_REFUSALS_SHOWN = 12


class RoutesPageQuery(Query):
    """What the address of the page can have."""

    labels: str = Field(default="", max_length=_MAX_LABELS_CHARS)
    at: str = Field(default="", max_length=100)
    fingerprint: str = Field(default="", max_length=500)
    source: str = Field(default="", max_length=500)
    cursor: str | None = None
    done: str | None = None


@dataclass(slots=True)
class DrawnRoute:
    """A route with the routes below it, as the page draws it."""

    number: int
    route: RouteOfTree
    step: ExplainedStep | None
    """What it does with the explained alert; None: it was not reached."""
    below: list["DrawnRoute"] = field(default_factory=list)


async def _routes(request: web.Request) -> web.Response:
    query = read_query(RoutesPageQuery, parameters_of(RoutesPageQuery, request))
    answer, problem = await _explained(request, query)
    explained = None if answer is None else answer.items[0]
    tree = await ask(request, LIST_ROUTES, _given(limit=_ROUTES_PER_PAGE, cursor=query.cursor))
    steps = {} if explained is None else {each.path: each for each in explained.routes}
    schedules = await ask(request, LIST_SCHEDULES, {"limit": _MAX_INTERVALS})
    values = {
        "query": query, "labels": query.labels or _label_text(explained), "problem": problem, "explained": explained, "answer": answer, "tree": tree, "drawn": drawn(tree.items, steps),
        "path": None if explained is None else _path(explained),
        "decisions": () if explained is None else [(each, at_millis(each.at)) for each in explained.decisions],
        "hours": () if explained is None else [(each, at_millis(each.opens or each.closes)) for each in explained.hours],
        "inhibit_rules": await ask(request, LIST_INHIBIT_RULES, {"limit": _MAX_ROWS}),
        "schedules": schedules, "drawn_schedules": [(each, _longest_day(each)) for each in schedules.items],
        "explained_at": None if explained is None else at_millis(explained.at),
        "findings": await _findings(request),
    }  # fmt: skip
    return await render(request, "routes.html", values, active="routes", status=400 if problem else 200)


async def _findings(request: web.Request) -> FileFindings | None:
    """Return what is wrong with the files; None: the check takes longer than a page can wait."""
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await ask(request, LIST_FINDINGS, {"limit": _MAX_ROWS})
    except TimeoutError:
        return None


async def _explained(request: web.Request, query: RoutesPageQuery) -> tuple[Explanations | None, str]:
    """Return the explanations that the page's address asks for, and why there are none; empty: nothing is wrong."""
    if not (query.labels.strip() or query.fingerprint):
        return None, ""
    try:
        alert: Mapping[str, Any] = (
            {"labels": parse_label_text(query.labels)}
            if query.labels.strip()
            else _given(fingerprint=query.fingerprint, source=query.source)
        )
        answer = await ask(request, EXPLAIN, {**alert, **_given(at=query.at.strip())})
    except (InputError, ApiError) as error:
        return None, str(error)
    return answer, ""


def _given(**parameters: Any) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value not in (None, "")}


def drawn(routes: Sequence[RouteOfTree], steps: Mapping[str, ExplainedStep]) -> list[DrawnRoute]:
    """Return the routes of a page of the tree as trees. If the page begins within the tree, there are several.

    :param steps: what routes do with an alert, by path
    """
    roots: list[DrawnRoute] = []
    above: list[DrawnRoute] = []
    for number, route in enumerate(routes):
        node = DrawnRoute(number, route, steps.get(route.path))
        while above and above[-1].route.depth >= route.depth:
            above.pop()
        (above[min(len(above), _MAX_DEPTH) - 1].below if above else roots).append(node)
        above.append(node)
    return roots


@dataclass(frozen=True, slots=True)
class DrawnPath:
    """The routes that an alert reached, with some of those that refuse it."""

    steps: tuple[ExplainedStep, ...]
    left_out: int
    """How many others refuse it, or were not asked."""


def _label_text(explained: ExplanationOfAlert | None) -> str:
    """Return the labels of an explained alert, as the form takes them."""
    labels = {} if explained is None else explained.labels
    return "\n".join(str(Matcher(name, "=", value)) for name, value in labels.items())


def _path(explained: ExplanationOfAlert) -> DrawnPath:
    steps, refusals = [], 0
    for each in explained.routes:
        refusals += each.result in {"refuses", "not asked"}
        if each.result in {"takes", "passes on"} or refusals <= _MAX_REFUSALS_SHOWN:
            steps.append(each)
    return DrawnPath(tuple(steps), max(0, refusals - _MAX_REFUSALS_SHOWN))


def _longest_day(schedule: IntervalSchedule) -> Millis:
    """Return the length of the longest day. It fills the width of the drawing."""
    return max(day.ends_at - day.starts_at for day in schedule.days)


def at_millis(text: str | None) -> Millis | None:
    """Return a moment (RFC 3339) in epoch ms."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp()) * SECOND


ROUTES = (page("/routes", _routes),)
