"""The composition root: builds every room, starts them in order, and stops them in reverse."""

import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from aiohttp import web

from router import sample
from router.channels import KINDS
from router.channels.base import Channel
from router.channels.outbox import Entry, Outbox, Preview, entry_of
from router.clock import Clock, SystemClock
from router.config import Config, ConfigError, Problem, Trap, load
from router.deliver import Current, Lanes
from router.metrics import Metrics
from router.model import SECOND, Millis
from router.render import TemplateError, Templates
from router.rules.explain import Question
from router.rules.inputs import alerts_of, moment
from router.rules.schedule import Timetable
from router.rules.schedule import schedule as timetables
from router.rules.units import Outcome, run_all
from router.store import Store
from router.web import KEEPALIVE_SECONDS, Parts, make_app
from router.web.pages import add_pages
from router.web.preview import PreviewParts, add_preview

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What ``serve`` is told beside routes.yaml."""

    config: Path
    listen: tuple[str, int] = ("127.0.0.1", 9099)
    database: str | None = None
    """A SQLAlchemy URL; None: ``sqlite:///state/router.db``, or a throw-away file in a preview."""
    preview: bool = False
    metrics: bool = True
    max_body: int = 16 * 2**20
    """Bytes, after decompression."""
    drain: Millis = 10 * SECOND
    """How long a stop may take to tell what is due."""


