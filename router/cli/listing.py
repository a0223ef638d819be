"""Lists that come in pages: their options, and how they are written as a table or as JSON."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import click

from router.cli.terminal import Column, TextTable
from router.cli.watching import Screen

if TYPE_CHECKING:
    from router.cli.service_api import ServiceApi

_DEFAULT_ROWS = 50
_PROGRESS_EVERY_ROWS = 1_000
Row = dict[str, Any]

limit_option = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_DEFAULT_ROWS,
    show_default=True,
    help="The most rows.",
)
all_option = click.option("--all", "all_", is_flag=True, help="All rows, however many there are.")


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of the API, and how it is written."""

    path: str
    parameters: dict[str, Any]
    columns: Sequence[Column]
    cells: Callable[[Row], Sequence[object]]
    """Returns the cells of a row."""
    one: str
    """What a row is, like ``delivery``."""
    many: str
    nothing: str
    """What is written if there is no row."""


def write_list(api: "ServiceApi", listing: Listing, screen: Screen, most: int | None) -> int:
    """Write a list as a table, page by page, and then how many rows there are in all.

    :param most: how many rows at most; None: all
    :returns: how many rows the whole list has
    """
    table = TextTable(listing.columns, screen.columns, colors=screen.colors)
    written, page = 0, None
    with _Progress(written_elsewhere=screen.kept is not None) as progress:
        for page in api.pages(listing.path, listing.parameters, most):
            if page["items"]:
                screen.write(table.lines(map(listing.cells, page["items"])))
            written += len(page["items"])
            progress.note(written, page)
    assert page is not None  # noqa: S101  (a list has at least one page)
    total: int = max(page["total"], written)
    if not total:
        screen.write(listing.nothing)
        return 0
    more = page["next"] is not None
    count = f"{total:,}{'' if page['total_is_exact'] else '+'} {listing.one if total == 1 else listing.many}"
    screen.write(screen.paint(f"{written:,} of {count}; --all shows all" if more else count, "quiet"))
    return total


def write_list_as_json(api: "ServiceApi", listing: Listing, screen: Screen, most: int | None) -> int:
    """Write a list as one JSON object like the API's, page by page. See :func:`write_list`."""
    screen.write('{"items": [')
    written, page, between = 0, None, "  "
    with _Progress(written_elsewhere=screen.kept is not None) as progress:
        for page in api.pages(listing.path, listing.parameters, most):
            for item in page["items"]:
                screen.write(f"{between}{json.dumps(item)}")
                between = ", "
            written += len(page["items"])
            progress.note(written, page)
    assert page is not None  # noqa: S101  (a list has at least one page)
    rest = {name: value for name, value in page.items() if name != "items"}
    screen.write(f"], {json.dumps(rest)[1:]}")
    total: int = page["total"]
    return total


class _Progress:
    """Says on standard error how much of a long list has come, if that is a terminal."""

    def __init__(self, *, written_elsewhere: bool) -> None:
        # Progress between the lines of the list itself would be in the way.
        self._is_on = sys.stderr.isatty() and not written_elsewhere and not sys.stdout.isatty()
        self._noted = 0

    def __enter__(self) -> Self:
        return self

    def note(self, count: int, page: Row) -> None:
        if self._is_on and count - self._noted >= _PROGRESS_EVERY_ROWS:
            self._noted = count
            click.echo(
                f"\r{count:,} of {page['total']:,}{'' if page['total_is_exact'] else '+'} …",
                err=True,
                nl=False,
            )

    def __exit__(self, *_: object) -> None:
        if self._noted:
            click.echo("\r\x1b[K", err=True, nl=False)
