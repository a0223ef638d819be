"""``alert-router status``: what is wrong now, and each destination in words."""

from typing import TYPE_CHECKING, Any

import click

from router.cli.completion import complete_destinations
from router.cli.listing import all_option
from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime
from router.cli.shared import json_option
from router.cli.terminal import printable, style_of, wrapped
from router.cli.watching import Screen, WatchCommand, show, watch_option

if TYPE_CHECKING:
    from router.cli.service_api import ServiceApi

_MAX_DESTINATIONS = 100
_DESTINATIONS = "/api/v1/destinations"
# The states of router.web.api.destination_words.StateName; a test compares them.
STATES = ("broken", "failing", "paused", "rate limited", "healthy", "unused")


@click.command(cls=WatchCommand)
@click.argument("destination", required=False, shell_complete=complete_destinations)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only destinations in one of these states.",
)
@all_option
@service_options
@watch_option
@json_option
def status(
    *, destination: str | None, states: tuple[str, ...], all_: bool, service: ServiceAddress, watch: float | None, as_json: bool
) -> None:  # fmt: skip
    """Say what is wrong now, and how each destination is.

    The argument is the key of one destination, like slack:C0CRITICAL. Exit code 1 if anything is wrong, or if the
    destination is broken or failing.
    """
    if destination is not None and (states or all_):
        raise click.UsageError("give a destination, or --state and --all")
    api = service.api()

    def view(screen: Screen) -> int:
        if destination is not None:
            return _show_one(api, destination, screen, as_json=as_json)
        return _show_all(api, states, screen, most=None if all_ else _MAX_DESTINATIONS, as_json=as_json)

    show(view, watch)


def _show_all(
    api: "ServiceApi", states: tuple[str, ...], screen: Screen, *, most: int | None, as_json: bool
) -> int:
    overview = api.overview()
    pages = list(api.pages(_DESTINATIONS, {"state": list(states)}, most))
    found = [each for page in pages for each in page["items"]]
    if as_json:
        screen.write_json({"overview": overview, **pages[-1], "items": found})
    else:
        _write_overview(api, overview, screen)
        for each in found:
            screen.write("")
            _write_destination(each, screen)
        screen.write("")
        total, more = pages[-1]["total"], pages[-1]["next"] is not None
        counts = ", ".join(f"{count:,} {state}" for state, count in pages[-1]["states"].items() if count)
        words = f"{total:,} destination{'' if total == 1 else 's'}"
        words = f"{len(found):,} of {words}; --all shows all" if more else words
        screen.write(screen.paint(f"{words} ({counts})" if counts else words, "quiet"))
    return 1 if overview["trouble"] else 0


def _write_overview(api: "ServiceApi", overview: dict[str, Any], screen: Screen) -> None:
    time = ServiceTime(overview)
    firing = overview["firing"]
    fire = "1 alert fires" if firing == 1 else f"{firing:,} alerts fire"
    mode = " (preview: nothing is sent)" if overview["preview"] else ""
    screen.write(f"{printable(api.url)}{mode}, {time.show_whole(overview['now'])}: {fire}")
    for each in overview["trouble"]:
        for line in wrapped(f"! {printable(each['words'])}", screen.columns or 10**6):
            screen.write(screen.paint(line, "bad"))
    if not overview["trouble"]:
        screen.write(screen.paint("Nothing is wrong.", "good"))


def _show_one(api: "ServiceApi", key: str, screen: Screen, *, as_json: bool) -> int:
    found = api.destination(key)
    if as_json:
        screen.write_json(found)
    else:
        _write_destination(found, screen)
    return 1 if found["state"] in {"broken", "failing"} else 0


def _write_destination(found: dict[str, Any], screen: Screen) -> None:
    receivers = ", ".join(found["receivers"])
    screen.write(
        f"{screen.paint(printable(found['key']), 'bold')}  {printable(found['name'])}"
        + (f" ({printable(receivers)})" if receivers else "")
    )
    state = found["state"]
    words = printable(found["words"]) + "." + (f" {printable(found['advice'])}" if found["advice"] else "")
    for number, line in enumerate(wrapped(words, (screen.columns or 10**6) - 2)):
        is_first = number == 0 and line.startswith(state)
        shown = screen.paint(state, style_of(state)) + line[len(state) :] if is_first else line
        screen.write(f"  {shown}")


COMMANDS = (status,)
