"""The parameters that lists of alerts have in common."""

from functools import lru_cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints

from router.decide import Severity
from router.decide.matchers import Matcher, MatcherError, parse_matchers
from router.render.formatter import Formatter
from router.store.alert_filters import AlertFilter
from router.web.api.cursors import PageQuery
from router.web.api.moment_parameters import Moment
from router.web.api.problem_details import ApiError, FieldProblem
from router.web.api.shown_alerts import Titles
from router.web.app_context import AppContext

_MAX_KNOWN_TITLES = 2
"""The rules in force, and those before."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
MatcherText = Annotated[str, StringConstraints(min_length=1, max_length=4_000)]


class AlertFilterQuery(PageQuery):
    """Which alerts a list has."""

    filter: Annotated[
        tuple[MatcherText, ...],
        Field(max_length=20, description='Matchers as in Alertmanager: ``team="db",cluster=~"eu-.*"``. All have to match.'),
    ] = ()  # fmt: skip
    severity: Annotated[
        tuple[Text, ...], Field(max_length=20, description="Only alerts of one of these levels.")
    ] = ()
    destination: Annotated[
        Text | None,
        Field(description="The key of a destination that was notified of the alert, or waits for it."),
    ] = None
    source: Annotated[Text | None, Field(description="The source that sent the alert.")] = None
    name: Annotated[Text | None, Field(description="The label alertname, exactly.")] = None
    fingerprint: Annotated[Text | None, Field(description="The sender's fingerprint.")] = None
    search: Annotated[
        Text | None, Field(description="A text that the value of some label contains, in any case.")
    ] = None

    def as_filter(self, status: str | None) -> AlertFilter:
        """Return the filter. :raises ApiError: 400, a matcher can't be read"""
        matchers = [] if self.name is None else [Matcher("alertname", "=", self.name)]
        for text in self.filter:
            matchers += read_matchers(text)
        return AlertFilter(
            status, tuple(matchers), tuple(each.strip().casefold() for each in self.severity), self.destination,
            self.source, self.fingerprint, self.search or "",
        )  # fmt: skip


class AlertsQuery(AlertFilterQuery):
    """Which alerts the list has."""

    status: Annotated[
        Literal["firing", "resolved", "any"], Field(description="Whether they fire or have ended.")
    ] = "firing"
    since: Moment = None
    """Only alerts that fired or ended since then."""


def read_matchers(text: str, parameter: str = "filter") -> tuple[Matcher, ...]:
    """Return the matchers of a parameter. :raises ApiError: 400, it has none"""
    try:
        found = parse_matchers(text)
    except MatcherError as error:
        wrong = FieldProblem(
            parameter=parameter, problem=f'{error}. Write it like team="db" or cluster=~"eu-.*"'
        )  # fmt: skip
        raise ApiError(400, f"{wrong.parameter}: {wrong.problem}", (wrong,)) from None
    return found


def titles_in_force(context: AppContext) -> Titles:
    """Return how titles are made by the rules in force."""
    return _titles(context.policy().severity, context.config().timezone)


@lru_cache(_MAX_KNOWN_TITLES)
def _titles(severity: Severity, timezone: str) -> Titles:
    """Return the same object for the same rules, because it remembers titles."""
    return Titles(severity, Formatter(severity.levels, severity.label, ZoneInfo(timezone)))
