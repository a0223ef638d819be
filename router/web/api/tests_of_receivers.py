"""Tests of receivers: start one, follow it, and list those of the past, with the drills among them."""

from collections.abc import Iterable
from itertools import groupby
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from router.config.problems import did_you_mean
from router.model import (
    MINUTE,
    SECOND,
    AnswerState,
    ReceiverTest,
    Role,
    TestOutcome,
    TestRefused,
    TestRequest,
)
from router.web.access import actor
from router.web.api.cursors import Page, PageQuery, Query, page_of
from router.web.api.endpoint import Endpoint
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext

_DEFAULT_TIMEOUT_SECONDS, _MAX_TIMEOUT_SECONDS = 2 * MINUTE // SECOND, 3_600
_MAX_WAIT_SECONDS = 20
_MAX_NAME_CHARS = 1_000
_NO_TEST = "There is no such test, or it is older than the last 400."


class AnswerReport(BaseModel):
    """What a destination answered to one of the two messages."""

    model_config = ConfigDict(from_attributes=True)

    state: AnswerState = Field(
        description="waiting, delivered, failed, or not sent (on purpose: ``words`` says why)."
    )
    words: str = Field(description="The provider's own words, or why it waits, or why nothing is sent.")
    after: int | None = Field(
        description="How long it took from the moment at which the message was due (ms); null: there is no answer."
    )
    delivery: int | None = Field(
        description="The last attempt, in ``/api/v1/deliveries``; null: there was none."
    )
    in_storm: bool = Field(
        description="A storm is going on at the destination: its summary names the test, and the test has no message of its "
        "own."
    )  # fmt: skip


class DestinationAnswers(BaseModel):
    """What one destination answered."""

    model_config = ConfigDict(from_attributes=True)

    destination: str = Field(validation_alias="key")
    outcome: TestOutcome = Field(description="delivered, failed or waiting: the worse one of both messages.")
    firing: AnswerReport
    end: AnswerReport


class TestReport(BaseModel):
    """A test of a receiver."""

    __test__ = False
    model_config = ConfigDict(from_attributes=True)

    id: str
    version: str = Field(default="", description="Changes whenever an answer comes.")
    receiver: str
    by: str = Field(description="The user who started it; empty: the drill did.")
    severity: str
    timeout: int = Field(description="How long the router waits for the answers to each message (ms).")
    started_at: int
    sent_at: int | None = Field(description="When the message was due; null: it is not sent yet.")
    ended_at: int | None = Field(description="When its end was due; null: it still fires.")
    finished_at: int | None = Field(description="null: it is under way.")
    outcome: TestOutcome = Field(
        description="under way; delivered (every destination took both messages), failed, waiting (the time is over), or "
        "interrupted."
    )  # fmt: skip
    interrupted: str = Field(description="Why it was interrupted; empty: it was not.")
    slot: int | None = Field(description="The slot of the drill; null: an operator started it.")
    destinations: list[DestinationAnswers]


class DrillReport(BaseModel):
    """One slot of the drill."""

    slot: int
    outcome: TestOutcome = Field(description="The worst one of its tests.")
    tests: list[TestReport]


class NewTestQuery(Query):
    receiver: Annotated[
        str, Field(min_length=1, max_length=_MAX_NAME_CHARS, description="The receiver to test.")
    ]
    severity: Annotated[
        str | None,
        Field(
            max_length=_MAX_NAME_CHARS, description="The level of the test; left out: the most urgent one."
        ),
    ] = None
    timeout: Annotated[
        int,
        Field(
            ge=1, le=_MAX_TIMEOUT_SECONDS,
            description="How long to wait for the answers to the message, and then for those to its end (seconds).",
        ),
    ] = _DEFAULT_TIMEOUT_SECONDS  # fmt: skip


class TestQuery(Query):
    __test__ = False
    id: Annotated[str, Field(min_length=1, max_length=100, description="The id of a test.")]
    unlike: Annotated[
        str,
        Field(
            max_length=100, description="The version that is known already: the answer waits for another one."
        ),
    ] = ""
    wait: Annotated[
        int, Field(ge=0, le=_MAX_WAIT_SECONDS, description="The longest wait (seconds).")
    ] = 0  # fmt: skip


