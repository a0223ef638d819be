"""``alert-router ledger``: counts the fates of all changes of a period."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import click

from router.cli.shared import Failure, database_option, json_option, print_json

_DAY_MILLIS = 24 * 60 * 60 * 1_000
# The order of the columns. router.model.Fate has the same words; a test compares them.
FATE_COLUMNS = ("delivered", "pending", "held", "inhibited", "digest", "obsolete", "dropped", "dead")


@click.command()
@click.option(
    "--since", help="The first moment of the period, like '2026-11-20 22:41' (UTC).  [default: the beginning]"
)
@click.option("--until", help="The end of the period, which is not part of it.  [default: now]")
@database_option
@json_option
def ledger(*, since: str | None, until: str | None, database: str, as_json: bool) -> None:
    """Count the fates of all changes of a period: changes x destinations = delivered + pending + …

    If rows of a day (UTC) are pruned, the whole day is counted. Exit code 1 if the ledger does not balance, or can't be
    read.
    """
    from router.rules.moments import InputError, parse_moment
    from router.store import StoreUnavailable, read_ledger

    try:
        start, end = (
            parse_moment(text, ZoneInfo("UTC")) if text is not None else None for text in (since, until)
        )
        if start is not None and end is not None and start >= end:
            raise Failure("--since is not before --until; exchange them")
        found = read_ledger(database, start, end)
    except (InputError, StoreUnavailable) as error:
        raise Failure(str(error)) from None
    if as_json:
        print_json(found)
    else:
        widened = (start, end) != (found["since"], found["until"])
        click.echo("\n".join(_text(found, widened=widened)))
    sys.exit(1 if found["imbalance"] else 0)


def _text(found: Mapping[str, Any], *, widened: bool) -> Iterator[str]:
    yield _period(found["since"], found["until"]) + (" (whole days: the rest is pruned)" if widened else "")
    hooks, kinds = found["webhooks"], found["changes"]
    yield f"webhooks: {hooks['accepted']} accepted, {hooks['quarantined']} quarantined"
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
    )
    if found["deliveries"]:
        outcomes = sorted({outcome for counts in found["deliveries"].values() for outcome in counts})
        yield ""
        yield from _table(
            ["deliveries", *outcomes],
            (
                [name, *(str(counts.get(outcome, 0)) for outcome in outcomes)]
                for name, counts in sorted(found["deliveries"].items())
            ),
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
    return [name, str(owed), *(word for pair in zip(signs, terms, strict=True) for word in pair)]


def _table(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield " ".join((first.ljust(widths[0]), *cells))


def _period(since: int | None, until: int | None) -> str:
    if since is None and until is None:
        return "from the beginning until now"
    start = "the beginning" if since is None else _moment(since)
    return f"from {start} until {'now' if until is None else _moment(until)}, UTC"


def _moment(at: int) -> str:
    """Return an instant (epoch ms) in UTC; without the time if that is midnight."""
    from router.rules.moments import moment_text

    shown = moment_text(at, ZoneInfo("UTC"))
    return shown.removesuffix(" 00:00") if at % _DAY_MILLIS == 0 else shown


COMMANDS = (ledger,)
