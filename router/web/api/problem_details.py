"""Errors of the API: problem details as RFC 9457 has them. https://www.rfc-editor.org/rfc/rfc9457"""

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

PROBLEM_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one parameter."""

    parameter: str
    problem: str


class ProblemDetails(BaseModel):
    """Why a request was refused or failed."""

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, and what to do.")
    errors: list[FieldProblem] = Field(default=[], description="What is wrong with each parameter.")


class ApiError(Exception):
    """A request that can't be answered as it was meant.

    :param status: of HTTP
    :param detail: what happened and what to do, for people; it holds no secret
    """

    def __init__(self, status: int, detail: str, errors: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors


def problem_response(error: ApiError, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return the answer for an error."""
    problem = ProblemDetails(
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        errors=list(error.errors),
    )
    return web.Response(
        text=problem.model_dump_json(exclude_defaults=not error.errors, exclude={"type"}),
        status=error.status, content_type=PROBLEM_TYPE, headers=headers,
    )  # fmt: skip


def invalid_request(error: ValidationError, known: tuple[str, ...]) -> ApiError:
    """Return the 400 that names each wrong parameter.

    :param known: the parameters that the address has
    """
    errors = tuple(
        _field_problem(each, known) for each in error.errors(include_url=False, include_input=False)[:20]
    )
    return ApiError(400, "; ".join(f"{each.parameter}: {each.problem}" for each in errors), errors)


def _field_problem(found: object, known: tuple[str, ...]) -> FieldProblem:
    assert isinstance(found, dict)  # noqa: S101  (narrows the type)
    parameter = ".".join(map(str, found["loc"])) or "body"
    if found["type"] == "extra_forbidden":
        return FieldProblem(
            parameter=parameter[:100],
            problem=f"this parameter is unknown; known are {', '.join(known)}"
            if known
            else "there are no parameters",
        )
    return FieldProblem(parameter=parameter[:100], problem=str(found["msg"]).removeprefix("Value error, "))
