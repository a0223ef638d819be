"""``alert-router drills``: the last drill, the drills of the past, and a report for documents."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from router.cli.listing import Listing, all_option, limit_option, write_list, write_list_as_json
from router.cli.send_test_command import answer_words
from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import ServiceTime
from router.cli.shared import json_option
from router.cli.terminal import Column, printable, style_of
from router.cli.watching import Screen, show

_DRILLS = "/api/v1/drills"


@click.command()
@click.option("--past", is_flag=True, help="List the drills of the past, the newest first.")
@click.option("--markdown", is_flag=True, help="Print the last drill as a report in Markdown.")
@limit_option
@all_option
@service_options
@json_option
def drills(
    *, past: bool, markdown: bool, limit: int, all_: bool, service: ServiceAddress, as_json: bool
) -> None:  # fmt: skip
    """Print the last drill: which receivers were tested, and what each destination answered.

    Exit code 1 if it did not succeed at every receiver, or if there was none.
    """
    if markdown and (past or as_json):
        raise click.UsageError("--markdown goes with neither --past nor --json")
    api = service.api()

    def view(screen: Screen) -> int:
        time = ServiceTime(api.overview())
        if past:
            (write_list_as_json if as_json else write_list)(api, _past(time), screen, None if all_ else limit)
            return 0
        found = api.get(_DRILLS, limit=1)["items"]
        if as_json:
            screen.write_json(found[0] if found else None)
        elif not found:
            screen.write("There was no drill yet.")
        else:
            screen.write(_markdown(found[0], time) if markdown else _text(found[0], time, screen))
        return 0 if found and found[0]["outcome"] == "delivered" else 1

    show(view, None)


def _past(time: ServiceTime) -> Listing:
    columns = (
        Column("Slot"), Column("Outcome", is_styled=True), Column("Receivers", is_number=True),
        Column("Failed receivers", is_flexible=True),
    )  # fmt: skip

    def cells(row: dict[str, Any]) -> Sequence[object]:
        bad = [each["receiver"] for each in row["tests"] if each["outcome"] != "delivered"]
        return (time.show(row["slot"]), row["outcome"], len(row["tests"]), ", ".join(bad))

    return Listing(_DRILLS, {}, columns, cells, "drill", "drills", "There was no drill yet.")


def _text(drill: dict[str, Any], time: ServiceTime, screen: Screen) -> Iterator[str]:
    outcome = screen.paint(printable(drill["outcome"]), style_of(drill["outcome"]))
    yield f"Drill of {time.show_whole(drill['slot'])}: {outcome}"
    for test in drill["tests"]:
        yield ""
        yield f"{screen.paint(printable(test['receiver']), 'bold')}: {printable(test['outcome'])}" + (
            f": {printable(test['interrupted'])}" if test["interrupted"] else ""
        )
        for each in test["destinations"]:
            yield f"  {printable(each['destination'])}"
            yield f"    TEST {answer_words(each['firing'])}"
            yield f"    its end {answer_words(each['end'])}"


def _markdown(drill: dict[str, Any], time: ServiceTime) -> Iterator[str]:
    """Yield the lines of a report: who was tested, what each destination answered, how long it took."""
    tests = drill["tests"]
    good = sum(each["outcome"] == "delivered" for each in tests)
    yield f"# Drill of {time.show_whole(drill['slot'])}"
    yield ""
    yield f"{good} of {len(tests)} receivers passed. A receiver passes if all its destinations accept a message marked TEST and its end."
    for test in tests:
        yield ""
        yield f"## {_cell(test['receiver'])}: {_cell(test['outcome'])}"
        yield ""
        who = f"Started at {time.show_whole(test['started_at'])}, level {_cell(test['severity'])}."
        yield f"{who} {_cell(test['interrupted'])}".strip()
        yield ""
        yield "| destination | TEST | its end |"
        yield "|---|---|---|"
        for each in test["destinations"]:
            answers = [_cell(answer_words(each[name], colors=False)) for name in ("firing", "end")]
            yield f"| {_cell(each['destination'])} | {answers[0]} | {answers[1]} |"


def _cell(text: str) -> str:
    """Return a text for a cell of a table in Markdown, in which nothing of it is markup."""
    escaped = "".join(f"\\{each}" if each in "\\`*_{}[]<>#|!~" else each for each in printable(text))
    return escaped.strip()


COMMANDS = (drills,)
