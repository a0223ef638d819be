"""``alert-router ledger``: counts the fates of all changes of a period."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import click
from click.core import ParameterSource

from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime
from router.cli.shared import Failure, json_option, now
from router.cli.terminal import printable, width, wrapped
from router.cli.watching import Screen, WatchCommand, show, watch_option

Reader = Callable[[str | None, str | None, str | None], tuple[int | None, int | None, dict[str, Any], Any]]
"""Reads the ledger of a period and a tenant (None: all). Returns its beginning and its end as they were given (epoch ms), the ledger, and the
timezone."""
# The order of the columns. router.model.Fate has the same words; a test compares them.
FATE_COLUMNS = ("delivered", "pending", "held", "inhibited", "digest", "obsolete", "dropped", "dead")


@click.command(cls=WatchCommand)
@click.option(
    "--since",
    help="The first moment of the period: '2026-11-20 22:41', 10:00 or 2d (ago).  [default: the beginning]",
)
@click.option("--until", help="The end of the period, which is not part of it.  [default: now]")
@click.option("--tenant", help="Count only the changes of this tenant.")
@click.option(
    "--database",
    help="Read this database instead of asking the service; a service may have it open. Times are UTC.",
)
@service_options
@watch_option
@json_option
@click.pass_context
def ledger(
    context: click.Context, *, since: str | None, until: str | None, tenant: str | None, database: str | None,
    service: ServiceAddress, watch: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Count the fates of all changes of a period: changes x destinations = delivered + pending + …

    If rows of a day (UTC) are pruned, the whole day is counted. Exit code 1 if the ledger does not balance, or can't be
    read.
    """
    if database is not None and context.get_parameter_source("url") is ParameterSource.COMMANDLINE:
        raise click.UsageError("give --url or --database")
    read = _service_reader(service) if database is None else _database_reader(database)

    def view(screen: Screen) -> int:
        start, end, found, zone = read(since, until, tenant)
        if as_json:
            screen.write_json(found)
        else:
            widened = (start, end) != (found["since"], found["until"])
            screen.write(_text(found, zone, screen.columns, widened=widened))
        return 1 if found["imbalance"] else 0

    show(view, watch)


def _service_reader(service: ServiceAddress) -> Reader:
    api = service.api()

    def read(
        since: str | None, until: str | None, tenant: str | None
    ) -> tuple[int | None, int | None, dict[str, Any], Any]:
        time = ServiceTime(api.overview())
        start, end = time.read_millis(since, "--since"), time.read_millis(until, "--until")
        _check_order(start, end)
        period = {"since": time.read(since, "--since"), "until": time.read(until, "--until")}
        found = api.get("/api/v1/ledger", **period, tenant=tenant)
        return start, end, found, time.zone

    return read


def _database_reader(database: str) -> Reader:
    def read(
        since: str | None, until: str | None, tenant: str | None
    ) -> tuple[int | None, int | None, dict[str, Any], Any]:
        from router.store import StoreUnavailable, read_ledger

        time = ServiceTime({"now": now(), "timezone": "UTC"})
        start, end = time.read_millis(since, "--since"), time.read_millis(until, "--until")
        _check_order(start, end)
        try:
            found = read_ledger(database, start, end, tenant)
            return start, end, found | {"tenant": tenant}, time.zone
        except StoreUnavailable as error:
            raise Failure(str(error)) from None

    return read


def _check_order(start: int | None, end: int | None) -> None:
    if start is not None and end is not None and start >= end:
        raise Failure("--since is not before --until; exchange them")


def _text(found: Mapping[str, Any], zone: Any, columns: int | None, *, widened: bool) -> Iterator[str]:
    yield _period(found["since"], found["until"], zone) + (
        " (whole days: the rest is pruned)" if widened else ""
    )
    if found["tenant"] is not None:
        yield f"only changes of the tenant {printable(found['tenant'])}"
    else:
        hooks = found["webhooks"]
        yield f"webhooks: {hooks['accepted']} accepted, {hooks['quarantined']} quarantined"
    kinds = found["changes"]
    yield f"changes: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}"
    yield ""
    rows = [*sorted(found["by_destination"].items()), ("all", found["fates"])]
    yield from _table(
        [
            "destination",
            "changes",
            *(word for pair in zip("=+++++++", FATE_COLUMNS, strict=True) for word in pair),
        ],
        (_equation(name, counts, found) for name, counts in rows),
        columns,
    )
    if found["deliveries"]:
        outcomes = sorted({outcome for counts in found["deliveries"].values() for outcome in counts})
        yield ""
        yield from _table(
            ["deliveries", *outcomes],
            (
                [printable(name), *(str(counts.get(outcome, 0)) for outcome in outcomes)]
                for name, counts in sorted(found["deliveries"].items())
            ),
            columns,
        )
    yield ""
    if found["imbalance"]:
        wrong = f": look at the changes {', '.join(map(str, found['wrong']))}" if found["wrong"] else ""
        yield f"NOT BALANCED, off by {found['imbalance']}{wrong}"
    else:
        yield "balanced"


def _equation(name: str, counts: Mapping[str, int], found: Mapping[str, Any]) -> list[str]:
    owed = found["changes_x_destinations"] if counts is found["fates"] else sum(counts.values())
    terms = [str(counts.get(fate, 0)) for fate in FATE_COLUMNS]
    signs = ("=" if owed == sum(counts.values()) else "≠", *"+++++++")
    return [printable(name), str(owed), *(word for pair in zip(signs, terms, strict=True) for word in pair)]


def _table(head: list[str], rows: Iterable[list[str]], columns: int | None) -> Iterator[str]:
    """Yield the lines of a table, or a sentence for each row if the table is wider than the terminal."""
    lines = [head, *rows]
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    if columns is not None and sum(widths) + len(widths) - 1 > columns:
        for row in lines[1:]:
            yield from wrapped(_sentence(head, row), columns)
        return
    for line in lines:
        cells = [" " * (space - width(cell)) for cell, space in zip(line, widths, strict=True)]
        first, *others = (
            (f"{cell}{space}" if number == 0 else f"{space}{cell}")
            for number, (cell, space) in enumerate(zip(line, cells, strict=True))
        )
        yield " ".join((first, *others))


def _sentence(head: list[str], row: list[str]) -> str:
    """Return a row of a table in words, without the counts that are zero."""
    counts = [
        f"{cell} {title}"
        for title, cell in zip(head[1:], row[1:], strict=True)
        if title[0].isalpha() and cell != "0"
    ]
    return f"{row[0]}: {', '.join(counts) or 'nothing'}"


def _period(since: int | None, until: int | None, zone: Any) -> str:
    if since is None and until is None:
        return "from the beginning until now"
    start = "the beginning" if since is None else _moment(since, zone)
    return f"from {start} until {'now' if until is None else _moment(until, zone)}, {zone}"


def _moment(at: int, zone: Any) -> str:
    """Return an instant (epoch ms) in a zone; without the time if that is midnight."""
    local = datetime.fromtimestamp(at / 1_000, zone)
    return f"{local:%a %d %b %Y}" + ("" if (local.hour, local.minute) == (0, 0) else f"{local: %H:%M}")


COMMANDS = (ledger,)
