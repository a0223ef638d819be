"""The composition root: builds every part of the service, starts the parts in order, and stops them in reverse."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from router.active_config import ActiveConfig
from router.alertmanager_client import AlertmanagerClient
from router.backup_schedule import BackupOptions, BackupSchedule
from router.channels import REGISTRY
from router.channels.outbox import Outbox
from router.clock import BootClock, Clock, DatabaseClock, SystemClock
from router.clock_watch import ClockWatch
from router.config_files import ConfigFiles
from router.database_wait import DatabaseWait
from router.deadman import Deadman
from router.deliver import Lanes
from router.deliver.drills import Drills
from router.deliver.own_alerts import OwnAlerts
from router.deliver.receiver_tests import ReceiverTests
from router.digest_drafts import DigestDrafts
from router.file_check import FileCheck
from router.load_status import LoadStatus
from router.logs.error_observers import on_error
from router.maintenance import Maintenance
from router.metrics import Metrics
from router.model import SECOND, Millis
from router.objective_counts import ObjectiveCounts
from router.package import package_version
from router.preview import Preview, start_on_friday_night, throwaway_database
from router.reconcile import Reconciler
from router.rejudging import Rejudging
from router.reload import SIGNAL, Reloader
from router.replicas import JudgedBy, Membership, SeenReplicas
from router.replicas.background import BackgroundWork
from router.replicas.rules_agreement import RulesAgreement
from router.rules_watch import RulesWatch
from router.shared_findings import SharedFindings
from router.shutdown import Shutdown
from router.silence_watch import SilenceWatch
from router.store import ReplicaNotice, ReplicaTopic, Store
from router.telemetry import Telemetry
from router.threads import Threads
from router.undecided import Undecided
from router.web import (
    BACKLOG,
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_ADDRESS,
    AppContext,
    BoundedRunner,
    Certificates,
    ConnectionBounds,
    TlsFiles,
    descriptor_limit,
    make_app,
    make_runner,
    make_waiting_app,
)
from router.web.access.exposure import check_exposure, warn_if_open
from router.web.access.identification import Identification
from router.web.access.peers import AccessOptions
from router.web.preview_pages import add_preview

log = structlog.get_logger(__name__)

# Libraries look up names in the loop's default pool, and a name server that does not answer keeps a thread for 20 s
# and more. So the pool has a thread for each name that routes.yaml may give, and all other work has pools of its own.
_NAME_THREADS = 256
# Threads that explain alerts and render messages for pages.
_PAGE_THREADS = 2
# The share of the time of a stop in which the lanes may send what is due. The rest is for the parts that end after them.
_LANES_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of ``serve``."""

    config: Path
    listen: tuple[str, int] = ("127.0.0.1", 9099)
    database: str | None = None
    """A SQLAlchemy URL; None: ``sqlite:///state/router.db``, or a throw-away file in a preview."""
    preview: bool = False
    metrics: bool = True
    max_body: int = 16 * 2**20
    """Bytes, after decompression."""
    drain: Millis = 8 * SECOND
    """The time limit of a stop (ms). For half of that time, the router still sends what is due. For another quarter, it begins
    nothing more, and waits for what is under way."""
    sample: bool = False
    """In a preview: begin on a Friday night, for the sample incident."""
    watch: bool = False
    """Reload when routes.yaml or a file that it names changes."""
    max_connections: int = MAX_CONNECTIONS
    """Less if the process may open fewer files."""
    max_connections_per_address: int = MAX_CONNECTIONS_PER_ADDRESS
    tls: TlsFiles | None = None
    """None: the service speaks plain HTTP."""
    is_open: bool = False
    """Without users in routes.yaml: let everybody who reaches the router read and do everything."""
    replica: str | None = None
    """The name of this replica, for people; None: the name of the host, and the port."""
    lease_term: Millis = 10 * SECOND
    """How long the leases of a replica last that does not answer any more (ms). See :mod:`router.replicas.membership`."""
    backups: BackupOptions | None = None
    """None: the service makes no backups. A preview never does."""


