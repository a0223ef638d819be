"""What the web room is given by the composition root."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from router.clock import Clock
from router.decide import Policy
from router.metrics import Metrics
from router.model import Source, Webhook
from router.store import Integrity, Store

# Alertmanager's client keeps idle connections for five minutes; closing first would race with its next POST.
# https://github.com/prometheus/common/blob/main/config/http_config.go
KEEPALIVE_SECONDS = 330.0
TOTAL = "X-Total-Count"
"""The header of a list that says how many rows there are in all: exact up to 10,000, then ``10000+``."""


@dataclass(frozen=True, slots=True)
class AppContext:
    store: Store
    clock: Clock
    metrics: Metrics
    sources: Callable[[], tuple[Source, ...]]
    policy: Callable[[], Policy]
    wake: Callable[[Iterable[str]], None]
    keep: Callable[[Webhook, str, bytes], Awaitable[None]]
    """Keeps a large webhook, which is decided in pieces: source and body. :raises StoreUnavailable:"""
    undecided: Callable[[], int]
    """How many alerts of such webhooks wait to be decided."""
    lanes: Callable[[], list[dict[str, Any]]]
    stopping: Callable[[], bool]
    max_body: int
    """Bytes, before and after decompression."""
    loading: Callable[[], dict[str, Any]]
    """How the rules in force came to be, for ``/status``."""
    reload: Callable[[], Awaitable[None]]
    """Loads the rules anew. :raises ReloadError:"""
    resume: Callable[[str], Awaitable[dict[str, str] | None]]
    """Ends a destination's pause and tries it: status and reason; None: there is no such destination. :raises StoreUnavailable:"""
    integrity: Callable[[], Integrity | None] = lambda: None
    """The result of the last check; None: there was none yet."""
    preview: bool = False
    in_flight: int = 64 * 2**20
    """Bytes of all webhooks that are being taken in at once; at least four times ``max_body``."""
    read_seconds: float = 30.0
    """How long a body may take to come; a stop waits for it."""
    keep_seconds: float = 8.0
    """How long keeping it may take: Alertmanager's flushes end after 10 s where the group_interval is no longer."""


APP_CONTEXT: web.AppKey[AppContext] = web.AppKey("parts", AppContext)
