"""What ``alert-router check`` finds in the files of the rules, and the state of included files."""

from typing import Literal

from pydantic import BaseModel, Field

from router.config import Problem
from router.web.api.cursors import Page, PageQuery, page_of
from router.web.api.endpoint import Endpoint
from router.web.api.explanations import RulesInForce, rules_in_force
from router.web.app_context import AppContext


class FileFinding(BaseModel):
    """A mistake or a trap in a file of the rules."""

    file: str
    line: int
    column: int
    severity: Literal["error", "warning", "note"]
    kind: str = Field(description="``mistake``, or the kind of the trap.")
    what: str
    todo: str


class IncludedFile(BaseModel):
    """An included file."""

    name: str
    file: str
    state: Literal["loaded", "last good version", "left out"]
    problems: list[str]


class FileFindings(Page[FileFinding]):
    """What is wrong with the files as they are now on the service's disk. The errors are first."""

    fragments: list[IncludedFile] = Field(description="Of the configuration in force.")
    in_force: RulesInForce


async def list_findings(context: AppContext, query: PageQuery) -> FileFindings:
    problems = sorted((await context.check_files()).problems, key=_urgency)
    some, following = page_of(problems, query)
    return FileFindings(
        items=[_finding(each) for each in some], total=len(problems),
        next=following,
        fragments=[IncludedFile(**each) for each in context.rules_status().get("fragments", ())],
        in_force=await rules_in_force(context),
    )  # fmt: skip


def _urgency(problem: Problem) -> tuple[int, Problem]:
    return ("error", "warning", "note").index(problem.severity), problem


def _finding(problem: Problem) -> FileFinding:
    return FileFinding(**problem.as_json())


LIST_FINDINGS = Endpoint(
    "GET",
    "/api/v1/checks",
    list_findings,
    PageQuery,
    FileFindings,
    "What is wrong with the files of the rules on the service's disk, as ``alert-router check`` finds it.",
)
ENDPOINTS = (LIST_FINDINGS,)
