"""``alert-router slo``: the objectives of the router, and what is left of their error budgets."""

from collections.abc import Iterator
from typing import Any

import click

from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime
from router.cli.shared import json_option
from router.cli.terminal import Column, TextTable, printable
from router.cli.watching import Screen, WatchCommand, show, watch_option

_DAY_MS = 86_400_000
_COLUMNS = (
    Column("Objective"), Column("Tenant", is_flexible=True), Column("Target", is_number=True),
    Column("Good", is_number=True), Column("Bad", is_number=True), Column("Ratio", is_number=True),
    Column("Budget left", is_number=True), Column("Events left", is_number=True), Column("Burn 1h", is_number=True),
    Column("6h", is_number=True), Column("3d", is_number=True),
)  # fmt: skip


@click.command(name="slo", cls=WatchCommand)
@click.option("--tenant", help="Only the objectives of this tenant.")
@service_options
@watch_option
@json_option
def objectives(*, tenant: str | None, service: ServiceAddress, watch: float | None, as_json: bool) -> None:
    """Show the objectives: how many events were good, and what is left of each error budget.

    Exit code 1 if an objective is missed in its window.
    """
    api = service.api()
    parameters = {} if tenant is None else {"tenant": tenant}

    def view(screen: Screen) -> int:
        found = api.get("/api/v1/slo", **parameters)
        if as_json:
            screen.write_json(found)
        else:
            _write(found, ServiceTime(api.overview()), screen)
        return 1 if any(each["is_met"] is False for each in found["objectives"]) else 0

    show(view, watch)


def _write(found: dict[str, Any], time: ServiceTime, screen: Screen) -> None:
    days = found["window"] / _DAY_MS
    since = found["counted_since"]
    counted = "nothing is counted yet" if since is None else f"counted since {time.show_whole(since)}"
    screen.write(f"The last {days:g} days; {counted}.")
    table = TextTable(_COLUMNS, screen.columns, colors=screen.colors)
    for line in table.lines(map(_cells, found["objectives"])):
        screen.write(line)
    for line in _overdue(found["overdue"], time):
        screen.write(line)


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    budget, burn = row["budget"], row["burn_rates"]
    return (
        row["objective"], row["tenant"], _percent(row["target"]), f"{row['good']:,}", f"{row['bad']:,}",
        _percent(row["ratio"]), _percent(budget["left_share"], digits=1),
        "" if row["ratio"] is None else f"{budget['left']:,.1f}", *(_rate(burn[name]) for name in ("1h", "6h", "3d")),
    )  # fmt: skip


def _percent(share: float | None, digits: int = 4) -> str:
    return "" if share is None else f"{round(100 * share, digits):g} %"


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2f}"


def _overdue(found: dict[str, Any], time: ServiceTime) -> Iterator[str]:
    if not found["conversations"]:
        return
    more = "" if found["is_exact"] else "more than "
    one = found["conversations"] == 1 and found["is_exact"]
    yield (
        f"{more}{found['conversations']:,} {'conversation is' if one else 'conversations are'} overdue"
        f" ({found['urgent']:,} of the most urgent level), the first since {printable(time.show_whole(found['oldest']))};"
        " they are counted when they are settled."
    )


COMMANDS = (objectives,)
