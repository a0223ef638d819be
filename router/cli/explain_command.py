"""``alert-router explain``: by the rules in force of the running service, or by the rules of a file."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
from click.core import ParameterSource

from router.cli.service_address import ServiceAddress, service_options
from router.cli.shared import (
    Failure,
    at_option,
    config_option,
    database_option,
    json_option,
    mistakes_shown,
    now,
    print_json,
)

if TYPE_CHECKING:
    from router.cli.service_api import ServiceApi
    from router.rules.explain import Explained, Explainer
    from router.rules.inputs import GivenAlert

# The service accepts no more in one request; a test compares it.
MAX_ALERTS_EXPLAINED = 200


@click.command()
@config_option
@click.argument("labels", nargs=-1)
@click.option(
    "--webhook", type=click.File("rb"), help="Explain every alert of a webhook's body; - is standard input."
)
@click.option("--alert", "fingerprint", help="Explain an alert of the database, by its fingerprint.")
@database_option
@at_option
@click.option(
    "--firing",
    type=click.File("rb"),
    help="What else fires: label maps, a webhook's body, or the answer of Alertmanager's /api/v2/alerts.",
)
@json_option
@click.option(
    "--jsonl",
    is_flag=True,
    help="Read a JSON object from each line of standard input, {labels, at, firing}, and print one line for each.",
)
@click.option("--offline", is_flag=True, help="Explain by the file of --config, and ask no service.")
@service_options
@click.pass_context
def explain(  # noqa: PLR0913  (click passes each option as an argument)
    context: click.Context, *, config: Path, labels: tuple[str, ...], webhook: IO[bytes] | None, fingerprint: str | None,
    database: str, at: str | None, firing: IO[bytes] | None, as_json: bool, jsonl: bool, service: ServiceAddress,
    offline: bool,
) -> None:  # fmt: skip
    """Explain which destinations are notified of an alert, when, and why.

    Example: alert-router explain alertname=DiskFull severity=warning. The running service answers, by its rules in
    force and by what fires now. With --config, --database or --offline, and if no service answers at the default
    address, the file of the rules is used instead. Exit code 1 if an alert can't be explained, or with --jsonl if a
    line can't.
    """
    if sum([bool(labels), webhook is not None, fingerprint is not None, jsonl]) != 1:
        raise click.UsageError("give labels, or --webhook, or --alert, or --jsonl")
    source = context.get_parameter_source
    given = {name for name in ("config", "database", "url") if source(name) is ParameterSource.COMMANDLINE}
    by_file = offline or bool(given & {"config", "database"})
    if by_file and "url" in given:
        raise click.UsageError("--url asks the service; leave out --config, --database and --offline")
    with mistakes_shown():
        others = firing.read() if firing is not None else None
        file = _ByFile(config, database, at, others)
        asked = file if by_file else _by_service(service, at, others)
        if asked is None:
            if source("url") is not ParameterSource.DEFAULT:
                raise Failure(f"no alert-router answers at {service.url}; correct --url, or use --offline")
            click.echo(f"No alert-router answers at {service.url}: explained by the file {config}.", err=True)
            asked = file
        if jsonl:
            _explain_lines(asked)
        elif fingerprint is not None:
            _print_explained(asked.known(fingerprint), as_json=as_json)
        elif webhook is not None:
            _print_explained(asked.webhook(webhook.read()), as_json=as_json)
        else:
            _print_explained([asked.labels(labels)], as_json=as_json)


def _explain_lines(asked: "_ByFile | _ByService") -> None:
    failed = False
    for line in sys.stdin:
        answer = asked.line(line)
        failed |= "error" in answer
        click.echo(json.dumps(answer))
    sys.exit(1 if failed else 0)


def _print_explained(answers: list["Explained"], *, as_json: bool) -> None:
    if as_json:
        print_json([each.json for each in answers] if len(answers) != 1 else answers[0].json)
    else:
        click.echo("\n\n".join(each.text for each in answers))


class _ByFile:
    """Explains by the rules of a file. What fires is given; the database is only read for an alert of it."""

    def __init__(self, config: Path, database: str, at: str | None, firing: bytes | None) -> None:
        self._database = database
        self._arguments = config, at, firing

    @cached_property
    def _explainer(self) -> "Explainer":
        from router.rules.explain import Explainer

        config, at, firing = self._arguments
        return Explainer.of(config, os.environ, now(), at, firing)

    def labels(self, words: Sequence[str]) -> "Explained":
        return self._explainer.labels(words)

    def webhook(self, body: bytes) -> list["Explained"]:
        return self._explainer.webhook(body)

    def line(self, text: str) -> dict[str, Any]:
        return self._explainer.line(text)

    def known(self, fingerprint: str) -> list["Explained"]:
        explainer = self._explainer
        from router.store import StoreUnavailable, read_snapshot

        try:
            return explainer.known(read_snapshot(self._database, fingerprint), fingerprint)
        except StoreUnavailable as error:
            raise Failure(str(error)) from None


def _by_service(service: ServiceAddress, at: str | None, firing: bytes | None) -> "_ByService | None":
    """Return the service at an address, if there is one. Say if its files are not in force."""
    from router.cli.service_api import NoService

    api = service.api()
    try:
        in_force = api.explain({"labels": {}})["in_force"]
    except NoService:
        return None
    if in_force["error"]:
        click.echo(f"Note: {in_force['file']} can't be used; the last good rules are in force.", err=True)
    elif in_force["differs"]:
        what = f"{in_force['file']} was changed, and is not in force until it is reloaded"
        click.echo(f"Note: {what}. This explains the rules in force.", err=True)
    return _ByService(api, at, firing)


class _ByService:
    """Explains by the rules in force of a running service, and by what fires there."""

    def __init__(self, api: "ServiceApi", at: str | None, firing: bytes | None) -> None:
        from router.rules.inputs import parse_alerts

        self._api = api
        self._at = at
        others = parse_alerts(firing, now()) if firing is not None else ()
        self._firing = [dict(each.labels) for each in others if each.firing]

    def labels(self, words: Sequence[str]) -> "Explained":
        from router.rules.inputs import given_alert, parse_labels

        (explained,) = self._ask(labels=given_alert(parse_labels(words)).labels)
        return explained

    def webhook(self, body: bytes) -> list["Explained"]:
        from router.rules.inputs import parse_alerts

        alerts = parse_alerts(body, now())
        if len(alerts) > MAX_ALERTS_EXPLAINED:
            what = f"the service explains at most {MAX_ALERTS_EXPLAINED} alerts at a time, these are {len(alerts)}"
            raise Failure(f"{what}; use --offline to explain by the file")
        return self._ask(alerts=[_as_data(each) for each in alerts])

    def line(self, text: str) -> dict[str, Any]:
        from router.cli.service_api import Refused
        from router.rules.explain import line_error, parse_line
        from router.rules.moments import InputError

        try:
            # The service knows the time zone of the rules. Here only the form of the time is checked.
            given = parse_line(text, ZoneInfo("UTC"))
            firing = [dict(each.labels) for each in given.firing if each.firing]
            (explained,) = self._ask(labels=given.alert.labels, at=given.at, firing=firing)
        except InputError as error:
            return line_error(error, text)
        except Refused as error:
            if error.status not in {400, 413}:
                raise
            return line_error(ValueError(error.detail), text)
        return explained.json

    def known(self, fingerprint: str) -> list["Explained"]:
        return self._ask(fingerprint=fingerprint)

    def _ask(
        self, at: str | None = None, firing: Sequence[Mapping[str, str]] = (), **alerts: Any
    ) -> list["Explained"]:
        from router.rules.explain import Explained

        others = [*self._firing, *firing]
        query = {**alerts, "at": self._at if at is None else at, "firing": others}
        answer = self._api.explain({name: value for name, value in query.items() if value is not None})
        if answer["more"]:
            click.echo("Note: the service has more alerts of this fingerprint.", err=True)
        found = []
        for each in answer["items"]:
            text = each.pop("text")
            found.append(Explained(text, each))
        return found


def _as_data(alert: "GivenAlert") -> dict[str, Any]:
    return {"labels": dict(alert.labels), "status": "firing" if alert.firing else "resolved"}


COMMANDS = (explain,)
