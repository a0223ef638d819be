"""Runs the service for ``alert-router serve``: starts it, and stops and reloads it on signals."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal

import click

from router import sample
from router.app import ServeOptions, Service
from router.cli.shared import Failure
from router.cli.systemd_notifier import SystemdNotifier
from router.config import ConfigError
from router.load_status import ReloadError
from router.loop import new_loop
from router.render import TemplateError
from router.store import StoreUnavailable
from router.web import TlsError, raise_descriptor_limit

# Thresholds of the garbage collector. A batch makes thousands of objects that live until it is saved, and a group of
# 50,000 alerts keeps a million objects for seconds. With Python's defaults (700, 10, 10) the collector visits all of them again
# and again, and stops the loop and the writer for up to a second.
# https://docs.python.org/3/library/gc.html#gc.set_threshold
_GC_THRESHOLDS = (10_000, 20, 50)
# Parameters of glibc's allocator. https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_MMAP_THRESHOLD_BYTES = 2**20
_ARENAS = 2


def _bound_heap() -> None:
    """Make glibc return large blocks to the system as soon as they are freed, and use few arenas. By default it keeps blocks
    of some megabytes for later, in an arena for each thread: under a flood of large webhooks that is 50 MiB more. Other C
    libraries have no such parameters.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)


def serve_until_stopped(options: ServeOptions) -> None:
    """Serve until a signal stops it. :raises Failure: it can't start"""
    raise_descriptor_limit()
    _bound_heap()
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_serve(options))
    except ConfigError as error:
        raise Failure(error.shown) from None
    except TemplateError as error:
        raise Failure(f"The templates can't be used: {error}") from None
    except TlsError as error:
        raise Failure(f"TLS can't be used: {error}") from None
    except StoreUnavailable as error:
        raise Failure(f"The store can't be opened: {error}") from None
    except OSError as error:
        host, port = options.listen
        raise Failure(
            f"Can't listen on {host}:{port}: {error.strerror or error}; give another --listen"
        ) from None


async def _serve(options: ServeOptions) -> None:
    manager = SystemdNotifier(os.environ)
    watchdog = asyncio.create_task(manager.watch())  # noqa: RUF006,F841  (until the runner ends; a start may take minutes)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    started: asyncio.Future[Service] = loop.create_future()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(_reload(started, manager))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    _keep_what_exists()  # the modules; the second time is then short, while webhooks come in already
    service = await _started(options, stop, manager)
    if service is None:
        return
    try:
        started.set_result(service)
        _keep_what_exists()
        gc.set_threshold(*_GC_THRESHOLDS)
        if options.preview:
            click.echo(f"Preview: nothing is sent. Open {service.url} to see every message.")
        if options.sample:
            await sample.play(f"{service.url}/webhook", service.clock, click.echo)
        await stop.wait()
    finally:
        manager.stopping()
        await service.stop()
        gc.freeze()  # else the interpreter collects garbage at exit, which takes seconds on a busy machine


def _keep_what_exists() -> None:
    """Take the objects that exist now out of all later collections. They live as long as the process, and each full collection
    would visit them and stop the loop for 100 ms.
    """
    gc.collect()
    gc.freeze()


async def _start(options: ServeOptions, manager: SystemdNotifier) -> Service:
    service = await Service.open(options, os.environ, on_wait=manager.waiting)
    manager.ready()  # it accepts webhooks; the rest of the start may take minutes
    await service.start(watch=options.watch)
    return service


async def _started(options: ServeOptions, stop: asyncio.Event, manager: SystemdNotifier) -> Service | None:
    """Start the service. Return None if a signal stops it before it has started.

    A start may take minutes if the rules have changed and very many alerts fire.
    """
    starting, stopping = asyncio.ensure_future(_start(options, manager)), asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    stopping.cancel()
    try:
        return await starting
    except asyncio.CancelledError:
        return None


async def _reload(started: "asyncio.Future[Service]", manager: SystemdNotifier) -> None:
    service = await asyncio.shield(started)  # a SIGHUP during the start waits for its end
    manager.reloading()
    with contextlib.suppress(ReloadError):  # it is in the log, the metrics and on the page
        await service.reload()
    manager.ready()