class TestsQuery(PageQuery):
    __test__ = False
    receiver: Annotated[
        str | None, Field(max_length=_MAX_NAME_CHARS, description="Only tests of this receiver.")
    ] = None


class TestPage(Page[TestReport]):
    """A page of tests."""

    __test__ = False


class DrillPage(Page[DrillReport]):
    """A page of drills."""


async def start_test(context: AppContext, query: NewTestQuery) -> TestReport:
    policy = context.policy()
    if query.receiver not in policy.receivers:
        todo = did_you_mean(query.receiver, policy.receivers, "the receivers are")
        raise ApiError(404, f"there is no receiver {query.receiver!r}; {todo}")
    levels = policy.severity.levels
    severity = (query.severity or levels[0]).strip().casefold()
    if severity not in levels:
        todo = did_you_mean(severity, levels, "the levels are")
        raise ApiError(422, f"there is no level {query.severity!r}; {todo}")
    request = TestRequest(query.receiver, actor(), severity, query.timeout * SECOND)
    try:
        return report_of(await context.start_test(request))
    except TestRefused as error:
        raise ApiError(409, str(error)) from None


async def read_test(context: AppContext, query: TestQuery) -> TestReport:
    found = await context.follow_test(query.id, query.unlike, query.wait)
    if found is None:
        raise ApiError(404, _NO_TEST)
    test, version = found
    return report_of(test, version)


async def list_tests(context: AppContext, query: TestsQuery) -> TestPage:
    tests = [each for each in await context.store.tests.all() if query.receiver in (None, each.receiver)]
    some, following = page_of(tests, query)
    return TestPage(items=[report_of(each) for each in some], total=len(tests), next=following)


async def list_drills(context: AppContext, query: PageQuery) -> DrillPage:
    drills = _drills(each for each in await context.store.tests.all() if each.slot is not None)
    some, following = page_of(drills, query)
    return DrillPage(items=list(some), total=len(drills), next=following)


def _drills(tests: Iterable[ReceiverTest]) -> list[DrillReport]:
    """:param tests: those of drills, the newest first"""
    worst = (
        TestOutcome.UNDER_WAY, TestOutcome.FAILED, TestOutcome.WAITING, TestOutcome.INTERRUPTED, TestOutcome.DELIVERED,
    )  # fmt: skip
    found = []
    for slot, several in groupby(tests, key=lambda each: each.slot or 0):
        reports = sorted(map(report_of, several), key=lambda each: each.receiver)
        outcome = min((each.outcome for each in reports), key=worst.index)
        found.append(DrillReport(slot=slot, outcome=outcome, tests=reports))
    return found


def report_of(test: ReceiverTest, version: str = "") -> TestReport:
    """Return a test as the API shows it."""
    report = TestReport.model_validate(test)
    return report.model_copy(update={"version": version})


START_TEST = Endpoint(
    "POST", "/api/v1/tests", start_test, NewTestQuery, TestReport,
    "Send a message marked TEST to all destinations of a receiver, and then its end.", Role.OPERATE,
    {404: "There is no such receiver.", 409: "A test can't begin now; the text says why.", 422: "There is no such level."},
    action="send test", target=lambda query: query.receiver, result=lambda answer: f"test {answer.id}",
)  # fmt: skip
READ_TEST = Endpoint(
    "GET", "/api/v1/tests/{id}", read_test, TestQuery, TestReport,
    "A test: what each destination has answered by now. With ``unlike`` and ``wait``, it answers when something has changed.",
    problems={404: _NO_TEST},
)  # fmt: skip
LIST_TESTS = Endpoint(
    "GET", "/api/v1/tests", list_tests, TestsQuery, TestPage, "The last 400 tests of receivers, the newest first."
)  # fmt: skip
LIST_DRILLS = Endpoint(
    "GET", "/api/v1/drills", list_drills, PageQuery, DrillPage,
    "The drills among the last 400 tests, the newest first: what each destination answered.",
)  # fmt: skip
ENDPOINTS = (START_TEST, READ_TEST, LIST_TESTS, LIST_DRILLS)
