"""Options, errors and output functions that several commands share."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

_NANOSECONDS_PER_MILLISECOND = 1_000_000

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("routes.yaml"),
    show_default=True,
    envvar="ALERT_ROUTER_CONFIG",
    help="The rules.",
)
database_option = click.option(
    "--database",
    envvar="ALERT_ROUTER_DATABASE",
    default="sqlite:///state/router.db",
    show_default=True,
    help="The database to read; a service may have it open.",
)
at_option = click.option("--at", help="The time to decide for, like '2026-11-20 22:41'.  [default: now]")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def now() -> int:
    """Return the time of the wall clock, in milliseconds since the epoch, as ``router.model.Millis``.

    It does not use ``router.clock``, which imports asyncio: that takes longer than most commands need to start.
    """
    return time.time_ns() // _NANOSECONDS_PER_MILLISECOND


def print_json(data: Any) -> None:
    """Print data as JSON, indented, on standard output."""
    click.echo(json.dumps(data, indent=2))


def has_colors(stream: IO[str]) -> bool:
    """Return whether a stream gets colours: it is a terminal that supports them, and NO_COLOR (https://no-color.org)
    is unset or empty.
    """
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def stdout_has_colors() -> bool:
    return has_colors(sys.stdout)


class Failure(click.ClickException):
    """An error whose message is printed without a prefix, because the message has its own position. Exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, file=file, err=True)


@contextmanager
def mistakes_shown() -> Iterator[None]:
    """End the command with a message for people if the rules or the input have mistakes. :raises Failure:"""
    from router.config import ConfigError
    from router.rules.moments import InputError

    try:
        yield
    except ConfigError as error:
        raise Failure(error.shown) from None
    except InputError as error:
        raise Failure(str(error)) from None