@dataclass(frozen=True)
class Service:
    """One running router. :meth:`open` makes one that accepts webhooks; it sends notifications from :meth:`start` on."""

    runner: BoundedRunner
    clock: Clock
    metrics: Metrics
    store: Store
    lanes: Lanes
    clock_watch: ClockWatch
    reconciler: Reconciler
    undecided: Undecided
    silence_watch: SilenceWatch
    deadman: Deadman
    maintenance: Maintenance
    backups: BackupSchedule | None
    """None: the service makes no backups."""
    reloader: Reloader
    agreement: RulesAgreement
    rules_watch: RulesWatch
    tests: ReceiverTests
    drills: Drills
    outbox: Outbox | None
    """The messages of a preview."""
    certificates: Certificates | None
    """None: the service speaks plain HTTP."""
    objectives: ObjectiveCounts
    membership: Membership
    wait: DatabaseWait
    background: BackgroundWork
    findings: SharedFindings
    shutdown: Shutdown

    @classmethod
    async def open(
        cls,
        options: ServeOptions,
        environ: Mapping[str, str],
        clock: Clock | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> "Service":
        """Build every part, adopt the rules and listen. From then on, webhooks are accepted. It waits for a database that can't
        be used yet.

        :param on_wait: called again and again while it waits
        :raises ConfigError: with every mistake in routes.yaml
        :raises TemplateError: the templates can't be used
        :raises TlsError: the files of TLS can't be used
        :raises StoreUnavailable: the database can't be opened
        :raises OSError: the address is taken
        """
        shutdown = Shutdown(options.drain)
        try:
            service = await _build(options, environ, clock, shutdown, on_wait)
            await _accept_webhooks(service, options)
        except BaseException:
            await shutdown.run()
            raise
        return service

    async def start(self, *, watch: bool = False) -> None:
        """Send notifications, and do the regular work. Returns when all firing alerts are judged by the rules.

        :param watch: reload when routes.yaml or a file that it names changes
        """
        run = self.shutdown.run_until_stop
        try:
            if self.membership.is_alone:
                await self.reloader.start(lambda: run("reconcile", self.reconciler.serve()))
                await self.background.begin()
            else:
                run("lanes of replicas", self.lanes.follow())
                await self.reloader.start(lambda: self.membership.add(self.background))
            run("watch secrets", self.reloader.watch_secrets())
            if self.certificates is not None:
                run("watch TLS files", self.certificates.watch())
            if watch:
                run("watch files", self.reloader.watch_files())
        except BaseException:
            await self.stop()
            raise

    @property
    def url(self) -> str:
        """The address that it listens on."""
        host, port = self.runner.addresses[0][:2]
        scheme = "http" if self.certificates is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def heard(self, notice: ReplicaNotice) -> None:
        """Look at what another replica tells."""
        self.lanes.heard(notice)
        if notice.topics & {ReplicaTopic.LEASES, ReplicaTopic.RULES}:
            self.membership.renew_soon()
        if ReplicaTopic.RULES in notice.topics:
            self.rules_watch.look_soon()
        if ReplicaTopic.UNDECIDED in notice.topics:
            self.undecided.look()
        if ReplicaTopic.TESTS in notice.topics:
            self.tests.look_soon()

    async def reload(self) -> None:
        """Load routes.yaml again, as a signal does. :raises ReloadError: it can't be used, and the last good one stays in force"""
        await self.reloader.reload(SIGNAL)

    async def stop(self) -> None:
        """Refuse webhooks, send what is due as long as there is time, and close everything."""
        await self.shutdown.run()


async def _build(  # noqa: PLR0915  (one list of all parts, in their order)
    options: ServeOptions, environ: Mapping[str, str], given_clock: Clock | None, shutdown: Shutdown,
    on_wait: Callable[[], None],
) -> Service:  # fmt: skip
    closing = shutdown.stack
    clock = given_clock or SystemClock()
    asyncio.get_running_loop().set_default_executor(Threads("names", _NAME_THREADS))
    metrics = Metrics(enabled=options.metrics)
    telemetry = Telemetry(clock, package_version(), metrics.telemetry_dropped)
    closing.push_async_callback(shutdown.close_telemetry, telemetry)
    closing.callback(on_error(telemetry.error))
    certificates = await _certificates(options.tls, clock, metrics, shutdown)
    default = closing.enter_context(throwaway_database()) if options.preview else "sqlite:///state/router.db"
    database = options.database or default
    backups = None
    if options.backups is not None and not options.preview:
        backups = BackupSchedule(options.backups, database, clock, metrics)
        closing.callback(backups.close)
    before_migration = _nothing if backups is None else backups.make_before_migration
    bounds = ConnectionBounds.within_descriptors(
        options.max_connections, options.max_connections_per_address, descriptor_limit()
    )
    tls = None if certificates is None else certificates.context
    wait = DatabaseWait(
        options.listen, lambda: make_runner(make_waiting_app(), metrics, bounds, tls), on_wait
    )
    closing.push_async_callback(wait.close)
    store = await wait.open(
        lambda: Store.open(database, metrics.batch, before_migration, metrics.store_error)
    )
    closing.push_async_callback(shutdown.close_store, store)
    if given_clock is None and store.replicas.are_possible and not options.preview:
        clock = database_clock = DatabaseClock()
        store.follow(database_clock)
    if store.is_new and not options.preview:
        _warn_of_new_database(store.location, None if backups is None else await backups.newest_file())
    access = AccessOptions(options.listen[0], options.is_open)
    files = ConfigFiles(
        options.config, environ, clock, preview=options.preview, check=partial(check_exposure, options=access)
    )
    closing.callback(files.close)
    membership = Membership(
        store=store, clock=BootClock(), metrics=metrics, name=options.replica or _name_of(options.listen),
        term=options.lease_term, rules=lambda: JudgedBy(active.policy().fingerprint, active.config.digest),
    )  # fmt: skip
    loaded = await files.load(
        await store.start(clock.now()) if membership.is_alone else await store.fragments()
    )
    if options.sample and isinstance(clock, SystemClock):
        start_on_friday_night(clock, loaded.config.timezone)
    outbox = Outbox() if options.preview else None
    await telemetry.apply(loaded.config.telemetry, loaded.config.network)
    active, status = ActiveConfig(loaded, outbox), LoadStatus(options.config, metrics)
    warn_if_open(loaded.config.access, access)

    clock_watch = ClockWatch(store.timekeeping, clock, active.policy, is_shared=store.replicas.are_possible)
    lanes = Lanes(
        store=store, clock=clock, metrics=metrics, channels=REGISTRY, current=active.runtime,
        counting_since=clock_watch.look, telemetry=telemetry, may_use=membership.may_use,
    )  # fmt: skip
    background = BackgroundWork()
    if not membership.is_alone:
        lanes.share(membership, SystemClock())
        membership.add(lanes)
        membership.after_renewals(lanes.renewed)
    posting = OwnAlerts(store=store, clock=clock, metrics=metrics, policy=active.policy, wake=lanes.wake)
    tests = ReceiverTests(
        store=store, clock=clock, metrics=metrics, policy=active.policy, posting=posting, lanes=lanes.describe
    )
    lanes.after_outcomes(tests.delivery_recorded)
    drills = Drills(
        store=store, clock=clock, metrics=metrics, policy=active.policy, drill=lambda: active.config.drill, tests=tests,
        posting=posting,
    )  # fmt: skip
    alertmanagers = AlertmanagerClient(active.network)
    reconciler = Reconciler(
        store=store, clock=clock, metrics=metrics, sources=active.sources, policy=active.policy, wake=lanes.wake,
        counting_since=clock_watch.look, client=alertmanagers, preview=options.preview,
    )  # fmt: skip
    silence_watch = SilenceWatch(
        store=store, clock=clock, metrics=metrics, policy=active.policy, sources=active.sources,
        timezone=active.timezone, wake=lanes.wake, counting_since=clock_watch.look, is_shared=not membership.is_alone,
    )  # fmt: skip
    deadman = Deadman(
        store=store, clock=clock, metrics=metrics, settings=lambda: active.config.deadman, network=active.network,
        lanes=lanes.describe, silent=silence_watch.silent_heartbeats,
        is_listening=lambda: bool(runner.addresses) and not shutdown.has_begun(),
    )  # fmt: skip
    closing.push_async_callback(deadman.close)
    clock_watch.after_steps(deadman.restart)
    undecided = Undecided(store, clock, metrics, active.policy, lanes.wake, silence_watch.note_heartbeats)
    objectives = ObjectiveCounts(store, clock, metrics, active.policy)
    store.observe_events(objectives.saved)
    closing.push_async_callback(objectives.close)
    maintenance = Maintenance(store, clock, metrics, active.retention, active.policy)
    agreement = RulesAgreement(metrics)
    reloader = Reloader(
        files=files, active=active, status=status, store=store, clock=clock, lanes=lanes,
        judging=Rejudging(store, clock, status, active.policy, lanes.wake),
        ask_alertmanagers=None if options.preview else reconciler.look, telemetry=telemetry,
        agreement=agreement, replica=membership.name,
    )  # fmt: skip
    closing.push_async_callback(reloader.close)
    rules_watch = RulesWatch(store, clock, reloader, agreement, undecided.refresh)
    agreement.after_changes(membership.renew_soon)
    reloader.after_loads(silence_watch.look_soon)
    reloader.after_loads(deadman.look_soon)
    clock_watch.after_steps(reconciler.restart)
    clock_watch.after_steps(lanes.restart)
    clock_watch.after_steps(silence_watch.restart)
    clock_watch.after_steps(tests.restart)

    file_check, threads = (
        FileCheck(files, environ, clock, lambda: active.config),
        Threads("pages", _PAGE_THREADS),
    )
    closing.callback(file_check.close)
    closing.callback(threads.shutdown)
    seen = SeenReplicas(store, membership, clock)
    drafts = DigestDrafts(store, clock, active.runtime, threads)
    app = make_app(AppContext(
        store=store, clock=clock, metrics=metrics, sources=active.sources, policy=active.policy, config=lambda: active.config,
        claim_ahead=lanes.claim_ahead, wake_lanes=lanes.wake, store_large_webhook=undecided.keep, webhook_kept=undecided.kept, undecided=lambda: undecided.alerts, silences=lambda: alertmanagers.silences(() if options.preview else active.sources()), lanes=lanes.describe, stopping=shutdown.has_begun,
        max_body=options.max_body, preview=options.preview, rules_status=lambda: {**status.describe(), "in_force": agreement.describe()}, reload=reloader.reload,
        resume=lanes.resume, pause=lanes.pause, start_test=tests.start, follow_test=tests.follow, access=Identification(access), files_on_disk=reloader.files_on_disk,
        check_files=file_check.result, draft_digest=drafts.draft, threads=threads,
        answered=objectives.answered, integrity=lambda: maintenance.integrity, balance=lambda: maintenance.balance, telemetry=telemetry,
        heard=silence_watch.note, watched=silence_watch.describe, silent=silence_watch.silent, deadman=lambda: deadman.state,
        backups=lambda: None if backups is None else backups.describe(), replicas=seen.read, last_replicas=seen.last,
    ))  # fmt: skip
    if outbox is not None:
        add_preview(app, Preview(outbox, store, clock, active, drafts).context)
    runner = make_runner(app, metrics, bounds, tls)
    findings = SharedFindings(store, clock, deadman, maintenance)
    if not membership.is_alone:
        background.load_first(undecided.load)
        background.load_first(silence_watch.load)
        # What this replica knows of Alertmanager's answers is of another time.
        background.call_first(reconciler.restart)
        background.call_first(deadman.restart)
        background.add("findings", findings.publish)
        background.add("undecided", undecided.serve)
        background.add("reconcile", reconciler.serve)
    background.add("maintenance", maintenance.run)
    background.add("receiver tests", tests.serve)
    background.add("drills", drills.serve)
    background.add("quarantine", maintenance.watch_quarantine)
    if outbox is None:  # a preview has no sender, and pings nobody
        background.add("silence watch", silence_watch.serve)
        background.add("dead man's switch", deadman.serve)
    if backups is not None:
        background.add("backups", backups.run)
    return Service(
        runner, clock, metrics, store, lanes, clock_watch, reconciler, undecided, silence_watch, deadman, maintenance,
        backups, reloader, agreement, rules_watch, tests, drills, outbox, certificates, objectives, membership, wait, background,
        findings, shutdown,
    )  # fmt: skip


def _name_of(listen: tuple[str, int]) -> str:
    """Return the name of a replica that was given none."""
    return f"{socket.gethostname()}:{listen[1]}"


def _nothing() -> None:
    """Do nothing before a migration."""


def _warn_of_new_database(location: str, newest_backup: Path | None) -> None:
    """Log that there was no database. At a first start that is right; later it means that a volume is missing."""
    found = {} if newest_backup is None else {"newestBackup": str(newest_backup)}
    log.warning(
        "the database is new and empty, which is normal for a first start; otherwise the one before is missing: its volume is "
        "not mounted, or --database names another file",
        database=location, **found,
    )  # fmt: skip


async def _certificates(
    files: TlsFiles | None, clock: Clock, metrics: Metrics, shutdown: Shutdown
) -> Certificates | None:
    """Load the files of TLS. Return None if there are none. :raises TlsError: they can't be used"""
    metrics.tls_loaded(is_good=True)
    if files is None:
        return None
    certificates = Certificates(files, clock, metrics)
    shutdown.stack.callback(certificates.close)
    await certificates.load()
    return certificates


async def _accept_webhooks(service: Service, options: ServeOptions) -> None:
    """Adopt the rules and serve. Once new rules are in force, replicas with other rules send nothing. So all that can fail in a
    start comes before, except for the database.
    """
    sockets = await service.wait.take_address()
    policy = await service.reloader.adopt()
    await service.membership.join()
    await service.clock_watch.look()
    is_alone = service.membership.is_alone
    if is_alone:
        await service.silence_watch.load()
    closing, run = service.shutdown.stack, service.shutdown.run_until_stop
    closing.push_async_callback(service.silence_watch.close)
    closing.push_async_callback(service.runner.cleanup)
    closing.callback(service.tests.close)
    closing.push_async_callback(service.membership.leave)
    run("membership", service.membership.serve())  # until the lanes have stopped
    closing.push_async_callback(service.background.end)
    closing.push_async_callback(service.lanes.stop, round(_LANES_SHARE * options.drain))
    closing.callback(service.undecided.close)
    closing.callback(service.membership.stop_taking)
    if is_alone:
        await service.undecided.load()
        run("undecided", service.undecided.serve())
    else:
        service.store.listen(service.heard)
    run("objectives", service.objectives.serve())
    await service.wait.end()
    await service.runner.setup()
    for each in sockets:
        await web.SockSite(service.runner, each, backlog=BACKLOG).start()
    run("clock", service.clock_watch.serve())
    if not is_alone:
        run("rules in force", service.rules_watch.serve())
        run("heard by replicas", service.silence_watch.share())
        run("findings of others", service.findings.follow())
    log.info(
        "serving", address=service.url, config=str(options.config), database=service.store.location,
        destinations=len(policy.destinations), preview=options.preview,
    )  # fmt: skip
