"""The command line: thin. Every option can come from the environment as ``ALERT_ROUTER_…``."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any

import click

from router import app, logs
from router.clock import SystemClock
from router.config import ConfigError, show
from router.loading import ReloadError
from router.model import Millis
from router.render import TemplateError
from router.rules.check import check as check_rules
from router.rules.convert import convert
from router.rules.explain import Question
from router.rules.inputs import InputError
from router.rules.schedule import as_json as timetables_as_json
from router.rules.schedule import as_text as timetables_as_text
from router.rules.schedule import of_file
from router.rules.units import junit, run_all
from router.store import StoreUnavailable, snapshot


class Listen(click.ParamType[tuple[str, int]]):
    """HOST:PORT, [IPv6]:PORT or :PORT."""

    name = "host:port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is no address; write it like 127.0.0.1:9099", param, ctx)
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  (":9099" asks for all interfaces)


@click.group(context_settings={"auto_envvar_prefix": "ALERT_ROUTER", "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="alert-router")
def main() -> None:
    """Route Alertmanager's alerts to Slack, PagerDuty and email; lose none."""


_config = click.option(
    "--config", type=click.Path(path_type=Path), default=Path("routes.yaml"), show_default=True, envvar="ALERT_ROUTER_CONFIG",
    help="The rules.",
)  # fmt: skip


@main.command()
@_config
@click.option("--listen", type=Listen(), default="127.0.0.1:9099", show_default=True, envvar="ALERT_ROUTER_LISTEN",
              help="Where to take webhooks.")  # fmt: skip
@click.option("--database", envvar="ALERT_ROUTER_DATABASE",
              help="Where the state is kept.  [default: sqlite:///state/router.db; a throw-away file in a preview]")  # fmt: skip
@click.option("--preview", is_flag=True, envvar="ALERT_ROUTER_PREVIEW",
              help="Tell nobody: show every message on the page instead. Needs no credentials.")  # fmt: skip
@click.option("--sample", is_flag=True, envvar="ALERT_ROUTER_SAMPLE",
              help="In a preview: play a sample incident on a Friday night.")  # fmt: skip
@click.option("--metrics/--no-metrics", default=True, show_default=True, envvar="ALERT_ROUTER_METRICS",
              help="Serve /metrics.")  # fmt: skip
@click.option("--max-body", type=click.IntRange(min=1024), default=16 * 2**20, show_default="16 MiB",
              envvar="ALERT_ROUTER_MAX_BODY", help="The largest webhook, in bytes, decompressed.")  # fmt: skip
@click.option("--drain", type=click.FloatRange(min=0), default=10.0, show_default=True, envvar="ALERT_ROUTER_DRAIN",
              help="Seconds that a stop may take to tell what is due.")  # fmt: skip
@click.option("--watch", is_flag=True, envvar="ALERT_ROUTER_WATCH",
              help="Reload when routes.yaml changes, or a file that it names. SIGHUP and POST /-/reload do so at any time.")  # fmt: skip
@click.option("--log", "log_form", type=click.Choice(["auto", "json", "human"]), default="auto", show_default=True,
              envvar="ALERT_ROUTER_LOG", help="The shape of log lines; auto: human on a terminal.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
              envvar="ALERT_ROUTER_LOG_LEVEL")  # fmt: skip
def serve(  # noqa: PLR0913  (an argument an option: that is click)
    *, config: Path, listen: tuple[str, int], database: str | None, preview: bool, sample: bool, metrics: bool,
    max_body: int, drain: float, watch: bool, log_form: str, log_level: str,
) -> None:  # fmt: skip
    """Take webhooks and tell everybody who is to know."""
    if sample and not preview:
        raise click.UsageError("--sample goes with --preview: it would page people")
    logs.configure(log_form, "warning" if preview and log_level == "info" else log_level)
    options = app.Options(
        config=config, listen=listen, database=database, preview=preview, metrics=metrics, max_body=max_body,
        drain=round(drain * 1_000), watch=watch,
    )  # fmt: skip
    try:
        asyncio.run(_serve(app.Service(options, os.environ), sample=sample))
    except ConfigError as error:
        raise _Failure(error.shown) from None
    except TemplateError as error:
        raise _Failure(f"The templates can't be used: {error}") from None
    except StoreUnavailable as error:
        raise _Failure(f"The store can't be opened: {error}") from None
    except OSError as error:
        host, port = listen
        raise _Failure(
            f"Can't listen on {host}:{port}: {error.strerror or error}; give another --listen"
        ) from None


