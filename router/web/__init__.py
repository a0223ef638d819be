"""The HTTP server: webhooks, pages, the API, probes, and metrics."""

from router.web.app_context import KEEPALIVE_SECONDS, AppContext
from router.web.connections import (
    BACKLOG,
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_ADDRESS,
    BoundedRunner,
    ConnectionBounds,
    descriptor_limit,
    raise_descriptor_limit,
)
from router.web.server import make_app, make_runner, make_waiting_app
from router.web.tls import Certificates, TlsError, TlsFiles

__all__ = [
    "BACKLOG",
    "KEEPALIVE_SECONDS",
    "MAX_CONNECTIONS",
    "MAX_CONNECTIONS_PER_ADDRESS",
    "AppContext",
    "BoundedRunner",
    "Certificates",
    "ConnectionBounds",
    "TlsError",
    "TlsFiles",
    "descriptor_limit",
    "make_app",
    "make_runner",
    "make_waiting_app",
    "raise_descriptor_limit",
]
