"""The way of a log line: sampled, completed, bounded, formatted, and handed to the writer's thread."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from router.logs.error_observers import ExcInfo, exc_info_of, observe_error
from router.logs.line_form import Form, ordered
from router.logs.line_sampler import LineSampler, SampleLimit
from router.logs.line_writer import LineWriter

FIELDS = "fields"
"""A field with a function that returns further fields. It is called only if the line is written."""
_TRAFFIC = SampleLimit(normal=100, overloaded=10)
"""For lines about one request or one delivery each, and all other lines of the level info or lower."""
_TROUBLE = SampleLimit(normal=20, overloaded=1)
"""For warnings and errors."""
_TRAFFIC_ACTIONS = frozenset({"webhook accepted", "delivery", "request"})
_QUIET_LEVELS = frozenset({"debug", "info"})
_MAX_ACTION_CHARS = 300


class RouterLogger:
    """The logger below structlog's: it has the name of the module, and takes finished lines."""

    def __init__(self, name: str, put: Callable[[str], None]) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = put


class LinePipeline:
    """Makes lines of what the router and its libraries log."""

    def __init__(self, form: Form, stream: TextIO) -> None:
        self._form = form
        self._sampler = LineSampler()
        # Reentrant: an object that is collected while the lock is held may log.
        self._lock = threading.RLock()
        self.writer = LineWriter(stream, self._further_lines)

    def process(self, logger: RouterLogger, level: str, event: MutableMapping[str, Any]) -> str:
        """Return the line of a structlog event. :raises structlog.DropEvent: it is left out"""
        action = str(event.pop("event", ""))
        left_out = self._admitted(logger.name, action, level)
        if left_out is None:
            raise structlog.DropEvent
        # A line that is left out is not observed: so a flood of errors is bounded as its lines are.
        observe_error(action, level, logger.name, event.get("exc_info"))
        return self._line(action, level, logger.name, event, left_out)

    def library_line(self, record: logging.LogRecord) -> None:
        """Write the line of a record of ``logging``. All records of one logger and level are sampled together, because
        their messages can contain anything.
        """
        level = record.levelname.lower()
        left_out = self._admitted(record.name, "", level)
        if left_out is not None:
            fields: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
            # A library's text can contain anything, so it is not passed on.
            observe_error("a library reported an error", level, record.name, record.exc_info)
            self.writer.put(self._line(record.getMessage(), level, record.name, fields, left_out))

    def _admitted(self, logger: str, action: str, level: str) -> int | None:
        """Return how many such lines were left out before; None: this one is left out, too."""
        is_traffic = level in _QUIET_LEVELS or action in _TRAFFIC_ACTIONS
        with self._lock:
            return self._sampler.admit(
                (logger, action, level), _TRAFFIC if is_traffic else _TROUBLE, time.monotonic()
            )

    def _line(
        self, action: str, level: str, logger: str, fields: Mapping[str, Any], left_out: int = 0
    ) -> str:
        head = {"timestamp": _timestamp(), "level": level, "action": action[:_MAX_ACTION_CHARS]}
        try:
            line = self._form(ordered(dict(head), _complete(fields, logger, left_out)))
        except Exception as error:  # noqa: BLE001  (a log line must not stop what logs it)
            line = self._form(ordered(head, {"logger": logger, "unreadable": type(error).__name__}))
        return line + "\n"

    def _further_lines(self, lost: int, is_end: bool) -> str:  # noqa: FBT001  (the writer calls it)
        """Return a line for each kind of line that was left out, and for lines that a slow reader did not take."""
        with self._lock:
            found = self._sampler.rest() if is_end else self._sampler.silent(time.monotonic())
        lines = [self._left_out_line(key, count) for key, count in found]
        if lost:
            why = "standard error could not be written, or not fast enough"
            lines.append(self._line("log lines lost", "warning", __name__, {"reason": why, "leftOut": lost}))
        return "".join(lines)

    def _left_out_line(self, key: Hashable, count: int) -> str:
        logger, action, level = key if isinstance(key, tuple) else ("", "", "warning")
        fields = {"of": action or logger or "several actions", "leftOut": count}
        return self._line("log lines left out", level, logger, fields)


class LibraryHandler(logging.Handler):
    """Takes the records of libraries, which log with ``logging``."""

    def __init__(self, pipeline: LinePipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._pipeline.library_line(record)
        except Exception:  # noqa: BLE001  (what logging asks of a handler)
            self.handleError(record)


def _complete(fields: Mapping[str, Any], logger: str, left_out: int) -> dict[str, Any]:
    """Return all fields of a line: those of :data:`FIELDS`, the traceback as text, the logger and the count."""
    complete = dict(fields)
    more = complete.pop(FIELDS, None)
    if more is not None:
        complete |= more()
    error = exc_info_of(complete.pop("exc_info", None))
    if error is not None:
        complete["exception"] = _traceback(error)
    if left_out:
        complete["leftOut"] = left_out
    complete["logger"] = logger
    return complete


def _traceback(error: ExcInfo) -> str:
    # Without local variables, which may be secrets.
    return "".join(traceback.format_exception(*error)).rstrip()


def _timestamp() -> str:
    """Return the time in RFC 3339, UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