class Service:
    """One running router.

    :raises ConfigError: on :meth:`start`, with every mistake in routes.yaml
    :raises StoreUnavailable: on :meth:`start`, when the database can't be opened
    :raises OSError: on :meth:`start`, when the address is taken
    """

    def __init__(self, options: Options, environ: Mapping[str, str], clock: Clock | None = None) -> None:
        self.options = options
        self.clock: Clock = clock or SystemClock()
        self.outbox = Outbox() if options.preview else None
        self._environ = environ
        self._stopping = False
        self._closing = AsyncExitStack()

    async def start(self) -> None:
        """Each room's end is arranged as soon as it is begun; :meth:`stop` then goes backwards."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        options, closing, now = self.options, self._closing, self.clock.now()
        config = load(options.config, environ=self._environ, now=now, preview=options.preview)
        self.config = config
        self.metrics = Metrics(enabled=options.metrics)
        self._current = Current(config.policy, _templates(config))

        self.store = await Store.open(self._database())
        closing.push_async_callback(self.store.close)
        await self.store.adopt(config.policy, now)

        channels = self._open_channels(config)
        for channel in channels.values():
            closing.push_async_callback(channel.close)
        self.lanes = Lanes(
            store=self.store, clock=self.clock, metrics=self.metrics, channels=channels,
            paces={name: (kind.per_second, kind.burst) for name, kind in KINDS.items()}, current=lambda: self._current,
        )  # fmt: skip
        self.lanes.start(config.policy.destinations.values())

        self._runner = web.AppRunner(
            self._web(), handle_signals=False, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS,
            handler_cancellation=False, shutdown_timeout=1.0,
        )  # fmt: skip
        closing.push_async_callback(self._runner.cleanup)
        closing.push_async_callback(self.lanes.stop, options.drain)
        await self._runner.setup()
        await web.TCPSite(self._runner, *options.listen).start()
        self.metrics.loaded(config.digest, now)
        log.info(
            "serving", address=self.url, config=str(options.config), database=self.store.location,
            destinations=len(config.policy.destinations), preview=options.preview,
        )  # fmt: skip

    async def stop(self) -> None:
        """Refuse webhooks, tell what is due within the bound, let go of everything."""
        self._stopping = True
        await self._closing.aclose()
        log.info("stopped")

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def play(self, say: Callable[[str], None]) -> None:
        """Post the sample incident to ourselves, as Alertmanager would."""
        if isinstance(self.clock, SystemClock):
            self.clock.shift(sample.friday_night(self.clock.now(), self.config.timezone) - self.clock.now())
        await sample.play(f"{self.url}/webhook", self.clock, say)

    def _web(self) -> web.Application:
        parts = Parts(
            store=self.store, clock=self.clock, metrics=self.metrics,
            sources=lambda: self.config.sources, policy=lambda: self._current.policy,
            wake=self.lanes.wake, lanes=self.lanes.describe, stopping=lambda: self._stopping,
            max_body=self.options.max_body, preview=self.options.preview,
        )  # fmt: skip
        app = make_app(parts)
        add_pages(app, home="status.html" if self.outbox is None else "preview.html")
        if self.outbox is not None:
            add_preview(app, PreviewParts(self.outbox, self.config.timezone, self._digests, self._jumps))
        return app

    async def _digests(self) -> list[Entry]:
        """Every digest as it would go out now."""
        entries = []
        for destination in self._current.policy.destinations.values():
            if destination.digest:
                conversation = await self.store.digest(destination, self._current.policy, self.clock.now())
                message = (
                    KINDS["digest"]
                    .make(self.config.settings["email"])
                    .render(destination, conversation, self._current.templates)
                )
                entries.append(entry_of(0, destination, conversation, message))
        return entries

    async def _jumps(self) -> list[tuple[str, Millis]]:
        """The moments at which something will happen by itself, the next one first."""
        waiting = await self.store.waiting()
        held = {row["until"] for row in waiting if row["fate"] == "held" and row["until"] is not None}
        jumps = [("next opening", at) for at in sorted(held)[:1]]
        slots = [schedule.next(self.clock.now()) for schedule in self._current.policy.schedules.values()]
        jumps += [("next digest", at) for at in sorted(slots)[:1]]
        return sorted(jumps, key=lambda jump: jump[1])

    def _database(self) -> str:
        if self.options.database is not None:
            return self.options.database
        if self.options.preview:
            folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="alert-router-preview-"))
            return f"sqlite:///{folder}/router.db"
        return "sqlite:///state/router.db"

    def _open_channels(self, config: Config) -> dict[str, Channel]:
        """A channel for each kind of destination in use; in a preview, one that files messages instead."""
        channels: dict[str, Channel] = {}
        for name in {each.channel for each in config.policy.destinations.values()}:
            kind = KINDS[name]
            channel = kind.make(config.settings[kind.section])
            channels[name] = channel if self.outbox is None else Preview(channel, self.outbox)
        return channels


@dataclass(frozen=True, slots=True)
class Checked:
    """What there is to say of a routes.yaml."""

    problems: tuple[Problem, ...]
    """Errors and warnings, in the order of the files."""
    texts: Mapping[str, str]
    """The files, masked, by name."""


def check(path: Path, environ: Mapping[str, str]) -> Checked:
    """Load the rules as if every credential were there, look for traps, dry-run every template."""
    try:
        config = load(path, environ=environ, now=SystemClock().now(), checking=True)
    except ConfigError as error:
        return Checked(error.errors, error.texts)
    try:
        faults = _templates(config).check()
    except TemplateError as error:
        return Checked((*config.problems, _fault(str(error), None)), config.texts)
    problems = (*config.problems, *(_fault(fault, Trap.TEMPLATE) for fault in faults))
    return Checked(problems, config.texts)


def question(
    path: Path, environ: Mapping[str, str], at: str | None = None, firing: bytes | None = None
) -> Question:
    """The rules of a file, to be asked about alerts at a moment (None: now) while others fire.

    :raises ConfigError: with every mistake in the file
    :raises InputError: the moment or the file of firing alerts can't be read
    """
    now = SystemClock().now()
    config = load(path, environ=environ, now=now, preview=True)
    zone = ZoneInfo(config.timezone)
    others = [each for each in alerts_of(firing) if each.firing] if firing is not None else []
    return Question(config.policy, zone, now if at is None else moment(at, zone), others)


def schedule(path: Path, environ: Mapping[str, str], at: str | None, days: int) -> list[Timetable]:
    """The next days of each interval of a file, from a moment on (None: now).

    :raises ConfigError: with every mistake in the file
    :raises InputError: the moment can't be read
    """
    now = SystemClock().now()
    config = load(path, environ=environ, now=now, preview=True)
    zone = ZoneInfo(config.timezone)
    start = now if at is None else moment(at, zone)
    return timetables(config.policy.intervals.values(), start, days)


def test(path: Path, files: tuple[Path, ...]) -> list[Outcome]:
    """Run unit tests of rules. :raises ConfigError: they, or the rules, can't be used"""
    return run_all(path, files, SystemClock().now())


def _fault(text: str, trap: Trap | None) -> Problem:
    """A template's, from ``file:line: why``; an error when nothing could be sent at all."""
    place = re.fullmatch(r"(.+?):(\d+): (.*)", text, re.DOTALL)
    if place is None:
        return Problem(text, 1, 1, "it can't be used", "mend it", trap)
    todo = "mend the template; until then the plain message is sent" if trap else "mend the template"
    return Problem(place.group(1), int(place.group(2)), 1, place.group(3), todo, trap)


def _templates(config: Config) -> Templates:
    severity = config.policy.severity
    return Templates(
        levels=severity.levels,
        timezone=config.timezone,
        severity_label=severity.label,
        directory=config.templates,
    )
