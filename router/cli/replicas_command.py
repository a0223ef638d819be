"""``alert-router replicas``: which processes serve from the database, and which leases each of them holds."""

from collections.abc import Iterator
from typing import Any

import click

from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime
from router.cli.shared import json_option
from router.cli.terminal import Column, TextTable, printable
from router.cli.watching import Screen, WatchCommand, show, watch_option

_COLUMNS = (
    Column("Replica", is_flexible=True), Column("Version"), Column("Since"), Column("Renewed"), Column("Rules"),
    Column("Holds", is_flexible=True),
)  # fmt: skip
_HASH_CHARS = 12


@click.command(cls=WatchCommand)
@service_options
@watch_option
@json_option
def replicas(*, service: ServiceAddress, watch: float | None, as_json: bool) -> None:
    """Show the replicas that serve from the same database, and who holds which lease.

    Exit code 1 if a lease has no holder, if a replica has other rules than those in force, or if the replica that answers
    has no session now.
    """
    api = service.api()

    def view(screen: Screen) -> int:
        found = api.get("/api/v1/replicas")
        if as_json:
            screen.write_json(found)
        else:
            screen.write(_lines(found, ServiceTime(api.overview()), screen))
        is_well = found["this_replica"] is not None and all(each["agrees"] for each in found["replicas"])
        return 0 if is_well and all(each["replica"] is not None for each in found["leases"]) else 1

    show(view, watch)


def _lines(found: dict[str, Any], time: ServiceTime, screen: Screen) -> Iterator[str]:
    if not found["is_shared"]:
        yield "This is the only router that serves from its database."
    table = TextTable(_COLUMNS, screen.columns, colors=screen.colors)
    yield from table.lines(_cells(each, time) for each in found["replicas"])
    if found["this_replica"] is None:
        yield screen.paint(
            "The replica that answers has no session now, so it sends nothing; others take over if they reach the database. "
            "See its log.",
            "bad",
        )
    for lease in found["leases"]:
        if lease["replica"] is None:
            since = time.show_whole(lease["since"])
            yield screen.paint(
                f"No replica has held the lease {printable(lease['name'])} since {since}.", "bad"
            )


def _cells(replica: dict[str, Any], time: ServiceTime) -> tuple[object, ...]:
    rules = replica["sha256"][:_HASH_CHARS]
    return (
        f"{replica['name']}{' (answers)' if replica['is_this'] else ''}", replica["version"], time.show(replica["started_at"]),
        time.show(replica["renewed_at"]), rules if replica["agrees"] else f"{rules}, not in force",
        ", ".join(replica["leases"]),
    )  # fmt: skip


COMMANDS = (replicas,)
