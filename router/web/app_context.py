"""What the composition root gives to the web room."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from router.clock import Clock
from router.decide import Policy
from router.metrics import Metrics
from router.model import Source, Webhook
from router.store import Integrity, Store

# Alertmanager's client keeps idle connections for five minutes. A server that closes earlier races with its next POST.
# https://github.com/prometheus/common/blob/main/config/http_config.go
KEEPALIVE_SECONDS = 330.0
TOTAL = "X-Total-Count"
"""The header of a list with the number of all its rows: exact up to 10,000, then ``10000+``."""


@dataclass(frozen=True, slots=True)
class AppContext:
    store: Store
    clock: Clock
    metrics: Metrics
    sources: Callable[[], tuple[Source, ...]]
    policy: Callable[[], Policy]
    wake: Callable[[Iterable[str]], None]
    keep: Callable[[Webhook, str, bytes], Awaitable[None]]
    """Stores a large webhook (webhook, source, body). It is decided later, in pieces. :raises StoreUnavailable:"""
    undecided: Callable[[], int]
    """Returns how many alerts of large webhooks wait to be decided."""
    lanes: Callable[[], list[dict[str, Any]]]
    stopping: Callable[[], bool]
    max_body: int
    """In bytes. It applies before and after decompression."""
    loading: Callable[[], dict[str, Any]]
    """Describes the files of the rules in force, for ``/status``."""
    reload: Callable[[], Awaitable[None]]
    """Loads the rules again. :raises ReloadError:"""
    resume: Callable[[str], Awaitable[dict[str, str] | None]]
    """Ends the pause of a destination (by key) and tries it. Returns status and reason; None: there is no such destination.
    :raises StoreUnavailable:
    """
    integrity: Callable[[], Integrity | None] = lambda: None
    """Returns the result of the last integrity check; None: none has run yet."""
    preview: bool = False
    in_flight: int = 64 * 2**20
    """Bytes of all webhooks that are being read at the same time; at least four times ``max_body``."""
    read_seconds: float = 30.0
    """How many seconds a body may take to arrive. A stop waits for it."""
    keep_seconds: float = 8.0
    """How many seconds storing it may take. Alertmanager's flushes end after 10 s if the group_interval is no longer."""


APP_CONTEXT: web.AppKey[AppContext] = web.AppKey("app_context", AppContext)
