"""The objects and functions that :mod:`router.app` gives to the HTTP handlers."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from router.alertmanager_client import KnownSilences
from router.channels.outbox import Entry
from router.clock import Clock
from router.config import Config
from router.config_files import FileOnDisk
from router.decide import Policy
from router.metrics import Metrics
from router.model import (
    DeadmanState,
    Destination,
    DigestView,
    Millis,
    ReceiverTest,
    Source,
    TestRequest,
    WatchState,
    Webhook,
)
from router.replicas import ReplicaList
from router.rules.check import Checked
from router.store import Balance, Integrity, Store
from router.telemetry import Telemetry
from router.threads import Threads
from router.web.access.identification import Identification

# Alertmanager's client keeps idle connections for five minutes. A server that closes earlier races with its next POST.
# https://github.com/prometheus/common/blob/main/config/http_config.go
KEEPALIVE_SECONDS = 330.0


async def _no_silences() -> KnownSilences:
    return KnownSilences()


async def _no_replicas() -> ReplicaList:
    return ReplicaList(0, 0, False, (), ())


async def _no_files() -> tuple[FileOnDisk, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class DigestDraft:
    """A digest as it would be sent now."""

    report: DigestView
    entry: Entry
    """The rendered message, as the preview's outbox would have it."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """Everything that the HTTP handlers use from other parts of the router."""

    store: Store
    clock: Clock
    metrics: Metrics
    sources: Callable[[], tuple[Source, ...]]
    """Returns the sources in force, with their credentials."""
    policy: Callable[[], Policy]
    """Returns the rules in force."""
    config: Callable[[], Config]
    """Returns the configuration in force."""
    claim_ahead: Callable[[], Awaitable[None]]
    """Call it just before a webhook is written. What the webhook makes due is then claimed in the same batch."""
    wake_lanes: Callable[[Iterable[str]], None]
    """Makes the lanes of these destinations (by key) look for due deliveries."""
    store_large_webhook: Callable[[Webhook, str, bytes], Awaitable[int]]
    """Stores a large webhook (arguments: webhook, source, body), and returns its id. It is decided later, in pieces.

    :raises StoreUnavailable: the store is not writable
    """
    undecided: Callable[[], int]
    """Returns how many alerts of kept webhooks wait to be decided."""
    lanes: Callable[[], list[dict[str, Any]]]
    """Describes each lane, for ``/status``."""
    stopping: Callable[[], bool]
    """Returns whether the service is shutting down."""
    max_body: int
    """The largest body, in bytes, before and after decompression."""
    rules_status: Callable[[], dict[str, Any]]
    """Describes the files of the rules in force and their errors, for ``/status``."""
    reload: Callable[[str], Awaitable[None]]
    """Loads the rules again (argument: who asks for it). :raises ReloadError: the files can't be used"""
    resume: Callable[[str], Awaitable[dict[str, str] | None]]
    """Ends the pause of a destination (argument: its key) and makes one attempt. Returns status and reason of that
    attempt; None: there is no such destination.

    :raises StoreUnavailable: the store is not writable
    """
    pause: Callable[[str, str], Awaitable[tuple[Millis, str] | None]]
    """Pauses a destination (arguments: its key, the operator's name) until it is resumed. Returns since when it is paused (epoch ms), and
    what is to be known about that (empty: nothing); None: there is no such destination.

    :raises StoreUnavailable: the store is not writable
    """
    start_test: Callable[[TestRequest], Awaitable[ReceiverTest]]
    """Starts a test of a receiver.

    :raises TestRefused: it can't begin now
    :raises StoreUnavailable: the store is not writable; nothing is sent
    """
    follow_test: Callable[[str, str, float], Awaitable[tuple[ReceiverTest, str] | None]]
    """Returns a test and its version (arguments: its id, the version that is known, the longest wait in seconds); None:
    there is no such test.
    """
    check_files: Callable[[], Awaitable[Checked]]
    """Returns the mistakes and the traps of the files of the rules as they are now."""
    draft_digest: Callable[[Destination], Awaitable[DigestDraft]]
    """Returns a digest as it would be sent now."""
    threads: Threads
    """Where handlers do work that takes long, such as rendering."""
    heard: Callable[[str, Iterable[str]], None] = lambda _source, _heartbeats: None
    """Records that a webhook of a source was accepted (arguments: the source, the names of the heartbeats in it)."""
    watched: Callable[[], list[WatchState]] = list
    """Describes each heartbeat of each source, then each source."""
    silent: Callable[[], list[WatchState]] = list
    """Returns the heartbeats and the sources that are reported as silent."""
    deadman: Callable[[], DeadmanState] = DeadmanState
    """Describes the last ping of the monitor outside."""
    access: Identification = field(default_factory=Identification)
    """Finds out who makes a request."""
    answered: Callable[[int, float], None] = lambda _code, _seconds: None
    """Counts the answer to a webhook (arguments: status, seconds) for the objectives."""
    integrity: Callable[[], Integrity | None] = lambda: None
    """Returns the result of the last integrity check; None: none has run yet."""
    balance: Callable[[], Balance | None] = lambda: None
    """Returns the result of the last check of the ledger; None: none has run yet."""
    files_on_disk: Callable[[], Awaitable[tuple[FileOnDisk, ...]]] = _no_files
    """Compares the files of the rules on the disk with those in force."""
    telemetry: Telemetry = field(default_factory=Telemetry)
    """Observes webhooks, for Sentry and for traces."""
    backups: Callable[[], dict[str, Any] | None] = lambda: None
    """Returns the state of the backups, for ``/status``; None: the service makes none."""
    replicas: Callable[[], Awaitable[ReplicaList]] = _no_replicas
    """Reads which replicas serve, and who holds what. :raises StoreUnavailable: the database can't be read"""
    last_replicas: Callable[[], ReplicaList | None] = lambda: None
    """Returns the same as it was a few seconds ago, from memory; None: it is not known yet."""
    webhook_kept: Callable[[Webhook], None] = lambda _webhook: None
    """Is told of a small webhook that the store has only kept, because it can't be decided here and now."""
    silences: Callable[[], Awaitable[KnownSilences]] = _no_silences
    """Asks the Alertmanagers of the sources for their silences."""
    preview: bool = False
    """The service sends nothing, and shows messages on a page instead."""
    in_flight: int = 64 * 2**20
    """The most bytes of all webhooks that are read at the same time. The limit is at least four times ``max_body``."""
    read_seconds: float = 30.0
    """The time limit for receiving a body (seconds). A stop waits for it."""
    keep_seconds: float = 8.0
    """The time limit for storing a webhook (seconds). Alertmanager gives up a request after its group_interval, but
    never before 10 s.
    """


APP_CONTEXT: web.AppKey[AppContext] = web.AppKey("app_context", AppContext)
