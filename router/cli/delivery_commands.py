"""``alert-router deliveries``: lists deliveries and dead letters, settles dead letters, pauses and resumes destinations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from router.cli.completion import complete_dead_letters, complete_destinations
from router.cli.listing import Listing, all_option, limit_option, write_list, write_list_as_json
from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime, lasting
from router.cli.shared import json_option, print_json
from router.cli.terminal import Column, printable
from router.cli.watching import Screen, WatchGroup, show, watch_option

if TYPE_CHECKING:
    pass

OUTCOMES = ("failed", "delivered", "retry", "rejected", "broken", "interrupted", "under way")
"""The values of the parameter ``outcome`` of ``/api/v1/deliveries``; a test compares them."""


@click.group(cls=WatchGroup, invoke_without_command=True)
@click.option(
    "--destination",
    "destinations",
    multiple=True,
    shell_complete=complete_destinations,
    help="Only this destination (its key, like slack:C0CRITICAL); may be given several times.",
)
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    type=click.Choice(OUTCOMES),
    help="Only this outcome; failed: all that did not succeed. May be given several times.",
)
@click.option(
    "--alert", type=click.IntRange(min=1), help="Only deliveries of messages with this alert (its number)."
)
@click.option("--since", help="Only from this time on: '2026-11-20 22:41', 10:00 or 2d (ago).")
@click.option("--until", help="Only before this time.")
@click.option(
    "--dead", is_flag=True, help="List the dead letters: what was given up, and is not settled yet."
)
@limit_option
@all_option
@service_options
@watch_option
@json_option
@click.pass_context
def deliveries(  # noqa: PLR0913  (click passes each option as an argument)
    context: click.Context, *, destinations: tuple[str, ...], outcomes: tuple[str, ...], alert: int | None,
    since: str | None, until: str | None, dead: bool, limit: int, all_: bool, service: ServiceAddress, watch: float | None,
    as_json: bool,
) -> None:  # fmt: skip
    """List the newest deliveries, or with --dead the dead letters, the most urgent first. Subcommands settle dead letters, and
    pause and resume destinations.

    Exit code 1 if the service doesn't answer or refuses, and with --dead if there is any dead letter.
    """
    context.obj = service
    if context.invoked_subcommand is not None:
        return
    if dead and (outcomes or alert or since or until):
        raise click.UsageError("--dead goes with --destination only")
    api = service.api()
    write = write_list_as_json if as_json else write_list

    def view(screen: Screen) -> int:
        time = ServiceTime(api.overview())
        if dead:
            listing = _dead_letters(time, destinations)
        else:
            listing = _deliveries(time, {
                "destination": destinations, "outcome": outcomes, "alert": alert,
                "since": time.read(since, "--since"), "until": time.read(until, "--until"),
            })  # fmt: skip
        total = write(api, listing, screen, None if all_ else limit)
        if dead and total and not as_json:
            todo = "Try again: deliveries retry NUMBER; settle without sending: deliveries discard NUMBER"
            screen.write(screen.paint(todo, "quiet"))
        return 1 if dead and total else 0

    show(view, watch)


def _deliveries(time: ServiceTime, parameters: dict[str, Any]) -> Listing:
    columns = (
        Column("No.", is_number=True), Column("Started"), Column("Took", is_number=True),
        Column("Destination", is_flexible=True), Column("Outcome", is_styled=True), Column("About", is_flexible=True),
        Column("Reason", is_flexible=True),
    )  # fmt: skip

    def cells(row: dict[str, Any]) -> Sequence[object]:
        tried = f" (attempt {row['attempt']})" if row["attempt"] > 1 else ""
        again = f"; next try {time.show(row['next_try'])}" if row["next_try"] is not None else ""
        return (
            row["id"], time.show(row["started_at"]), "" if row["duration"] is None else _took(row["duration"]),
            row["destination"], row["outcome"], _topic(row["topic"]),
            ": ".join(filter(None, [row["reason"], row["words"]])) + tried + again,
        )  # fmt: skip

    return Listing(
        "/api/v1/deliveries", parameters, columns, cells, "delivery", "deliveries", "No deliveries."
    )  # fmt: skip


def _took(span: int) -> str:
    return f"{span} ms" if span < 1_000 else lasting(span)


def _topic(topic: dict[str, Any]) -> str:
    names = ", ".join(topic["names"]) or ", ".join(
        f"{name}={value}" for name, value in topic["labels"].items()
    )
    more = topic["alerts"] - len(topic["names"])
    return f"{topic['level']} {names or topic['kind']}" + (
        f" (+{more:,})" if topic["names"] and more > 0 else ""
    )


def _dead_letters(time: ServiceTime, destinations: tuple[str, ...]) -> Listing:
    columns = (
        Column("No.", is_number=True), Column("Given up"), Column("Destination", is_flexible=True),
        Column("Not notified", is_flexible=True), Column("Reason", is_flexible=True),
    )  # fmt: skip

    def cells(row: dict[str, Any]) -> Sequence[object]:
        alerts = [
            f"{each['level']} {each['name'] or 'alert'} {each['unnotified']} ({each['status']} now)"
            for each in row["alerts"]
        ]
        more = row["alerts_total"] - len(alerts)
        where = ": ".join(filter(None, [row["destination"], row["recipient"]]))
        return (
            row["id"], time.show(row["at"]), where, ", ".join(alerts) + (f" and {more:,} more" if more > 0 else ""),
            row["reason"],
        )  # fmt: skip

    return Listing(
        "/api/v1/dead-letters", {"destination": destinations}, columns, cells, "dead letter", "dead letters",
        "Nothing is dead.",
    )  # fmt: skip


@deliveries.command()
@click.argument("dead_letters", nargs=-1, type=click.IntRange(min=1), shell_complete=complete_dead_letters)
@click.option("--all", "all_", is_flag=True, help="Retry every dead letter.")
@json_option
@click.pass_obj
def retry(service: ServiceAddress, dead_letters: tuple[int, ...], *, all_: bool, as_json: bool) -> None:
    """Retry dead letters. Alerts whose status has not changed are sent; the others become obsolete."""
    _settle(service, dead_letters, "retry", all_=all_, as_json=as_json)


@deliveries.command()
@click.argument("dead_letters", nargs=-1, type=click.IntRange(min=1), shell_complete=complete_dead_letters)
@click.option("--all", "all_", is_flag=True, help="Discard every dead letter.")
@json_option
@click.pass_obj
def discard(service: ServiceAddress, dead_letters: tuple[int, ...], *, all_: bool, as_json: bool) -> None:
    """Settle dead letters without sending anything."""
    _settle(service, dead_letters, "discard", all_=all_, as_json=as_json)


@deliveries.command()
@click.argument("destination", shell_complete=complete_destinations)
@json_option
@click.pass_context
def resume(context: click.Context, destination: str, *, as_json: bool) -> None:
    """Resume a destination (its key, like slack:C0CRITICAL) and try one delivery now.

    Exit code 1 if that delivery fails.
    """
    done = context.obj.api().resume(destination)
    status, reason = done["status"], done.get("reason", "")
    if as_json:
        print_json({"destination": destination, "status": status, "reason": reason})
    else:
        click.echo(f"{printable(destination)}: {status}" + (f": {printable(reason)}" if reason else ""))
    context.exit(1 if status == "still broken" else 0)


@deliveries.command()
@click.argument("destination", shell_complete=complete_destinations)
@json_option
@click.pass_obj
def pause(service: ServiceAddress, destination: str, *, as_json: bool) -> None:
    """Send nothing to a destination (its key, like slack:C0CRITICAL) until it is resumed. What becomes due there waits."""
    api = service.api()
    done = api.pause(destination)
    if as_json:
        print_json({"destination": destination, **done})
        return
    since, key = ServiceTime(api.overview()).show(done["since"]), printable(destination)
    more = f" ({printable(done['reason'])})" if done.get("reason") else ""
    click.echo(f"{key}: paused since {since}{more}. Send again: deliveries resume {key}")


def _settle(
    service: ServiceAddress, chosen: Sequence[int], action: str, *, all_: bool, as_json: bool
) -> None:
    if bool(chosen) is all_:
        raise click.UsageError("give the numbers of dead letters, or --all")
    api = service.api()
    if all_:
        chosen = [
            each["id"] for page in api.pages("/api/v1/dead-letters", {}, None) for each in page["items"]
        ]
    settled = []
    try:
        for dead_letter in chosen:
            status = api.settle(dead_letter, action)["status"]
            settled.append({"id": dead_letter, "status": status})
            if not as_json:
                click.echo(f"{dead_letter}: {printable(status)}")
    finally:  # the dead letters that were settled before one failed are printed, too
        if as_json:
            print_json(settled)


COMMANDS = (deliveries,)
