"""``alert-router alerts`` and ``alert-router show``: what fires, who was notified, and why someone was not."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from router.cli.completion import complete_alerts, complete_destinations
from router.cli.listing import Listing, all_option, limit_option, write_list, write_list_as_json
from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime
from router.cli.shared import Failure, json_option
from router.cli.terminal import Column, printable, style_of, wrapped
from router.cli.watching import Screen, WatchCommand, watch_option
from router.cli.watching import show as show_view

if TYPE_CHECKING:
    from router.cli.service_api import ServiceApi

_MATCHER = re.compile(r"""\s*(?:"(?:[^"\\]|\\.)*"|[^\s"{}=!~,]+)\s*(?:=~|!~|!=|=)""")
"""How a matcher of Alertmanager begins."""
_MAX_ID_DIGITS = 15
"""A text with more digits is a fingerprint, which has 16."""
MAX_FOUND = 10
"""The service finds no more; a test compares it."""
_NOTIFIED = frozenset({"notified", "ended"})
WAITING_FATES = ("pending", "held", "inhibited", "digest", "dead")


@click.command(cls=WatchCommand)
@click.argument("filters", nargs=-1, metavar="[FILTER]...", shell_complete=complete_alerts)
@click.option("--severity", multiple=True, help="Only alerts of this level; may be given several times.")
@click.option(
    "--destination",
    shell_complete=complete_destinations,
    help="Only alerts that this destination (its key) was notified of, or that wait for it.",
)
@click.option("--source", help="Only alerts that this source sent.")
@click.option(
    "--status",
    type=click.Choice(["firing", "resolved", "any"]),
    default="firing",
    show_default=True,
    help="Alerts that fire, or that have ended.",
)
@click.option(
    "--since", help="Only alerts that fired or ended since then: '2026-11-20 22:41', 10:00 or 2d (ago)."
)
@click.option(
    "--waiting", is_flag=True, help="List what destinations were not notified of, why, and until when."
)
@click.option(
    "--fate", type=click.Choice(WAITING_FATES), help="With --waiting: only what waits for this reason."
)
@limit_option
@all_option
@service_options
@watch_option
@json_option
def alerts(  # noqa: PLR0913  (click passes each option as an argument)
    *, filters: tuple[str, ...], severity: tuple[str, ...], destination: str | None, source: str | None, status: str,
    since: str | None, waiting: bool, fate: str | None, limit: int, all_: bool, service: ServiceAddress, watch: float | None, as_json: bool,
) -> None:  # fmt: skip
    """List what fires, the most urgent first, and what each destination was notified of.

    A FILTER is a matcher as in Alertmanager, like team=db or cluster=~"eu-.*", or a text that some label contains.
    """
    if waiting and (filters or source or since or status != "firing"):
        raise click.UsageError("--waiting goes with --destination, --severity and --fate only")
    if fate and not waiting:
        raise click.UsageError("--fate goes with --waiting")
    matchers = [each for each in filters if _MATCHER.match(each)]
    texts = [each for each in filters if not _MATCHER.match(each)]
    api = service.api()
    write = write_list_as_json if as_json else write_list

    def view(screen: Screen) -> int:
        time = ServiceTime(api.overview())
        if waiting:
            parameters = {"destination": destination, "severity": severity, "fate": fate}
            listing = _waiting(time, parameters)
        else:
            listing = _alerts(time, {
                "filter": matchers, "search": " ".join(texts), "severity": severity, "destination": destination,
                "source": source, "status": status, "since": time.read(since, "--since"),
            })  # fmt: skip
        write(api, listing, screen, None if all_ else limit)
        return 0

    show_view(view, watch)


def _alerts(time: ServiceTime, parameters: dict[str, Any]) -> Listing:
    columns = (
        Column("No.", is_number=True), Column("Level", is_styled=True), Column("Status", is_styled=True),
        Column("Alert", is_flexible=True), Column("Since"), Column("Destinations", is_flexible=True),
    )  # fmt: skip

    def cells(row: dict[str, Any]) -> Sequence[object]:
        since = row["starts_at"] if row["status"] == "firing" else row["ends_at"]
        return (
            row["id"], row["level"], row["status"], row["title"], time.since(since or row["changed_at"]),
            _destinations(row["destinations"], row["destinations_left_out"], time),
        )  # fmt: skip

    return Listing("/api/v1/alerts", parameters, columns, cells, "alert", "alerts", "No alerts.")


def _destinations(notes: Sequence[dict[str, Any]], left_out: int, time: ServiceTime) -> str:
    others = [
        f"{each['destination']}: {each['state']}"
        + (f" until {time.show(each['until'])}" if each["until"] else "")
        for each in notes
        if each["state"] not in _NOTIFIED
    ]
    count = len(notes) - len(others)
    words = [f"{count} notified"] if count else []
    more = [f"and {left_out:,} more"] if left_out else []
    return ", ".join([*words, *others, *more]) or "none"


def _waiting(time: ServiceTime, parameters: dict[str, Any]) -> Listing:
    columns = (
        Column("No.", is_number=True), Column("Level", is_styled=True), Column("Alert", is_flexible=True), Column("Since"),
        Column("Destination", is_flexible=True), Column("Waits", is_styled=True), Column("Why, and what next", is_flexible=True),
    )  # fmt: skip

    def cells(row: dict[str, Any]) -> Sequence[object]:
        note = row["note"]
        return (
            row["id"], row["level"], row["title"], time.since(row["starts_at"]), note["destination"], note["state"],
            f"{note['words']} {note['next']}".strip(),
        )  # fmt: skip

    return Listing(
        "/api/v1/waiting", parameters, columns, cells, "waiting notification", "waiting notifications",
        "Every firing alert was sent to its destinations.",
    )  # fmt: skip


@click.command(cls=WatchCommand)
@click.argument("alert", metavar="NAME|FINGERPRINT|NUMBER", shell_complete=complete_alerts)
@click.option("--all", "all_", is_flag=True, help="The whole story, not only its newest part.")
@click.option("--since", help="Only events from this time on: '2026-11-20 22:41', 10:00 or 2d (ago).")
@click.option("--at", help="Only events until this time.")
@service_options
@watch_option
@json_option
def show(
    *, alert: str, all_: bool, since: str | None, at: str | None, service: ServiceAddress, watch: float | None, as_json: bool
) -> None:  # fmt: skip
    """Show an alert: each destination, whether it was notified, and if not, why not and what happens next; and its story.

    Exit code 1 if there is no such alert.
    """
    api = service.api()

    def view(screen: Screen) -> int:
        time = ServiceTime(api.overview())
        period = time.read_millis(since, "--since"), time.read_millis(at, "--at")
        return _show(api, alert, screen, time, period, all_=all_, as_json=as_json)

    show_view(view, watch)


def _show(
    api: "ServiceApi", text: str, screen: Screen, time: ServiceTime, period: tuple[int | None, int | None], *, all_: bool,
    as_json: bool,
) -> int:  # fmt: skip
    number = _number_of(api, text)
    if isinstance(number, dict):
        return _write_several(number, screen, time, as_json=as_json)
    found = api.get(f"/api/v1/alerts/{number}")
    since, at = period
    is_whole = all_ or since is not None or at is not None
    events, has_earlier = _story(api, number, since, is_whole=is_whole)
    events = [
        each for each in events if (since is None or each["at"] >= since) and (at is None or each["at"] <= at)
    ]
    if as_json:
        screen.write_json({"alert": found, "story": events, "has_earlier": has_earlier})
    else:
        screen.write(_alert_lines(found, time, screen))
        screen.write("")
        screen.write(_story_lines(events, time, screen, has_earlier=has_earlier))
    return 0


def _number_of(api: "ServiceApi", text: str) -> int | dict[str, Any]:
    """Return the number of the alert that a text names, or what was found if there are several.

    :raises Failure: there is none
    """
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_ID_DIGITS:
        return int(text)
    found: dict[str, Any] = api.get("/api/v1/find", q=text)
    if not found["items"]:
        raise Failure(f"there is no alert with the name, the fingerprint or the labels {printable(text)}")
    return int(found["items"][0]["id"]) if found["is_only"] else found


def _write_several(found: dict[str, Any], screen: Screen, time: ServiceTime, *, as_json: bool) -> int:
    if as_json:
        screen.write_json({"found": found["items"]})
        return 0
    for each in found["items"]:
        level = screen.paint(printable(each["level"]), style_of(each["level"]))
        title = f"{each['id']:>8}  {level} {printable(each['title'])}, {each['status']}"
        screen.write(f"{title} since {time.since(each['starts_at'] or each['changed_at'])}")
    more = "; there may be more: alerts --status any lists all" if len(found["items"]) >= MAX_FOUND else ""
    screen.write(
        screen.paint(f"Several alerts have this {found['by']}{more}. Show one by its number.", "quiet")
    )
    return 0


def _story(
    api: "ServiceApi", number: int, since: int | None, *, is_whole: bool
) -> tuple[list[dict[str, Any]], bool]:
    """Return the events, the oldest first, and whether there are earlier ones."""
    events: list[dict[str, Any]] = []
    before: int | None = None
    while True:
        part = api.get(f"/api/v1/alerts/{number}/story", before=before)
        events[:0] = part["items"]
        before = part["before"]
        is_enough = since is not None and bool(events) and events[0]["at"] < since
        if before is None or not is_whole or is_enough:
            return events, before is not None or bool(part["left_out"])


def _alert_lines(found: dict[str, Any], time: ServiceTime, screen: Screen) -> Iterator[str]:
    columns = screen.columns or 10**6
    level = screen.paint(printable(found["level"]), style_of(found["level"]))
    status = screen.paint(found["status"], style_of(found["status"]))
    yield f"{screen.paint(printable(found['title']), 'bold')}  {level}, {status}"
    yield f"number {found['id']}, fingerprint {printable(found['fingerprint']) or '-'}, source {printable(found['source'])}"
    if found["starts_at"] is not None:
        yield f"fires since {time.since(found['starts_at'])}" if found["status"] == "firing" else (
            f"fired from {time.show(found['starts_at'])} until {time.show(found['ends_at']) or 'an unknown time'}"
        )  # fmt: skip
    labels = " ".join(f"{name}={_quoted(value)}" for name, value in found["labels"]["values"].items())
    yield from wrapped(printable(labels), columns)
    if found["summary"]:
        yield from wrapped(printable(found["summary"]), columns)
    for each in (found["note"], found["withheld"]):
        if each:
            yield from wrapped(printable(each), columns)
    for link in found["links"]:
        yield f"{printable(link['name'])}: {printable(link['address'])}"
    for note in found["destinations"]:
        yield ""
        state = screen.paint(note["state"], style_of(note["state"]))
        yield f"{screen.paint(printable(note['destination']), 'bold')}  {state}"
        for line in wrapped(printable(f"{note['words']} {note['next']}".strip()), columns - 2):
            yield f"  {line}"
    if left_out := found["destinations_left_out"]:
        yield f"and {left_out:,} more destinations"


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value or not value else value


def _story_lines(
    events: Iterable[dict[str, Any]], time: ServiceTime, screen: Screen, *, has_earlier: bool
) -> Iterator[str]:
    if has_earlier:
        yield screen.paint("There are earlier events: --all shows all.", "quiet")
    for each in events:
        where = f" by {each['rule']}" if each["rule"] else ""
        place = f" ({each['position']})" if each["position"] else ""
        answer = f": {each['provider']}" if each["provider"] else ""
        words = printable(f"{each['words']}{where}{place}{answer}")
        style = style_of(each["outcome"] or each["fate"] or each["kind"] or "")
        at = time.show(each["at"])
        columns = (screen.columns or 10**6) - len(at) - 2
        for number, line in enumerate(wrapped(words, max(columns, 20))):
            yield f"{at if number == 0 else ' ' * len(at)}  {screen.paint(line, style)}"


COMMANDS = (alerts, show)
