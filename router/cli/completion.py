"""What the shell completes: destinations and dead letters, as the running service knows them.

A service that does not answer within half a second, or refuses, completes nothing.
"""

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from router.cli.service_address import service_of
from router.cli.shared import Failure
from router.cli.terminal import clipped, printable

if TYPE_CHECKING:
    from router.cli.service_api import ServiceApi

_TIMEOUT_SECONDS = 0.5
_MAX_ITEMS = 100
_MAX_HELP_CHARS = 100
Ask = Callable[["ServiceApi", str], list[tuple[str, str]]]
"""Returns values that begin with a text, each with what it is."""


def _completing(ask: Ask) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(
        context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            with closing(service_of(context).api(_TIMEOUT_SECONDS)) as api:
                found = ask(api, incomplete)
        except (Failure, KeyError, TypeError):  # another program may answer there
            return []
        return [
            CompletionItem(value, help=clipped(printable(words), _MAX_HELP_CHARS))
            for value, words in found
            if value.startswith(incomplete) and value == printable(value)
        ]

    return complete


def _destinations(api: "ServiceApi", incomplete: str) -> list[tuple[str, str]]:
    page = api.get("/api/v1/destinations", search=incomplete, limit=_MAX_ITEMS)
    return [(each["key"], each["words"]) for each in page["items"]]


def _dead_letters(api: "ServiceApi", _incomplete: str) -> list[tuple[str, str]]:
    page = api.get("/api/v1/dead-letters", limit=_MAX_ITEMS)
    return [(str(each["id"]), f"{each['destination']}: {each['reason']}") for each in page["items"]]


def _alert_names(api: "ServiceApi", _incomplete: str) -> list[tuple[str, str]]:
    page = api.get("/api/v1/alerts", limit=_MAX_ITEMS)
    names = {each["name"]: each["title"] for each in page["items"] if each["name"]}
    return list(names.items())


def _digests(api: "ServiceApi", _incomplete: str) -> list[tuple[str, str]]:
    page = api.get("/api/v1/digests", limit=_MAX_ITEMS)
    return [(each["destination"].removeprefix("digest:"), each["destination"]) for each in page["items"]]


def _receivers(api: "ServiceApi", incomplete: str) -> list[tuple[str, str]]:
    page = api.get("/api/v1/destinations", search=incomplete, limit=_MAX_ITEMS)
    return list({name: each["key"] for each in page["items"] for name in each["receivers"]}.items())


complete_receivers = _completing(_receivers)
complete_destinations = _completing(_destinations)
complete_dead_letters = _completing(_dead_letters)
complete_alerts = _completing(_alert_names)
complete_digests = _completing(_digests)
