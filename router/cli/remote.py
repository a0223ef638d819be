"""``alert-router deliveries``: asks the running service for deliveries and dead letters, and settles dead letters."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from router.cli.shared import json_option, print_json

if TYPE_CHECKING:
    from router.cli.service_api import ServiceApi


@dataclass(frozen=True, slots=True)
class _Address:
    """The address of the service, and the credentials for it."""

    url: str
    token: str | None = field(repr=False)
    user: str | None
    password: str | None = field(repr=False)

    def api(self) -> "ServiceApi":
        from router.cli.service_api import ServiceApi

        return ServiceApi(self.url, self._authorization())

    def _authorization(self) -> str | None:
        if self.token:
            return f"Bearer {self.token}"
        if not self.user:
            return None
        password = self.password
        if password is None:
            password = click.prompt(f"Password of {self.user}", hide_input=True, err=True)
        return f"Basic {base64.b64encode(f'{self.user}:{password}'.encode()).decode()}"


@click.group(invoke_without_command=True)
@click.option(
    "--url",
    default="http://127.0.0.1:9099",
    show_default=True,
    envvar="ALERT_ROUTER_URL",
    help="Where the service listens.",
)
@click.option(
    "--token", envvar="ALERT_ROUTER_TOKEN", help="The token of a user in routes.yaml, if it has users."
)
@click.option(
    "--user", envvar="ALERT_ROUTER_USER", help="The name of a user in routes.yaml, in place of a token."
)
@click.option(
    "--password",
    envvar="ALERT_ROUTER_PASSWORD",
    help="The password of --user. Better give it by the variable, or type it when asked: other users of the machine can "
    "see a command line.",
)
@click.option(
    "--dead", is_flag=True, help="List the dead letters: what was given up, and is not settled yet."
)
@json_option
@click.pass_context
def deliveries(
    context: click.Context, *, url: str, token: str | None, user: str | None, password: str | None, dead: bool, as_json: bool,
) -> None:  # fmt: skip
    """List the newest deliveries, or with --dead the dead letters. Subcommands settle dead letters.

    Exit code 1 if the service doesn't answer or refuses, and with --dead if there is any dead letter.
    """
    context.obj = address = _Address(url, token, user, password)
    if context.invoked_subcommand is not None:
        return
    service = address.api()
    rows = service.dead_letters() if dead else service.deliveries()
    if as_json:
        print_json(rows)
    elif dead:
        _print_dead_letters(rows)
    else:
        for row in rows:
            click.echo(_delivery_line(row))
    context.exit(1 if dead and rows else 0)


def _delivery_line(row: dict[str, Any]) -> str:
    reason = ": ".join(filter(None, [row["reason"], row["words"]]))
    line = f"{_when(row['started_at'])}  {row['destination']}  attempt {row['attempt']}"
    return f"{line}: {row['outcome']}" + (f" ({reason})" if reason else "")


def _print_dead_letters(dead_letters: list[dict[str, Any]]) -> None:
    for dead_letter in dead_letters:
        where = ": ".join(filter(None, [dead_letter["destination"], dead_letter["recipient"]]))
        click.echo(f"{dead_letter['id']:>6}  {_when(dead_letter['at'])}  {where}: {dead_letter['reason']}")
        for alert in dead_letter["alerts"]:
            name = alert["labels"].get("alertname", "alert")
            what = f"{alert['level']} {name}: not notified that it is {alert['unnotified']}"
            click.echo(f"        {what}; it is {alert['status']} now")
    if dead_letters:
        todo = "Try again: deliveries retry ID; settle without sending: deliveries discard ID"
        click.echo(f"{len(dead_letters)} dead. {todo}")
    else:
        click.echo("Nothing is dead.")


@deliveries.command()
@click.argument("dead_letters", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "all_", is_flag=True, help="Retry every dead letter.")
@json_option
@click.pass_obj
def retry(address: _Address, dead_letters: tuple[int, ...], *, all_: bool, as_json: bool) -> None:
    """Retry dead letters. Alerts whose status has not changed are sent; the others become obsolete."""
    _settle(address, dead_letters, "retry", all_=all_, as_json=as_json)


@deliveries.command()
@click.argument("dead_letters", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "all_", is_flag=True, help="Discard every dead letter.")
@json_option
@click.pass_obj
def discard(address: _Address, dead_letters: tuple[int, ...], *, all_: bool, as_json: bool) -> None:
    """Settle dead letters without sending anything."""
    _settle(address, dead_letters, "discard", all_=all_, as_json=as_json)


@deliveries.command()
@click.argument("destination")
@json_option
@click.pass_context
def resume(context: click.Context, destination: str, *, as_json: bool) -> None:
    """Resume a destination (its key, like slack:C0CRITICAL) and try one delivery now.

    Exit code 1 if that delivery fails.
    """
    address: _Address = context.obj
    done = address.api().resume(destination)
    status, reason = done["status"], done.get("reason", "")
    if as_json:
        print_json({"destination": destination, "status": status, "reason": reason})
    else:
        click.echo(f"{destination}: {status}" + (f": {reason}" if reason else ""))
    context.exit(1 if status == "still broken" else 0)


@deliveries.command()
@click.argument("destination")
@json_option
@click.pass_context
def pause(context: click.Context, destination: str, *, as_json: bool) -> None:
    """Send nothing to a destination (its key, like slack:C0CRITICAL) until it is resumed. What becomes due there waits."""
    address: _Address = context.obj
    done = address.api().pause(destination)
    if as_json:
        print_json({"destination": destination, **done})
    else:
        click.echo(
            f"{destination}: paused since {_when(done['since'])}. Send again: deliveries resume {destination}"
        )


def _settle(address: _Address, chosen: Sequence[int], action: str, *, all_: bool, as_json: bool) -> None:
    if bool(chosen) is all_:
        raise click.UsageError("give the numbers of dead letters, or --all")
    service = address.api()
    if all_:
        chosen = [dead_letter["id"] for dead_letter in service.dead_letters()]
    settled = []
    try:
        for dead_letter in chosen:
            status = service.settle(dead_letter, action)["status"]
            settled.append({"id": dead_letter, "status": status})
            if not as_json:
                click.echo(f"{dead_letter}: {status}")
    finally:  # the dead letters that were settled before one failed are printed, too
        if as_json:
            print_json(settled)


def _when(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


COMMANDS = (deliveries,)
