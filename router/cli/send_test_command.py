"""``alert-router send-test``: sends a test to a receiver, and says what each destination answered."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from router.cli.completion import complete_receivers
from router.cli.service_address import ServiceAddress, service_options
from router.cli.service_time import lasting
from router.cli.shared import json_option, print_json, stdout_has_colors
from router.cli.terminal import painted, printable

if TYPE_CHECKING:
    from router.cli.service_api import ServiceApi

_WAIT_SECONDS = 15
_MAX_TIMEOUT_SECONDS = 3_600
_STYLES = {"delivered": "good", "failed": "bad", "waiting": "warn", "interrupted": "warn"}


@click.command("send-test")
@click.argument("receiver", shell_complete=complete_receivers)
@click.option("--severity", help="The level of the test.  [default: the most urgent one]")
@click.option(
    "--timeout",
    type=click.IntRange(1, _MAX_TIMEOUT_SECONDS),
    default=120,
    show_default=True,
    help="How long to wait for the answers to the message, and then for those to its end (seconds).",
)
@service_options
@json_option
@click.pass_context
def send_test(
    context: click.Context, receiver: str, *, severity: str | None, timeout: int, service: ServiceAddress, as_json: bool
) -> None:  # fmt: skip
    """Send a message marked TEST to all destinations of a RECEIVER through the real channels, and then its end. Show what each
    destination answers, and after how long.

    Exit code 0 only if every destination accepted both messages.
    """
    api = service.api()
    test: dict[str, Any] = api.post(
        "/api/v1/tests", {"receiver": receiver, "severity": severity, "timeout": timeout}
    )
    if not as_json:
        count = len(test["destinations"])
        click.echo(
            f"Test {printable(test['id'])} of {printable(receiver)}, {printable(test['severity'])}: {count} "
            f"destination{'s' * (count != 1)}",
            err=True,
        )
    shown: set[tuple[str, str]] = set()
    for seen in _followed(api, test):
        if not as_json:
            for line in _news(seen, shown):
                click.echo(line)
            if seen["version"] == test["version"]:  # nothing has come for a while
                for line in _waits(seen, shown):
                    click.echo(line, err=True)
        test = seen
    if as_json:
        print_json(test)
    else:
        click.echo(_result(test))
    context.exit(0 if test["outcome"] == "delivered" else 1)


def _followed(api: "ServiceApi", test: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a test each time that something has changed, and at the end."""
    path = f"/api/v1/tests/{test['id']}"
    test = api.get(path)
    while True:
        yield test
        if test["finished_at"] is not None:
            return
        test = api.get(path, unlike=test["version"], wait=_WAIT_SECONDS)


def _news(test: dict[str, Any], shown: set[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each answer that is not shown yet. :param shown: gets the answers that are shown"""
    is_over = test["finished_at"] is not None
    for each in test["destinations"]:
        for message, name in (("firing", "TEST"), ("end", "its end")):
            answer, key = each[message], (each["destination"], message)
            if key in shown or (answer["state"] == "waiting" and not is_over):
                continue
            if message == "end" and each["firing"]["state"] != "delivered":
                continue  # there is nothing to end
            shown.add(key)
            yield f"{printable(each['destination'])}: {name} {answer_words(answer)}"


def _waits(test: dict[str, Any], shown: set[tuple[str, str]]) -> Iterator[str]:
    """Yield, once, why each destination has not answered yet."""
    message = "end" if test["ended_at"] is not None else "firing"
    for each in test["destinations"]:
        answer, key = each[message], (each["destination"], f"{message} waits")
        if answer["state"] == "waiting" and key not in shown:
            shown.add(key)
            yield f"{printable(each['destination'])}: {answer_words(answer)}"


def answer_words(answer: dict[str, Any], *, colors: bool | None = None) -> str:
    """Return an answer in words: ``delivered after 2 s``, ``failed after 1 s: not_in_channel``.

    :param colors: None: as the terminal has it
    """
    state, after, words = answer["state"], answer["after"], printable(answer["words"])
    took = "" if after is None else f" after {_span(after)}"
    storm = (
        " (a storm is going on there: its summary names the test, and the test has no message of its own)"
        if answer["in_storm"] and state == "delivered"
        else ""
    )
    styled = painted(state, _STYLES.get(state), colors=stdout_has_colors() if colors is None else colors)
    return f"{styled}{took}{storm}{f': {words}' if words else ''}"


def _span(span: int) -> str:
    return f"{span / 1_000:.1f} s" if span < 60_000 else lasting(span)


def _result(test: dict[str, Any]) -> str:
    count = len(test["destinations"])
    good = sum(each["outcome"] == "delivered" for each in test["destinations"])
    what = {
        "delivered": f"All {count} destinations accepted the test and its end." if count > 1 else "The test and its end arrived.",
        "failed": f"{good} of {count} destinations accepted the test and its end.",
        "waiting": f"{good} of {count} destinations accepted the test and its end before the timeout.",
        "interrupted": f"Interrupted: {printable(test['interrupted'])}.",
    }.get(test["outcome"], printable(test["outcome"]))  # fmt: skip
    return painted(what, _STYLES.get(test["outcome"]), colors=stdout_has_colors())


COMMANDS = (send_test,)
