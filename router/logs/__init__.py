"""Logging: JSON lines for machines, coloured lines on a terminal; the same for the router and its libraries.

``docs/log.md`` describes the lines. Repeated lines are sampled, see :mod:`router.logs.line_sampler`.
"""

import logging
import os
import sys
from contextlib import suppress

import structlog

from router.logs.line_form import human_form, json_object
from router.logs.pipeline import LibraryHandler, LinePipeline, RouterLogger

# How long the end of the process waits for a slow reader of the log.
_FLUSH_SECONDS = 2.0

_pipelines: list[LinePipeline] = []
"""The pipeline in use, if logging is configured."""


def configure(form: str, level: str, *, colors: bool = False) -> None:
    """Set up logging for the process. Lines are written to standard error, in a thread.

    :param form: ``json``, ``human`` or ``auto`` (human on a terminal)
    :param level: of ``logging``
    :param colors: whether human lines have colours
    """
    close()
    is_human = form == "human" or (form == "auto" and sys.stderr.isatty())
    pipeline = LinePipeline(human_form(colors=colors) if is_human else json_object, sys.stderr)
    _pipelines.append(pipeline)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[pipeline.process],
        logger_factory=lambda name="": RouterLogger(name, pipeline.writer.put),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[LibraryHandler(pipeline)], level=number, force=True)
    # Their INFO lines repeat lines of the router, or have addresses that may contain secrets.
    for chatty in ("aiohttp.access", "slack_sdk", "pdpyras", "urllib3", "alembic", "aiosmtplib"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def close() -> None:
    """Write the lines that wait, and how many lines were left out. Takes two seconds at most."""
    while _pipelines:
        _pipelines.pop().writer.close(_FLUSH_SECONDS)


def flush_streams() -> None:
    """Flush the log and the output before the process ends. If no program reads the output any more, drop it, because that
    must not change the exit code.
    """
    close()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
