"""``alert-router incident``: writes into a file what happened in a period, for people who write a report about it."""

from pathlib import Path
from typing import Any

import click

from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime, lasting
from router.cli.shared import Failure, json_option, print_json
from router.cli.terminal import printable

_MAX_SLUG_CHARS = 60


@click.command()
@click.argument("name")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@click.option("--since", required=True, help="When it began: '2026-11-20 22:41', 10:00 or 2h (ago).")
@click.option("--until", help="When it ended.  [default: now]")
@click.option(
    "--owner", default="", help="Who is responsible for it.  [default: the label owner or team of its alerts]"
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/incidents"),
    show_default=True,
    help="The folder of the file. The name of the file is the day.",
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file; - is standard output."
)
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@service_options
@json_option
def incident(  # noqa: PLR0913  (click passes each option as an argument)
    *, name: str, filters: tuple[str, ...], since: str, until: str | None, owner: str, folder: Path, output: Path | None,
    force: bool, service: ServiceAddress, as_json: bool,
) -> None:  # fmt: skip
    """Write a file about the incident NAME, docs/incidents/YYYY-MM-DD.md: the timeline of its alerts, decisions, notifications
    and silences, and how long it took to notify and to resolve. The file has headings for what only people know.

    A FILTER is a matcher as in Alertmanager, like team=db. Without a FILTER, the file is about all alerts of the period. Exit
    code 1 if there are no alerts, or the file exists.
    """
    api = service.api()
    time = ServiceTime(api.overview())
    parameters = {
        "name": name, "filter": filters, "owner": owner, "since": time.read(since, "--since"),
        "until": time.read(until, "--until"),
    }  # fmt: skip
    found: dict[str, Any] = api.get("/api/v1/incident", **parameters)
    if as_json:
        print_json(found)
    elif str(output) == "-":
        click.echo(found["markdown"], nl=False)
    elif found["alerts"]:
        path = output or _free_path(folder, found["file"], name, is_forced=force)
        _write(path, found["markdown"], is_forced=force)
        click.echo(f"{path}: {_words(found)}")
    if not found["alerts"]:
        raise Failure("No alert fired or ended in this period; nothing is written.")


def _free_path(folder: Path, file: str, name: str, *, is_forced: bool) -> Path:
    """Return the path of the file. If the day has another incident already, the name of the incident is added."""
    first = folder / file
    if is_forced or not first.exists():
        return first
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in name.casefold()).split()
    slug = "-".join(words)[:_MAX_SLUG_CHARS] or "2"
    return folder / f"{first.stem}-{slug}{first.suffix}"


def _write(path: Path, text: str, *, is_forced: bool) -> None:
    """:raises Failure: the file exists, or can't be written"""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if is_forced else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Failure(f"{path} exists; give --force to replace it, or another --output") from None
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror or error}") from None


def _words(found: dict[str, Any]) -> str:
    count = len(found["alerts"]) + found["alerts_left_out"]
    notify, resolve = found["time_to_notify"], found["time_to_resolve"]
    return ", ".join([
        f"{count:,} alert{'s' if count != 1 else ''}",
        "nobody was notified" if notify is None else f"notified after {lasting(notify)}",
        "not over" if resolve is None else f"resolved after {lasting(resolve)}",
        f"owner {printable(found['owner'])}" if found["owner"] else "owner to fill in",
    ])  # fmt: skip


COMMANDS = (incident,)
