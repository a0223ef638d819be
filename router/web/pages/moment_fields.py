"""Fields of forms for moments, as browsers send them: without a zone."""

from zoneinfo import ZoneInfo

from router.model import Millis
from router.render.words import moment
from router.rules.moments import InputError, parse_since, rfc3339
from router.web.api.problem_details import ApiError


def field_moment(name: str, text: str, zone: ZoneInfo, now: Millis) -> str:
    """Return a moment of a form with its zone. A duration is counted back from now. :raises ApiError: it is no moment

    :param now: epoch ms
    """
    try:
        return rfc3339(parse_since(text, zone, now), zone)
    except InputError as error:
        raise ApiError(400, f"{name}: {error}") from None


def field_text(at: Millis, zone: ZoneInfo) -> str:
    """Return a moment (epoch ms) as a field shows it."""
    return f"{moment(at, zone):%Y-%m-%dT%H:%M}"
