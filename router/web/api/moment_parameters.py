"""Parameters that are moments, such as the beginning of a period."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from router.model import Millis
from router.rules.moments import InputError, parse_since
from router.web.api.problem_details import ApiError, FieldProblem
from router.web.app_context import AppContext

_MAX_MOMENT_CHARS = 100
Moment = Annotated[
    str | None,
    Field(
        max_length=_MAX_MOMENT_CHARS,
        description="Epoch milliseconds, a moment like ``2026-11-20 22:41``, or a duration like ``2d``, counted back from now.",
    ),
]


def read_moment(
    context: AppContext, parameter: str, text: str | None, zone: ZoneInfo | None = None
) -> Millis | None:
    """Return the moment that a parameter gives (epoch ms); None: it gives none.

    :param zone: of moments without an offset; None: the time zone of routes.yaml
    :raises ApiError: 400, it can't be read
    """
    if text is None:
        return None
    try:
        return parse_since(text, zone or ZoneInfo(context.config().timezone), context.clock.now())
    except InputError as error:
        raise wrong_parameter(parameter, str(error)) from None


def wrong_parameter(parameter: str, problem: str) -> ApiError:
    """Return the 400 for one parameter."""
    return ApiError(400, f"{parameter}: {problem}", (FieldProblem(parameter=parameter, problem=problem),))
