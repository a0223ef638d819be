"""Commands that ask the rules, and tell nobody: check, explain, test, schedule, import."""

import json
import os
import sys
from pathlib import Path
from typing import IO

import click

from router.cli.shared import Failure, config_option, now
from router.config import ConfigError, show
from router.config.document import load_text
from router.rules.check import check_file as check_rules
from router.rules.convert import convert_text
from router.rules.explain import Question
from router.rules.inputs import InputError
from router.rules.timetable import as_json as timetables_as_json
from router.rules.timetable import as_text as timetables_as_text
from router.rules.timetable import of_file
from router.rules.units import junit, run_all
from router.store import StoreUnavailable, read_snapshot


@click.command()
@config_option
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(*, config: Path, strict: bool, as_json: bool) -> None:
    """Check the rules and dry-run every template: mistakes and traps, each with its place.

    Exit code 1 if there is an error (with --strict: or a warning). Credentials need not be there.
    """
    checked = check_rules(config, os.environ, now())
    bad = [problem for problem in checked.problems if strict or not problem.warning]
    if as_json:
        click.echo(
            json.dumps({"ok": not bad, "problems": [each.as_json() for each in checked.problems]}, indent=2)
        )
    else:
        for problem in checked.problems:
            click.echo(show(problem, checked.texts), err=True)
        warnings = sum(problem.warning for problem in checked.problems)
        click.echo(f"{config}: {_count(len(checked.problems) - warnings, warnings)}", err=bool(bad))
    sys.exit(1 if bad else 0)


def _count(errors: int, warnings: int) -> str:
    found = [
        f"{count} {word}{'s' * (count > 1)}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    return ", ".join(found) or "good"


@click.command()
@config_option
@click.argument("labels", nargs=-1)
@click.option(
    "--webhook", type=click.File("rb"), help="Explain every alert of a webhook's body; - is standard input."
)
@click.option("--alert", "fingerprint", help="Explain an alert that the store knows, by its fingerprint.")
@click.option("--database", envvar="ALERT_ROUTER_DATABASE", default="sqlite:///state/router.db", show_default=True,
              help="The store to ask for --alert, and for what else fires.")  # fmt: skip
@click.option("--at", help="The time to judge at, like '2026-11-20 22:41'.  [default: now]")
@click.option("--firing", type=click.File("rb"),
              help="What else fires: label maps, a webhook's body, or the answer of Alertmanager's /api/v2/alerts.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--jsonl", is_flag=True,
              help="Read a JSON object a line from standard input, {labels, at, firing}, and print one a line.")  # fmt: skip
def explain(  # noqa: PLR0913  (an argument an option: that is click)
    *, config: Path, labels: tuple[str, ...], webhook: IO[bytes] | None, fingerprint: str | None, database: str,
    at: str | None, firing: IO[bytes] | None, as_json: bool, jsonl: bool,
) -> None:  # fmt: skip
    """Who would hear of an alert, when, and why: explain alertname=DiskFull severity=warning."""
    if sum([bool(labels), webhook is not None, fingerprint is not None, jsonl]) != 1:
        raise click.UsageError("give labels, or --webhook, or --alert, or --jsonl")
    try:
        question = Question.of(config, os.environ, now(), at, firing.read() if firing is not None else None)
        if jsonl:
            failed = False
            for line in sys.stdin:
                answer = question.line(line)
                failed |= "error" in answer
                click.echo(json.dumps(answer))
            sys.exit(1 if failed else 0)
        if fingerprint is not None:
            answers = question.known(read_snapshot(database, fingerprint), fingerprint)
        elif webhook is not None:
            answers = question.webhook(webhook.read())
        else:
            answers = [question.labels(labels)]
    except ConfigError as error:
        raise Failure(error.shown) from None
    except (InputError, StoreUnavailable) as error:
        raise Failure(str(error)) from None
    if as_json:
        click.echo(
            json.dumps([each.json for each in answers] if len(answers) != 1 else answers[0].json, indent=2)
        )
    else:
        click.echo("\n\n".join(each.text for each in answers))


@click.command()
@config_option
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--junit", "report", type=click.Path(path_type=Path), help="Write a JUnit report there.")
def test(*, config: Path, files: tuple[Path, ...], report: Path | None) -> None:
    """Test the rules with files of unit tests; without any: those beside the rules, routes.test.yaml and so on."""
    try:
        outcomes = run_all(config, files, now())
    except ConfigError as error:
        raise Failure(error.shown) from None
    failed = [each for each in outcomes if each.differences]
    for each in failed:
        click.echo(f"FAILED {each}", err=True)
    if report is not None:
        try:
            report.write_bytes(junit(outcomes))
        except OSError as error:
            raise Failure(f"{report}: {error.strerror}; give another path") from None
    click.echo(f"{len(outcomes) - len(failed)} passed" + (f", {len(failed)} failed" if failed else ""))
    sys.exit(1 if failed else 0)


@click.command()
@config_option
@click.option(
    "--days", type=click.IntRange(1, 366), default=14, show_default=True, help="How many days to draw."
)
@click.option("--at", help="The time to start at, like '2026-11-20 22:41'.  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def schedule(*, config: Path, days: int, at: str | None, as_json: bool) -> None:
    """Draw the next days of each time interval: open, closed, holidays, changes of the clocks."""
    try:
        timetables = of_file(config, os.environ, now(), at, days)
    except ConfigError as error:
        raise Failure(error.shown) from None
    except InputError as error:
        raise Failure(str(error)) from None
    if as_json:
        click.echo(json.dumps(timetables_as_json(timetables), indent=2))
    else:
        click.echo(timetables_as_text(timetables, color=sys.stdout.isatty()), nl=False)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Write there; must not exist.  [default: standard output]",
)
def import_(*, file: Path, output: Path | None) -> None:
    """Turn an alertmanager.yml into a routes.yaml; what has no counterpart is listed, with what to do about it."""
    try:
        converted = convert_text(load_text(file.read_bytes(), str(file)), str(file))
        if output is None:
            click.echo(converted.text, nl=False)
        else:
            with output.open("x") as target:
                target.write(converted.text)
    except ConfigError as error:
        raise Failure(error.shown) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}; give another path") from None
    for note in converted.notes:
        click.echo(f"{file}:{note}", err=True)
    if output is not None:
        click.echo(f"{output}: written; look at it, then: alert-router check --config {output}", err=True)


COMMANDS = (check, explain, test, schedule, import_)
