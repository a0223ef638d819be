"""Shows something once, or again and again until Ctrl-C."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from router.cli.shared import Failure, stdout_has_colors
from router.cli.terminal import painted, printable

_DEFAULT_SECONDS = 2.0
_HOME, _CLEAR_REST, _CLEAR = "\x1b[H", "\x1b[J", "\x1b[2J"
# A line that is too wide must not continue on the next line, which is drawn after it.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
pause: Callable[[float], None] = time.sleep


@dataclass
class Screen:
    """Where a command writes."""

    columns: int | None
    """The width of the terminal; None: no terminal."""
    colors: bool
    kept: list[str] | None = None
    """The lines, if they are not to be written yet."""

    def write(self, lines: Iterable[str] | str = "") -> None:
        """Write lines."""
        for line in [lines] if isinstance(lines, str) else lines:
            if self.kept is None:
                click.echo(line)
            else:
                self.kept.append(line)

    def write_json(self, data: Any) -> None:
        """Write data as JSON, indented."""
        self.write(json.dumps(data, indent=2))

    def paint(self, text: str, style: str | None) -> str:
        """Return a text in a style, see :func:`router.cli.terminal.painted`."""
        return painted(text, style, colors=self.colors)


Show = Callable[[Screen], int]
"""Writes what a command shows, and returns its exit code."""


class WatchCommand(click.Command):
    """A command with ``--watch``, whose value may be left out also before an argument."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = []
        for number, each in enumerate(args):
            following = args[number + 1] if number + 1 < len(args) else ""
            given.append(
                f"--watch={_DEFAULT_SECONDS}" if each == "--watch" and not _is_number(following) else each
            )
        return super().parse_args(ctx, given)


class WatchGroup(WatchCommand, click.Group):
    """A group with ``--watch``."""


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


watch_option = click.option(
    "--watch",
    type=click.FloatRange(min=0.2),
    metavar="[SECONDS]",
    help=f"Show it again every so many seconds, until Ctrl-C.  [default: {_DEFAULT_SECONDS:g}]",
)


def show(view: Show, watch: float | None) -> None:
    """Show something and end the process with its exit code, or with --watch show it again and again until Ctrl-C: then the
    exit code is 0.

    :raises Failure: the service does not answer, or refuses, the first time
    """
    if watch is None:
        sys.exit(view(_screen()))
    try:
        _watch(view, watch)
    except KeyboardInterrupt:
        click.echo()
        sys.exit(0)


def _screen(kept: list[str] | None = None) -> Screen:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return Screen(columns, stdout_has_colors(), kept)


def _watch(view: Show, seconds: float) -> None:
    in_place, is_first = sys.stdout.isatty(), True
    while True:
        lines: list[str] = []
        try:
            view(_screen(lines))
        except Failure as error:
            if is_first:
                raise
            lines = [painted(printable(error.message), "bad", colors=stdout_has_colors())]
        if in_place:
            _redraw(lines, clear=is_first)
        else:
            click.echo("\n".join(lines if is_first else ["", *lines]))
        is_first = False
        pause(seconds)


def _redraw(lines: Sequence[str], *, clear: bool) -> None:
    """Write lines over those before. What does not fit the height is counted."""
    height = shutil.get_terminal_size().lines - 1
    if len(lines) > height:
        lines = [*lines[: height - 1], f"… {len(lines) - height + 1} more lines"]
    text = "".join(f"{line}\x1b[K\n" for line in lines)
    sys.stdout.write(f"{_CLEAR if clear else ''}{_HOME}{_NO_WRAP}{text}{_CLEAR_REST}{_WRAP}")
    sys.stdout.flush()
