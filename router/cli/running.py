"""``alert-router serve``."""

import asyncio
import contextlib
import gc
import os
import signal
from pathlib import Path

import click

from router import app, logs, sample
from router.cli.shared import Failure, config_option
from router.config import ConfigError
from router.load_status import ReloadError
from router.loop import new_loop
from router.render import TemplateError
from router.store import StoreUnavailable


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


@click.command()
@config_option
@click.option("--listen", type=Listen(), default="127.0.0.1:9099", show_default=True, envvar="ALERT_ROUTER_LISTEN",
              help="Where to take webhooks.")  # fmt: skip
@click.option("--database", envvar="ALERT_ROUTER_DATABASE",
              help="Where the state is kept: a file, or postgresql://user:password@host/database.  "
                   "[default: sqlite:///state/router.db; a throw-away file in a preview]")  # fmt: skip
@click.option("--preview", is_flag=True, envvar="ALERT_ROUTER_PREVIEW",
              help="Tell nobody: show every message on the page instead. Needs no credentials.")  # fmt: skip
@click.option("--sample", is_flag=True, envvar="ALERT_ROUTER_SAMPLE",
              help="In a preview: play a sample incident on a Friday night.")  # fmt: skip
@click.option("--metrics/--no-metrics", default=True, show_default=True, envvar="ALERT_ROUTER_METRICS",
              help="Serve /metrics.")  # fmt: skip
@click.option("--max-body", type=click.IntRange(min=1024), default=16 * 2**20, show_default="16 MiB",
              envvar="ALERT_ROUTER_MAX_BODY", help="The largest webhook, in bytes, decompressed.")  # fmt: skip
@click.option("--drain", type=click.FloatRange(min=0), default=8.0, show_default=True, envvar="ALERT_ROUTER_DRAIN",
              help="Seconds that a stop may take. For three quarters of that time, the router still sends what is due.")  # fmt: skip
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
    options = app.ServeOptions(
        config=config, listen=listen, database=database, preview=preview, sample=sample, metrics=metrics,
        max_body=max_body, drain=round(drain * 1_000), watch=watch,
    )  # fmt: skip
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_serve(options))
    except ConfigError as error:
        raise Failure(error.shown) from None
    except TemplateError as error:
        raise Failure(f"The templates can't be used: {error}") from None
    except StoreUnavailable as error:
        raise Failure(f"The store can't be opened: {error}") from None
    except OSError as error:
        host, port = listen
        raise Failure(
            f"Can't listen on {host}:{port}: {error.strerror or error}; give another --listen"
        ) from None
    finally:
        logs.flush_streams()


# A batch makes thousands of objects that live until it is saved, and a group of 50,000 alerts keeps a million for
# seconds. By Python's own numbers (700, 10, 10) the collector would go through all of them again and again, and stop
# the loop and the writer for up to a second. https://docs.python.org/3/library/gc.html#gc.set_threshold
_GARBAGE = (10_000, 20, 50)


async def _serve(options: app.ServeOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    started: asyncio.Future[app.Service] = loop.create_future()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(_reload(started))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    service = await _started(options, stop)
    if service is None:
        return
    try:
        started.set_result(service)
        # What a start leaves stays: to look through it for garbage again and again would stop the loop for 100 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        if options.preview:
            click.echo(f"Preview: no notification is sent. Open {service.url} to see every message.")
        if options.sample:
            await sample.play(f"{service.url}/webhook", service.clock, click.echo)
        await stop.wait()
    finally:
        await service.stop()
        gc.freeze()  # the interpreter would look for garbage at its end: seconds of the stop, on a busy machine


async def _start(options: app.ServeOptions) -> app.Service:
    service = await app.Service.open(options, os.environ)
    await service.start(watch=options.watch)
    return service


async def _started(options: app.ServeOptions, stop: asyncio.Event) -> app.Service | None:
    """A start takes minutes where the rules changed and very many alerts fire; None: it was stopped meanwhile."""
    starting, stopping = asyncio.ensure_future(_start(options)), asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    stopping.cancel()
    try:
        return await starting
    except asyncio.CancelledError:
        return None


async def _reload(started: "asyncio.Future[app.Service]") -> None:
    service = await asyncio.shield(
        started
    )  # a hang-up in the middle of the start would end the process otherwise
    with contextlib.suppress(ReloadError):  # it is in the log, the metrics and on the page
        await service.reload()


COMMANDS = (serve,)
