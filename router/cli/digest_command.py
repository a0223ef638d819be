"""``alert-router digest``: the digests, what the next one would say, and what became of the past ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from router.cli.completion import complete_digests
from router.cli.listing import Listing, all_option, limit_option, write_list, write_list_as_json
from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime
from router.cli.shared import Failure, json_option
from router.cli.terminal import Column, printable
from router.cli.watching import Screen, WatchCommand, show, watch_option

if TYPE_CHECKING:
    from router.cli.service_api import ServiceApi

_DIGESTS = "/api/v1/digests"
_PREFIX = "digest:"


@click.command(cls=WatchCommand)
@click.argument("name", required=False, shell_complete=complete_digests)
@click.option("--past", is_flag=True, help="List the digests that were sent or tried, the newest first.")
@limit_option
@all_option
@service_options
@watch_option
@json_option
def digest(
    *, name: str | None, past: bool, limit: int, all_: bool, service: ServiceAddress, watch: float | None, as_json: bool
) -> None:  # fmt: skip
    """List the digests; or with the NAME of one, like daily, show what it would say if it was sent now.

    Exit code 1 if a digest was due and is not sent, or if its template fails.
    """
    if past and name is None:
        raise click.UsageError("--past needs the name of a digest")
    api = service.api()
    write = write_list_as_json if as_json else write_list
    most = None if all_ else limit

    def view(screen: Screen) -> int:
        time = ServiceTime(api.overview())
        if name is None:
            late: list[str] = []
            write(api, _digests(time, late), screen, most)
            return 1 if late else 0
        key = _key_of(api, name)
        if past:
            write(api, _past(time, key), screen, most)
            return 0
        return _write_next(api, key, time, screen, as_json=as_json)

    show(view, watch)


def _key_of(api: "ServiceApi", name: str) -> str:
    """Return the key of a digest. :param name: its key, or the receiver in routes.yaml"""
    keys = [each["destination"] for page in api.pages(_DIGESTS, {}, None) for each in page["items"]]
    for key in (name, f"{_PREFIX}{name}"):
        if key in keys:
            return key
    known = ", ".join(map(printable, keys[:10])) or "there are none"
    raise Failure(f"there is no digest {printable(name)}; digests are: {known}")


def _digests(time: ServiceTime, late: list[str]) -> Listing:
    """:param late: gets the keys of digests that were due and are not sent"""
    columns = (
        Column("Digest", is_flexible=True), Column("Next"), Column("Alerts", is_number=True), Column("Sent at"),
        Column("Last"), Column("Outcome", is_styled=True), Column("Late", is_flexible=True),
    )  # fmt: skip

    def cells(row: dict[str, Any]) -> Sequence[object]:
        if row["late"]:
            late.append(row["destination"])
        last = row["latest"][0] if row["latest"] else None
        schedule = row["schedule"]
        days = ", ".join(day[:3] for day in schedule["weekdays"])
        waits = [
            f"{time.show(each['slot'])} ({each['failed_attempts']} failed)"
            if each["failed_attempts"]
            else time.show(each["slot"])
            for each in row["late"]
        ]
        return (
            row["destination"], time.show(row["next_slot"]), "" if row["next"] is None else row["next"]["alerts"],
            " ".join(filter(None, [days, schedule["at"], schedule["zone"]])),
            "" if last is None else time.show(last["slot"]),
            "" if last is None else ("dead" if last["is_dead"] else last["outcome"] or "under way"), ", ".join(waits),
        )  # fmt: skip

    return Listing(_DIGESTS, {}, columns, cells, "digest", "digests", "There are no digests in routes.yaml.")


def _past(time: ServiceTime, key: str) -> Listing:
    columns = (
        Column("Delivery", is_number=True), Column("Slot"), Column("Alerts", is_number=True),
        Column("Outcome", is_styled=True), Column("Tried"), Column("Reason", is_flexible=True),
    )  # fmt: skip

    def cells(row: dict[str, Any]) -> Sequence[object]:
        tried = f" (attempt {row['attempt']})" if row["attempt"] > 1 else ""
        reason = ": ".join(filter(None, [row["reason"], row["words"]]))
        return (
            row["delivery"], time.show(row["slot"]), row["alerts"],
            "dead" if row["is_dead"] else row["outcome"] or "under way", time.show(row["started_at"]), f"{reason}{tried}",
        )  # fmt: skip

    path = f"{_DIGESTS}/{quote(key, safe='')}/past"
    return Listing(path, {}, columns, cells, "digest", "digests", "No digest was sent yet.")


def _write_next(api: "ServiceApi", key: str, time: ServiceTime, screen: Screen, *, as_json: bool) -> int:
    found: dict[str, Any] = api.get(f"{_DIGESTS}/{quote(key, safe='')}/next")
    if as_json:
        screen.write_json(found)
    else:
        counts = (
            ", ".join(f"{count:,} {word}" for word, count in found["counts"].items() if count) or "nothing"
        )
        screen.write(
            f"{screen.paint(printable(key), 'bold')}  {time.show_whole(found['slot'])}, since {time.show(found['since'])}: {counts}"
        )
        if not found["is_sent"]:
            screen.write(screen.paint("It is empty now, so it would not be sent.", "quiet"))
        if found["template_failed"]:
            screen.write(screen.paint("Its template fails; this is the message with the plain facts.", "bad"))
        screen.write("")
        screen.write(f"Subject: {printable(found['subject'])}")
        screen.write("")
        screen.write(_lines_of(found["text"]))
    return 1 if found["template_failed"] else 0


def _lines_of(text: str) -> list[str]:
    """Return the lines of a text with their indents, without what controls a terminal."""
    lines = text.expandtabs(4).splitlines()
    return [" " * (len(line) - len(line.lstrip(" "))) + printable(line.lstrip(" ")) for line in lines]


COMMANDS = (digest,)