def _now() -> Millis:
    return SystemClock().now()


class _Failure(click.ClickException):
    """Printed as it is: the message names the place itself."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, file=file, err=True)


async def _serve(service: app.Service, *, sample: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(_reload(service))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    try:
        await service.start()
        loop.add_signal_handler(signal.SIGHUP, reload)
        if service.options.preview:
            click.echo(f"Preview: nobody is told anything. Open {service.url} to see every message.")
        if sample:
            await service.play(click.echo)
        await stop.wait()
    finally:
        await service.stop()


async def _reload(service: app.Service) -> None:
    with contextlib.suppress(ReloadError):  # it is in the log, the metrics and on the page
        await service.reload()


@main.command()
@_config
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(*, config: Path, strict: bool, as_json: bool) -> None:
    """Check the rules and dry-run every template: mistakes and traps, each with its place.

    Exit code 1 if there is an error (with --strict: or a warning). Credentials need not be there.
    """
    checked = check_rules(config, os.environ, _now())
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


@main.command()
@_config
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
        question = Question.of(config, os.environ, _now(), at, firing.read() if firing is not None else None)
        if jsonl:
            failed = False
            for line in sys.stdin:
                answer = question.line(line)
                failed |= "error" in answer
                click.echo(json.dumps(answer))
            sys.exit(1 if failed else 0)
        if fingerprint is not None:
            answers = question.known(snapshot(database, fingerprint), fingerprint)
        elif webhook is not None:
            answers = question.webhook(webhook.read())
        else:
            answers = [question.labels(labels)]
    except ConfigError as error:
        raise _Failure(error.shown) from None
    except (InputError, StoreUnavailable) as error:
        raise _Failure(str(error)) from None
    if as_json:
        click.echo(
            json.dumps([each.json for each in answers] if len(answers) != 1 else answers[0].json, indent=2)
        )
    else:
        click.echo("\n\n".join(each.text for each in answers))


@main.command()
@_config
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--junit", "report", type=click.Path(path_type=Path), help="Write a JUnit report there.")
def test(*, config: Path, files: tuple[Path, ...], report: Path | None) -> None:
    """Test the rules with files of unit tests; without any: those beside the rules, routes.test.yaml and so on."""
    try:
        outcomes = run_all(config, files, _now())
    except ConfigError as error:
        raise _Failure(error.shown) from None
    failed = [each for each in outcomes if each.differences]
    for each in failed:
        click.echo(f"FAILED {each}", err=True)
    if report is not None:
        report.write_bytes(junit(outcomes))
    click.echo(f"{len(outcomes) - len(failed)} passed" + (f", {len(failed)} failed" if failed else ""))
    sys.exit(1 if failed else 0)


@main.command()
@_config
@click.option(
    "--days", type=click.IntRange(1, 366), default=14, show_default=True, help="How many days to draw."
)
@click.option("--at", help="The time to start at, like '2026-11-20 22:41'.  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def schedule(*, config: Path, days: int, at: str | None, as_json: bool) -> None:
    """Draw the next days of each time interval: open, closed, holidays, changes of the clocks."""
    try:
        timetables = of_file(config, os.environ, _now(), at, days)
    except ConfigError as error:
        raise _Failure(error.shown) from None
    except InputError as error:
        raise _Failure(str(error)) from None
    if as_json:
        click.echo(json.dumps(timetables_as_json(timetables), indent=2))
    else:
        click.echo(timetables_as_text(timetables, color=sys.stdout.isatty()), nl=False)


@main.command("import")
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
        converted = convert(file.read_text(), str(file))
        if output is None:
            click.echo(converted.text, nl=False)
        else:
            with output.open("x") as target:
                target.write(converted.text)
    except ConfigError as error:
        raise _Failure(error.shown) from None
    except UnicodeDecodeError:
        raise _Failure(f"{file}: it is not UTF-8; save it as such") from None
    except OSError as error:
        raise _Failure(f"{error.filename}: {error.strerror}; give another path") from None
    for note in converted.notes:
        click.echo(f"{file}:{note}", err=True)
    if output is not None:
        click.echo(f"{output}: written; look at it, then: alert-router check --config {output}", err=True)
