"""Commands about the rules that need no running service: check, test, schedule, import."""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.shared import (
    Failure,
    config_option,
    json_option,
    mistakes_shown,
    now,
    print_json,
    stdout_has_colors,
)

if TYPE_CHECKING:
    from router.rules.units import Outcome


@click.command()
@config_option
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@json_option
def check(*, config: Path, strict: bool, as_json: bool) -> None:
    """Check the rules and dry-run their templates; list mistakes and traps, each with its position.

    Needs no credentials. Exit code 1 if there is an error (with --strict: or a warning).
    """
    from router.config import show_problem
    from router.rules.check import check_file

    checked = check_file(config, os.environ, now())
    bad = [
        problem for problem in checked.problems if (strict and not problem.is_note) or not problem.is_warning
    ]
    if as_json:
        print_json({"ok": not bad, "problems": [each.as_json() for each in checked.problems]})
    else:
        for problem in checked.problems:
            click.echo(show_problem(problem, checked.texts), err=True)
        counts = Counter(problem.severity for problem in checked.problems)
        click.echo(f"{config}: {_count(counts['error'], counts['warning'])}", err=bool(bad))
    sys.exit(1 if bad else 0)


def _count(errors: int, warnings: int) -> str:
    counts = [
        f"{count} {word}{'s' * (count > 1)}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    return ", ".join(counts) or "good"


@click.command()
@config_option
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--junit", "report", type=click.Path(path_type=Path), help="Write a JUnit report to this file.")
@json_option
def test(*, config: Path, files: tuple[Path, ...], report: Path | None, as_json: bool) -> None:
    """Test the rules with files of unit tests.

    Without any file, it runs routes.test.yaml in the folder of routes.yaml, and the tests of included files. Exit code 1
    if a test fails, or can't be run.
    """
    from router.rules.units import junit, run_all

    with mistakes_shown():
        outcomes = run_all(config, files, now())
    failed = [each for each in outcomes if each.differences]
    if report is not None:
        try:
            report.write_bytes(junit(outcomes))
        except OSError as error:
            raise Failure(f"{report}: {error.strerror}; give another path") from None
    if as_json:
        print_json({"ok": not failed, "tests": [_outcome_as_json(each) for each in outcomes]})
    else:
        for each in failed:
            click.echo(f"FAILED {each}", err=True)
        click.echo(f"{len(outcomes) - len(failed)} passed" + (f", {len(failed)} failed" if failed else ""))
    sys.exit(1 if failed else 0)


def _outcome_as_json(outcome: "Outcome") -> dict[str, Any]:
    return {
        "file": outcome.file,
        "line": outcome.line,
        "test": outcome.test,
        "alert": outcome.alert,
        "ok": not outcome.differences,
        "differences": list(outcome.differences),
        "because": list(outcome.because),
    }


@click.command()
@config_option
@click.option(
    "--days", type=click.IntRange(1, 366), default=14, show_default=True, help="How many days to draw."
)
@click.option("--at", help="The time to start at, like '2026-11-20 22:41'.  [default: now]")
@json_option
def schedule(*, config: Path, days: int, at: str | None, as_json: bool) -> None:
    """Draw the next days of each time interval: open, closed, holidays, clock changes.

    Exit code 1 if the rules or the time can't be used.
    """
    from router.rules import timetable

    with mistakes_shown():
        timetables = timetable.timetables_of_file(config, os.environ, now(), at, days)
    if as_json:
        print_json(timetable.as_json(timetables))
    else:
        color = stdout_has_colors()
        click.echo(timetable.as_text(timetables, color=color), nl=False, color=color)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Write to this file; it must not exist.  [default: standard output]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result and the notes as JSON.")
def import_(*, file: Path, output: Path | None, as_json: bool) -> None:
    """Turn an alertmanager.yml into a routes.yaml; list what has no counterpart, and what to do about it.

    Exit code 1 if the file can't be read, or the result can't be written.
    """
    from router.config.document import load_text
    from router.rules.convert import convert_text

    try:
        with mistakes_shown():
            converted = convert_text(load_text(file.read_bytes(), str(file)), str(file), now=now())
        if output is not None:
            with output.open("x") as target:
                target.write(converted.text)
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}; give another path") from None
    if as_json:
        notes = [
            {"line": note.line, "column": note.column, "what": note.what, "todo": note.todo}
            for note in converted.notes
        ]
        written = None if output is None else str(output)
        print_json({"output": written, "text": converted.text, "notes": notes})
        return
    if output is None:
        click.echo(converted.text, nl=False)
    for note in converted.notes:
        click.echo(f"{file}:{note}", err=True)
    if output is not None:
        click.echo(f"{output}: written; look at it, then: alert-router check --config {output}", err=True)


COMMANDS = (check, test, schedule, import_)
