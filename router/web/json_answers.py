"""The JSON bodies of answers other than 200: one shape for all handlers."""

from collections.abc import Mapping

from aiohttp import web

# The status word of each code. Programs read it; people read the reason.
_STATUS_WORDS = {
    202: "quarantined", 400: "bad request", 401: "unauthorized", 404: "not found", 409: "under way", 413: "too large",
    415: "unsupported", 500: "failed", 503: "unavailable",
}  # fmt: skip
# https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="alert-router", Basic realm="alert-router"'}


def refusal(code: int, reason: str, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return ``{"status": WORD, "reason": REASON}`` with a status code. A 401 also says how to authenticate.

    :param reason: what happened and what to do; it holds no secret
    """
    fields = {**(_CHALLENGE if code == 401 else {}), **(headers or {})}
    return web.json_response({"status": _STATUS_WORDS[code], "reason": reason}, status=code, headers=fields)
