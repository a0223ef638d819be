"""Logging: JSON lines for machines, coloured lines on a terminal; the same for the router and its libraries."""

import logging
import os
import sys

import structlog


def configure(form: str, level: str, *, colors: bool = False) -> None:
    """Set up logging for the process.

    :param form: ``json``, ``human`` or ``auto`` (human on a terminal)
    :param level: of ``logging``
    :param colors: whether human lines have colours
    """
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        # Plain tracebacks: the richer ones show local variables, which may be secrets.
        [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
        if human
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # Their INFO lines repeat lines of the router, or have addresses that may contain secrets.
    for chatty in ("aiohttp.access", "slack_sdk", "pdpyras", "urllib3", "alembic", "aiosmtplib"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def flush_streams() -> None:
    """Flush the output before the process ends. If no program reads the output any more, drop it, because that must not change
    the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
