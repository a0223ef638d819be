"""An error as Sentry gets it: which code failed, and what the router did before.

The event is an allowlist twice: it is built of nothing but names of code and :mod:`router.telemetry.reported_facts`, and what
the SDK adds is reduced to the same keys before it is sent. The text of an exception is left out, because it can quote
anything: a row, an address, a provider's answer.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from router.model import SECOND, Millis

_MAX_FRAMES = 60
_MAX_CAUSES = 5
_MAX_NAME_CHARS = 200
_OWN_PACKAGE = "router"
_TEMPLATE = "template"

# https://develop.sentry.dev/sdk/data-model/event-payloads/
_KEYS = frozenset(
    {"event_id", "timestamp", "platform", "level", "logger", "release", "environment", "server_name", "exception",
     "tags", "contexts"}
)  # fmt: skip
_CONTEXTS = frozenset({"router"})


def error_event(
    action: str,
    logger: str,
    error: BaseException,
    counts: Mapping[str, int],
    now: Millis,
) -> dict[str, Any]:
    """Return an event about an error.

    :param action: what failed: a fixed text of the router's source code
    :param counts: what the process did since its start
    :param now: epoch milliseconds
    """
    return {
        "timestamp": _rfc3339(now),
        "level": "error",
        "logger": logger[:_MAX_NAME_CHARS],
        "exception": {"values": [_exception(each) for each in _causes(error)]},
        "tags": {"action": action[:_MAX_NAME_CHARS]},
        "contexts": {"router": {"type": "router", **counts}},
    }


def breadcrumb(category: str, facts: Mapping[str, Any], now: Millis) -> dict[str, Any]:
    """Return what the router did at a time (epoch ms). :param category: ``decision`` or ``delivery``"""
    return {"timestamp": _rfc3339(now), "category": category, "level": "info", "data": dict(facts)}


def allowed(event: Mapping[str, Any], breadcrumbs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return an event as it is sent: without everything that the SDK added beside the allowed keys.

    :param breadcrumbs: see :func:`breadcrumb`; the oldest first
    """
    kept = {key: value for key, value in event.items() if key in _KEYS and value not in ("", None)}
    kept["contexts"] = {key: each for key, each in kept.get("contexts", {}).items() if key in _CONTEXTS}
    return {**kept, "breadcrumbs": {"values": list(breadcrumbs)}}


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what caused it, the first cause first, as Sentry lists them."""
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found and len(found) < _MAX_CAUSES:
        found.append(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return found[::-1]


def _exception(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    return {
        "type": kind.__qualname__[:_MAX_NAME_CHARS],
        "module": kind.__module__[:_MAX_NAME_CHARS],
        "stacktrace": {"frames": _frames(error.__traceback__)},
    }


def _frames(traceback: TracebackType | None) -> list[dict[str, Any]]:
    """Return the frames of a traceback, the outermost first; of a long one, the innermost."""
    frames: list[dict[str, Any]] = []
    while traceback is not None:
        code, module = traceback.tb_frame.f_code, str(traceback.tb_frame.f_globals.get("__name__", ""))
        # Jinja names the module of a template by the path of its file.
        is_module = all(part.isidentifier() for part in module.split("."))
        frames.append({
            "module": module[:_MAX_NAME_CHARS] if is_module else _TEMPLATE,
            # Made of the module's name: the path of the file would name the machine's folders.
            "filename": f"{module.replace('.', '/')}.py"[:_MAX_NAME_CHARS] if is_module else _TEMPLATE,
            "function": code.co_qualname[:_MAX_NAME_CHARS],
            "lineno": traceback.tb_lineno,
            "in_app": module.partition(".")[0] == _OWN_PACKAGE,
        })  # fmt: skip
        traceback = traceback.tb_next
    return frames[-_MAX_FRAMES:]


def _rfc3339(at: Millis) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
