"""Logging: JSON lines for machines, human lines on a terminal, with colours if it has them; one shape for ours and the libraries'."""

import logging
import os
import sys

import structlog


def configure(form: str, level: str, *, colors: bool = False) -> None:
    """Write log lines to standard error.

    :param form: ``json``, ``human`` or ``auto`` (human on a terminal)
    :param level: of ``logging``
    :param colors: of human lines
    """
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        # Not the richer tracebacks: those show local variables, and with them secrets.
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
    # What these say at INFO is said by our own lines, or holds addresses that may carry secrets.
    for chatty in ("aiohttp.access", "slack_sdk", "pdpyras", "urllib3", "alembic", "aiosmtplib"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def let_go() -> None:
    """Before the process ends. A log that nobody reads any more must not turn its exit code into a failure: what is
    left in a stream goes to nowhere.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
